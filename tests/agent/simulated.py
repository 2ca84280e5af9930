"""A simulated campaign for the tests of proposers: trials with gains, nothing trained."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.campaign.events import read_event
from agent.campaign.state import State, fold
from agent.edits import blocks
from agent.edits.constants import constants
from agent.program import load_program
from agent.proposers.base import Context, Proposal, Proposer
from agent.proposers.deck import recipes

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "trainer" / "train.py").read_text()
PLAIN = (ROOT / "examples" / "plain.py").read_text()
PROGRAM = load_program(ROOT / "program.md")
NOISE = {"numbers": 0.001, "structure": 0.004}
RECIPES = recipes()
BY_NAME = {recipe.name: recipe for recipe in RECIPES}
TRAINED_BY_DEFAULT = (
    "architecture-token-triples",
    "preprocessing-aligned-windows",
    "schedule-short-windows-first",
    "simplification-no-value-embeddings",
)

TUNED = sorted({c.section for c in constants(SOURCE) if c.domain is not None})

NUMBERS = '''"""Numbers only."""
# === hyperparameters ===
A = 0.6  # a rate; range 0.01..3 log
B = 0.01  # another; range 0.0005..0.1 log
C = 0.5  # a share; range 0..1
D = 8  # rows; choice 4 8 16 32
E = 3  # layers; range 1..8 int
F = "relu"  # a word; choice relu gelu silu
# === other ===
G = 0.5  # range 0..1
H = 1
'''
WHOLE_NUMBERS = """# === hyperparameters ===
A = 2  # range 1..4 int
B = 8  # choice 4 8 16 32
C = "relu"  # choice relu gelu silu
D = 3  # range 1..100 log int
"""


@dataclass
class Campaign:
    """A campaign whose verdicts are the test's: the journal's events, and what they fold to."""

    source: str = SOURCE
    seed: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    _state: State = field(default_factory=State)
    _folded: int = 0

    def __post_init__(self) -> None:
        self._trial("baseline", Proposal("preset", ""), "the starting point", "keep", None)

    @property
    def state(self) -> State:
        """One object, which goes on as events are added."""
        fold(map(read_event, self.events[self._folded :]), self._state)
        self._folded = len(self.events)
        return self._state

    def context(self, category: str, **changes: Any) -> Context:
        history = tuple(self.state.real)
        return replace(
            Context(
                trial=len(history),
                category=category,
                source=self.source,
                program=PROGRAM,
                history=history,
                prior={name: 1 / len(PROGRAM.names) for name in PROGRAM.names},
                noise=NOISE,
                seed=self.seed,
                facts={"device": "cpu", "champion val_bpb": "1.3000"},
            ),
            **changes,
        )

    def ask(self, proposer: Proposer, category: str, **changes: Any) -> tuple[Proposal, str]:
        """A proposal and the candidate's source; ``changes`` to the context."""
        proposal = proposer.propose(self.context(category, **changes))
        return proposal, blocks.parse(proposal.reply).apply(self.source)

    def conclude(self, category: str, proposal: Proposal, gain: float | None, keep: bool) -> None:
        """``gain`` in units of the noise of structure, None for a crash."""
        edit = blocks.parse(proposal.reply)
        if keep:
            self.source = edit.apply(self.source)
        verdict = "keep" if keep else "revert"
        self._trial(category, proposal, edit.title, verdict, gain)

    def reject(self, category: str, proposer: str, times: int) -> None:
        self.refuse(category, proposer, "x", "it fails", times)

    def refuse(self, category: str, proposer: str, reply: str, reason: str, times: int = 1) -> None:
        number = self._begin(category)
        for _ in range(times):
            self.events.append(
                {"event": "proposed", "trial": number, "proposer": proposer, "reply": reply}
            )
            self.events.append({"event": "turned_down", "trial": number, "reason": reason})
        ended = {"verdict": "rejected", "words": "", "status": ""}
        self.events.append({"event": "verdict", "trial": number, **ended})

    def _begin(self, category: str) -> int:
        number = len(self.state.trials)
        self.events.append({"event": "trial", "trial": number, "category": category, "time": 0.0})
        return number

    def _trial(
        self,
        category: str,
        proposal: Proposal,
        title: str,
        verdict: str,
        gain: float | None,
    ) -> None:
        number = self._begin(category)
        self.events += [
            {
                "event": "proposed",
                "trial": number,
                "proposer": proposal.proposer,
                "reply": proposal.reply,
                "data": proposal.data,
            },
            {"event": "candidate", "trial": number, "candidate": "", "title": title},
            {
                "event": "verdict",
                "trial": number,
                "verdict": verdict,
                "words": "",
                "status": "crashed" if gain is None and number else "ok",
                "gain": None if gain is None else gain * NOISE["structure"],
            },
        ]


@functools.cache
def values(source: str) -> dict[str, Any]:
    return {constant.name: constant.value for constant in constants(source)}


@dataclass(frozen=True)
class Asked:
    """One ask of the tuner: the champion it was asked on, and the candidate."""

    champion: str
    candidate: str

    @property
    def changed(self) -> dict[str, Any]:
        old, new = values(self.champion), values(self.candidate)
        return {name: new[name] for name in old if old[name] != new[name]}


# --- the recipes ---
