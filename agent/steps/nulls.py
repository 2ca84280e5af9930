"""Null trials: edits known to do nothing, judged like any other. Those that are kept are false.

They are on no branch, teach the prior nothing and spend none of the campaign's level; what they say
is how often this judge, on this machine, keeps what is no improvement. Two kinds take turns: the
champion under another seed, and the champion with one number changed by a millionth.
"""

from __future__ import annotations

import random
import re

from agent.campaign import events
from agent.campaign.records import NULL, Trial
from agent.edits.constants import constants
from agent.steps.runtime import Runtime

MILLIONTH = 1 + 1e-6


def null_is_due(runtime: Runtime) -> bool:
    """Whether the next trial is a null trial, by a lot that a resumed run draws again.

    With a share of one in twenty there is one among every twenty trials, the first one excepted.
    """
    settings, number = runtime.settings, len(runtime.campaign.state.trials)
    if not settings.nulls:
        return False
    size = round(1 / max(settings.nulls, 1e-9))
    block, place = divmod(number - 1, size)
    lot = random.Random(f"{settings.seed} {block} null").randrange(size)
    return number > 1 and place == lot


def begin_null(runtime: Runtime) -> None:
    """Begin a null trial of the champion."""
    state, champion = runtime.campaign.state, runtime.champion
    number, earlier = len(state.trials), sum(trial.is_null for trial in state.trials)
    floats = _floats(runtime.campaign.source(champion.commit)) if earlier % 2 else []
    name = random.Random(f"{runtime.settings.seed} {number}").choice(floats) if floats else ""
    runtime.campaign.record(
        events.TrialBegun(
            trial=number,
            category=NULL,
            proposer=NULL,
            title=f"{name} times 1 + 1e-6" if name else "the champion under another seed",
            parent=champion.commit,
            null_constant=name,
            sets_numbers=bool(name),
            categories=runtime.program.names,
            **runtime.terms,
        )
    )


def null_source(source: str, trial: Trial) -> str:
    """The champion's source with the trial's constant, if it has one, times 1 + 1e-6."""
    name = trial.null_constant
    if not name:
        return source
    value = next(c.value for c in constants(source) if c.name == name)
    return _pattern(name).sub(lambda found: f"{found[1]}{value * MILLIONTH!r}", source, count=1)


def _floats(source: str) -> list[str]:
    """Names of constants that can be changed by a millionth."""
    return [
        constant.name
        for constant in constants(source)
        if isinstance(constant.value, float) and constant.value
        if _pattern(constant.name).search(source)
    ]


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"^({name}(?:: \w+)? = )[-+\w.]+", re.MULTILINE)
