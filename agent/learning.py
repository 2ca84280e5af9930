"""What the campaign has learnt: the prior, rebuilt by replaying the rewards of its trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.campaign.state import Trial
from agent.prior import Prior


def learnt(names: Sequence[str], seed: int, trials: Iterable[Trial]) -> Prior:
    """The prior that the rewards of ``trials``, oldest first, have made."""
    prior = Prior(names, seed=seed)
    for trial in trials:
        if trial.categories:
            prior.set_categories(trial.categories)
        learn(prior, trial)
    prior.set_categories(names)
    return prior


def learn(prior: Prior, trial: Trial) -> None:
    """Let a trial's reward move the prior; categories that are gone since teach nothing."""
    known = prior.probabilities()
    if trial.reward is not None and trial.category in known:
        available = [name for name in trial.available if name in known]
        prior.update(
            trial.category,
            trial.reward,
            propensity=trial.propensity or None,
            available=available or None,
        )
