"""``--track``: each trial's gain, the champion's score and the prior, as other tools draw them.

A process of its own reads the journal and writes to the tool, so that nothing of it reaches the
run: no slow import, no lost network, no broken installation. That it fails is told once. Numbers
alone go there, and the settings in ``TOLD``: no text of a model, no source, nothing of the
environment or the command line.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agent.campaign.chain import chain
from agent.campaign.following import Following
from agent.campaign.learning import prior_course
from agent.campaign.state import State
from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.report.summary import cost_name, preset_of
from agent.settings import SettingsError
from trainer.errors import UserError
from trainer.untrusted import one_line

NONE = "none"
END_SECONDS = 30.0
"""So long a tracker may take to send what it has when the run is over."""
TOLD = ("preset", "budget", "data", "keep", "proposer", "seed", "device")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Point:
    """What is known after a trial."""

    number: int
    """Of its verdict, from 0 on: the step. Trials side by side end in another order than they
    began."""
    time: float
    """Unix seconds of its verdict."""
    values: Mapping[str, float]


def points(state: State) -> Iterator[Point]:
    """One for each finished trial, the baseline first."""
    costs, course = chain(state, preset_of(state)), prior_course(state, len(state.trials) + 1)
    priors = {row["trial"]: row["prior"] for row in course}
    name, champion = f"champion/{cost_name(state)}", 0
    for number, trial in enumerate(state.finished):
        champion = trial.trial if trial.kept and not trial.is_null else champion
        values = {f"prior/{one_line(k, 40)}": p for k, p in priors.get(trial.trial, {}).items()}
        if trial.gain is not None:
            values["trial/gain"] = trial.gain
        if champion in costs:
            values[name] = costs[champion].mean
        yield Point(number, trial.started + trial.seconds, values)


class Tracker(Protocol):
    """One of the tools."""

    first: int
    """The first point that it does not have yet."""

    def write(self, point: Point) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the campaign's folder ``tensorboard``, written anew by each run."""

    first = 0

    def __init__(self, folder: Path, state: State) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder /= "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._event, self._summary = Event, Summary
        self._writer = EventFileWriter(str(folder))

    def write(self, point: Point) -> None:
        values = [self._summary.Value(tag=k, simple_value=v) for k, v in point.values.items()]
        summary = self._summary(value=values)
        self._writer.add_event(
            self._event(wall_time=point.time, step=point.number, summary=summary)
        )
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """One run of Weights & Biases a campaign, continued by each run of it where it is online."""

    def __init__(self, folder: Path, state: State) -> None:
        import wandb

        settings = state.settings
        tag = str(settings.get("tag", folder.name))
        begun = f"{tag} {settings.get('base')} {state.trials[0].started}"
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "autoresearch",
            name=tag,
            id=hashlib.sha256(begun.encode()).hexdigest()[:16],
            resume="allow",
            dir=str(folder),
            config={name: settings[name] for name in TOLD if name in settings},
            settings=wandb.Settings(
                console="off",
                disable_code=True,
                disable_git=True,
                save_code=False,
                silent=True,
                x_disable_machine_info=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_save_requirements=False,
            ),
        )
        self.first = int(self._run.starting_step)

    def write(self, point: Point) -> None:
        self._run.log(dict(point.values), step=point.number)

    def close(self) -> None:
        self._run.finish()


TRACKERS: Mapping[str, Callable[[Path, State], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": Wandb,
}


def refuse_missing(name: str) -> None:
    """
    Raises:
        SettingsError: the package of the tool is not installed.
    """
    if name != NONE and importlib.util.find_spec(name) is None:
        raise SettingsError(
            f'--track {name}: it is not installed: pip install -e ".[track]", or --track {NONE}'
        )


class Tracking:
    """The process that writes to a tool."""

    def __init__(self, name: str, repo: Repo, tag: str, tell: Callable[[str], None]) -> None:
        self._name, self._tell = name, tell
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, "-m", "agent.report.trackers", name, tag]
        self._process = subprocess.Popen(
            command,
            cwd=repo.root,
            stdin=subprocess.PIPE,  # a byte for each trial; at its end that process ends, too
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def after_trial(self) -> None:
        if self._process.stdin is None or self._process.stdin.closed:
            return
        try:
            self._process.stdin.write(b"\n")
        except OSError:  # it has ended
            self._end(1.0)

    def close(self, seconds: float) -> None:
        """End it; what it has not sent after so many seconds is lost to the tool."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._end(seconds)
        self._said.close()

    def _end(self, seconds: float) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(seconds)
            why = f"exit status {self._process.returncode}" if self._process.returncode else ""
        except subprocess.TimeoutExpired:
            why = f"it took more than {seconds:.0f} s to end" if seconds else "it was ended"
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)  # with what it has left running
        self._process.wait()
        if why and seconds:
            self._said.seek(0)
            last = self._said.read().decode(errors="replace").split("\n")
            said = one_line(" ".join(line for line in last[-20:] if line.strip())[-300:])
            why = ": ".join(filter(None, (f"--track {self._name} did not work ({why})", said)))
            why += "; the journal has all of it, and the next run writes it"
            log.warning("%s", why)
            self._tell(why)


@contextlib.contextmanager
def tracked(
    name: str, campaign: Campaign, tell: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """Yields what is called after each trial. A failure is told, and ends nothing."""
    if name == NONE:
        yield lambda: None
        return
    try:
        tracking = Tracking(name, campaign.repo, campaign.tag, tell)
    except OSError as error:
        tell(f"--track {name} did not work: {error}")
        yield lambda: None
        return
    try:
        yield tracking.after_trial
    finally:
        tracking.close(END_SECONDS if isinstance(sys.exception(), Exception | None) else 0.0)


def track(
    name: str, folder: Path, look: Callable[[], State], next_trial: Callable[[], bool]
) -> None:
    """Write all trials of a campaign to a tool, as they finish, until there is no next one."""
    tracker: Tracker | None = None
    told, goes_on = 0, True
    try:
        while goes_on:
            goes_on = next_trial()
            state = look()
            if not state.finished:
                continue
            tracker = tracker or TRACKERS[name](folder, state)
            for point in points(state):
                if point.number >= max(told, tracker.first):
                    tracker.write(point)
            told = len(state.finished)
    finally:
        if tracker is not None:
            tracker.close()


def main() -> None:
    """Write to the tool that the command line names."""
    name, tag = sys.argv[1:]
    os.nice(19)
    try:
        repo = Repo.open(Path.cwd())
        following = Following(repo, tag)

        def look() -> State:
            for _ in following.news():
                pass
            return following.state

        track(name, following.folder, look, lambda: bool(os.read(0, 4096)))
    except (UserError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
