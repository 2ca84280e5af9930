"""The method, step by step. Read this first.

    draw     a category, by the prior
    propose  one edit of the champion's train.py, in that category
    check    it, before a budget is spent; what fails goes back with the reason
    commit   it, under the campaign's refs
    judge    it: train candidate and champion, with fresh seeds, until luck is ruled out or in
    keep     moves the branch; revert leaves it
    learn    the reward moves the prior

Every step is in the journal before it has an effect, so ``run`` may start in the middle of any.
"""

from __future__ import annotations

from agent.campaign.store import CampaignError
from agent.edits import checks
from agent.steps.evaluate import AGAIN, conclude, disturbed, judge, train
from agent.steps.propose import propose
from agent.steps.runtime import Run, Stopped
from trainer.presets import find_preset


def go_on(run: Run) -> str:
    """Start or continue, until there is a reason to stop; returns the reason."""
    try:
        baseline(run)
        while True:
            one_trial(run)
    except Stopped as stopped:
        run.campaign.record("stop", reason=str(stopped))
        return str(stopped)


def one_trial(run: Run) -> None:
    """Begin a trial, or take up the one that was cut off, and bring it to its verdict."""
    state = run.campaign.state
    if state.open_trial is None:
        draw(run)
    while state.open_trial is not None:
        if state.open_trial.wants_proposal:
            propose(run)
        else:
            judge(run)  # which may send a candidate that crashed back to be mended


def draw(run: Run) -> None:
    """Begin a trial: read the program again, sample a category that has an idea left."""
    run.read_program()
    _still_wanted(run)
    run.prior.set_categories(run.program.names)
    number = len(run.campaign.state.trials)
    available = [
        name for name in run.program.names if run.proposer.covers(run.context(number, name))
    ]
    if not available:
        raise Stopped("no proposer has an untried idea left")
    category = run.prior.sample(available, trial=number)
    run.campaign.record(
        "trial",
        trial=number,
        category=category,
        propensity=run.prior.probabilities(available)[category],
        available=available,
        categories=run.program.names,
        program=run.program.sha256[:12],
    )


def baseline(run: Run) -> None:
    """Trial 0: HEAD's train.py with the preset's constants, trained once."""
    campaign = run.campaign
    if campaign.state.champion is not None:
        return
    if campaign.state.open_trial is None:
        run.read_program()
        campaign.record(
            "trial", trial=0, category="baseline", program=run.program.sha256[:12],
            proposer="preset",
        )  # fmt: skip
    if not run.open_trial.candidate:
        name = run.settings.preset
        source = campaign.baseline_source(find_preset(name).constants)
        campaign.commit_candidate(
            campaign.state.settings["base"],
            source,
            "baseline",
            f"train.py as it stands, {name} preset",
            f"The starting point: constants of the {name} preset, nothing else changed.",
            checks.fingerprint(source),
        )
    while not run.open_trial.scores and len(disturbed(run.open_trial)) <= AGAIN:
        training = train(run, "candidate", run.open_trial.candidate)
        if training.counted and training.status != "ok":
            raise CampaignError(
                f"the baseline does not train: {training.status} ({training.reason}); "
                f"see {campaign.folder / 'trials' / '0'}, mend trainer/train.py, commit, and "
                "start another --tag"
            )
    conclude(run, "keep", "the starting point", status="ok")


def _still_wanted(run: Run) -> None:
    done = sum(run.campaign.state.counts.values())
    if run.settings.trials is not None and done >= run.settings.trials:
        raise Stopped(f"{done} trials are done")
    run.stop_at_limits()
