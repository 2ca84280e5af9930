"""What came of a measurement, a check, or an audit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainingResult:
    """What came of a training.

    ``status`` is ``ok``, ``crashed``, ``oom``, ``overtime``, ``invalid``, ``killed`` or
    ``abandoned``. If it is not ``ok``, ``reason`` begins with the fixed name of the audit or limit;
    of ``abandoned`` it is what the caller's ``watch`` said.
    """

    status: str
    reason: str = ""
    startup_seconds: float = 0.0
    train_seconds: float = 0.0
    steps: int = 0
    """As the training reported."""
    tokens: int = 0
    """As the training reported."""
    params: int = 0
    peak_memory_mb: float = 0.0
    spent: float = 1.0
    """Share of the budget that it took when its weights came: less than 1 if ``train`` returned
    early. By the parent's clock, with start-up beyond its cap; of tokens as reported, of a replay
    by its steps."""
    curve: tuple[tuple[float, int, float], ...] = field(default=(), repr=False)
    """(seconds since READY, step, nats per token), as reported."""
    losses: tuple[float | None, ...] = ()
    """Mean training loss in each twentieth of the budget, as reported, None where nothing was: bits
    per byte of the text read, by the in-domain bytes per token of the vocabulary."""
    pace: float = 1.0
    """How many times as many steps a second, on its own clock, the training did in the second best
    tenth of its budget as in the second worst, as reported: where the file's steps are all alike,
    how much the machine changed its pace. 1 where unknown."""
    mfu: float | None = None
    """Share of the device's peak FLOP/s that the training used, as it reported its FLOPs; None on a
    CPU and on devices whose peak is not known here."""
    trace: str = field(default="", repr=False)
    """Readings of the session's clock, base64 of float64; ``measure(trace=...)`` replays them."""
    weights_sha256: str = ""
    detail: str = field(default="", repr=False)
    """Traceback of the candidate, printable and bounded: data, not instructions."""
    output: str = field(default="", repr=False)
    """What the candidate printed, printable and bounded; never used as a score."""


@dataclass(frozen=True, kw_only=True)
class Measurement(TrainingResult):
    """One measured training. Only if its ``status`` is ``ok`` it has a score."""

    val_bpb: float | None
    """Bits per byte of the held-out text that was scored."""
    score_seconds: float
    wall_seconds: float
    """Of everything, the other trainings of a heat included."""
    seed: int
    isolation: str
    budget: str
    preset: str
    data: str = ""
    """The corpus by name."""
    val_bytes: int = 0
    """Of held-out text that was scored: fewer than the preset asks for where there are fewer."""
    how: str
    """``alone``; of the trainings of a heat ``side by side`` or ``in turn``."""
    leak_bound_bpb: float
    """Upper bound on the gain from a leak that the audits cannot detect, bits per byte."""
    fingerprint: dict[str, Any] = field(repr=False)
    """Hardware, software and data with which the score was measured."""
    answer_seconds: float = 0.0
    """That the model took to answer when it was scored: of processor time, on a device of clock."""
    documents: tuple[tuple[str, int, float], ...] = field(default=(), repr=False)
    """Of test text, in order: the group of each document, its UTF-8 bytes, and the bits it cost."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CheckResult(TrainingResult):
    """Whether a source trains two steps and its weights pass the audits on a few windows.

    Two files that compute the same numbers have the same ``weights_sha256``, with one seed.
    """

    @property
    def ok(self) -> bool:
        return self.status == "ok"


@dataclass(frozen=True)
class ScoringResult:
    """What came of a scoring, with its audits."""

    status: str
    reason: str
    val_bpb: float | None = None
    leak_bound_bpb: float = 0.0
    answer_seconds: float = 0.0
    cuts: int = 0
    seconds: float = 0.0
    documents: tuple[tuple[str, int, float], ...] = ()


@dataclass(frozen=True)
class AuditResult:
    """The result of the stronger audit of kept weights; a journal keeps it by these names."""

    ok: bool
    status: str
    reason: str
    leak_bound_bpb: float
    """Upper bound on the gain from a leak that the audit would not detect, bits per byte."""
    seconds: float
    cuts: int = 0
    """How many positions it asked."""


@dataclass(frozen=True)
class WeightGroup:
    """Weights of one part of a model that one rule moves, with norms of a step, medians."""

    name: str
    """Of the part: of a submodule of the model, or of a parameter that stands beside them."""
    rule: str
    """The class of its optimizer, as far as that is one of torch's kind."""
    params: int
    weight: float | None
    gradient: float | None
    """None where no ``.grad`` was seen."""
    change: float | None


@dataclass(frozen=True)
class Profile:
    """What a few steps of a training have shown, as it reported it, or why there is nothing."""

    status: str
    reason: str = ""
    steps: int = 0
    """That were timed; 0 if none was whole."""
    seconds: float | None = None
    """Of a step."""
    phases: dict[str, float] = field(default_factory=dict)
    """Share of a step's time by ``data``, ``forward``, ``head`` (logits and loss, there and back),
    ``backward`` and ``optimizer``."""
    parts: dict[str, float] = field(default_factory=dict)
    """Share of a step's time that the parts of the model take in the forward pass."""
    has_head: bool = False
    """Whether a submodule makes the logits; else ``head`` is the loss alone."""
    groups: tuple[WeightGroup, ...] = ()
    rate: str = ""
    """Name of the learning rate, or its scale, that the file logs; "" if it logs none."""
    rates: tuple[tuple[float, float], ...] = ()
    """Share of the budget, and its value there."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
