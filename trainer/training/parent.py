"""The trusted parent's side of one training: give it source and data, keep its clock, take weights.

The child's own clock only tells it when to stop; the parent enforces the deadline. Before the
weights are read, the child's whole process tree is always killed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from trainer.data.prepare import restore
from trainer.results import Profile
from trainer.sandbox.client import ForkServer
from trainer.sandbox.confine import SandboxError
from trainer.training.curve import Curve, Losses
from trainer.training.job import Ended, Job, Trained
from trainer.training.machine import MACHINE
from trainer.training.process import ChildProcess
from trainer.training.profile import read_profile
from trainer.training.remains import TRACE_BYTES, NoFile, open_file, readings, recorded_steps
from trainer.training.request import WEIGHTS, TrainRequest
from trainer.training.utilisation import utilisation
from trainer.untrusted import finite, printable, whole

Look = Callable[[Losses], str | None]
"""Is given the losses of the twentieths that are over; returns why the training is to end."""

LONGEST_TURNS = 10.0
"""A turn that does not end is cut off after this many times its length."""
MOST_LOSS = 1e4
"""Nats per token; what is reported beyond that is no loss, and sums of it would overflow."""
UNCHARGED_SECONDS = 30.0
"""Start-up beyond its cap may take this long where there is no time budget to subtract it from."""
_LOG_SECONDS = 0.05
_LOOK_SECONDS = 0.25
"""How often a training without turns is looked at when it reports nothing."""


def run_training(server: ForkServer, job: Job, look: Look | None = None) -> Trained:
    """Run one training to its end and leave none of its processes behind."""
    preset = job.setting.preset
    with ChildProcess(server, preset.memory_mb, preset.scratch_mb, job.cancelled) as child:
        training = Training(child, job, look)
        training.start_up()
        training.run(None)
        return training.finish()


class Training:
    """One training, from its start-up to its weights.

    Its clock runs during ``run`` only, so that several can take turns, each below its own server.
    """

    def __init__(self, child: ChildProcess, job: Job, look: Look | None = None) -> None:
        """``look`` is called while it runs; in a heat side by side it is asked between turns."""
        self.job = job
        self.is_over = False
        """Whether there is nothing left to run: the weights are there, or it ended without."""
        self.startup_seconds = 0.0
        self.step_seconds = 0.0
        """Mean duration of its steps, as it reports them."""
        self._child, self._look = child, look
        key, compiles = job.compile_key, job.setting.preset.compiles and not job.profiles
        self._is_lent = compiles and job.may_lend and MACHINE.compile_cache.has(key)
        self._packs = compiles and not MACHINE.compile_cache.has_tried(key)
        self._spent = 0.0
        """Seconds on this training's clock, without the turn that is under way."""
        self._running_since: float | None = None
        self._allowed = 0.0
        """Seconds on this clock within which the weights must arrive."""
        self._has_data = False
        self._waits_for_turn = self._was_cut_off = False
        self._counts: dict[str, Any] = {}
        """Of steps, tokens and parameters, as reported with the weights."""
        self._device_memory_mb = self._flops_per_token = 0.0
        self._profile: Profile | None = None
        self._ended: Ended | None = None
        self._trace = bytearray()
        recorded = None if job.trace is None else recorded_steps(job.trace)
        self._curve = Curve(job.budget, job.corpus.bytes_per_token, recorded)
        self._next_log = 0.0

    def clock(self) -> float:
        """Seconds on this training's clock."""
        if self._running_since is None:
            return self._spent
        return self._spent + time.monotonic() - self._running_since

    @property
    def losses(self) -> Losses:
        """By twentieths of the budget, of those that are over."""
        return self._curve.completed_losses

    @contextlib.contextmanager
    def _noting_its_end(self) -> Iterator[None]:
        try:
            yield
        except Ended as end:
            self._ended, self.is_over = end, True

    def start_up(self) -> None:
        """Confine the child, give it the source, wait until it is ready for data."""
        with self._noting_its_end():
            self._start_up()
        self.startup_seconds = self.clock()
        self._running_since = None
        if not self.is_over and not self.job.profiles:
            MACHINE.start_ups.note(self.job.compile_key, self._is_lent, self.startup_seconds)
            self._keep_compiled()

    def run(self, turn_seconds: float | None) -> None:
        """Let it train until its turn is over; without turns, to its end.

        A turn ends when the child says so, in ``session.done()``. One that does not end is cut off
        after ``LONGEST_TURNS`` times its length; its time counts, and it goes on in the next turn.
        """
        if self.is_over:
            return
        self._running_since = time.monotonic()
        with self._noting_its_end():
            self._child.resume()
            if not self._has_data:
                self._give_data(turn_seconds)
            elif self._waits_for_turn:
                self._go(turn_seconds)
            if turn_seconds is None:
                self._run_to_its_end()
            else:
                self._run_a_turn(turn_seconds)
        # At least the turn that it was given: a claim to be done at once gains nothing.
        least = 0.0 if self.is_over else turn_seconds or 0.0
        self._spent = max(self.clock(), self._spent + least)
        self._running_since = None

    def _run_to_its_end(self) -> None:
        while not self.is_over:
            self._take(self._await("weights", until=time.monotonic() + _LOOK_SECONDS))
            self._tick()

    def _run_a_turn(self, seconds: float) -> None:
        until = time.monotonic() + LONGEST_TURNS * seconds
        message = self._await("turn", "weights", until=until)
        if self._was_cut_off and message is not None and message["event"] == "turn":
            left = seconds - (self.clock() - self._spent)
            if left > 0:  # it ends the turn that was cut off, not this one
                self._go(left)
                message = self._await("turn", "weights", until=until)
        self._was_cut_off = message is None
        self._take(message)
        self._tick()

    def _go(self, turn_seconds: float | None) -> None:
        """Answer a child that waits for its turn."""
        self._child.send({"event": "go", "spent": self.clock(), "turn": turn_seconds})

    def _tick(self) -> None:
        """Note how far the clock has come, and end if that is wished."""
        if self.is_over:
            return
        self._curve.reach(self._curve.share(self.clock()))
        reason = self._look(self.losses) if self._look is not None else None
        if reason is not None:
            raise Ended("abandoned", reason)

    def abandon(self, reason: str) -> None:
        """End it between two turns."""
        self._ended, self.is_over = Ended("abandoned", reason), True

    def pause(self) -> None:
        """Stop all its processes until the next ``run``; the time that this takes is its own."""
        if self.is_over:
            return
        began = time.monotonic()
        with self._noting_its_end():
            self._child.stop()
        if self._has_data:
            self._spent += time.monotonic() - began

    def finish(self) -> Trained:
        """Kill what is left of it, and check the weights."""
        self._child.kill()
        result = Trained(
            status="ok",
            output=printable(self._child.printed.decode(errors="replace"), 8000),
            startup_seconds=round(self.startup_seconds, 4),
            train_seconds=round(self._spent, 4),
            spent=round(self._share(), 6),
            # What the child reports for its device can raise the kernel's figure, never lower it.
            peak_memory_mb=max(self._child.peak_memory_mb, self._device_memory_mb),
            curve=tuple(self._curve.points),
            losses=tuple(None if loss is None else round(loss, 6) for loss in self._curve.losses),
            pace=round(self._curve.pace, 4),
            trace=base64.b64encode(self._trace).decode(),
            mfu=self._mfu(),
            **self._counts,
        )
        try:
            if self._ended is not None:
                raise self._ended
            return self._with_weights(result)
        except Ended as end:
            return replace(
                result,
                status=end.status,
                reason=end.reason,
                detail=end.detail,
                outside=end.outside,
            )

    def _share(self) -> float:
        """Share of the budget that is spent."""
        steps, tokens = (self._counts.get(name, 0) for name in ("steps", "tokens"))
        return self._curve.share(self._spent, steps - 1, tokens)

    def _mfu(self) -> float | None:
        tokens_per_second = self._counts.get("tokens", 0) / max(self._spent, 1e-9)
        device = str(MACHINE.probe()["name"])
        return utilisation(self._flops_per_token, tokens_per_second, device)

    def _with_weights(self, result: Trained) -> Trained:
        limit = self.job.setting.preset.weights_bytes
        try:
            weights = open_file(self._child.scratch / WEIGHTS, limit)
        except NoFile as error:
            raise Ended("invalid", f"weights: {error}") from None
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
        result = replace(result, profile=self._profile)
        return replace(result, weights=weights, weights_sha256=digest)

    def _start_up(self) -> None:
        job, child = self.job, self._child
        if child.left_over:
            raise Ended(
                "killed",
                f"left-over: {child.left_over} processes of an earlier training were still there; "
                "they have been killed, measure again",
                outside=True,
            )
        limit = job.setting.preset.startup_seconds + (job.budget.seconds or UNCHARGED_SECONDS)
        self._lend_compiled()
        # Before the clock runs: to find what is readable takes a second, the first time.
        confinement = job.setting.confinement(str(child.scratch))
        self._running_since = time.monotonic()
        child.start()
        child.send(asdict(confinement))
        self._await("confined", limit=limit)
        compiles = job.setting.preset.compiles and job.code.device == "cuda" and not job.profiles
        request = TrainRequest(
            job.code, job.seed, job.budget, job.trace, compiles, self._packs, job.profiles
        )
        child.send(asdict(request))
        self._await("ready", limit=limit)
        self.job.on_event({"event": "ready"})

    def _lend_compiled(self) -> None:
        key, cache = self.job.compile_key, MACHINE.compile_cache
        why = cache.refused.get(key, "")
        if self._is_lent:
            try:
                cache.lend(key, self._child.scratch)
            except OSError as error:
                why = f"what was compiled cannot be copied ({error})"
        if why:
            text = f"this training compiles anew, which may cost it training time: {why}"
            self.job.on_event({"event": "note", "text": text})

    def _keep_compiled(self) -> None:
        """Keep what the training has compiled, before it has any data."""
        key, cache = self.job.compile_key, MACHINE.compile_cache
        if self._packs and cache.take(key, self._child.scratch):
            MACHINE.start_ups.note_compiled(key, self.startup_seconds)

    def _late(self) -> float:
        """Seconds of start-up that were not free: they count as training time."""
        job, start_ups = self.job, MACHINE.start_ups
        cap, champion = job.setting.preset.startup_seconds, job.champion
        if champion is not None:
            start_ups.inherit(job.compile_key, champion)
        # By what the champion was lent: a candidate with files too large to keep is lent nothing.
        lent = job.may_lend and MACHINE.compile_cache.has(champion or job.compile_key)
        free = start_ups.free(champion, lent, cap)
        beyond = start_ups.beyond(job.compile_key, champion, self._is_lent, cap)
        return max(0.0, self.startup_seconds - free) + beyond

    def _give_data(self, turn_seconds: float | None) -> None:
        """Pass the training data; from here on the child trains."""
        job = self.job
        message: dict[str, Any] = {
            "turn": turn_seconds,
            "sources": [
                (part.name, part.bytes_per_token, part.in_domain) for part in job.corpus.train
            ],
        }
        self._allowed = job.wall_cap()
        if job.budget.seconds is not None and job.trace is None:
            self._curve.late = self._late()
            left = max(0.001, job.budget.seconds - self._curve.late)
            message["seconds"] = left
            self._allowed = left + job.overrun()
        restore(job.corpus)
        paths = [path for part in job.corpus.train for path in (part.tokens, part.doc_starts)]
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(path.open("rb")) for path in paths]
            self._has_data = True
            self._running_since = time.monotonic()
            self._child.send(message, [file.fileno() for file in files])

    def _await(
        self, *events: str, limit: float | None = None, until: float = math.inf
    ) -> dict[str, Any] | None:
        """Wait for the next message of these names; pass on progress messages before it.

        Args:
            limit: seconds on this training's clock, after which it has ended; None: as allowed.
            until: time (monotonic) after which None is returned.
        """
        limit = self._allowed if limit is None else limit
        while True:
            message = self._child.receive(events[-1], self.clock, limit, until)
            if message is not None and self._has_data:
                self._trace += readings(message.get("trace"))[: TRACE_BYTES - len(self._trace)]
            if message is None or message.get("event") in events:
                return message
            self._note(message, awaiting=events[-1])

    def _take(self, message: dict[str, Any] | None) -> None:
        """Take what ends a turn: the child's word, its weights, or nothing if it was cut off."""
        self._waits_for_turn = message is not None
        if message is None:
            return
        if message["event"] == "weights":
            # Only what is used: the rest may be large, and is kept until the heat is over.
            counts = ("steps", "tokens", "params")
            self._counts = {name: whole(message.get(name)) for name in counts}
            self._flops_per_token = finite(message.get("flops_per_token")) or 0.0
            self._profile = read_profile(message.get("profile")) if self.job.profiles else None
            if self.job.setting.device != "cpu":
                self._device_memory_mb = finite(message.get("device_memory_mb")) or 0.0
            self._curve.reach(1.0)
            self.is_over = True
        else:
            self.step_seconds = self.clock() / max(1, whole(message.get("steps")))

    def _note(self, message: dict[str, Any], awaiting: str) -> None:
        kind = message.get("event")
        if kind == "failed":
            status = message.get("kind")
            if status not in ("crashed", "oom", "invalid"):
                status = "crashed"
            name = {"crashed": "crash", "oom": "memory", "invalid": "contract"}[status]
            reason = printable(f"{name}: {message.get('error', '')}", 500)
            raise Ended(status, reason, printable(str(message.get("traceback", "")), 8000))
        if kind == "unconfined" and awaiting == "confined":  # later the candidate could send this
            raise SandboxError(printable(str(message.get("reason")), 500))
        if kind == "weights":
            raise Ended("invalid", f"contract: weights came before {awaiting}")
        if kind == "log" and self._has_data:
            self._log(message)

    def _log(self, message: dict[str, Any]) -> None:
        now, seconds = time.monotonic(), self.clock()
        step, loss = whole(message.get("step")), finite(message.get("loss"))
        if loss is None or abs(loss) > MOST_LOSS:
            return
        share = self._curve.share(seconds, step, whole(message.get("tokens")))
        self._curve.add_loss(share, loss)
        self._curve.add_step(share, seconds, step)
        self._tick()
        if now < self._next_log:
            return
        self._next_log = now + _LOG_SECONDS
        self._curve.add_point(seconds, step, loss)
        bpb = self._curve.bpb(loss)
        self.job.on_event({"event": "log", "step": step, "loss": loss, "bpb": bpb, "spent": share})
