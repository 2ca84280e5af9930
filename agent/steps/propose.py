"""Propose, check, commit: from a category to a candidate commit, or to a rejected trial."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from agent import edits
from agent.campaign import events
from agent.campaign.records import Trial
from agent.campaign.repeats import refuse_repeat
from agent.edits import checks
from agent.edits.changes import hunks
from agent.models.catalog import load_catalog
from agent.models.types import Cancelled, Misconfigured, Unavailable
from agent.proposers.base import NothingToPropose, Proposal, ReplyUnusable
from agent.steps.evaluate import conclude, failure_words
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.presets import find_preset

OUTAGE_SECONDS = 30.0, 600.0
"""Wait for a model: as long as it asks, else the first number times the outages in a row; at most
the second number."""
MISAPPLIED_TRIALS = 3
"""After this many trials in a row without usable blocks, a model is asked for whole files."""


def propose_edit(runtime: Runtime) -> None:
    """Ask for an edit until one passes the checks, or reject the trial."""
    runtime.display.proposing(runtime.open_trial)
    while True:
        if not runtime.open_trial.reply and not _ask(runtime, runtime.open_trial):
            return
        trial = runtime.open_trial
        if not trial.reply:
            continue
        try:
            _accept(runtime, trial)
            return
        except (edits.EditError, checks.Rejected) as refusal:
            misapplied = isinstance(refusal, edits.EditError)
            _turn_down(runtime, refusal, misapplied=misapplied)


def _turn_down(runtime: Runtime, why: Exception, *, misapplied: bool = False) -> None:
    runtime.campaign.record(
        events.TurnedDown(trial=runtime.open_trial.trial, reason=str(why), misapplied=misapplied)
    )


def _ask(runtime: Runtime, trial: Trial) -> bool:
    """Ask for one reply, which may fail; False if the trial ended without one."""
    if len(trial.rejections) - len(trial.sent_back) >= runtime.proposer.attempts:
        _give_up(runtime, trial.rejections[-1])
        return False
    runtime.read_program()
    runtime.stop_at_limits()
    _reconsider_envelope(runtime)
    context = replace(runtime.context(trial.trial), category=trial.category)
    if runtime.campaign.state.settings.get("llm", "none") != "none":
        attempt = len(trial.rejections)
        runtime.campaign.record(events.Asking(trial=trial.trial, attempt=attempt))
    try:
        _record_proposal(runtime, runtime.proposer.propose(context))
    except NothingToPropose as nothing:
        _give_up(runtime, str(nothing))
        return False
    except ReplyUnusable as unusable:
        _record_proposal(runtime, unusable.proposal)
        _turn_down(runtime, unusable)
    except Unavailable as outage:
        _wait_for_model(runtime, outage)
    except Misconfigured as fault:
        runtime.campaign.record(events.Refused(trial=trial.trial, reason=str(fault)))
        raise
    except Cancelled:
        runtime.stop_if_asked()
    return True


def _record_proposal(runtime: Runtime, proposal: Proposal) -> None:
    """Record a reply, and its cost, before it is used."""
    trial = runtime.open_trial
    attempt = len(trial.rejections)
    suffix = f"-{attempt + 1}" if attempt else ""
    runtime.campaign.write(trial.trial, f"prompt{suffix}.md", proposal.prompt)
    runtime.campaign.write(trial.trial, f"reply{suffix}.md", proposal.reply)
    runtime.campaign.record(
        events.Proposed(
            trial=trial.trial,
            proposer=proposal.proposer,
            reply=proposal.reply,
            envelope=proposal.envelope,
            data=proposal.data,
            model=proposal.model,
            usage=proposal.usage,
            cost_usd=proposal.cost_usd,
            program=runtime.program.sha256[:12],
        )
    )


def _wait_for_model(runtime: Runtime, outage: Unavailable) -> None:
    """Pause the campaign; an outage is not a trial. A lost reply may have cost something."""
    state, usage = runtime.campaign.state, outage.usage
    first, longest = OUTAGE_SECONDS
    seconds = min(longest, outage.retry_after or first * (state.outages + 1))
    goes_on = datetime.now() + timedelta(seconds=seconds)
    runtime.display.message(
        f"waiting {seconds:.0f} s for the model, until {goes_on:%H:%M:%S}: {outage}"
    )
    runtime.wait(
        events.Waiting(
            reason=str(outage),
            until=round(time.time() + seconds),
            usage=asdict(usage) if usage is not None else None,
            cost_usd=load_catalog(os.environ).cost(usage, str(state.settings.get("llm", ""))),
        ),
        seconds,
    )


def _accept(runtime: Runtime, trial: Trial) -> None:
    """Check the reply and commit the candidate.

    Raises:
        EditError, Rejected: the reply is not usable; the message says why.
    """
    champion, trials = runtime.champion, runtime.campaign.state.trials
    parent = runtime.campaign.source(champion.commit)
    edit, source, digest = read_edit(
        trial,
        parent,
        max_seq_len=find_preset(runtime.settings.preset).max_seq_len,
        tried={fingerprint for t in trials for fingerprint in t.tried},
    )
    changes = hunks(parent, source)
    refuse_repeat(changes, runtime.campaign.state.real)
    runtime.stop_if_asked()
    smoke = measure.check(source, seed=runtime.settings.seed, **runtime.setting)
    runtime.stop_if_asked()
    if not smoke.ok:
        raise checks.Rejected(f"two trial steps failed: {smoke.reason}\n{smoke.detail}".strip())
    runtime.campaign.commit_candidate(
        champion.commit,
        source,
        edit,
        digest,
        changes,
        same_size=smoke.params == champion.of("candidate")[-1].params,
    )


def read_edit(trial: Trial, parent: str, **known: Any) -> tuple[edits.Edit, str, str]:
    """Apply a trial's reply to ``parent``; returns the edit, the new source and its fingerprint.

    Nothing is executed.

    Args:
        known: see ``checks.check``.

    Raises:
        EditError: it cannot be read or applied. Rejected: it is not worth a training.
    """
    edit = edits.parse(trial.reply, "file" if trial.envelope == "file" else "edits")
    if edit.category != trial.category:
        raise checks.Rejected(
            f"wrong category: this trial is about {trial.category}, not {edit.category}"
        )
    source = edit.apply(parent)
    return edit, source, checks.check(edit, parent, source, **known)


def whole_file_is_due(trials: Sequence[Trial]) -> bool:
    """Whether the model has shown that it cannot quote lines: its last trials were all rejected,
    and in each the blocks of most replies could not be read or applied."""
    asked = [trial for trial in trials if trial.proposer == "llm"][-MISAPPLIED_TRIALS:]
    return len(asked) == MISAPPLIED_TRIALS and all(
        trial.verdict == "rejected"
        and trial.envelope == "edits"
        and 2 * trial.misapplied > len(trial.rejections)
        for trial in asked
    )


def _reconsider_envelope(runtime: Runtime) -> None:
    state = runtime.campaign.state
    model = str(state.settings.get("llm", ""))
    if model not in state.envelopes and whole_file_is_due(state.real):
        runtime.campaign.record(events.EnvelopeChosen(model=model, envelope="file"))
        runtime.display.message(
            f"{MISAPPLIED_TRIALS} trials running the SEARCH/REPLACE blocks of {model} did not "
            "apply: from now on it is asked for the whole of train.py"
        )


def _give_up(runtime: Runtime, reason: str) -> None:
    """End a trial without a usable edit: never trained, or failed in training and not repaired."""
    trial = runtime.open_trial
    if not trial.candidate:
        words = f"rejected before training: {reason.splitlines()[0][:200]}"
        return conclude(runtime, "rejected", words, status="")
    failed = trial.of("candidate")[-1]
    words = failure_words(failed.status, failed.reason)
    conclude(runtime, "revert", words, status=failed.status)
