"""``run --start FILE``: a campaign that begins from a file of the user's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from grown import BASE, EDITS, Grown, Trainings
from kept_edits import TINY
from project import ROOT, as_json, clone, git
from staged import play

from agent import loop
from agent.campaign.commits import commit_again
from agent.campaign.events import CampaignBegun
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.settings import SettingsError
from agent.steps import take
from agent.steps.runtime import Runtime
from agent.steps.start import _read_start
from trainer import measure
from trainer.measure import CheckResult
from trainer.presets import find_preset

pytestmark = pytest.mark.process  # seconds, for git
RUN = ("run", "--tag", "t", "--budget", "300tok", "--llm", "none", "--trials", "0")
OWN = TINY.replace("SEQ_LEN = 256", "SEQ_LEN = 64")
"""A preset sets its SEQ_LEN, and nothing else of it."""


def began_nothing(folder: Path) -> bool:
    refs = git(folder, "for-each-ref", "--format=%(refname)")
    return not (folder / "campaigns/t").exists() and "autoresearch" not in refs


# --- the command ---


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("newcomer"))


REFUSED: dict[str, tuple[bytes | None, str]] = {
    "missing.py": (None, "there is no such file"),
    "folder": (b"", "it is a folder"),
    "latin.py": (b"# caf\xe9\n", "line 1 is not UTF-8"),
    "utf16.py": (OWN.encode("utf-16"), "line 1 is not UTF-8"),
    "nul.py": (OWN.encode() + b"\0\n", "null bytes"),
    "large.py": (OWN.encode() + b"#" * 60_000, "at most 60000 are allowed"),
    "huge.py": (b"#" * 1_000_000, "at most 60000 are allowed"),
    "syntax.py": (OWN.replace("def train(", "def train((").encode(), "train.py line"),
    "shapes.py": (OWN.replace("= 257", "= 250").encode(), "no rung of the ladder: 257"),
    "long.py": (OWN.replace("SEQ_LEN = 64", "SEQ_LEN = 4096").encode(), "is not within 1..1024"),
    "nothing.py": (OWN.replace("def train(", "def trains(").encode(), "no function train"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_train_py_is_one_line_and_begins_nothing(
    newcomer: Path, tmp_path: Path, name: str
) -> None:
    content, reason = REFUSED[name]
    if name == "folder":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    done = run_here(newcomer, *RUN, "--start", str(tmp_path / name))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and name in line and reason in line
    assert began_nothing(newcomer)


def test_what_fails_only_when_it_runs_begins_nothing_either(newcomer: Path, tmp_path: Path) -> None:
    path = tmp_path / "crashes.py"
    path.write_text(OWN.replace("    return Tiny(", "    return Tinny("))
    done = run_here(newcomer, *RUN, "--start", str(path))
    assert done.returncode == 2 and began_nothing(newcomer)
    last = done.stderr.splitlines()[-1]
    assert "crashes.py does not pass its check, so nothing was begun: crashed" in last
    assert "Tinny" in last


def test_a_repository_without_a_train_py_is_one_line_too(
    user_repo: Path, git: Callable[..., str], tmp_path: Path
) -> None:
    git(user_repo, "rm", "-q", "trainer/train.py")
    git(user_repo, "commit", "-qm", "none")
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    (user_repo / "program.md").write_text((ROOT / "program.md").read_text())
    done = run_here(user_repo, *RUN, "--start", str(path))
    assert done.returncode == 2 and began_nothing(user_repo)
    assert done.stderr.startswith("error: ") and "trainer/train.py" in done.stderr


@pytest.mark.slow
def test_a_campaign_from_a_file_goes_on_is_told_and_replays(tmp_path: Path) -> None:
    """One real training, another for the check, a third for the replay."""
    folder, path = clone(tmp_path / "home"), tmp_path / "mine.py"
    (folder / "trainer/train.py").write_text("def train(:\n")
    git(folder, "commit", "-qam", "a file that is not used")
    (folder / "trainer/train.py").write_text("# nor is this\n")
    path.write_bytes(b"\xef\xbb\xbf" + OWN.replace("\n", "\r\n").encode())
    done = run_here(folder, *RUN, "--start", str(path))
    assert done.returncode == 0, done.stderr
    assert f"train.py   {path}, in place of the committed one" in done.stdout
    assert "uncommitted" not in done.stdout
    text = git(folder, "show", "autoresearch/t:trainer/train.py") + "\n"
    assert text == OWN.replace("SEQ_LEN = 64", "SEQ_LEN = 512").replace("= 257", "= 2048")
    assert git(folder, "diff", "--name-only", "HEAD", "autoresearch/t") == "trainer/train.py"
    assert git(folder, "rev-parse", "autoresearch/t^") == git(folder, "rev-parse", "HEAD")
    assert git(folder, "status", "--porcelain", "-uno") == "M trainer/train.py"
    (row,) = as_json(folder, "log")
    assert row["title"] == "mine.py as it stands, cpu preset" and row["verdict"] == "keep"
    assert row["hypothesis"].startswith("The starting point: all of mine.py, with constants of")
    report = run_here(folder, "report")
    assert report.returncode == 0
    page = (folder / "campaigns/t/report.html").read_text()
    assert "mine.py" in page and "start_source" not in page
    assert as_json(folder, "replay", row["commit"])["verdict"] == "bit-exact"

    path.write_text(OWN)  # the same program with other line ends
    assert run_here(folder, *RUN, "--start", str(path)).returncode == 0
    path.write_text(OWN.replace("RATE = 0.01", "RATE = 0.02"))
    other = run_here(folder, *RUN, "--start", str(path))
    assert other.returncode == 2 and "started from mine.py, which had another text" in other.stderr
    path.unlink()
    assert run_here(folder, *RUN).returncode == 0, "the journal has all of it"


def test_a_campaign_from_head_does_not_go_on_from_a_file(
    user_repo: Path, git: Callable[..., str], tmp_path: Path
) -> None:
    Grown(user_repo, git).campaign.close()
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    done = run_here(user_repo, "run", "--tag", "t", "--llm", "none", "--start", str(path))
    assert done.returncode == 2
    assert "this campaign started from the committed trainer/train.py" in done.stderr


def test_a_campaign_from_head_goes_on_with_the_very_same_text(newcomer: Path) -> None:
    repo, preset = Repo.open(newcomer), find_preset("cpu")
    state, path = State(settings={"base": repo.head()}), newcomer / "trainer/train.py"
    assert _read_start(path, state, preset, repo)["start"] == "train.py"
    with pytest.raises(SettingsError, match="had another text"):
        _read_start(newcomer / "examples/plain.py", state, preset, repo)


# --- its first trial, and files made from it ---


@pytest.fixture
def begun(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A campaign that starts from a file, with its baseline."""
    state, begins = runtime.campaign.state, {"start": "mine.py", "start_source": OWN}
    runtime.campaign.record(CampaignBegun(settings={**state.settings, **begins}))
    play(monkeypatch, 1.5)
    loop.baseline(runtime)
    return runtime


def test_the_first_commit_can_be_made_again_from_the_journal(begun: Runtime) -> None:
    trial, settings = begun.champion, begun.campaign.state.settings
    made: list[str] = []

    class Written(Repo):
        def commit_file(self, *args: Any, **how: Any) -> str:
            made.append(super().commit_file(*args, **how))
            return made[-1]

    commit_again(Written.open(begun.campaign.repo.root), settings, trial)
    assert made == [trial.candidate]
    assert trial.size_delta == 0 and trial.sets_numbers, "a start is no edit of HEAD"
    made.clear()
    commit_again(Written.open(begun.campaign.repo.root), {**settings, "start_source": BASE}, trial)
    assert made and trial.candidate not in made


@pytest.mark.parametrize(
    ("own", "made_from"),
    [
        (OWN.replace("RATE = 0.01", "RATE = 0.02"), "the start"),
        (OWN, take.CHAMPION),
        ("\n".join(f"a = {n}" for n in range(200)), take.NONE),
    ],
)
def test_a_file_that_is_handed_in_was_made_from_the_start_not_from_head(
    begun: Runtime, own: str, made_from: str
) -> None:
    champion = begun.campaign.source(begun.champion.commit)
    texts = {take.CHAMPION: champion, "the start": OWN, take.NONE: ""}
    assert take._base(begun, champion, own) == (made_from, texts[made_from])
    head = begun.campaign.source(begun.campaign.repo.head())
    found = take._base(begun, champion, head + "# mine\n")
    assert found == (take.NONE, ""), "HEAD's file is no ancestor of the champion"


# --- what was kept ---


OTHER = "# another program\n" + "".join(f"OTHER_{n} = {n}\n" for n in range(30))


@pytest.fixture
def kept(
    user_repo: Path, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Grown, str]:
    """A campaign from a file with one keep, in a repository with another train.py; its baseline."""
    stand_in = Trainings()
    monkeypatch.setattr(measure, "heat", stand_in.heat)
    monkeypatch.setattr(measure, "check", stand_in.check)
    grown = Grown(user_repo, git, base=OTHER, first=BASE, start="mine.py")
    baseline = grown.campaign.state.trials[0].commit
    return grown.keep_all(EDITS[:1]), baseline


def test_a_harvested_branch_has_the_whole_file_that_was_measured(kept: tuple[Grown, str]) -> None:
    grown, baseline = kept
    found = grown.found()
    (keep,) = found["keeps"]
    assert (keep["label"], found["start"]) == ("carries", "mine.py")
    assert grown.text(keep["branch"]) == EDITS[0][1](BASE)
    message = grown.git(grown.root, "show", "-s", "--format=%B", keep["made"])
    assert "Holds all of mine.py, from which the campaign started, too." in message
    page = (grown.root / "campaigns/t/harvest.md").read_text()
    assert "The campaign started from mine.py: each branch has that file" in page
    assert f"git diff {baseline} {keep['made']}\ngit show {baseline}:trainer/train.py" in page


@pytest.mark.parametrize("how", [(), ("--patch",)])
def test_adopting_says_that_the_file_takes_the_place_of_the_users(
    kept: tuple[Grown, str], how: tuple[str, ...]
) -> None:
    grown, _ = kept
    done = run_here(grown.root, "adopt", *how)
    assert done.returncode == 0, done.stderr
    assert "mine.py, as edited, takes the place of trainer/train.py" in done.stderr
    if how:
        assert "-OTHER_0 = 0" in done.stdout and "+WIDTH = 96" in done.stdout
    else:
        assert (grown.root / "trainer/train.py").read_text() == EDITS[0][1](BASE)


def test_a_check_asks_for_the_campaigns_own_setting(
    newcomer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def check(source: str, **how: Any) -> CheckResult:
        asked.append((source, how))
        return CheckResult("oom", "too large")

    monkeypatch.setattr(measure, "check", check)
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    done = run_here(newcomer, *RUN, "--start", str(path), "--isolation", "off")
    assert "oom (too large)" in done.stderr and began_nothing(newcomer)
    ((source, how),) = asked
    shared = {"preset": "cpu", "data": "apidocs", "isolation": "off"}
    assert {**how, "cancel": None} == {**shared, "cancel": None}
    assert "SEQ_LEN = 512" in source
