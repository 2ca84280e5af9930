"""What a run reports while it works, as lines for a pipe or a file: no control codes, no redrawing.

``terminal.RichDisplay`` shows the same to a person.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TextIO

from agent.campaign.records import Heat, Training, Trial
from agent.campaign.state import State
from agent.report.text import clock, heat_words, interval, percents, prior_line, signed
from trainer.console import PLAINER
from trainer.untrusted import one_line

PROGRESS_SECONDS = 10.0
PRIOR_WIDTH = 100


class Unbreakable:
    """A text stream whose reader may disappear (closed pipe, lost terminal) while a run goes on.

    What the encoding lacks is written in ASCII. The rest of ``TextIO`` is the stream's own.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        with contextlib.suppress(OSError, ValueError):  # ValueError: the stream was closed
            self._stream.write(text.encode(encoding, PLAINER).decode(encoding))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


@dataclass(frozen=True)
class Activity:
    """What is being done at this moment."""

    since: float
    trial: Trial | None = None
    who: str = ""
    """``baseline``, or which heat."""
    budget: str = ""
    doing: str = "starting"
    share: float | None = None
    """Finished share of the activity, in [0, 1]; None if unknown."""
    is_training: bool = False
    """Whether ``share`` is a share of the budget."""

    def after(self, event: Mapping[str, Any]) -> Activity:
        """The activity after a measurement has reported ``event``."""
        doing, share = event["event"], event.get("fraction")
        is_training = doing in ("ready", "log")
        if doing == "preparing":
            doing = f"preparing: {one_line(event['stage'], 100)}"
        elif doing == "ready":
            doing, share = "training", 0.0
        elif doing == "log":
            doing, share = f"step {event['step']}, loss {event['loss']:.3f}", event.get("spent")
        elif doing == "waiting":
            doing = f"waiting, {event['seconds']} s left"
        if "training" in event:
            roles = dict(enumerate(("champion", "candidate")))
            doing = f"{roles.get(event['training'], 'another')} {doing}"
        return replace(self, doing=doing, share=share, is_training=is_training)


class Display:
    """Receives every report once, in order. It must not raise, since that would stop a campaign.

    ``now`` returns seconds, to limit how often progress is written.
    """

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = Unbreakable(stream)
        self._now = now
        self._told = now()
        self._activity = Activity(self._told)
        self._shares: dict[str, int] = {}

    def header(self, lines: Sequence[tuple[str, str]]) -> None:
        """What the run is, as (label, text), before anything is trained."""
        width = max(len(label) for label, _ in lines)
        for label, text in lines:
            self._line(f"{one_line(label):<{width}}  {one_line(text, 1000)}")

    def proposing(self, trial: Trial) -> None:
        """A category was drawn and a proposal is being asked for and checked."""
        doing = f"proposing in {one_line(trial.category)}"
        self._begin(Activity(self._now(), trial, doing=doing), f"trial {trial.trial}: {doing}")

    def training(self, trial: Trial, training: Training, budget: str) -> None:
        """The baseline's training begins; ``event`` reports its progress, ``trained`` its end."""
        now = Activity(self._now(), trial, "baseline", budget)
        what = f"training baseline, seed {training.seed}, for {budget}"
        self._begin(now, f"trial {trial.trial}: {what}")

    def heat(self, trial: Trial, number: int, budget: str) -> None:
        """Heat ``number``, from 0, begins; events have a ``training``: 0 champion, 1 candidate."""
        now = Activity(self._now(), trial, f"heat {number + 1}", budget)
        what = f" ({one_line(trial.title)})" if trial.title else ""
        both = f"{now.who}, champion and candidate{what}, for {budget} each"
        self._begin(now, f"trial {trial.trial}: {both}")

    def event(self, event: Mapping[str, Any]) -> None:
        """An event of a measurement, as ``trainer.measure.measure`` passes it to ``on_event``.

        ``preparing`` (stage, fraction), ``ready``, ``log`` (step, loss in nats per token, spent:
        share of the budget or None), ``scoring`` (fraction), ``note`` (text). While the run waits
        for its model, ``waiting`` (seconds left) comes about once a second.
        """
        if event["event"] == "note":
            return self.message(event["text"])
        kind, before, now = event["event"], self._activity, self._activity.after(event)
        self._activity = now
        # A stage may be silent for long, so the start of each stage is always reported.
        is_new = kind == "preparing" and now.doing != before.doing
        if kind in ("ready", "waiting"):  # before a wait, a message says until when
            return
        if is_new or self._now() - self._told >= PROGRESS_SECONDS:
            self._told = self._now()
            who = f"  {now.who}: " if now.who else ""
            share = "" if now.share is None else f" {now.share:.0%}"
            share = f",{share} of the budget" if share and now.is_training else share
            self._line(f"{who}{now.doing}{share}")

    def heat_over(self, trial: Trial, heat: Heat) -> None:
        """The heat has ended, successfully or not."""
        self._end(heat_words(heat))

    def trained(self, training: Training) -> None:
        """The baseline's training has ended, successfully or not."""
        reason = f" ({one_line(training.reason)})" if training.reason else ""
        scored = training.val_bpb is not None
        end = f"val_bpb {training.val_bpb:.4f}" if scored else f"{training.status}{reason}"
        self._end(f"{end} in {clock(training.wall_seconds)}")

    def verdict(self, trial: Trial, state: State, prior: Mapping[str, float]) -> None:
        """The trial is over; ``prior`` holds the probabilities of the categories after it."""
        score = interval(trial.val_bpb, trial.val_bpb_half)
        parts = [
            f"trial {trial.trial}: {one_line(trial.category)}",
            one_line(trial.title),
            f"val_bpb {score}" if score else "",
            f"gain {signed(trial.gain)}" if trial.gain is not None else "",
            f"{one_line(trial.words)} ({clock(trial.seconds)})",
        ]
        self._line("; ".join(part for part in parts if part))
        if told := self._moved(prior, PRIOR_WIDTH):
            self._line(told)

    def message(self, text: str) -> None:
        """Something that the user should know, one line."""
        self._line(f"note: {one_line(text, 1000)}")

    def close(self) -> None:
        """The run is over; restore the terminal."""

    def _begin(self, activity: Activity, words: str) -> None:
        self._activity, self._told = activity, activity.since
        self._line(words)

    def _end(self, words: str) -> None:
        self._line(f"  {self._activity.who}: {words}")
        self._activity = Activity(self._now())

    def _moved(self, prior: Mapping[str, float], width: int) -> str:
        """The prior on one line, "" if it is still what it was at the last trial."""
        label, before, self._shares = "prior  ", self._shares, percents(prior)
        told = prior_line(self._shares, before, width - len(label))
        return label + told if self._shares and self._shares != before else ""

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()
