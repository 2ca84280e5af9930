"""Train the edits of the plan in heats of a base and up to six of them, and keep each heat at once.

Every round trains each edit once, in new company and with a new seed, so that a recording that was
stopped has measured all edits about as often.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.heats import shares
from benchmarks.landscape import plan
from benchmarks.landscape.plan import Planned
from benchmarks.landscape.table import FILE, OK, Heat, read_heats, write_heats
from trainer import measure
from trainer.data.prepare import DataError
from trainer.measure import Measurement
from trainer.presets import BadSetting
from trainer.sandbox.confine import SandboxError

ROUNDS, ROOM = 3, 6
SECONDS = 3
SECONDS_A_TRAINING = 6.5
"""With its start-up and scoring, for the forecast: on two quiet cores."""
KEPT = (
    "status", "reason", "val_bpb", "leak_bound_bpb", "steps", "tokens", "params", "seed", "how",
    "startup_seconds", "train_seconds", "score_seconds", "peak_memory_mb",
)  # fmt: skip
ABOUT = ("name", "start", "origin", "category", "title", "parts")


@dataclass(frozen=True)
class Group:
    """The edits of one heat."""

    start: str
    round: int
    edits: tuple[Planned, ...]

    @property
    def seed(self) -> int:
        """Another for each heat: what the base's luck does, it does not do to all edits."""
        text = f"landscape: {self.round} {self.edits[0].name}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:5], "big")


def to_do(
    edits: Sequence[Planned], heats: Collection[Heat], machine: str, rounds: int = ROUNDS
) -> Iterator[Group]:
    """What is not recorded yet from this machine and of these files."""
    done = {
        (training["edit"]["name"], training["code"], heat["round"])
        for heat in heats
        for training in heat["trainings"]
        if heat["machine"] == machine
    }
    for number in range(rounds):
        for start in plan.STARTS:
            left = [e for e in edits if e.start == start and (e.name, e.code, number) not in done]
            random.Random(f"landscape: {number} {start}").shuffle(left)
            for n in range(0, len(left), ROOM):
                yield Group(start, number, tuple(left[n : n + ROOM]))


def train(group: Group, machine: str) -> Heat:
    """One heat, and how busy the machine was meanwhile.

    Raises:
        BadSetting, DataError, SandboxError: nothing was measured.
    """
    load, date = psutil.cpu_times(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    base, *measured = measure.heat(
        [plan.base(group.start), *(edit.source for edit in group.edits)],
        seed=[group.seed, *(group.seed + edit.other_seed for edit in group.edits)],
        budget=f"{SECONDS}s",
        preset=plan.PRESET,
        device="cpu",
    )
    return {
        "start": group.start,
        "round": group.round,
        "seed": group.seed,
        "budget": f"{SECONDS}s",
        "date": date,
        "machine": machine,
        **shares(load, psutil.cpu_times()),
        "trainer": base.fingerprint["trainer"],
        "base": training(base),
        "trainings": [
            {"edit": about(edit, one, base), "code": edit.code, **training(one)}
            for edit, one in zip(group.edits, measured, strict=True)
        ],
    }


def training(measured: Measurement) -> dict[str, Any]:
    """What is kept of a training, its whole curve included."""
    curve = [[round(at, 3), step, round(loss, 4)] for at, step, loss in measured.curve]
    return {name: getattr(measured, name) for name in KEPT} | {"curve": curve}


def about(edit: Planned, measured: Measurement, base: Measurement) -> dict[str, Any]:
    """The edit in words; its kind as a campaign has it, which asks for as many parameters."""
    is_same_size = measured.params in (0, base.params)  # 0: it did not come so far
    kind = "numbers" if edit.sets_numbers and is_same_size else "structure"
    return {name: getattr(edit, name) for name in ABOUT} | {"kind": kind}


def record(
    edits: Sequence[Planned],
    machine: str,
    path: Path = FILE,
    rounds: int = ROUNDS,
    say: Callable[[str], None] = lambda words: print(words, file=sys.stderr, flush=True),
) -> int:
    """Train what is not recorded yet; returns how many heats could not be measured."""
    heats, failed = read_heats(path), 0
    groups = list(to_do(edits, heats, machine, rounds))
    trainings = sum(1 + len(group.edits) for group in groups)
    minutes = trainings * SECONDS_A_TRAINING / 60
    say(
        f"{len(edits)} edits, {len(groups)} heats to do: about {minutes:.0f} minutes if it is quiet"
    )
    for number, group in enumerate(groups, 1):
        began = time.monotonic()
        try:
            heat = train(group, machine)
            if heat["base"]["status"] != OK:  # then it says nothing of its edits
                raise DataError(f"the base was {heat['base']['status']}, {heat['base']['reason']}")
        except (BadSetting, DataError, SandboxError) as error:
            say(f"left out, to be done by the next call: heat {number}: {error}")
            failed += 1
            continue
        heats.append(heat)
        write_heats(heats, path)
        ended = " ".join(one["status"] for one in heat["trainings"])
        took = time.monotonic() - began
        say(f"{number} of {len(groups)}: {group.start}, round {group.round}, {ended}, {took:.0f} s")
    return failed
