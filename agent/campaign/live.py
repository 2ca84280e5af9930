"""What the running process does at this moment: a small file beside the journal, for who looks on.

``watch``, its page and ``status`` read it. It is no part of the journal: nothing is decided by it,
it is gone when the run ends, and what a killed run left is taken for nothing. Curves are of what a
training reports about itself, so they show how it goes and prove nothing.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agent.campaign.files import JOURNAL, write_atomically
from agent.campaign.lines import JournalError
from agent.campaign.lock import is_held_by
from agent.campaign.records import Trial
from agent.forecast import PARTS, so_far
from trainer.sandbox import owner
from trainer.untrusted import one_line

LIVE = "live.json"
EVERY_SECONDS = 0.5
"""At most so often, but at once when another stage begins."""
FINER = 3
BINS = FINER * PARTS
"""Into so many equal parts of the budget a curve is divided: it has at most so many points."""
MOST_BYTES = 100_000
Stage = Literal[
    "starting",
    "choosing",
    "drafting",
    "preparing",
    "training",
    "scoring",
    "judging",
    "waiting",
    "paused",
]
Side = Literal["", "champion", "candidate"]
_SIDES: tuple[Side, Side] = ("champion", "candidate")
Point = tuple[float, float, int]
"""(share of the budget at the end of a part of it, mean loss in bits per byte, how many reports)"""
Curve = tuple[Point, ...]
Line = Annotated[str, AfterValidator(one_line)]
log = logging.getLogger(__name__)


class Live(BaseModel):
    """What is being done. Its texts may come from a model: untrusted, each one printable line."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    pid: int = 0
    owner: Line = ""
    """The process that wrote it, as ``trainer.sandbox.owner`` names it."""
    written: float = 0.0
    """Unix seconds."""
    since: float = 0.0
    """Unix seconds at which the draft, the training or the heat began."""
    stage: Stage = "starting"
    detail: Line = ""
    """Of ``preparing``: what."""
    trial: int | None = None
    category: Line = ""
    title: Line = ""
    heat: int | None = None
    """Number of the heat, from 0; None for what is no heat, as the baseline's training."""
    budget: Line = ""
    """Of one training."""
    side: Side = ""
    """Whose turn it is."""
    share: float | None = Field(default=None, ge=0.0)
    """Finished share of the stage, in [0, 1]; of ``training`` it is the share of the budget."""
    step: int | None = None
    loss: float | None = None
    """Nats per token."""
    seconds: float | None = None
    """Of ``waiting``: how many are left."""
    differences: tuple[float, ...] = ()
    """Of the trial's earlier heats."""
    drafts: int = 0
    """Trials beside this one that are under way, and wait for a model or a device."""
    champion: Curve = Field(default=(), max_length=BINS)
    candidate: Curve = Field(default=(), max_length=BINS)
    """Training loss so far; the baseline's is here, too."""

    @classmethod
    def of(cls, trial: Trial | None = None, **fields: Any) -> Self:
        """The beginning of an activity that belongs to a trial."""
        if trial is not None:
            fields |= {
                "trial": trial.trial,
                "category": one_line(trial.category, 40),
                "title": trial.title,
                "differences": trial.differences,
            }
        return cls(since=time.time(), **fields)

    def after(self, event: Mapping[str, Any]) -> Self:
        """The same activity after a measurement has reported ``event``: see ``Display.event``."""
        kind, side = event["event"], self.side
        if "training" in event:
            side = dict(enumerate(_SIDES)).get(event["training"], "")
        change: dict[str, Any] = {"side": side, "share": _share(event.get("fraction"))}
        if kind == "preparing":
            change |= {"stage": "preparing", "detail": one_line(event["stage"], 100)}
        elif kind == "ready":
            # A second time in a heat: the machine stood still, all of it is done again.
            change |= {"stage": "training", "share": 0.0, "step": None, "loss": None}
            change[side or "candidate"] = ()
        elif kind == "log":
            share, loss = _share(event.get("spent")), event["loss"]
            loss = loss if math.isfinite(loss) else None
            change |= {"stage": "training", "share": share, "step": event["step"], "loss": loss}
            bpb = event.get("bpb")
            if share is not None and bpb is not None and math.isfinite(bpb):
                name = side or "candidate"
                change[name] = _with(getattr(self, name), share, bpb)
        elif kind == "scoring":
            change["stage"] = "scoring"
        elif kind == "waiting":
            after = "drafting" if self.trial is not None else "starting"
            stage = "waiting" if event["seconds"] > 0 else after
            change |= {"stage": stage, "seconds": event["seconds"]}
        elif kind == "paused":
            change["stage"] = "paused"
        else:
            return self
        return self.model_copy(update=change)

    @property
    def both(self) -> float:
        """Share of the budget that champion and candidate have come through."""
        return min((curve[-1][0] if curve else 0.0) for curve in (self.champion, self.candidate))

    @property
    def ahead(self) -> float | None:
        """Champion's minus candidate's training loss over the latest fifth that both have come
        through, bits per byte; None if little of it is known."""
        parts = math.floor(PARTS * self.both + 1e-9)
        return so_far(_by_parts(self.champion), _by_parts(self.candidate), parts)

    @property
    def is_training(self) -> bool:
        """Whether a trial of the campaign has a device now."""
        return self.stage in ("preparing", "training", "scoring") and self.trial is not None

    @property
    def who(self) -> str:
        """``heat 2``, ``baseline``; "" if nothing of a trial is trained."""
        if self.heat is not None:
            return f"heat {self.heat + 1}"
        is_training = self.stage in ("preparing", "training", "scoring")
        return "baseline" if self.trial == 0 and is_training else ""

    @property
    def words(self) -> str:
        """All of it in one line: ``heat 2 of trial 14: candidate ahead by 0.0040 at 60 %``."""
        what = " of ".join(filter(None, (self.who, self._of_trial)))
        beside = f"; {self.drafts} more drafted or in draft" if self.drafts else ""
        return one_line(f"{what}: {self.doing}{beside}" if what else self.doing + beside)

    @property
    def _of_trial(self) -> str:
        return "" if self.trial is None else f"trial {self.trial}"

    @property
    def doing(self) -> str:
        """The stage in words, and how far it has come."""
        at = "" if self.share is None else f" at {self.share:.0%}".replace("%", " %")
        if self.stage == "drafting":
            return f"drafting an edit in {self.category}"
        if self.stage == "preparing":
            return f"preparing: {self.detail}"
        if self.stage == "waiting":
            return f"waiting, {self.seconds or 0:.0f} s left"
        if self.stage == "scoring":
            return f"scoring {self.side}".rstrip() + at
        if self.stage == "choosing":
            return "choosing what to try next"
        if self.stage in ("starting", "judging", "paused"):
            return self.stage
        if (ahead := self.ahead) is None:
            return f"training {self.side}".rstrip() + at
        how = "ahead" if ahead >= 0 else "behind"
        return f"candidate {how} by {abs(ahead):.4f} at {self.both:.0%}".replace("%", " %")


class LiveFile:
    """Where the run says what it does. That it cannot is one line of the log, and ends nothing."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the campaign's, whose journal this process writes."""
        self._path = folder / LIVE
        self._owner = owner.this_process()
        self._last = Live()
        self._at = -math.inf
        self._has_told = False

    def write(self, live: Live) -> None:
        """Write it if the last one is old, or of another stage."""
        now, last = time.monotonic(), self._last
        is_same = (live.stage, live.trial, live.heat) == (last.stage, last.trial, last.heat)
        if is_same and now - self._at < EVERY_SECONDS:
            return
        self._last, self._at = live, now
        signed = {"pid": self._owner.pid, "owner": str(self._owner), "written": time.time()}
        try:
            text = live.model_copy(update=signed).model_dump_json(exclude_defaults=True)
            write_atomically(self._path, text.encode("utf-8", "replace"), sync=False)
        except (OSError, ValueError) as error:
            if not self._has_told:
                log.warning("what the run does cannot be looked at from elsewhere: %s", error)
            self._has_told = True

    def close(self) -> None:
        """The run is over, and does nothing any more."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def read_live(folder: Path) -> Live | None:
    """What the run of the campaign in ``folder`` does now; None if none runs or says."""
    try:
        with (folder / LIVE).open("rb") as file:
            live = Live.model_validate_json(file.read(MOST_BYTES))
        return live if is_held_by(folder / JOURNAL, live.owner) else None
    except (OSError, ValueError, JournalError):
        return None


def course(losses: Sequence[float | None]) -> Curve:
    """The curve of a training that is over, from its losses by twentieths of the budget."""
    known = enumerate(losses[:PARTS])
    return tuple(((k + 1) / PARTS, loss, 1) for k, loss in known if loss is not None)


def _share(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else min(max(value, 0.0), 1.0)


def _with(curve: Curve, share: float, bpb: float) -> Curve:
    """One more report; what it says of later parts than its own is of an earlier beginning."""
    end = min(max(math.ceil(BINS * share - 1e-9), 1), BINS) / BINS
    before = [point for point in curve if point[0] <= end]
    if before and before[-1][0] == end:
        _, mean, count = before.pop()
        return (*before, (end, mean + (bpb - mean) / (count + 1), count + 1))
    return (*before, (end, bpb, 1))


def _by_parts(curve: Iterable[Point]) -> list[float | None]:
    """Mean loss by twentieths of the budget, None where nothing was reported."""
    sums, counts = [0.0] * PARTS, [0] * PARTS
    for share, mean, count in curve:
        part = min(max(math.ceil(PARTS * share - 1e-9) - 1, 0), PARTS - 1)
        sums[part] += count * mean
        counts[part] += count
    return [total / count if count else None for total, count in zip(sums, counts, strict=True)]
