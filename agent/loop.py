"""The method, step by step. Read this first.

    draw     categories, by the prior: one, or for a model a few, one after the other
    propose  one edit of the champion's train.py, in the first of them or the one a model takes
    check    it before a budget is spent; an edit that fails goes back with the reason
    commit   it, under the campaign's refs
    judge    it: train candidate and champion side by side until the test decides
    keep     moves the branch; revert leaves it
    learn    the reward moves the prior
    note     every few keeps the model writes down what the trials have taught

Where a model drafts, or a heat takes several candidates, some trials are under way side by side,
each in a lane (see ``executors.lanes``): one drafts while another's heat trains, and one that meets
a new champion is carried over to it. A single lane does one trial after the other.

Every step is in the journal before it has an effect, so a run can resume after any step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import replace

from agent.campaign import events
from agent.campaign.reading import CampaignError
from agent.edits.blocks import Edit
from agent.edits.changes import fingerprint
from agent.steps.abreast import in_lanes, room_of
from agent.steps.aim import tell_of_objective
from agent.steps.evaluate import evaluate_candidate
from agent.steps.faults import stop_if_again
from agent.steps.heat import train_baseline
from agent.steps.ideas import begin_idea
from agent.steps.notebook import keep_notebook
from agent.steps.nulls import begin_null, null_is_due
from agent.steps.pause import wait_while_paused
from agent.steps.propose import propose_edit
from agent.steps.runtime import NothingLeft, Runtime, Stopped
from agent.steps.take import begin_submitted, left
from agent.steps.verdict import conclude
from agent.steps.verify import verify_at_end
from trainer.errors import UserError


def run_campaign(runtime: Runtime, only: Collection[str] | None = None) -> str:
    """Start or continue, until there is a reason to stop; returns the reason.

    Args:
        only: names of what was submitted; nothing else is begun, or gone on with.
    """
    try:
        baseline(runtime)
        runtime.devices.find_room = lambda: room_of(runtime)
        in_lanes(runtime, lambda: one_trial(runtime, only), is_one=only is not None)
    except Stopped as stopped:
        try:
            if only is None:
                verify_at_end(runtime)
        finally:
            runtime.campaign.record(events.RunEnded(reason=str(stopped)))
        return str(stopped)
    except UserError as fault:
        with contextlib.suppress(UserError):  # it may be the journal that cannot be written
            runtime.campaign.record(events.RunEnded(reason=str(fault)))
        raise


def one_trial(runtime: Runtime, only: Collection[str] | None = None) -> None:
    """Begin a trial, or resume one that was interrupted, and run it to its verdict."""
    if not runtime.take_interrupted(only):
        with runtime.lanes.drafting():
            draw(runtime, only)
            runtime.take_last()
            if runtime.open_trial.wants_proposal:
                propose_edit(runtime)  # once there is a reply, another lane may draft
    while (trial := runtime.trial) is not None:
        if trial.wants_proposal:
            propose_edit(runtime)
        else:
            evaluate_candidate(runtime)  # may send a crashed candidate back for repair
    runtime.lanes.forget()


def draw(runtime: Runtime, only: Collection[str] | None = None) -> None:
    """Begin a trial: read the program again, sample a category that has an untried idea.

    What was submitted comes first, even if enough trials are done; then ideas that came with an
    earlier reply. About one trial in twenty is a null trial, for which no person has to wait.
    """
    wait_while_paused(runtime)
    runtime.read_program()
    tell_of_objective(runtime)
    submitted = left(runtime, only)
    if only is not None and not submitted:
        raise Stopped("what was submitted has its verdict")
    if not submitted or runtime.time_is_up():
        _still_wanted(runtime)
    runtime.stop_if_asked()
    if null_is_due(runtime) and not (submitted and submitted[0].origin == "person"):
        return begin_null(runtime)
    if submitted:
        return begin_submitted(runtime, submitted[0])
    if begin_idea(runtime):
        return
    keep_notebook(runtime)
    described = runtime.program.described
    runtime.prior.set_categories(described)
    runtime.prior.learner.spent = spent = runtime.spent()
    number = len(runtime.campaign.state.trials)
    context = runtime.context(number)
    available = [
        name
        for name in context.program.names
        if runtime.proposer.covers(replace(context, category=name))
    ]
    if not available:
        other = "" if runtime.settings.proposer == "hybrid" else "take --proposer hybrid, "
        raise NothingLeft(
            f"no proposer has an untried idea left: {other}name a model with --llm, state wider "
            "ranges in train.py's constants, or hand in an edit with python -m agent try"
        )
    drawn = runtime.prior.draw(runtime.proposer.choices(context), available, trial=number)
    category = next(iter(drawn))
    runtime.campaign.record(
        events.TrialBegun(
            trial=number,
            category=category,
            propensity=drawn[category],
            drawn=tuple(drawn),
            propensities=tuple(drawn.values()),
            available=tuple(available),
            categories=tuple(described),
            described=tuple(described.values()),
            spent=spent,
            **runtime.terms,
        )
    )


def baseline(runtime: Runtime) -> None:
    """Trial 0: HEAD's train.py, or ``--start``, with the preset's constants, trained once."""
    campaign, start = runtime.campaign, runtime.campaign.state.settings.get("start")
    if campaign.state.champion is not None:
        return
    if runtime.trial is None:
        runtime.read_program()
        campaign.record(
            events.TrialBegun(trial=0, category="baseline", proposer="preset", **runtime.terms)
        )
    if not runtime.open_trial.candidate:
        name = runtime.settings.preset
        source = campaign.baseline_source()
        campaign.commit_candidate(
            campaign.state.settings["base"],
            source,
            Edit(
                category="baseline",
                title=f"{start or 'train.py'} as it stands, {name} preset",
                hypothesis=(
                    f"The starting point: {f'all of {start}, with ' if start else ''}constants of "
                    f"the {name} preset, nothing else changed."
                ),
                blocks=(),
            ),
            fingerprint(source),
        )
    while not runtime.open_trial.scores:
        training = train_baseline(runtime)
        if training.status == "overtime" or training.reason.startswith("movement"):
            why = f"the baseline failed, {training.status} ({training.reason}), as on a machine "
            stop_if_again(runtime, "baseline", f"{why}that is too busy for its --budget")
        elif training.status != "ok":
            mend = f"mend {start}" if start else "mend trainer/train.py, commit,"
            raise CampaignError(
                f"the baseline does not train: {training.status} ({training.reason}); "
                f"see {campaign.folder / 'trials' / '0'}, {mend} and start another --tag"
            )
    conclude(runtime, "keep", "the starting point", status="ok")


def _still_wanted(runtime: Runtime) -> None:
    state = runtime.campaign.state
    done = sum(state.counts.values()) + sum(not trial.is_null for trial in state.open_trials)
    if runtime.settings.trials is not None and done >= runtime.settings.trials:
        raise Stopped("1 trial is done" if done == 1 else f"{done} trials are done")
    runtime.stop_at_limits(asks=not state.queue)  # what waits is paid for
