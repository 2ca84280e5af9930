"""Two edits that nearly paid on this champion, in one: together they may show beyond luck."""

from __future__ import annotations

import itertools
import math

from agent.proposers.base import Context
from agent.proposers.memory.idea import Idea, champion, edited, is_over, made_of, past, strength

LEAST, TOGETHER = 0.3, 1.2
"""Standard errors by which each was ahead, and by which the sum of both was."""
MOST = 20
"""Edits among which pairs are sought, those that were ahead most."""


def combine(context: Context) -> list[Idea]:
    """The pairs that were ahead most, surest first; each edit in one pair."""
    history = past(context)
    made, now = made_of(history, "combine"), champion(context)
    used = {number for pair in made for number in pair}
    near = [
        trial
        for trial in history
        if (trial.parent == now.commit if trial.parent else trial.trial > now.trial)
        and trial.trial not in used
        and trial.data.get("how") in (None, "comeback")
        and (strength(trial) or 0.0) >= LEAST
        and not is_over(trial, history)
    ]
    near = sorted(near, key=lambda trial: strength(trial) or 0.0)[-MOST:]
    pairs = []
    for one, two in itertools.combinations(sorted(near, key=lambda trial: trial.trial), 2):
        gains = [trial.difference or (trial.gain or 0.0, 1.0) for trial in (one, two)]
        sure = sum(g for g, _ in gains) / max(1e-9, math.hypot(*(error for _, error in gains)))
        if sure >= TOGETHER:
            pairs.append((-sure, one, two))
    found: list[Idea] = []
    for _, one, two in sorted(pairs, key=lambda pair: (pair[0], pair[1].trial, pair[2].trial)):
        if {one.trial, two.trial} & {number for idea in found for number in idea.of}:
            continue
        first = edited(one, context.source, context)
        both = first and edited(two, first, context)
        if not both:
            continue
        why = (
            f"Trials {one.trial} and {two.trial} at once: each was ahead of this champion "
            f"({one.gain:+.4f}, {two.gain:+.4f}), neither beyond luck; together they may be."
        )
        title = f"{one.title}; {two.title}"
        found.append(Idea("combine", (one.trial, two.trial), one.credited, title, why, both))
    return found
