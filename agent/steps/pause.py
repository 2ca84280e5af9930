"""Pause a run between two trials, so that the machine is free for something else, and go on."""

from __future__ import annotations

import time

from agent.campaign import events, reading
from agent.campaign.files import PAUSE, folder_of
from agent.campaign.reading import CampaignError
from agent.git.repo import Repo
from agent.steps.runtime import Runtime

POLL_SECONDS = 0.5


def wait_while_paused(runtime: Runtime) -> None:
    """Between two trials: begin none until the request is gone, the run is asked to stop, or its
    hours are over."""
    request = runtime.campaign.folder / PAUSE
    if not request.exists():
        return
    runtime.display.message("paused, as asked; python -m agent pause --off goes on")
    runtime.display.event({"event": "paused"}, len(runtime.campaign.state.trials))
    began = time.monotonic()
    while request.exists() and not runtime.time_is_up():
        with runtime.lanes.away():
            if runtime.stop.wait(POLL_SECONDS):
                break
    else:
        runtime.display.message("goes on")
    seconds = round(time.monotonic() - began, 3)
    runtime.campaign.record(events.Paused(seconds=seconds))


def pause_run(repo: Repo, tag: str, *, off: bool = False) -> str:
    """Ask the run of ``tag`` to begin no trial after this one, or to go on; returns what was done.

    Raises:
        CampaignError: nothing runs, or it cannot be asked.
    """
    if reading.run_of(reading.load(repo, tag), reading.running(repo, tag)) is None:
        raise CampaignError(f"campaign {tag} is not running; python -m agent run --tag {tag}")
    request = folder_of(repo, tag) / PAUSE
    try:
        if off:
            request.unlink(missing_ok=True)
            return f"campaign {tag} goes on"
        request.touch()
    except OSError as error:
        raise CampaignError(f"{request} cannot be changed: {error.strerror}") from None
    go_on = f"python -m agent pause --tag {tag} --off"
    return f"campaign {tag} pauses after this trial; to go on: {go_on}"
