"""Measurements that stand in for trainings: scores are the test's, the campaign is real."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from trainer import measure
from trainer.measure import AuditResult, Measurement

QUIET, BUSY = 0.02, 0.5


def measured(val_bpb: float, disturbance: float, seed: int) -> Measurement:
    values: dict[str, Any] = {f.name: 0 for f in dataclasses.fields(Measurement)}
    texts = ("reason", "trace", "weights_sha256", "detail", "output")
    values |= dict.fromkeys(texts, "") | {"status": "ok", "isolation": "os", "curve": ()}
    values |= {"fingerprint": {}, "budget": "20s", "preset": "cpu"}
    return Measurement(**{**values, "val_bpb": val_bpb, "disturbance": disturbance, "seed": seed})


def play(monkeypatch: pytest.MonkeyPatch, *scores: tuple[float, float], text: str = "") -> None:
    """The next trainings have these scores and disturbances; their weights are their seeds."""
    left = list(scores)

    def next_one(
        source: str, *, seed: int, weights_to: Path | None = None, **options: Any
    ) -> Measurement:
        weights = str(seed).encode()
        if weights_to is not None:
            weights_to.write_bytes(weights)
        digest = hashlib.sha256(weights).hexdigest()
        result = measured(*left.pop(0), seed)
        return dataclasses.replace(result, weights_sha256=digest, fingerprint={"text": text})

    monkeypatch.setattr(measure, "measure", next_one)


def audits(
    monkeypatch: pytest.MonkeyPatch, bound: float, reason: str = "", status: str = "invalid"
) -> list[float]:
    """Audits come to this bound or refusal; returns the scores that are audited, as they come."""
    claimed: list[float] = []

    def next_one(source: str, weights: Path, claimed_bpb: float, **options: Any) -> AuditResult:
        assert weights.read_bytes()
        claimed.append(claimed_bpb)
        return AuditResult(not reason, status if reason else "ok", reason, bound, 0.0)

    monkeypatch.setattr(measure, "audit", next_one)
    return claimed
