"""The prior of a campaign: rebuilt from its journal, and taught by each trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.judge import FAILURES
from agent.learner import RISE
from agent.prior import Prior


def rebuild_prior(
    names: Iterable[str],
    seed: int,
    trials: Iterable[Trial],
    lent: Mapping[str, float] | None = None,
    lent_described: Mapping[str, str] | None = None,
) -> Prior:
    """The prior after learning from the rewards of ``trials``, given as ``State.in_order``.

    Args:
        names: of the categories now; with digests of their descriptions if it is a mapping.
        lent, lent_described: see ``State.lent``.
    """
    trials = list(trials)  # none of the names of later may be known before its time
    first = next((trial.known for trial in trials if trial.categories and trial.propensity), names)
    prior = Prior(lent_described or lent or first, seed=seed)
    if lent:
        prior.learner.theta[:] = list(lent.values())
    for trial in trials:
        teach_prior(prior, trial)
    prior.set_categories(names)
    return prior


def teach_prior(prior: Prior, trial: Trial) -> None:
    """Update the prior with a trial, with what was known when its category was drawn.

    A proposal that shows another category than was asked for counts for that one, and so does one
    that follows up another trial: neither was drawn. Categories that were drawn and not taken have
    no reward of their own.
    """
    if trial.categories and trial.propensity:
        prior.set_categories(trial.known)
        prior.learner.spent = trial.spent
    known, credited = prior.described, trial.credited
    if trial.submitted:  # nothing was drawn
        prior.champion_moved() if trial.kept else None
    elif trial.is_lost:  # for no fault of its category
        pass
    elif credited in known and (trial.reward is not None or trial.verdict == "rejected"):
        available = {name for name in trial.available if name in known} or set(known)
        drawn = dict(zip(trial.drawn, trial.propensities, strict=True))
        is_of_draw = credited in drawn and not trial.follows and drawn.keys() <= available
        is_asked_for = credited == trial.category and not drawn  # as earlier versions drew it
        prior.update(
            credited,
            trial.reward,
            propensity=trial.propensity or None if is_asked_for else None,
            available=available | {credited},
            kept=trial.kept,
            failed=trial.verdict == "rejected" or trial.status in FAILURES,
            drawn=drawn if is_of_draw else None,
            rise=RISE if drawn else math.inf,
        )
    if trial.kept and not trial.is_null:
        prior.spare_none()
    elif trial.verdict is not None:
        for name in trial.exhausted:
            prior.spare(name)


def next_shares(prior: Prior, state: State) -> dict[str, float]:
    """Of each category: the probability for the next trial, 0 where the last draw found no idea."""
    drawn = (trial for trial in reversed(state.trials) if trial.available)
    return _shares_after(next(drawn, Trial(0)), prior)


def _shares_after(trial: Trial, prior: Prior) -> dict[str, float]:
    open_ = {trial.name_today(name, prior.described) for name in trial.available}
    return prior.probabilities(open_ & prior.described.keys() or None)


def prior_course(state: State, most: int = 8) -> list[dict[str, Any]]:
    """The prior after drawn trials, by the categories' names of today: the last, and others in even
    steps before it."""
    names = next((trial.known for trial in state.finished if trial.categories), {})
    if not names:
        return []
    prior, rows = rebuild_prior(names, 0, (), state.lent, state.lent_described), []
    for trial in state.finished:
        teach_prior(prior, trial)
        if trial.categories and trial.propensity:
            rows.append((trial, _shares_after(trial, prior)))
    now = prior.described
    return [
        {"trial": t.trial, "prior": {t.name_today(n, now): p for n, p in shares.items()}}
        for t, shares in rows[:: -max(1, math.ceil(len(rows) / most))][::-1]
    ]
