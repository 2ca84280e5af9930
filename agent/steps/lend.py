"""What a campaign's prior starts from: published campaigns, or what another has learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.campaign import reading
from agent.campaign.events import PriorLent
from agent.campaign.reading import CampaignError
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.program import ProgramError

ELSEWHERE = 0.5
"""What is left of it on another device, and again with another preset."""
START: Mapping[str, float] = {
    "architecture": 0.48, "optimizer": -0.38, "schedule": -0.85, "hyperparameters": 1.02,
    "initialisation": -0.47, "regularisation": 0.62, "dataset": 0.0, "preprocessing": -0.05,
    "efficiency": -0.37, "simplification": -0.39,
}  # fmt: skip
"""Logits of the default categories by what paid early in published campaigns, as ``python -m
benchmarks.prior --start`` prints them. They fade as the campaign's own rewards come in."""


def published_start(described: Mapping[str, str]) -> PriorLent | None:
    """What a campaign with these categories starts from where no other lends it anything; None if
    it has none of the default ones. A category of one's own starts as an average one."""
    if not START.keys() & described.keys():
        return None
    logits = {name: START.get(name, 0.0) for name in described}
    return PriorLent(tag="", alike=0.0, logits=logits, described=dict(described))


def lender(repo: Repo, tag: str, borrower: State) -> State | None:
    """The campaign ``tag``, if it has something to lend; None if nothing can be lent any more.

    Raises:
        CampaignError: there is no such campaign, it has learnt nothing, or its program.md is none.
    """
    if not tag or borrower.trials or borrower.lent_by:
        return None
    state = reading.load(repo, tag)
    if not any(trial.reward is not None and trial.propensity for trial in state.finished):
        raise CampaignError(
            f"--prior {tag}: no trial of that campaign has taught its prior anything yet; name "
            "another, or leave --prior out"
        )
    try:
        reading.prior_of(state)
    except ProgramError as error:
        raise CampaignError(
            f"--prior {tag}: program.md as that campaign read it last has no categories to be used "
            f"({error.message}); name another, or leave --prior out"
        ) from None
    return state


def lend(
    state: State, tag: str, settings: Mapping[str, Any], described: Mapping[str, str]
) -> PriorLent:
    """What a campaign's prior gives one with ``settings`` and these categories.

    Its logits are multiplied by how alike the two are: the share of all their categories that both
    have (by name, or by description), halved if the device is another, and if the preset is. The
    less alike they are, the more it starts from ``START``, which the other one once did as well.
    """
    prior = reading.prior_of(state)
    logits, names = prior.logits(), {text: name for name, text in prior.described.items() if text}
    known = {n: n if n in logits else names.get(text, "") for n, text in described.items()}
    shared = len(logits.keys() & known.values())
    alike = shared / (len(known) + len(logits) - shared)
    for name in ("device", "preset"):
        alike *= 1.0 if settings.get(name) == state.settings.get(name) else ELSEWHERE
    tempered = {
        own: alike * logits.get(name, 0.0) + (1 - alike) * START.get(own, 0.0)
        for own, name in known.items()
    }
    return PriorLent(tag=tag, alike=alike, logits=tempered, described=dict(described))
