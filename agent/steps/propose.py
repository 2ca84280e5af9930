"""Propose, check, commit: from a category to a candidate commit, or to a rejected trial."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from agent import edits
from agent.campaign import events
from agent.campaign.records import Trial
from agent.campaign.repeats import TriedWith, lost_in, refuse_repeat
from agent.edits import checks
from agent.edits.blocks import Envelope
from agent.edits.changes import hunks
from agent.edits.ideas import split
from agent.models.catalog import load_catalog
from agent.models.command.words import holds_edit
from agent.models.types import Cancelled, Cause, Misconfigured, Unavailable
from agent.proposers.base import Context, NothingToPropose, Proposal, ReplyUnusable
from agent.steps.cards import look_up
from agent.steps.choice import Choice, follow_ups_left, read_choice, read_exhausted
from agent.steps.evaluate import failure_words
from agent.steps.faults import suspect_machine
from agent.steps.ideas import propose_idea
from agent.steps.notebook import read_notebook
from agent.steps.runtime import Runtime
from agent.steps.take import propose_submitted
from agent.steps.verdict import conclude
from trainer.presets import find_preset

OUTAGE_SECONDS = 30.0, 600.0
"""Wait for a model: as long as it asks, else the first number times the outages in a row; at most
the second number."""
LONG_OUTAGES = [15 << i for i in range(20)]
"""Waits in a row that come to about an hour; then the user is told, and after twice as many."""
IN_VAIN = {"paid": 6, "unexplained": 16, "nowhere": 8}
"""A run ends when a model was asked as often in a row in vain: it was paid and its reply could not
be used, or it did not answer for a reason that is not known. The waits of 16 come to over an hour,
which an outage may take; what the provider itself calls one may take as long as it likes. A name
that was never known is waited for a quarter of an hour, in which a network comes up."""
WHAT_TO_DO = {
    "paid": "if replies are cut off, raise max_tokens or lower its reasoning in models.toml; else "
    "take another --llm",
    "nowhere": "correct the address or mend the network",
    "unexplained": "ask it by hand, or by python -m agent doctor --llm SPEC",
}
MISAPPLIED_TRIALS = 3
"""After this many trials in a row without usable blocks, a model is asked for whole files."""


def propose_edit(runtime: Runtime) -> None:
    """Ask for an edit until one passes the checks, or reject the trial."""
    runtime.display.proposing(runtime.open_trial)
    while True:
        with runtime.lanes.drafting():
            if not runtime.open_trial.reply and not _ask(runtime, runtime.open_trial):
                return
        runtime.lanes.drafted()
        trial = runtime.open_trial
        if not trial.reply:
            continue
        try:
            _accept(runtime, trial)
            return
        except (edits.EditError, checks.Rejected) as refusal:
            # Prose says nothing of how well a model quotes lines.
            misapplied = isinstance(refusal, edits.EditError) and holds_edit(trial.reply)
            _turn_down(runtime, refusal, misapplied=misapplied)


def _turn_down(runtime: Runtime, why: Exception, *, misapplied: bool = False) -> None:
    runtime.campaign.record(
        events.TurnedDown(trial=runtime.open_trial.trial, reason=str(why), misapplied=misapplied)
    )


def _ask(runtime: Runtime, trial: Trial) -> bool:
    """Ask for one reply, which may fail; False if the trial ended without one."""
    attempts = 1 if trial.submitted else runtime.proposer.attempts  # there is nobody to ask again
    if len(trial.rejections) - len(trial.sent_back) >= attempts:
        _give_up(runtime, trial.rejections[-1])
        return False
    runtime.read_program()
    read_notebook(runtime)
    is_asked = bool(trial.rejections or not trial.idea)  # an idea that waited is there already
    runtime.stop_if_asked() if trial.submitted else runtime.stop_at_limits(is_asked)
    _reconsider_envelope(runtime)

    def asking(tokens: dict[str, int], dollars: float | None) -> None:
        number, attempt = trial.trial, len(trial.rejections)
        runtime.campaign.record(
            events.Asking(trial=number, attempt=attempt, usage=tokens, cost_usd=dollars)
        )

    context = replace(
        runtime.context(trial.trial),
        category=next(iter(trial.drawn), trial.category) if trial.follows else trial.category,
        drawn=trial.drawn,
        follow_ups=follow_ups_left(runtime.campaign.state, trial.trial),
        ideas=1 if trial.rejections else runtime.settings.ideas,
        asking=asking,
        cards=lambda: look_up(runtime),
    )
    try:
        _request(runtime, context)
    except NothingToPropose as nothing:
        if trial.submitted:
            _turn_down(runtime, nothing)  # all of the reason, for ``show``
        _give_up(runtime, str(nothing))
        return False
    except Misconfigured as fault:
        runtime.campaign.record(events.Refused(trial=trial.trial, reason=str(fault)))
        raise
    except Cancelled:
        runtime.stop_if_asked()
    return True


def _request(runtime: Runtime, context: Context) -> None:
    """Ask once, and record what came of it.

    Raises:
        Misconfigured: the user has to mend something, or too often in a row nothing came of it.
    """
    of = runtime.champion.commit  # it may be another one by the time that the reply comes
    try:
        if (trial := runtime.open_trial).submitted:
            return _record_proposal(runtime, propose_submitted(trial, context.source), of)
        if trial.idea and not trial.rejections:
            return _record_proposal(runtime, propose_idea(runtime), of)
        proposal = runtime.proposer.propose(context)
        # Prose is turned down where it is read as an edit.
        useless = "" if holds_edit(proposal.reply) else "there is nothing of an edit in the reply"
        _record_proposal(runtime, proposal, of, ideas=context.ideas)
    except ReplyUnusable as unusable:
        proposal, useless = unusable.proposal, str(unusable)
        _record_proposal(runtime, proposal, of, ideas=0)
        _turn_down(runtime, unusable)
    except Unavailable as outage:
        return _wait_for_model(runtime, outage)
    if useless and (fault := _in_vain(runtime, "paid", useless)):
        raise fault
    if proposal.model and not useless:
        runtime.in_vain |= dict.fromkeys(IN_VAIN, 0)


def _in_vain(runtime: Runtime, cause: Cause, why: str) -> Misconfigured | None:
    """Count what came to nothing, and say so from the second time on; a fault if it is enough."""
    runtime.in_vain[cause] += 1
    times, most = runtime.in_vain[cause], IN_VAIN.get(cause, math.inf)
    if times >= most:
        told = f"asked {times} times in a row in vain, at last: {why}; {WHAT_TO_DO[cause]}"
        return Misconfigured(f"{told}; python -m agent run --tag {runtime.campaign.tag} goes on")
    if times > 1 and cause in IN_VAIN:
        runtime.display.message(
            f"{times} times in a row in vain (the run ends after {most}): {why}"
        )
    return None


def _record_proposal(runtime: Runtime, proposal: Proposal, of: str, ideas: int = 1) -> None:
    """Record a reply, and its cost, before it is used.

    Args:
        of: the champion that it was made for.
        ideas: how many of its edits count; the first is this trial's, the others wait. 0: none, as
            it is of no use.
    """
    trial, is_a_models = runtime.open_trial, ideas > 0 and proposal.proposer == "llm"
    reply, envelope, choice = proposal.reply, proposal.envelope, Choice("")
    may_be_several = is_a_models and runtime.settings.ideas > 1
    first, *others = split(reply, envelope) if may_be_several else [reply]
    exhausted: dict[str, str] = {}
    if is_a_models and (trial.rejections or not trial.idea):  # of an idea it is known already
        exhausted = read_exhausted(reply, envelope, runtime.program.described)
    if is_a_models:
        with contextlib.suppress(edits.EditError):  # it is turned down where it is accepted
            choice = _choice(runtime, first, envelope)
    attempt = len(trial.rejections)
    suffix = f"-{attempt + 1}" if attempt else ""
    runtime.campaign.write(trial.trial, f"prompt{suffix}.md", proposal.prompt)
    runtime.campaign.write(trial.trial, f"reply{suffix}.md", proposal.reply)
    runtime.campaign.record(
        events.Proposed(
            trial=trial.trial,
            proposer=proposal.proposer,
            reply=first,
            envelope=envelope,
            data=proposal.data,
            model=proposal.model,
            usage=proposal.usage,
            cost_usd=proposal.cost_usd,
            program=runtime.program.sha256[:12],
            parent=of,
            prompt_tokens=proposal.prompt_tokens,
            category=choice.category,
            follows=choice.follows,
            exhausted=exhausted,
            ideas=tuple(others[: max(0, ideas - 1)]),
        )
    )


def _choice(runtime: Runtime, reply: str, envelope: str) -> Choice:
    form: Envelope = "file" if envelope == "file" else "edits"
    number = runtime.open_trial.trial
    return read_choice(reply, form, runtime.campaign.state, runtime.program.described, number)


def _wait_for_model(runtime: Runtime, outage: Unavailable) -> None:
    """Pause the campaign; an outage is not a trial. A lost reply may have cost something."""
    state, usage, is_paid = runtime.campaign.state, outage.usage, outage.cause == "paid"
    first, longest = OUTAGE_SECONDS
    seconds = min(longest, outage.retry_after or first * (state.outages + 1))
    fault = _in_vain(runtime, outage.cause, str(outage))
    seconds = 0.0 if fault else seconds
    if state.outages + 1 in LONG_OUTAGES:  # it may be a mistake that looks like one
        runtime.notify.soon(
            "needed", f"the model has not answered for about an hour or more: {outage}"
        )
    goes_on = datetime.now() + timedelta(seconds=seconds)
    runtime.display.message(
        f"waiting {seconds:.0f} s for the model, until {goes_on:%H:%M:%S}: {outage}"
    )
    runtime.wait(
        events.Waiting(
            reason=str(outage),
            until=round(time.time() + seconds),
            usage=asdict(usage) if usage is not None and not is_paid else None,
            cost_usd=load_catalog(os.environ).cost(usage, str(state.settings.get("llm", ""))),
            lost=is_paid,
        ),
        seconds,
    )
    if fault:
        raise fault


def _accept(runtime: Runtime, trial: Trial) -> None:
    """Check the reply and commit the candidate.

    Raises:
        EditError, Rejected: the reply is not usable; the message says why.
    """
    state, of = runtime.campaign.state, trial.parent or runtime.champion.commit
    champion = next(one for one in reversed(state.kept) if one.commit == of)
    if trial.proposer == "llm":
        _choice(runtime, trial.reply, trial.envelope)
    parent = runtime.campaign.source(champion.commit)
    edit, source, digest = read_edit(
        trial,
        parent,
        max_seq_len=find_preset(runtime.settings.preset).max_seq_len,
        tried=TriedWith(state, trial.objective),
    )
    changes = hunks(parent, source)
    refuse_repeat(changes, lost_in(state, trial.objective))
    runtime.stop_if_asked()
    smoke = runtime.measure(runtime.work("check", source, seed=runtime.settings.seed))
    runtime.stop_if_asked()
    if not smoke.ok:
        suspect_machine(runtime, parent)
        raise checks.Rejected(f"two trial steps failed: {smoke.reason}\n{smoke.detail}".strip())
    runtime.in_vain["steps"] = 0
    now = TriedWith(runtime.campaign.state, trial.objective)
    checks.refuse_tried(digest, now)  # a trial beside it may have come to the same meanwhile
    runtime.campaign.commit_candidate(
        champion.commit,
        source,
        edit,
        digest,
        changes,
        same_size=smoke.params == champion.of("candidate")[-1].params,
        number=trial.trial,
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
    source = edit.apply(parent)
    return edit, source, checks.check(parent, source, **known)


def whole_file_is_due(trials: Sequence[Trial]) -> bool:
    """Whether the model has shown that it cannot quote lines: its last trials were all rejected,
    and in each the blocks of most replies could not be read or applied."""
    latest = (trial for trial in reversed(trials) if trial.proposer == "llm")
    asked = [*itertools.islice(latest, MISAPPLIED_TRIALS)]
    return len(asked) == MISAPPLIED_TRIALS and all(
        trial.verdict == "rejected"
        and trial.envelope == "edits"
        and 2 * trial.misapplied > len(trial.rejections)
        for trial in asked
    )


def _reconsider_envelope(runtime: Runtime) -> None:
    state = runtime.campaign.state
    model = str(state.settings.get("llm", ""))
    if model not in ("none", *state.envelopes) and whole_file_is_due(state.real):
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
