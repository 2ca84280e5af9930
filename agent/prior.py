"""Which kind of edit to try next: a policy over categories that learns from rewards.

The rule that it follows is ``learner``'s; this gives the categories names, draws, and remembers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from agent.learner import RULE, SPARED, WEIGHTS, Learner, Numbers, Rule


class Prior:
    """A policy over named categories.

    Deterministic: a draw depends on ``seed``, its number and the probabilities, and replaying the
    updates rebuilds the state.
    """

    def __init__(
        self,
        categories: Iterable[str],
        seed: int = 0,
        weights: npt.ArrayLike = WEIGHTS,
        rule: Rule = RULE,
    ) -> None:
        """Raises ValueError unless there is a category and none is named twice."""
        self.seed = seed
        self._draws = 0
        self.described: dict[str, str] = {}
        """Each category with its description, or a digest of it; in the learner's order."""
        self._absent: dict[str, Numbers] = {}
        """What was learnt of categories that are gone: theta, both brakes, history."""
        self.learner = Learner(0, (), weights, rule)
        self.set_categories(categories)

    def set_categories(self, categories: Iterable[str]) -> None:
        """Replace the categories: known ones keep what was learnt, also after an absence; new ones
        start as average.

        Args:
            categories: names; with descriptions as the values of a mapping, a category that has
                another name and the same description keeps what was learnt, too.
        """
        names = list(categories)
        if not names or len(set(names)) < len(names):
            raise ValueError(f"categories must be distinct and at least one, not {names}")
        told = dict(categories) if isinstance(categories, Mapping) else dict.fromkeys(names, "")
        learner = self.learner
        learnt = np.vstack([learner.theta, learner.held, learner.spared, learner.history])
        known = self._absent | dict(zip(self.described, learnt.T, strict=True))
        for name in names:
            same = [old for old, text in self.described.items() if text and text == told[name]]
            if name not in known and len(same) == 1 and same[0] not in told:
                known[name] = known.pop(same[0])
        found = np.stack([known.pop(name, np.zeros(len(learnt))) for name in names], -1)
        learner.theta, learner.held, learner.spared = found[:3].copy()
        learner.history = found[3:].copy()
        self.described, self._absent = told, known

    def logits(self) -> dict[str, float]:
        """What is learnt of each category, the history's part included."""
        logs = np.log(np.maximum(1e-12, self.learner.policy()[0]))
        return dict(zip(self.described, (logs - logs.mean()).tolist(), strict=True))

    def _mask(self, available: Collection[str] | None) -> npt.NDArray[np.bool_]:
        names = list(self.described) if available is None else available
        if not names or not self.described.keys() >= set(names):
            raise ValueError(
                f"of the categories {list(self.described)}, {list(names)} are available"
            )
        return np.array([name in names for name in self.described])

    def champion_moved(self) -> None:
        """Remember that what no category was drawn for, as a submission, is the champion now."""
        self.learner.note(np.zeros(len(self.described), bool), True, False)

    def probabilities(self, available: Collection[str] | None = None) -> dict[str, float]:
        """Probability of each category; those not available get 0, the others share the rest.

        Raises:
            ValueError: an available category is unknown, or none is available.
        """
        shares = self.learner.policy(self._mask(available))[1].tolist()
        return dict(zip(self.described, shares, strict=True))

    def sample(self, available: Collection[str] | None = None, *, trial: int | None = None) -> str:
        """Draw a category. Draws are numbered 0, 1, ... unless ``trial`` is the number."""
        return next(iter(self.draw(1, available, trial=trial)))

    def draw(
        self, places: int, available: Collection[str] | None = None, *, trial: int | None = None
    ) -> dict[str, float]:
        """Draw up to ``places`` categories one after the other, without replacement.

        Returns:
            The categories in the order drawn, each with its probability among those left then. The
            first is what ``sample`` draws.
        """
        if trial is None:
            trial = self._draws
            self._draws += 1
        # A string seed is hashed with SHA-512, the same on every platform.
        generator = random.Random(f"{self.seed}:{trial}")
        left = list(self.described if available is None else available)
        drawn: dict[str, float] = {}
        for _ in range(max(1, min(places, len(left)))):
            shares = self.probabilities(left)
            name = generator.choices(list(shares), list(shares.values()))[0]
            drawn[name] = shares[name]
            left = [other for other in left if other != name]
        return drawn

    def spare(self, category: str) -> None:
        """Draw a category less, as it is said to have nothing left, until the champion moves."""
        hit = np.array([name == category for name in self.described])
        self.learner.spared = np.where(hit, SPARED, self.learner.spared)

    def spare_none(self) -> None:
        """The champion has moved, and with it what is left in every category."""
        self.learner.spared[:] = 0
        for learnt in self._absent.values():
            learnt[2] = 0

    def update(
        self,
        category: str,
        reward: float | None,
        *,
        propensity: float | None = None,
        available: Collection[str] | None = None,
        kept: bool | None = None,
        failed: bool = False,
        drawn: Mapping[str, float] | None = None,
        rise: float = math.inf,
    ) -> None:
        """Learn that a trial of ``category`` brought ``reward``.

        Args:
            reward: None if it brought none, as a rejected one: then it is only remembered.
            propensity: probability with which the category was drawn; if left out, its probability
                in the current policy over ``available``.
            available: the categories that it was drawn from; all if left out.
            kept: whether it is the champion now; if left out, whether the reward is positive.
            failed: whether it crashed, broke a rule or was rejected.
            drawn: what ``draw`` gave, if the category is one of it; in place of ``propensity``.
            rise: factor by which the probability of what was drawn may rise at most; see ``RISE``.

        Raises:
            ValueError: an unknown category, a reward that is not finite, a propensity outside
                (0, 1], a category that is not among those drawn.
        """
        mask = self._mask(available)
        order = [list(self.described).index(name) for name in drawn or ()]
        if drawn:
            propensity = math.prod(drawn.values())
        hit = np.array([name == category for name in self.described])
        is_finite = reward is None or math.isfinite(reward)
        is_chance = propensity is None or 0 < propensity <= 1
        is_there = any(hit & mask) and (not drawn or (category in drawn and all(mask[order])))
        if not (is_there and is_finite and is_chance):
            raise ValueError(
                f"cannot learn {reward} of {category!r}, drawn with probability {propensity}, "
                f"among {list(self.described)}"
            )
        if reward is None:
            return self.learner.note(hit, bool(kept), failed)
        self.learner.update(
            np.argmax(hit), reward, propensity, mask, kept, failed, order or None, rise
        )
