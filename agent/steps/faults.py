"""Faults that are no edit's: the run ends for them, and nothing is learnt."""

from __future__ import annotations

from typing import NoReturn

from agent.campaign.reading import CampaignError
from agent.steps.next_action import MAX_FAULTS
from agent.steps.runtime import Runtime


def stop_if_again(runtime: Runtime, what: str, why: str) -> None:
    """Stop the run if this is the last of ``MAX_FAULTS`` times in a row."""
    runtime.in_vain[what] += 1
    if runtime.in_vain[what] >= MAX_FAULTS:
        stop_for_machine(runtime, f"{MAX_FAULTS} times in a row {why}")


def stop_for_machine(runtime: Runtime, why: str) -> NoReturn:
    """Stop the run for what is no fault of an edit; its trial stays open, and is judged later.

    Raises:
        CampaignError: always.
    """
    tag, number = runtime.campaign.tag, runtime.open_trial.trial
    folder = runtime.campaign.folder / "trials" / str(number)
    fault = (
        f"{why}; look for what has changed on this machine, as memory, disk, driver or data "
        f"({folder}; python -m agent doctor); then python -m agent run --tag {tag} goes on with "
        f"trial {number}"
    )
    raise CampaignError(fault)


def suspect_machine(runtime: Runtime, champion: str) -> None:
    """After some edits in a row that failed their trial steps, try the champion's own.

    Raises:
        CampaignError: they fail as well, so that it is no edit's fault.
    """
    runtime.in_vain["steps"] += 1
    if runtime.in_vain["steps"] % MAX_FAULTS:
        return
    own = runtime.measure(runtime.work("check", champion, seed=runtime.settings.seed))
    runtime.stop_if_asked()
    if not own.ok:
        stop_for_machine(runtime, f"the trial steps failed, the champion's as well: {own.reason}")
