"""The arms, and the campaigns that are run of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.search.draws import Draw, in_turn, uniform

SEEDS = (1, 2)
BUDGET = "3s"
DISTANCE = "distance"
"""No arm: the plain start beside the shipped train.py."""


@dataclass(frozen=True)
class Arm:
    """One way to search."""

    name: str
    proposer: str = ""
    """Of ``agent run``; "" if points are trained one by one and the best score counts."""
    draw: Draw | None = None
    """In place of the prior's."""
    trials: tuple[int, ...] = (40,)
    """How long its campaigns are; a longer one goes on from the shorter one."""

    @property
    def is_campaign(self) -> bool:
        return bool(self.proposer)


PRIOR = Arm("deck and tuner", "hybrid", trials=(30, 40))
UNIFORM = Arm("deck and tuner, uniform", "hybrid", uniform, (30,))
IN_TURN = Arm("deck and tuner, in turn", "hybrid", in_turn, (30,))
LUCK = Arm("luck")
RANDOM = Arm("random constants")
TPE_STATED = Arm("TPE, stated ranges")
TPE = Arm("TPE", trials=(40, 160))
TUNER = Arm("tuner", "tuner")
DECK = Arm("deck", "deck")
_ALONE = (TPE, TUNER, LUCK, RANDOM, TPE_STATED, DECK)
ARMS = {a.name: a for a in (PRIOR, UNIFORM, IN_TURN, *_ALONE)}
OF_ISSUE = {"16": (PRIOR, UNIFORM, IN_TURN), "18": (PRIOR, *_ALONE)}
"""Of 16 the shortest campaigns only. 160 trainings are about what 40 trials in heats cost."""


@dataclass(frozen=True)
class Job:
    """One campaign up to some number of trials."""

    arm: str
    seed: int
    trials: int
    budget: str = BUDGET

    @property
    def folder(self) -> str:
        """Its name in the work folder: longer campaigns go on in the same one."""
        return re.sub(r"\W+", "-", f"{self.arm} {self.budget} {self.seed}")

    @property
    def words(self) -> str:
        return f"{self.arm}, seed {self.seed}, {self.trials} trials"


def plan(
    which: str, only: str = "", seeds: Sequence[int] = SEEDS, budget: str = BUDGET
) -> list[Job]:
    """The campaigns of an issue's arms, or of ``all``.

    With each further seed the arms begin one place later, so that other arms run side by side.
    """
    arms = [arm for arm in ARMS.values() if which == "all" or arm in OF_ISSUE[which]]
    jobs = [Job(DISTANCE, 0, 0, budget)]
    for turn, seed in enumerate(seeds):
        for arm in arms[turn % len(arms) :] + arms[: turn % len(arms)]:
            lengths = arm.trials[:1] if which == "16" else arm.trials
            jobs += [Job(arm.name, seed, trials, budget) for trials in lengths]
    jobs.sort(key=lambda job: job.trials == max(TPE.trials))  # nobody waits for those
    return [job for job in jobs if only in ("", job.arm)]


def next_job(
    jobs: Sequence[Job], is_done: Callable[[Job], bool], blocked: Sequence[Job]
) -> Job | None:
    """The first that can begin: it is not done, no job in its folder runs or has failed, and no
    shorter campaign in it is left to do."""
    folders = {job.folder for job in blocked}
    for job in jobs:
        if is_done(job) or job.folder in folders:
            continue
        same = [other for other in jobs if other.folder == job.folder and not is_done(other)]
        if min(other.trials for other in same) == job.trials:
            return job
    return None
