"""How often rules keep luck, and what gain they find, by resampling null heats.

A rule is a parameter: anything with ``trial``. ``Heats`` judges differences within heats by today's
rule, ``Landed`` judges scores of trainings one after the other by the rule before it. Both are
given the same trainings: the landed rule the scores of champion and candidate of different heats.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from agent import judge
from agent.noise import Spread, learn_noise, spread
from benchmarks import landed_judge
from benchmarks.heats_analysis import NullHeat

KINDS = ("numeric", "structural")
RULES: tuple[judge.Rule, ...] = ("confirm", "strict", "greedy")
TOLD_TRIALS = (1, 6, 20)
STEPS = 10
"""Halvings of the interval in which the smallest gain is sought."""


@dataclass(frozen=True)
class World:
    """Heats of one champion, drawn with replacement; an edit of one kind, worth ``gain``.

    Which of a heat's two trainings is the champion is drawn as well, since without a gain they
    could be exchanged: so few heats as were read have a mean difference, by luck, that repeated
    draws would take for a gain.
    """

    heats: Sequence[NullHeat]
    kind: str
    dice: random.Random
    gain: float = 0.0

    def difference(self) -> float:
        difference = self.dice.choice(self.heats).difference(self.kind)
        return self.dice.choice((-1.0, 1.0)) * difference + self.gain

    def champion(self) -> float:
        return self.dice.choice(self.heats).scores[self.dice.choice(("champion", self.kind))]

    def candidate(self) -> float:
        return self.champion() - self.gain


@dataclass(frozen=True)
class Outcome:
    kept: bool
    trainings: int


class Campaign(Protocol):
    """A rule with what it has learnt; a trial is what follows reverted ones."""

    def trial(self, world: World) -> Outcome: ...


MakeCampaign = Callable[[], Campaign]


@dataclass
class Heats:
    """Today's rule. ``learns``: from ``noise`` on, as a campaign does; else the noise is known.

    Without its null trials, from which a campaign learns as well, and with every heat run to its
    end.
    """

    rule: judge.Rule
    noise: judge.Noise
    learns: bool = False
    past: list[tuple[bool, bool]] = field(default_factory=list)
    spreads: list[Spread] = field(default_factory=list)
    known: judge.Noise | None = None

    def trial(self, world: World) -> Outcome:
        self.known = self.known or self._learnt()
        rule = judge.Judge(self.rule, self.known)
        level = judge.trial_level(self.rule, self.past)
        found: list[float] = []
        while (answer := rule.verdict(found, level=level)) == "heat":
            found.append(world.difference())
        self.past.append((len(found) > 1, False))
        if self.learns and len(found) > 1:
            self.spreads.append(spread(found))
            self.known = self._learnt()
        return Outcome(answer == "keep", 2 * len(found))

    def _learnt(self) -> judge.Noise:
        return learn_noise(self.spreads, self.noise) if self.learns else self.noise


@dataclass
class Landed:
    """The rule before heats, as its campaigns applied it; none of its trainings is discarded."""

    rule: judge.Rule
    noise: landed_judge.Noise
    learns: bool = False
    champion: list[float] = field(default_factory=list)
    candidates: list[list[float]] = field(default_factory=list)

    def trial(self, world: World) -> Outcome:
        trainings, again, own = 0, False, list[float]()
        self.champion = self.champion or [world.champion()]  # the baseline's, before any trial
        while True:
            young = self.rule != "greedy" and len(self.champion) < landed_judge.CHAMPION_SEEDS
            answer = "champion" if young and own and not again else self._verdict(own)
            if answer in ("keep", "revert"):
                self.candidates.append(own)
                return Outcome(answer == "keep", trainings)
            trainings += 1
            if answer == "champion":
                again = True
                self.champion.append(world.champion())
            else:
                own.append(world.candidate())

    def _verdict(self, own: Sequence[float]) -> str:
        known = self.noise
        if self.learns:
            groups = [self.champion, *self.candidates, own]
            known = landed_judge.pooled_sigma(groups, known.sigma, known.dof)
        rule = landed_judge.Judge(self.rule, known.sigma, known.dof)
        return rule.verdict(self.champion, own, trials_since_keep=len(self.candidates))


# --- noise that is known ---


def known_noise(heats: Sequence[NullHeat], kind: str) -> judge.Noise:
    """Scale and degrees of freedom of a kind of edit over all champions."""
    by_champion = [
        spread([heat.difference(kind) for heat in group], mean=0.0) for group in of_champions(heats)
    ]
    scale = math.sqrt(sum(one.squares for one in by_champion) / sum(one.dof for one in by_champion))
    return learn_noise(by_champion, judge.Noise(scale, 9.0))


def known_sigma(heats: Sequence[NullHeat]) -> landed_judge.Noise:
    """SD of scores over all champions, with all its degrees of freedom."""
    scores = [[heat.scores["champion"] for heat in group] for group in of_champions(heats)]
    return landed_judge.pooled_sigma(scores, 1e-9, 1e-9)


def of_champions(heats: Sequence[NullHeat]) -> list[list[NullHeat]]:
    names = dict.fromkeys(heat.champion for heat in heats)
    return [[heat for heat in heats if heat.champion == name] for name in names]


# --- false keeps ---


def wilson(count: int, total: int, z: float = 1.96) -> list[float]:
    """95 % interval of a share (Wilson 1927)."""
    if total == 0:
        return [0.0, 1.0]
    share, square = count / total, z * z / total
    middle = share + square / 2
    half = z * math.sqrt(share * (1 - share) / total + square / total / 4)
    return [round((middle - half) / (1 + square), 5), round((middle + half) / (1 + square), 5)]


def rate(count: int, total: int) -> dict[str, Any]:
    share = round(count / total, 5) if total else None
    return {"share": share, "interval": wilson(count, total), "n": total}


def worlds(heats: Sequence[NullHeat], kind: str, number: int, seed: int) -> list[World]:
    """So many campaigns, each of a champion that is drawn."""
    groups, draw = of_champions(heats), random.Random(seed)
    return [World(draw.choice(groups), kind, random.Random(f"{seed} {i}")) for i in range(number)]


def false_keeps(make: MakeCampaign, campaigns: Sequence[World]) -> dict[str, Any]:
    """Share of null trials kept: at a trial number if none was kept before, and within so many."""
    last = max(TOLD_TRIALS)
    first_keep, reached = np.zeros(last + 1, int), np.zeros(last + 1, int)
    trainings = trials = 0
    for world in campaigns:
        campaign = make()
        for number in range(1, last + 1):
            outcome = campaign.trial(world)
            reached[number] += 1
            trials, trainings = trials + 1, trainings + outcome.trainings
            if outcome.kept:
                first_keep[number] += 1
                break
    return {
        "at_trial": {n: rate(int(first_keep[n]), int(reached[n])) for n in TOLD_TRIALS},
        "within_trials": {
            n: rate(int(first_keep[: n + 1].sum()), len(campaigns)) for n in TOLD_TRIALS[1:]
        },
        "trainings_per_trial": round(trainings / trials, 2),
    }


# --- power ---


def after_reverts(make: MakeCampaign, campaigns: Sequence[World], trials: int) -> list[Campaign]:
    """What each campaign has learnt after so many null trials, all taken as reverted."""
    found = []
    for world in campaigns:
        campaign = make()
        for _ in range(trials):
            campaign.trial(world)
        found.append(campaign)
    return found


def power(
    begun: Sequence[Campaign], campaigns: Sequence[World], gain: float, seed: int = 1
) -> tuple[float, float]:
    """Share kept of an edit that is worth ``gain``, and mean number of trainings."""
    kept = trainings = 0
    for i, (before, world) in enumerate(zip(begun, campaigns, strict=True)):
        dice = random.Random(f"{seed} power {i}")
        edited = World(world.heats, world.kind, dice, gain)
        outcome = copy.deepcopy(before).trial(edited)
        kept, trainings = kept + outcome.kept, trainings + outcome.trainings
    return kept / len(begun), trainings / len(begun)


def smallest_gain(
    make: MakeCampaign, campaigns: Sequence[World], trial: int, unit: float
) -> dict[str, Any]:
    """The gain that is kept half of the time at a trial number, and what that takes.

    ``at_equal_time`` is that gain times the root of the trainings of a trial without gain, which
    most trials are: a rule that takes four times as many has to find half of it to be level.

    Args:
        unit: the gain that is surely found is sought up to 16 times this.
    """
    begun = after_reverts(make, campaigns, trial - 1)
    _, trainings_null = power(begun, campaigns, 0.0)
    low, high = 0.0, 16 * unit
    for _ in range(STEPS):
        middle = (low + high) / 2
        if power(begun, campaigns, middle)[0] < 0.5:
            low = middle
        else:
            high = middle
    share, trainings = power(begun, campaigns, high)
    return {
        "gain": round(high, 5),
        "kept": round(share, 3),
        "trainings": round(trainings, 2),
        "trainings_of_nulls": round(trainings_null, 2),
        "at_equal_time": round(high * math.sqrt(trainings_null), 5),
    }


# --- all rules ---


def makers(
    heats: Sequence[NullHeat], kind: str, rule: judge.Rule, preset: judge.Noise
) -> dict[str, MakeCampaign]:
    """Today's rule and the landed one, with the noise known, or learnt from a wrong start.

    The wrong starts are half of the truth, and what a campaign begins with; the landed rule's guess
    is that of its preset, which was for eight times the budget.
    """
    noise, sigma = known_noise(heats, kind), known_sigma(heats)
    half = judge.Noise(noise.scale / 2, preset.dof)
    half_sigma = landed_judge.Noise(sigma.sigma / 2, landed_judge.PRIOR_DOF)
    guess = landed_judge.Noise(landed_judge.PRIOR_SIGMA, landed_judge.PRIOR_DOF)
    return {
        "heats, noise known": lambda: Heats(rule, noise),
        "landed, noise known": lambda: Landed(rule, sigma),
        "heats, learnt from half": lambda: Heats(rule, half, learns=True),
        "landed, learnt from half": lambda: Landed(rule, half_sigma, learns=True),
        "heats, learnt from the preset": lambda: Heats(rule, preset, learns=True),
        "landed, learnt from the preset": lambda: Landed(rule, guess, learns=True),
    }


def compared(
    heats: Sequence[NullHeat], presets: Mapping[str, judge.Noise], number: int, seed: int = 0
) -> dict[str, Any]:
    """False keeps and power of all rules.

    Args:
        presets: of each kind, where campaigns of today's rule begin to learn the noise.
        number: of campaigns; a fifth where the noise is learnt, a twentieth for power.
    """
    found: dict[str, Any] = {}
    for kind in KINDS:
        drawn = worlds(heats, kind, number, seed)
        few, unit = drawn[: max(1, number // 20)], known_noise(heats, kind).scale
        for rule in RULES:
            for name, make in makers(heats, kind, rule, presets[kind]).items():
                many = drawn if "known" in name else drawn[: max(1, number // 5)]
                told = false_keeps(make, many)
                if rule != "greedy":
                    at = {n: smallest_gain(make, few, n, unit) for n in TOLD_TRIALS}
                    told["gain_kept_half_of_the_time"] = at
                found[f"{kind}, {rule}, {name}"] = told
    return found
