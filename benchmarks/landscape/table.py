"""The table of recorded heats: a line of JSON each, in one gzip file."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from agent.campaign.files import write_atomically
from benchmarks.machine import RESULTS

FILE = RESULTS / "landscape.jsonl.gz"
OK = "ok"

Heat = dict[str, Any]
"""``start``, ``round``, ``seed``, where and when, ``base`` (a training) and ``trainings``, each
with its ``edit`` in words, the ``code`` that it trained, its status, score and whole curve."""


@dataclass(frozen=True)
class Sample:
    """What one heat said of an edit."""

    difference: float | None
    """Base minus edit, bits per byte, positive is better; None if the edit has no score."""
    status: str
    """Of its training: ``ok``, ``crashed``, ``oom``, ``overtime``, ``invalid`` and so on."""


@dataclass(frozen=True)
class RecordedEdit:
    """One edit of one start, and what each of its heats said of it."""

    name: str
    """Unique: ``plain/constant/LEARNING_RATE 0.01``."""
    start: str
    """The file that it edits: ``shipped`` (trainer/train.py) or ``plain`` (examples/plain.py)."""
    origin: str
    """``deck``, ``constant`` (drawn from its range), ``pair`` (of two of those) or ``null``."""
    category: str
    """As in program.md; "" of a null and of a pair of two categories."""
    kind: str
    """``numbers`` if it sets nothing but constants, else ``structure``; noise goes by it."""
    title: str
    parts: tuple[str, ...]
    """Names of the two edits of a pair; each was measured alone, too."""
    heats: tuple[Sample, ...]
    """In the order in which they were recorded."""

    @property
    def differences(self) -> tuple[float, ...]:
        return tuple(one.difference for one in self.heats if one.difference is not None)

    @property
    def mean(self) -> float | None:
        """The mean difference, bits per byte: what the edit is worth; None without a score."""
        return fmean(self.differences) if self.differences else None

    @property
    def sd(self) -> float | None:
        """Spread of its differences from heat to heat; None with fewer than two."""
        return stdev(self.differences) if len(self.differences) > 1 else None


@dataclass(frozen=True)
class Landscape:
    """All edits that were measured, in the order of their names."""

    edits: tuple[RecordedEdit, ...]

    @classmethod
    def load(cls, path: Path = FILE) -> Landscape:
        """What is recorded; without edits if nothing is."""
        return cls.of(read_heats(path))

    @classmethod
    def of(cls, heats: Iterable[Heat]) -> Landscape:
        """Of an edit whose code is not what it was, only the last code counts."""
        last: dict[str, str] = {}
        about: dict[str, dict[str, Any]] = {}
        found: dict[tuple[str, str], list[Sample]] = {}
        for heat in heats:
            for training in heat["trainings"]:
                name = training["edit"]["name"]
                about[name], last[name] = training["edit"], training["code"]
                sample = _sample(heat["base"], training)
                found.setdefault((name, training["code"]), []).append(sample)
        words = {name: {**told, "parts": tuple(told["parts"])} for name, told in about.items()}
        edits = (
            RecordedEdit(**words[name], heats=tuple(found[name, last[name]]))
            for name in sorted(last)
        )
        return cls(tuple(edits))

    def sample(self, edit: RecordedEdit, seed: int) -> Sample:
        """One of the edit's heats, drawn by ``seed``: a bootstrap of what a heat may say.

        The same edit and seed give the same sample, whatever else is in the table.
        """
        return random.Random(f"{edit.name} {seed}").choice(edit.heats)

    def select(self, start: str = "", origins: Sequence[str] = ()) -> tuple[RecordedEdit, ...]:
        """The edits of one start and of some origins; what is not given is not asked for."""
        return tuple(
            edit
            for edit in self.edits
            if start in ("", edit.start) and (not origins or edit.origin in origins)
        )


def _sample(base: dict[str, Any], training: dict[str, Any]) -> Sample:
    scored = training["val_bpb"] is not None
    difference = base["val_bpb"] - training["val_bpb"] if scored else None
    return Sample(difference, training["status"])


def read_heats(path: Path = FILE) -> list[Heat]:
    """All heats of a file, oldest first; none if there is no file."""
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_heats(heats: Iterable[Heat], path: Path = FILE) -> None:
    """The whole file at once: a kill leaves what there was. The same heats give the same bytes."""
    text = "".join(json.dumps(heat, separators=(",", ":")) + "\n" for heat in heats)
    write_atomically(path, gzip.compress(text.encode(), mtime=0))
