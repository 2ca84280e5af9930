"""What the benchmark of heats trains: which files, with which seeds, in which order."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from agent.edits.blocks import Edit
from agent.edits.constants import constants, set_constants
from agent.proposers.deck import recipes
from benchmarks.machine import ROOT
from trainer.presets import load_presets
from trainer.training import heat

TRAIN_FILE = ROOT / "trainer" / "train.py"
PARTS = ("nulls", "edits", "turns")

SMALL_BATCH = {"BATCH_ROWS": 2, "MICRO_ROWS": 2}
"""What the champions of null heats have in common: else so short a budget were ten steps."""
CHAMPIONS: Mapping[str, Mapping[str, Any]] = {
    "as shipped": {},
    "narrow": {"WIDTH": 64},
    "wide": {"WIDTH": 192},
    "large MLP": {"MLP_RATIO": 4},
    "gelu": {"ACTIVATION": "gelu"},
    "silu, MLP of 3": {"ACTIVATION": "silu", "MLP_RATIO": 3},
    "half the batch": {"BATCH_ROWS": 1, "MICRO_ROWS": 1},
    "twice the batch": {"BATCH_ROWS": 4, "MICRO_ROWS": 4},
    "two blocks": {"DEPTH": 2},
    "other rates": {"MATRIX_LR": 0.03, "EMBEDDING_LR": 0.4},
    "slow pairs, fast head": {"PAIR_LR": 1.0, "HEAD_LR": 0.02},
    "short rows": {"VOCAB_SIZE": 1024, "SEQ_LEN": 256, "BATCH_ROWS": 4, "MICRO_ROWS": 4},
}
"""Constants of the shipped train.py that make it another champion."""

NULL_SECONDS = 2.5
NUDGE = 1 + 1e-6
NUDGED = ("EMBEDDING_LR", "MATRIX_LR", "HEAD_LR", "ADAM_BETA2")
"""Constants of the numeric null, in turn."""

Change = Callable[[str], str]


@dataclass(frozen=True)
class Entry:
    """One training of a run."""

    role: str
    source: str
    seed: int


Run = tuple[Entry, ...]
"""What trains side by side; a run of one trains alone."""


@dataclass(frozen=True)
class Case:
    """One reading: the trainings that are compared with each other. Two equal ones are the same."""

    part: str
    name: str
    """A champion, an edit, or what turns are compared with."""
    number: int
    seconds: float
    neighbour: bool

    @property
    def key(self) -> str:
        company = "neighbour" if self.neighbour else "quiet"
        return f"{self.part}, {self.name}, {self.seconds:g} s, {company}, {self.number}"


# --- files ---


@cache
def shipped() -> str:
    """The shipped train.py with the constants of the preset cpu, as trial 0 of a campaign."""
    return with_constants(TRAIN_FILE.read_text(), load_presets()["cpu"].constants)


@cache
def champion(name: str) -> str:
    return with_constants(shipped(), {**SMALL_BATCH, **CHAMPIONS[name]})


@cache
def edited(name: str) -> str:
    return edits()[name][1](shipped())


def with_constants(source: str, values: Mapping[str, Any]) -> str:
    blocks = set_constants(source, values)
    return Edit("", "", "", blocks).apply(source) if blocks else source


def nudged(source: str, name: str) -> str:
    """A constant times 1 + 1e-6; ``set_constants`` would round that away."""
    found = re.search(rf"^{name} = (\S+)", source, re.MULTILINE)
    if found is None:
        raise ValueError(f"train.py has no constant {name}")
    return source[: found.start(1)] + repr(float(found[1]) * NUDGE) + source[found.end(1) :]


def vocab_size(source: str) -> int:
    (found,) = (each for each in constants(source) if each.name == "VOCAB_SIZE")
    return int(found.value)


def recipe(name: str) -> Change:
    (found,) = (recipe for recipe in recipes() if recipe.name == name)
    return found.edit.apply


def constant(**values: Any) -> Change:
    return lambda source: with_constants(source, values)


def edits() -> dict[str, tuple[str, Change]]:
    """Kind and effect of each edit; the first of a kind is the one that smaller sets take."""
    return {
        "a constant times 1 + 1e-6": ("null", lambda source: nudged(source, "EMBEDDING_LR")),
        "the same file": ("null", lambda source: source),
        "ADAM_BETA2 0.963": ("numeric", constant(ADAM_BETA2=0.963)),
        "MATRIX_LR times 1.15": ("numeric", constant(MATRIX_LR=0.023)),
        "WARMDOWN_SHARE 0.7": ("numeric", constant(WARMDOWN_SHARE=0.7)),
        "MLP_RATIO 3": ("structural", constant(MLP_RATIO=3)),
        "a gate on each head": ("structural", recipe("architecture-attention-gate")),
        "DEPTH 2": ("structural", constant(DEPTH=2)),
    }


def kind_of(edit: str) -> str:
    return edits()[edit][0]


def first_of_each_kind() -> list[str]:
    found: dict[str, str] = {}
    for name, (kind, _) in edits().items():
        found.setdefault(kind, name)
    return list(found.values())


# --- the plan ---


def cases(parts: Sequence[str]) -> list[Case]:
    """All readings of ``parts``, the most wanted first; what is compared runs in turn."""
    few = first_of_each_kind()
    wanted = [
        *(Case("nulls", name, n, NULL_SECONDS, True) for n in range(13) for name in CHAMPIONS),
        *(Case("edits", name, n, 5, True) for n in range(5) for name in edits()),
        *(Case("turns", "alone", n, 20, False) for n in range(6)),
        *(Case("turns", "alone", n, 5, False) for n in range(8)),
        *(Case("edits", name, n, 5, False) for n in range(5) for name in few),
        *(Case("edits", name, n, 20, True) for n in range(2) for name in few),
        *(Case("edits", name, n, 5, True) for n in range(5, 8) for name in edits()),
        *(Case("edits", name, n, 5, False) for n in range(5, 8) for name in few),
        *(Case("edits", name, n, 20, True) for n in range(2, 5) for name in few),
    ]
    return [case for case in wanted if case.part in parts]


def runs(case: Case) -> list[Run]:
    """The trainings of a reading, in the order in which they run."""
    return {"nulls": _nulls, "edits": _edits, "turns": _turns}[case.part](case)


def _nulls(case: Case) -> list[Run]:
    source = champion(case.name)
    seed = 1000 * list(CHAMPIONS).index(case.name) + 2 * case.number
    return [
        (
            Entry("champion", source, seed),
            Entry("structural", source, seed + 1),
            Entry("numeric", nudged(source, NUDGED[case.number % len(NUDGED)]), seed),
        )
    ]


def _edits(case: Case) -> list[Run]:
    """A heat, and champion and edit one after the other; which is first alternates."""
    source, changed = shipped(), edited(case.name)
    seed = 1000 * list(edits()).index(case.name) + 4 * case.number
    together = (
        Entry("champion", source, seed),
        Entry("one seed", changed, seed),
        Entry("other seed", changed, seed + 1),
    )
    apart = [(Entry("champion", source, seed + 2),), (Entry("edit", changed, seed + 3),)]
    return [*apart, together] if case.number % 2 else [together, *apart]


def _turns(case: Case) -> list[Run]:
    """Alone, a heat of two, and alone again: what drifts evenly cancels."""
    seed = 4 * case.number
    alone = [(Entry("alone", shipped(), seed),), (Entry("alone", shipped(), seed + 1),)]
    together = (Entry("first", shipped(), seed + 2), Entry("second", shipped(), seed + 3))
    return [alone[0], together, alone[1]]


def code_of(case: Case) -> str:
    """A digest of what a reading belongs to: the files that it trains, and how long turns are."""
    turns = (heat.TURN_SHARE, heat.SHORTEST_TURN, heat.STEPS_PER_TURN, heat.LONGEST_SHARE)
    text = "\0".join([*map(str, turns), *(entry.source for run in runs(case) for entry in run)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
