"""Uses several proposers, and asks those more often whose proposals have paid."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agent.campaign.records import Trial
from agent.edits.blocks import parse
from agent.judge import FAILURES
from agent.learner import FEATURES, RISE
from agent.prior import Prior
from agent.proposers.base import Context, NothingToPropose, Proposal, Proposer
from agent.proposers.llm import LLMProposer


class Hybrid:
    """Numbers, structure and memory, weighed by a prior of their own (see ``agent.prior``).

    It is plain REINFORCE on the rewards of their trials, rebuilt from the history alone; its share
    that is drawn evenly keeps all of them alive. Who was never asked comes first, so that a run of
    a few trials asks a model that it was given. Who is asked is drawn before the category is known,
    as an order: the first of it with an idea for the category proposes. The order is a race of
    exponential clocks, each at the rate of a proposer's probability q, so the chance to be first
    among those of a set A is q_a over the sum of q in A (R. D. Luce, Individual Choice Behavior,
    1959). It is logged with the proposal, and learnt from by that.
    """

    name = "hybrid"

    def __init__(
        self, numbers: Proposer, structure: Proposer, seed: int, memory: Proposer | None = None
    ) -> None:
        """``seed``: the campaign's. ``memory``: None for none."""
        self._numbers, self.structure, self._seed = numbers, structure, seed
        arms = (numbers, structure, *([memory] if memory else ()))
        self._arms = {proposer.name: proposer for proposer in arms}
        self.attempts = structure.attempts
        self._forget()

    def _forget(self) -> None:
        self._prior = Prior(list(self._arms), self._seed, np.zeros(len(FEATURES)))
        self._learnt: Sequence[Trial] = ()

    def choices(self, context: Context) -> int:
        """As many as the first of the order that has an idea at all takes its pick from."""
        names = context.program.names
        for proposer in self._order(context):
            if any(proposer.covers(replace(context, category=name)) for name in names):
                return proposer.choices(context)
        return 1

    def covers(self, context: Context) -> bool:
        return any(proposer.covers(context) for proposer in self._arms.values())

    def propose(self, context: Context) -> Proposal:
        able = [proposer for proposer in self._order(context) if proposer.covers(context)]
        asked = able[:1]
        if context.feedback and context.proposer in self._arms:
            # Whose idea it was mends it, or has another. To others' replies no other can answer,
            # and a deck would take them for recipes of its own that were turned down.
            asked = [proposer for proposer in able if proposer.name == context.proposer]
        if not asked:
            raise NothingToPropose(f"no untried idea is left for {context.category}")
        proposal = asked[0].propose(self._with_point(context, asked[0], able))
        chances = self.chances(context, [proposer.name for proposer in able])
        return replace(proposal, data={**proposal.data, "chances": chances})

    def chances(self, context: Context, able: Sequence[str]) -> dict[str, float]:
        """With which probability each of those that have an idea is the first of the order."""
        asked = {trial.proposer for trial in (*context.history, *context.pending)}
        new = [name for name in able if name not in asked] or able
        shares = self.prior(context.history).probabilities()
        total = sum(shares[name] for name in new)
        return {name: shares[name] / total for name in new}

    def prior(self, history: Sequence[Trial]) -> Prior:
        """What a history has taught about who pays. Replies that were rejected are no evidence."""
        known = len(self._learnt)
        if known and (len(history) < known or history[known - 1] is not self._learnt[-1]):
            self._forget()
        for trial in history[len(self._learnt) :]:
            if trial.proposer not in self._arms or trial.submitted or trial.reward is None:
                continue
            told = trial.data.get("chances", {})
            chances = {name: told[name] for name in self._arms if name in told}
            self._prior.update(
                trial.proposer,
                trial.reward,
                propensity=chances.get(trial.proposer),
                available={*(chances or self._arms), trial.proposer},
                kept=trial.kept,
                failed=trial.status in FAILURES,
                rise=RISE,
            )
        self._learnt = history
        return self._prior

    def _order(self, context: Context) -> list[Proposer]:
        """Who is asked first for a trial, who is if that one has no idea, and so on."""
        shares = self.prior(context.history).probabilities()
        asked = {trial.proposer for trial in (*context.history, *context.pending)}
        dice = random.Random(f"hybrid:{self._seed}:{context.trial}")
        clocks = {name: -math.log(1 - dice.random()) / shares[name] for name in self._arms}
        return [self._arms[n] for n in sorted(clocks, key=lambda n: (n in asked, clocks[n]))]

    def _with_point(self, context: Context, asked: Proposer, able: Sequence[Proposer]) -> Context:
        """For a model: with what the tuner would set next, so that it can do better."""
        if not isinstance(asked, LLMProposer) or self._numbers not in able:
            return context
        point = parse(self._numbers.propose(replace(context, feedback=())).reply)
        return replace(context, point=(point.title, point.hypothesis))
