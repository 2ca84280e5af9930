"""What a run reports while it works, as lines for a pipe or a file: no control codes, no redrawing.

``terminal.RichDisplay`` shows the same to a person.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from agent.campaign.live import Live, LiveFile, course
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
        self.is_lost = False
        """Whether its reader has gone."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        with self._unbroken():
            self._stream.write(text.encode(encoding, PLAINER).decode(encoding))
        return len(text)

    def flush(self) -> None:
        with self._unbroken():
            self._stream.flush()

    @contextlib.contextmanager
    def _unbroken(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # ValueError: the stream was closed
            self.is_lost = True


class Display:
    """Receives every report once, in order. It must not raise, since that would stop a campaign.

    ``now`` returns seconds, to limit how often progress is written.
    """

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = Unbreakable(stream)
        self._now = now
        self._told = now()
        self._live = Live.of()
        self._file: LiveFile | None = None
        self._shares: dict[str, int] = {}
        self._state: State | None = None

    @contextlib.contextmanager
    def attached(self, tag: str, state: State, folder: Path) -> Iterator[None]:
        """While this process runs the campaign ``tag``, its folder tells others what it does."""
        self.attach(tag, state, os.getpid())
        self._state = state
        self._file = LiveFile(folder)
        self._file.write(self._live)
        try:
            yield
        finally:
            self._file.close()
            self._file = self._state = None

    def attach(self, tag: str, state: State, pid: int | None = None, recorded: str = "") -> None:
        """Which campaign it is, as far as it is known; ``state`` goes on to change.

        Args:
            pid: of the run under way, None if there is none.
            recorded: what to say with all that is shown of a recorded campaign.
        """
        if recorded:
            self.message(recorded)

    @property
    def is_lost(self) -> bool:
        """Whether nobody sees it any more: a run goes on, who only looks can end."""
        return self._stream.is_lost

    def header(self, lines: Sequence[tuple[str, str]]) -> None:
        """What the run is, as (label, text), before anything is trained."""
        width = max(len(label) for label, _ in lines)
        for label, text in lines:
            self._line(f"{one_line(label):<{width}}  {one_line(text, 1000)}")

    def proposing(self, trial: Trial) -> None:
        """A category was drawn and a proposal is being asked for and checked."""
        doing = f"proposing in {one_line(trial.category)}"
        self._begin(Live.of(trial, stage="drafting"), f"trial {trial.trial}: {doing}")

    def training(self, trial: Trial, training: Training, budget: str) -> None:
        """The baseline's training begins; ``event`` reports its progress, ``trained`` its end."""
        what = f"training baseline, seed {training.seed}, for {budget}"
        self._begin(Live.of(trial, stage="training", budget=budget), f"trial {trial.trial}: {what}")

    def heat(
        self,
        trial: Trial,
        number: int,
        budget: str,
        known: Sequence[float | None] = (),
        others: Sequence[int] = (),
    ) -> None:
        """Heat ``number``, from 0, begins; events have a ``training``: 0 champion, 1 candidate.

        Args:
            known: losses of a champion that is not trained again.
            others: trials whose candidates train in it as well.
        """
        what = f" ({one_line(trial.title)})" if trial.title else ""
        many = "those of trials" if others[1:] else "that of trial"
        what += f" and {many} {', '.join(map(str, others))}" if others else ""
        both = f"heat {number + 1}, champion and candidate{what}, for {budget} each"
        how: dict[str, Any] = {"heat": number, "budget": budget, "champion": course(known)}
        self._begin(Live.of(trial, stage="training", **how), f"trial {trial.trial}: {both}")

    def event(self, event: Mapping[str, Any], trial: int | None = None) -> None:
        """An event of a measurement, as ``trainer.measure.measure`` passes it to ``on_event``.

        ``preparing`` (stage, fraction), ``ready``, ``log`` (step, loss in nats per token, bpb: the
        same in bits per byte, spent: share of the budget or None), ``scoring`` (fraction), ``note``
        (text). While the run waits for its model, ``waiting`` (seconds left) comes about once a
        second, with 0 at the end; ``paused`` when no trial is to begin.

        Args:
            trial: whose it is, if others may train meanwhile: then only notes are shown.
        """
        if event["event"] == "note":
            return self.message(event["text"])
        shown = self._live
        if shown.is_training and trial not in (None, shown.trial):
            return
        self.show(self._live.after(event))

    def show(self, live: Live) -> None:
        """What is being done has come further, here or in the process that is watched."""
        before = self._live
        self._set(live)
        # A stage may be silent for long, so the start of each stage is always reported.
        is_new = live.stage == "preparing" and live.detail != before.detail
        # Before a wait, a message says until when.
        if live.stage not in ("preparing", "training", "scoring"):
            return
        if live.stage == "training" and live.step is None:
            return
        if is_new or self._now() - self._told >= PROGRESS_SECONDS:
            self._told = self._now()
            who = f"  {live.who}: " if live.who else ""
            self._line(f"{who}{_progress(live)}")

    def heat_over(self, trial: Trial, heat: Heat) -> None:
        """The heat has ended, successfully or not."""
        self._end(heat_words(heat), trial.trial)

    def trained(self, training: Training) -> None:
        """The baseline's training has ended, successfully or not."""
        reason = f" ({one_line(training.reason)})" if training.reason else ""
        scored = training.val_bpb is not None
        end = f"val_bpb {training.val_bpb:.4f}" if scored else f"{training.status}{reason}"
        self._end(f"{end} in {clock(training.wall_seconds)}", training.trial)

    def verdict(self, trial: Trial, state: State, prior: Mapping[str, float]) -> None:
        """The trial is over; ``prior`` holds the probabilities of the categories after it."""
        self._set(Live.of(stage="choosing"))
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

    def _begin(self, live: Live, words: str) -> None:
        self._told = self._now()
        self._set(live)
        self._line(words)

    def _end(self, words: str, trial: int) -> None:
        if trial != self._live.trial:  # one of several in a heat, of which another is shown
            return self._line(f"  trial {trial}: {words}")
        self._line(f"  {self._live.who}: {words}")
        self._set(self._judging())

    def _judging(self) -> Live:
        """A training or a heat is over, and its curves are still to be seen."""
        return self._live.model_copy(update={"stage": "judging", "side": "", "share": None})

    def _set(self, live: Live) -> None:
        """Show it, unless a training would have to make way for what waits for a device."""
        is_less = live.stage in ("choosing", "drafting") and live.trial != self._live.trial
        if self._live.is_training and is_less:
            return
        state = self._state
        waiting = [] if state is None else [t for t in state.open_trials if not t.open_seeds]
        drafts = sum(trial.trial != live.trial for trial in waiting)
        self._live = live = live.model_copy(update={"drafts": drafts})
        if self._file is not None:
            self._file.write(live)

    def _moved(self, prior: Mapping[str, float], width: int) -> str:
        """The prior on one line, "" if it is still what it was at the last trial."""
        label, before, self._shares = "prior  ", self._shares, percents(prior)
        told = prior_line(self._shares, before, width - len(label))
        return label + told if self._shares and self._shares != before else ""

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def _progress(live: Live) -> str:
    """How far a measurement has come."""
    share = "" if live.share is None else f" {live.share:.0%}"
    if live.stage != "training":
        doing = live.stage if live.stage == "scoring" else live.doing
        return f"{live.side} {doing}".strip() + share
    steps = f"step {live.step}" if live.step is not None else "training"
    loss = f", loss {live.loss:.3f}" if live.loss is not None else ""
    return f"{live.side} {steps}{loss}".strip() + (f",{share} of the budget" if share else "")
