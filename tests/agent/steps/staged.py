"""Measurements that stand in for trainings: scores are the test's, the campaign is real."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.executors.base import Work
from agent.executors.local import Local
from trainer import measure
from trainer.measure import AuditResult, Measurement

Score = float | dict[str, Any]
"""val_bpb of a training that succeeded, or the fields in which a measurement differs from one."""


def measured(score: Score, seed: int) -> Measurement:
    values: dict[str, Any] = {f.name: 0 for f in dataclasses.fields(Measurement)}
    texts = ("reason", "trace", "detail", "output", "data")
    values |= dict.fromkeys(texts, "") | {"status": "ok", "isolation": "os", "curve": ()}
    values |= {"fingerprint": {}, "budget": "20s", "preset": "cpu", "how": "side by side"}
    values |= {"losses": (), "documents": (), "pace": 1.0, "params": 1000, "seed": seed}
    values |= {"spent": 1.0}
    changes = score if isinstance(score, dict) else {"val_bpb": score}
    values |= {"val_bpb": None, "weights_sha256": digest(seed)} | changes
    return Measurement(**values)


def digest(seed: int) -> str:
    """Of the weights that a training with this seed leaves."""
    return hashlib.sha256(str(seed).encode()).hexdigest()


@dataclass
class Played:
    """What was asked of the stand-in: one entry a call, in order."""

    seeds: list[list[int]] = field(default_factory=list)
    sources: list[list[str]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)


def play(monkeypatch: pytest.MonkeyPatch, *heats: Score | tuple[Score, Score]) -> Played:
    """The next heats have these scores: one, or champion's and candidate's."""
    left, played = list(heats), Played()

    def next_one(
        sources: Sequence[str],
        *,
        seed: Sequence[int],
        weights_to: Sequence[Path | None] | None = None,
        **options: Any,
    ) -> list[Measurement]:
        scores = left.pop(0)
        scores = scores if isinstance(scores, tuple) else (scores,)
        assert len(scores) == len(sources), "another kind of heat than the test has prepared"
        played.seeds.append(list(seed))
        played.sources.append(list(sources))
        played.options.append(options)
        for path, own in zip(weights_to or [], seed, strict=False):
            if path is not None:
                path.write_bytes(str(own).encode())
        found = [measured(score, own) for score, own in zip(scores, seed, strict=True)]
        if found[-1].status == "abandoned":
            found[-1] = watched(found, options["watch"])
        return found

    monkeypatch.setattr(measure, "heat", next_one)
    return played


def watched(heat: list[Measurement], watch: measure.Watch) -> Measurement:
    """The candidate as the watch ends it, which is shown what both had logged until then."""
    told = [loss for loss in heat[-1].losses if loss is not None]
    reason = watch(1, told, heat[0].losses)
    assert reason is not None, "the watch would not have ended it"
    return dataclasses.replace(heat[-1], reason=reason)


def answer(monkeypatch: pytest.MonkeyPatch, score: Callable[[str, int], Score]) -> Played:
    """Each training comes to what ``score`` says of its source and seed."""

    def next_one(
        sources: Sequence[str], *, seed: int | Sequence[int], **options: Any
    ) -> list[Measurement]:
        seeds = [seed] * len(sources) if isinstance(seed, int) else list(seed)
        played.seeds.append(seeds)
        played.sources.append(list(sources))
        played.options.append(options)
        return [measured(score(s, own), own) for s, own in zip(sources, seeds, strict=True)]

    played = Played()
    monkeypatch.setattr(measure, "heat", next_one)
    return played


class TwoDevices(Local):
    """Measures as it is stood in for; a heat on a fresh seed begins when there are two."""

    slots = 2

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.closed = 0
        self._both = threading.Barrier(2, timeout=60)

    def run(self, work: Work, **how: Any) -> Any:
        self.works.append(work)
        if work.call == "heat" and "trace" not in work.arguments:
            self._both.wait()
        return super().run(work, **how)

    def close(self) -> None:
        self.closed += 1


def audits(
    monkeypatch: pytest.MonkeyPatch, bound: float, reason: str = "", status: str = "invalid"
) -> list[float]:
    """Audits come to this bound or refusal; returns the scores that are audited, as they come."""
    claimed: list[float] = []

    def next_one(source: str, weights: Path, claimed_bpb: float, **options: Any) -> AuditResult:
        assert weights.read_bytes()
        claimed.append(claimed_bpb)
        return AuditResult(not reason, status if reason else "ok", reason, bound, 0.125)

    monkeypatch.setattr(measure, "audit", next_one)
    return claimed
