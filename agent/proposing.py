"""Propose, check, commit: from a category to a candidate commit, or to a rejected trial."""

from __future__ import annotations

from dataclasses import asdict

from agent import checks, edits
from agent.judging import conclude
from agent.models.base import Cancelled, Unavailable
from agent.propose.base import NothingToPropose, Proposal, ReplyUnusable
from agent.run import Run
from agent.state import Trial
from trainer import measure
from trainer.presets import preset

OUTAGE_SECONDS = 30.0, 600.0
"""Wait for a model that does not say how long: the first for each outage in a row, at most the
second."""


def propose(run: Run) -> None:
    """Ask for an edit until one passes the checks, or reject the trial."""
    run.display.proposing(run.open_trial)
    while True:
        if not run.open_trial.reply and not _ask(run, run.open_trial):
            return
        trial = run.open_trial
        if not trial.reply:
            continue
        try:
            _accept(run, trial)
            return
        except (edits.EditError, checks.Rejected) as refusal:
            run.campaign.record("turned_down", trial=trial.trial, reason=str(refusal))


def _ask(run: Run, trial: Trial) -> bool:
    """Ask for one reply, which may still fail to come; False if the trial was rejected."""
    if len(trial.rejections) >= run.proposer.attempts:
        _conclude_rejected(run, trial.rejections[-1])
        return False
    run.stop_if_asked()
    context = run.context(trial.trial, trial.category)
    try:
        _record_proposal(run, run.proposer.propose(context))
    except NothingToPropose as nothing:
        _conclude_rejected(run, str(nothing))
        return False
    except ReplyUnusable as unusable:
        _record_proposal(run, unusable.proposal)
        run.campaign.record("turned_down", trial=trial.trial, reason=str(unusable))
    except Unavailable as outage:
        _wait_for_model(run, outage)
    except Cancelled:
        run.stop_if_asked()
    return True


def _record_proposal(run: Run, proposal: Proposal) -> None:
    """Keep a reply, and what it cost, before anything is made of it."""
    trial = run.open_trial
    attempt = len(trial.rejections)
    suffix = f"-{attempt + 1}" if attempt else ""
    run.campaign.write(trial.trial, f"prompt{suffix}.md", proposal.prompt)
    run.campaign.write(trial.trial, f"reply{suffix}.md", proposal.reply)
    run.campaign.record(
        "proposed",
        trial=trial.trial,
        proposer=proposal.proposer,
        reply=proposal.reply,
        model=proposal.model,
        usage=proposal.usage,
        cost_usd=proposal.cost_usd,
    )


def _wait_for_model(run: Run, outage: Unavailable) -> None:
    """An outage pauses the campaign and is no trial; what was lost may have cost something."""
    usage = asdict(outage.usage) if outage.usage is not None else None
    run.campaign.record("waiting", reason=str(outage), usage=usage, cost_usd=None)
    first, longest = OUTAGE_SECONDS
    seconds = outage.retry_after or min(longest, first * run.campaign.state.outages)
    run.display.message(f"waiting {seconds:.0f} s for the model: {outage}")
    run.stop.wait(seconds)
    run.stop_if_asked()


def _accept(run: Run, trial: Trial) -> None:
    """Check the reply and commit the candidate.

    Raises:
        EditError, Rejected: why not.
    """
    champion = run.champion
    parent = run.campaign.source(champion.commit)
    edit = edits.parse(trial.reply)
    if edit.category != trial.category:
        raise checks.Rejected(
            f"wrong category: this trial is about {trial.category}, not {edit.category}"
        )
    source = edit.apply(parent)
    digest = checks.check(
        edit,
        parent,
        source,
        categories=run.program.names,
        max_seq_len=preset(run.settings.preset).max_seq_len,
        tried={t.source_sha256 for t in run.campaign.state.trials if t.status != "abandoned"},
    )
    run.stop_if_asked()
    smoke = measure.check(
        source,
        seed=run.settings.seed,
        preset=run.settings.preset,
        data=run.settings.data,
        isolation=run.settings.isolation,
        cancel=run.stop,
    )
    run.stop_if_asked()
    if not smoke.ok:
        raise checks.Rejected(f"two trial steps failed: {smoke.reason}\n{smoke.detail}".strip())
    run.campaign.commit_candidate(
        champion.commit, source, edit.category, edit.title, edit.hypothesis, digest
    )


def _conclude_rejected(run: Run, reason: str) -> None:
    conclude(
        run, "rejected", f"rejected before training: {reason.splitlines()[0][:200]}", status=""
    )
