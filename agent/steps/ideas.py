"""Ideas that came with the reply to an earlier trial, and wait for trials of their own."""

from __future__ import annotations

from agent.campaign import events
from agent.campaign.records import Trial
from agent.edits.ideas import fields
from agent.proposers.base import Proposal
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
        named = fields(idea["reply"], idea["envelope"]).get("category", "").lower()
        category = named if named in asked.drawn else next(iter(asked.drawn), asked.category)
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
                    program=runtime.program.sha256[:12],
                    objective=runtime.objective,
                )
            )
            return True
        reason = f"an idea of the reply to trial {asked.trial} is dropped: {category} is gone"
        runtime.campaign.record(events.IdeaDropped(reason=f"{reason} from program.md"))
        runtime.display.message(f"{reason} from program.md")
    return False


def propose_idea(trial: Trial) -> Proposal:
    """The idea of a trial that begins with one; its cost is that of the reply that held it."""
    asked = trial.idea["trial"]
    return Proposal(
        trial.proposer,
        trial.idea["reply"],
        prompt=f"The reply to trial {asked} held this idea, too: its prompt is trial {asked}'s.\n",
        envelope=trial.idea["envelope"],
    )
