"""What a view is made of. Every text in it is one printable line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.campaign.live import Live
from agent.campaign.records import Kind, Outcome
from agent.judge import Estimate
from agent.report.summary import Doing
from agent.report.text import span


@dataclass(frozen=True)
class Gain:
    """Bits per byte, positive is better, with the ends of its 95 % interval; None if unknown."""

    mean: float
    low: float | None
    high: float | None

    @property
    def words(self) -> str:
        """``+0.0123 (+0.0100 to +0.0146)``."""
        return span({"mean": self.mean, "low": self.low, "high": self.high})

    @property
    def is_sure(self) -> bool:
        """Whether it is above 0 beyond luck."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True)
class Run:
    """Which campaign it is, and whether something works at it."""

    tag: str
    state: Doing
    waiting: str
    """Why it waits for its model; "" if it does not."""
    until: float | None
    """Unix seconds at which it goes on."""
    stopped: str
    """Why the last run ended; "" if one is under way or was killed."""
    preset: str
    budget: str
    keep: str
    llm: str
    proposer: str
    data: str
    objective: str
    """In words; "" for val_bpb alone."""
    champion: str
    """Full hash of the branch's tip; "" before the baseline has a score."""
    trials: int
    """Finished, without the baseline and null trials: kept + reverted + rejected."""
    kept: int
    reverted: int
    rejected: int


@dataclass(frozen=True)
class Verified:
    """What the last ``verify`` has found about the gain; see ``Found.verified``."""

    gain: Gain
    seeds: int
    trial: int
    """The champion that it is of."""
    is_of_champion: bool
    """False once another trial was kept since."""
    words: str


@dataclass(frozen=True)
class Keep:
    """A kept trial, and whether its gain was seen again."""

    trial: int
    category: str
    title: str
    hypothesis: str
    kind: Kind
    gain: Gain | None
    """Claimed, corrected for the selection."""
    verified: Gain | None
    """By ``verify --each`` on sealed text, None without."""
    transfer: str
    """Whether it holds at other budgets and sizes, in words; "" if nobody tried."""
    commit: str
    sentence: str
    """``trial 14 (schedule) longer warm-down: better by 0.0130 (...)``."""


@dataclass(frozen=True)
class NearMiss:
    """A reverted trial that measured better, but not beyond luck."""

    trial: int
    category: str
    title: str
    hypothesis: str
    gain: Gain
    sentence: str


@dataclass(frozen=True)
class Found:
    """What came out, in bits per byte."""

    cost_name: str
    """``val_bpb``, or ``cost`` where something else is summed."""
    summed: str
    """By what, in words; "" for val_bpb alone."""
    baseline: Estimate | None
    best: Estimate | None
    """The champion; the baseline less the claimed gains."""
    claimed: Gain | None
    """None while the baseline is the champion."""
    verified: Verified | None
    verified_words: str
    """What is verified, or that nothing is and how to do it."""
    keeps: tuple[Keep, ...]
    """Oldest first."""
    near_misses: tuple[NearMiss, ...]
    """The strongest first."""
    by_kind: Mapping[Kind, float]
    """Sum of the gains of what was kept, structure against numbers; empty if nothing was."""
    by_kind_is_verified: bool
    """Whether that is from ``verify --each`` of this champion, not from claims."""


@dataclass(frozen=True)
class Belief:
    """How far the keeps can be trusted."""

    nulls: int
    nulls_kept: int
    most_false: float | None
    """Upper 95 % limit on the share of false keeps; None without a null trial."""
    meter: str
    noise: Mapping[str, float]
    """By kind of edit: standard deviation of a difference."""
    isolation: str
    openings: str
    """How often the sealed test text was opened, in words."""


@dataclass(frozen=True)
class Share:
    """A category's probability for the next trial."""

    category: str
    now: float
    course: tuple[float, ...]
    """After drawn trials, the numbers of which are ``View.course``; 0 before it existed."""
    exhausted: str
    """Why a model says that nothing is left in it; "" if none does."""


@dataclass(frozen=True)
class Cost:
    """What models have cost."""

    usd: float | None
    """None if not all of it is known: a price or a count was not reported, which is not $0."""
    tokens: int
    words: str
    per_gain: float | None
    """US dollars for each hundredth of a bit; None if unknown or the gain is not sure."""
    trained_seconds: float
    """Of device time: training, scoring and audits, of all workers together."""


@dataclass(frozen=True)
class Pace:
    """How fast it goes, and when it ends."""

    seconds: float | None
    """Of a trial: the median of the last ones, by how many were under way at a time; None before
    the first."""
    left: float | None
    """Seconds; None without an end, or where nothing runs."""
    words: str


@dataclass(frozen=True)
class Now:
    """What the running process does at this moment; ``live`` is None if it does not say."""

    words: str
    live: Live | None


@dataclass(frozen=True)
class Advice:
    """What to do next, the most useful first."""

    words: str
    command: str
    """To type; "" if there is none."""


@dataclass(frozen=True)
class Row:
    """A finished trial, one line of a table and one point of the chart."""

    trial: int
    category: str
    credited: str
    """The category that it counts for."""
    title: str
    hypothesis: str
    outcome: Outcome
    finding: str
    """Of a reverted trial: ``lost`` or ``inconclusive``; "" for all others."""
    words: str
    """The verdict."""
    gain: float | None
    gain_half: float | None
    score: float | None
    """Mean val_bpb of the candidate."""
    score_half: float | None
    status: str
    cost: Estimate | None
    """On the chain of champions, as the chart shows it; None for what has no place there."""
    kind: Kind
    proposer: str
    seconds: float
    commit: str
    parent: str


@dataclass(frozen=True)
class View:
    """All of it; ``now`` and ``run.state`` are of this moment, the rest is from the journal."""

    run: Run
    found: Found
    belief: Belief
    now: Now
    next: tuple[Advice, ...]
    prior: tuple[Share, ...]
    """The most probable first."""
    course: tuple[int, ...]
    """The trials after which ``Share.course`` is known."""
    cost: Cost
    pace: Pace
    rows: tuple[Row, ...]
    """Trial 0, the baseline, first; null trials among them."""
    notes: tuple[str, ...] = ()
    """What else has to be said, as of events that this version does not know."""
