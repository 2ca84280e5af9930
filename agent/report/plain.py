"""Output to a pipe or a file: one line per event, no control codes, no redrawing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from agent.campaign.records import Heat, Training, Trial
from agent.campaign.state import State
from agent.report.stream import Unbreakable
from agent.report.text import clock, heat_words, interval, percents, prior_line, role, signed
from trainer.untrusted import one_line

PROGRESS_SECONDS = 10.0
PRIOR_WIDTH = 100


class PlainDisplay:
    """Writes log lines; ``now`` returns seconds, to limit how often progress is written."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = Unbreakable(stream)
        self._now = now
        self._told = now()
        self._who = ""
        self._doing = ""
        self._shares: dict[str, int] = {}

    def header(self, lines: Sequence[tuple[str, str]]) -> None:
        width = max((len(label) for label, _ in lines), default=0)
        for label, text in lines:
            self._line(f"{one_line(label):<{width}}  {one_line(text, 1000)}")

    def proposing(self, trial: Trial) -> None:
        self._line(f"trial {trial.trial}: proposing in {one_line(trial.category)}")

    def training(self, trial: Trial, training: Training, budget: str) -> None:
        self._who, self._doing, self._told = role(trial, training), "", self._now()
        spent = one_line(budget) or "its budget"
        self._line(f"trial {trial.trial}: training {self._who}, seed {training.seed}, for {spent}")

    def event(self, event: Mapping[str, Any]) -> None:
        kind = event.get("event")
        if kind == "waiting":
            return  # the message before it says until when
        doing = f"preparing: {one_line(event['stage'])}" if kind == "preparing" else str(kind)
        # A stage may be silent for long, so the start of each stage is always reported.
        is_due = kind == "preparing" and doing != self._doing
        self._doing = doing
        if kind == "ready" or (self._now() - self._told < PROGRESS_SECONDS and not is_due):
            return
        self._told = self._now()
        who = f"  {self._who}: " if self._who else ""
        if "training" in event:
            who += ("champion", "candidate")[event["training"]] + " "
        if kind == "log":
            spent = event.get("spent")
            share = f", {spent:.0%} of the budget" if spent is not None else ""
            self._line(f"{who}step {event['step']}, loss {event['loss']:.3f}{share}")
        elif kind in ("preparing", "scoring"):
            self._line(f"{who}{doing} {event['fraction']:.0%}")

    def heat(self, trial: Trial, number: int, budget: str) -> None:
        self._who, self._doing, self._told = f"heat {number + 1}", "", self._now()
        what = f" ({one_line(trial.title)})" if trial.title else ""
        self._line(
            f"trial {trial.trial}: heat {number + 1}, champion and candidate{what}, for "
            f"{one_line(budget) or 'its budget'} each"
        )

    def heat_over(self, trial: Trial, heat: Heat) -> None:
        self._line(f"  {self._who}: {heat_words(heat)}")
        self._who = ""

    def trained(self, training: Training) -> None:
        reason = f" ({one_line(training.reason)})" if training.reason else ""
        scored = training.val_bpb is not None
        end = f"val_bpb {training.val_bpb:.4f}" if scored else f"{training.status}{reason}"
        self._line(f"  {self._who}: {end} in {clock(training.wall_seconds)}")
        self._who = ""

    def verdict(self, trial: Trial, state: State, prior: Mapping[str, float]) -> None:
        score = interval(trial.val_bpb, trial.val_bpb_half)
        parts = [
            f"trial {trial.trial}: {one_line(trial.category)}",
            one_line(trial.title),
            f"val_bpb {score}" if score else "",
            f"gain {signed(trial.gain)}" if trial.gain is not None else "",
            f"{one_line(trial.words)} ({clock(trial.seconds)})",
        ]
        self._line("; ".join(part for part in parts if part))
        shares = percents(prior)
        if shares and shares != self._shares:
            self._line(prior_line(shares, self._shares, PRIOR_WIDTH))
        self._shares = shares

    def message(self, text: str) -> None:
        self._line(f"note: {one_line(text, 1000)}")

    def close(self) -> None:
        self._stream.flush()

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
