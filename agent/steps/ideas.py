"""Ideas that came with the reply to an earlier trial, and wait for trials of their own."""

from __future__ import annotations

from agent.campaign import events
from agent.campaign.state import State
from agent.edits.blocks import EditError, Envelope, parse
from agent.edits.ideas import as_blocks, fields, rewritten
from agent.git.merge import merge
from agent.proposers.base import Proposal
from agent.steps.choice import taken
from agent.steps.runtime import Runtime


def begin_idea(runtime: Runtime) -> bool:
    """Begin the trial of the idea that has waited longest: no model is asked, nothing is drawn.

    What it teaches the prior, it teaches by the draw that it was an answer to. One whose category
    is gone from program.md is dropped.

    Returns:
        Whether one was begun.
    """
    state = runtime.campaign.state
    while state.queue:
        idea = state.queue[0]
        asked = state.trials[idea["trial"]]
        category = taken(fields(idea["reply"], idea["envelope"]), asked, runtime.program.names)
        if asked.name_today(category, runtime.program.described) in runtime.program.names:
            runtime.campaign.record(
                events.TrialBegun(
                    trial=len(state.trials),
                    category=category,
                    proposer=asked.proposer,
                    propensity=asked.propensity,
                    drawn=asked.drawn,
                    propensities=asked.propensities,
                    idea=idea,
                    available=asked.available,
                    categories=asked.categories,
                    described=asked.described,
                    spent=asked.spent,
                    **runtime.terms,
                )
            )
            return True
        reason = f"an idea of the reply to trial {asked.trial} is dropped: {category} is gone"
        runtime.campaign.record(events.IdeaDropped(reason=f"{reason} from program.md"))
        runtime.display.message(f"{reason} from program.md")
    return False


def propose_idea(runtime: Runtime) -> Proposal:
    """The idea that the open trial began with; its cost is that of the reply that held it.

    One that was made of an earlier champion is merged into the present one.
    """
    trial = runtime.open_trial
    asked, reply, envelope = (trial.idea[name] for name in ("trial", "reply", "envelope"))
    before = trial.idea.get("parent") or _champion_at(runtime.campaign.state, asked)
    if before != runtime.champion.commit:
        reply, envelope = _brought_over(runtime, reply, envelope, before)
    return Proposal(
        trial.proposer,
        reply,
        prompt=f"The reply to trial {asked} held this idea, too: its prompt is trial {asked}'s.\n",
        envelope=envelope,
        # Of who proposes it teaches by that draw, too.
        data={k: v for k, v in runtime.campaign.state.trials[asked].data.items() if k == "chances"},
    )


def _brought_over(
    runtime: Runtime, reply: str, envelope: Envelope, before: str
) -> tuple[str, Envelope]:
    """An idea made of the champion ``before`` as blocks for the present one. One that cannot be
    read or merged is left as it is, of a whole file what it changes: the model is told why it does
    not apply."""
    base, now = (runtime.campaign.source(of) for of in (before, runtime.champion.commit))
    try:
        new, conflicts = merge(now, base, parse(reply, envelope).apply(base))
    except EditError:
        return reply, envelope
    if not conflicts and new.rstrip() != now.rstrip():
        return rewritten(reply, envelope, now, new), "edits"
    return (as_blocks(reply, base), "edits") if envelope == "file" else (reply, envelope)


def _champion_at(state: State, number: int) -> str:
    """The champion when a trial began, in journals that do not say; then one trial was open."""
    kept = (t for t in reversed(state.real) if t.kept and t.trial < number)
    return next(trial.commit for trial in kept)
