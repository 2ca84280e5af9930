"""A campaign that has kept some edits, for tests of what comes after; nothing is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands import Done, run_here
from staged import measured

from agent.campaign.events import Concluded, ProgramRead, TrialBegun
from agent.campaign.reading import load
from agent.campaign.state import State
from agent.campaign.store import Campaign
from agent.edits.blocks import Edit
from agent.edits.changes import fingerprint
from agent.git.repo import Repo
from agent.settings import Settings
from trainer import measure
from trainer.measure import CheckResult, Measurement

if TYPE_CHECKING:
    from tests.agent.conftest import Git

BASE = '''"""A small train.py."""

# === architecture ===
WIDTH = 64
VOCAB_SIZE = 512
SEQ_LEN = 64

# === optimizer ===
RATE = 0.01
BETA = 0.9

# === schedule ===
WARMDOWN = 0.3
'''
HELPER = "\n\ndef smooth(x):\n    return x / SCALE\n"
"""Runs only where there is a SCALE."""
EDITS = (
    ("wider", lambda t: t.replace("WIDTH = 64", "WIDTH = 96")),
    ("a faster optimizer", lambda t: t.replace("RATE = 0.01", "RATE = 0.02")),
    ("a longer memory", lambda t: t.replace("BETA = 0.9", "BETA = 0.95")),
    ("warm-down → half", lambda t: t.replace("WARMDOWN = 0.3", "WARMDOWN = 0.5")),
    ("warm-down of most", lambda t: t.replace("WARMDOWN = 0.5", "WARMDOWN = 0.7")),
    ("a scale", lambda t: t.replace("BETA = 0.95\n", "BETA = 0.95\nSCALE = 2\n")),
    ("a spare", lambda t: t.replace("SEQ_LEN = 64\n", "SEQ_LEN = 64\nSPARE = 1\n")),
    ("smooth", lambda t: t + HELPER),
)
"""Trials 1 to 8: 2 helps only after 1, 3 and 7 do nothing, 5 changes the line of 4, 8 runs only
with 6."""
LABELS = {
    1: "carries", 2: "only with", 3: "no longer", 4: "undecided", 5: "only with",
    6: "undecided", 7: "no longer", 8: "only with",
}  # fmt: skip


def worth(source: str) -> float:
    """By how much a file is better than the base."""
    gain = 0.03 if "WIDTH = 96" in source else 0.0
    gain += 0.02 if "WIDTH = 96" in source and "RATE = 0.02" in source else 0.0
    gain += 0.02 if "WARMDOWN = 0.7" in source else 0.0
    return gain + (0.02 if "smooth" in source else 0.0)


class Trainings:
    """Stands in for heats and checks, and counts them."""

    def __init__(self) -> None:
        self.heats: list[tuple[int, tuple[str, ...]]] = []
        self.options: list[dict[str, Any]] = []
        self.order: dict[int, int] = {}
        self.die_at = -1
        self.fails = lambda source: False

    def heat(self, sources: Sequence[str], *, seed: int, **options: Any) -> list[Measurement]:
        if len(self.heats) == self.die_at:
            raise Killed
        assert 1 < len(sources) <= measure.MOST_TRAININGS and len(set(sources)) == len(sources)
        self.heats.append((seed, tuple(sources)))
        self.options.append(options)
        for number in range(len(sources)):
            log = {"event": "log", "step": 3, "loss": 2.5, "spent": 0.5, "training": number}
            options["on_event"](log)
        # Seeds follow from commits, and those from the time: only their order is always the same.
        rank = self.order.setdefault(seed, len(self.order))
        common = noise(rank, "")
        found = []
        for source in sources:
            score: Any = 1.5 + common - worth(source) + 1e-3 * noise(rank, source)
            if self.fails(source) and source != sources[0]:
                score = {"status": "crashed", "reason": "crash: RuntimeError: shapes"}
            facts = {"fingerprint": {"processor": "Some_CPU", "threads": 2}}
            changes = score if isinstance(score, dict) else {"val_bpb": score}
            found.append(measured({**changes, **facts}, seed))
        return found

    def check(self, source: str, **options: Any) -> CheckResult:
        if "smooth" in source and "SCALE" not in source.replace(HELPER, ""):
            return CheckResult("crashed", "NameError: SCALE")
        return CheckResult("ok", params=1000)


class Killed(BaseException):
    pass


def noise(*of: object) -> float:
    """In [0, 1), the same for the same."""
    return hashlib.sha256(repr(of).encode()).digest()[0] / 256


class Grown:
    """A campaign that has kept some edits, and the commands that look at it."""

    def __init__(
        self, root: Path, git: Git, base: str = BASE, first: str = BASE, start: str = ""
    ) -> None:
        """``base`` is what the user has committed, ``first`` the baseline's file, ``start`` where
        that came from."""
        self.root, self.git = root, git
        (root / "trainer/train.py").write_bytes(base.encode())
        git(root, "commit", "-qam", "a train.py")
        self.campaign = Campaign(Repo.open(root), "t")
        settings = Settings(preset="cpu", budget="20s", llm="none")
        begins = {"start": start, "start_source": first} if start else {}
        self.campaign.begin(settings, {"device": "cpu", **begins})
        program = (Path(__file__).parents[3] / "program.md").read_text()
        self.campaign.record(ProgramRead(sha256="0" * 64, text=program))
        self.keep("the baseline", first, category="baseline")

    def keep(self, title: str, source: str, category: str = "schedule", **ended: Any) -> None:
        campaign, state = self.campaign, self.campaign.state
        parent = state.champion.commit if state.champion else state.settings["base"]
        number = len(state.trials)
        campaign.record(TrialBegun(trial=number, category=category))
        edit = Edit(category, f"Because `it` helps {number}.", title, ())
        campaign.commit_candidate(parent, source, edit, fingerprint(source))
        usual = {"verdict": "keep", "words": "as told", "status": "ok", "gain": 0.01}
        campaign.conclude(Concluded(trial=number, **{**usual, **ended}))

    def keep_all(self, edits: Sequence[tuple[str, Callable[[str], str]]]) -> Grown:
        """Keep each on top of the one before it, and end the campaign."""
        champion = self.campaign.state.champion
        assert champion is not None
        source = self.campaign.source(champion.commit)
        for title, edit in edits:
            source = edit(source)
            self.keep(title, source)
        self.campaign.close()
        return self

    @property
    def state(self) -> State:
        return load(Repo.open(self.root), "t")

    def harvest(self, *args: str) -> Done:
        done = run_here(self.root, "harvest", *args)
        assert "Traceback" not in done.stderr
        return done

    def found(self, *args: str) -> dict[str, Any]:
        done = self.harvest("--json", *args)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        return json.loads(done.stdout)

    def branches(self) -> dict[str, str]:
        form = "--format=%(refname:lstrip=2) %(objectname)"
        listed = self.git(self.root, "for-each-ref", form, "refs/heads/autoresearch-harvest")
        return dict(line.split() for line in listed.splitlines())

    def text(self, rev: str) -> str:
        return self.git(self.root, "show", f"{rev}:trainer/train.py")
