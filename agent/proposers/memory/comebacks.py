"""What nearly paid comes back once the champion has moved: it may suit the new one."""

from __future__ import annotations

from agent.proposers.base import Context
from agent.proposers.memory.idea import Idea, edited, is_over, kept_since, numbers, past, strength

LEAST = 0.5
"""Standard errors by which it was ahead. What was level or behind gains too seldom for a heat."""


def comebacks(context: Context) -> list[Idea]:
    """The strongest first; each once on a champion, as its last try is what counts."""
    found, history = [], past(context)
    for trial in history:
        since, ahead = kept_since(trial, history), strength(trial)
        if ahead is None or ahead < LEAST or not since:
            continue
        if is_over(trial, history) or not (source := edited(trial, context.source, context)):
            continue
        why = (
            f"Trial {trial.trial} again: it was ahead by {trial.gain:+.4f}, not beyond luck, and "
            f"the champion has changed since ({numbers(t.trial for t in since)}), so that it may "
            "suit this one better."
        )
        idea = Idea("comeback", (trial.trial,), trial.credited, trial.title, why, source)
        found.append((-ahead, trial.trial, idea))
    return [idea for _, _, idea in sorted(found, key=lambda one: one[:2])]
