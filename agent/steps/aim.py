"""What the objective says of the open trial, in words, and to whom it says it first."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from agent.campaign.evidence import ceiling_mb, peaks_mb
from agent.campaign.records import Training
from agent.objective import GB, Objective, of_cost
from agent.steps.next_action import peak_mb
from agent.steps.runtime import Runtime
from trainer.presets import parse_budget


def tell_of_objective(runtime: Runtime) -> None:
    """Before a trial: that the objective is another one now, or that the champion is above its
    limit; each once."""
    state, now = runtime.campaign.state, runtime.program.objective
    before = Objective.of(state.objective)
    if runtime.objective != state.objective:
        is_other = of_cost(runtime.objective) != of_cost(state.objective)
        apart = ", and gains by both are no one sum" if is_other else ""
        runtime.display.message(
            f"the objective was {before.words()}; from now on trials are judged by {now.words()}; "
            f"the champion stays{apart}"
        )
    if now.memory_limit is None:
        return
    peak = min(peaks_mb(state, runtime.champion), default=0.0)
    name = f"{runtime.champion.trial} {now.words()}"
    if (over := now.over(peak)) and name not in runtime.said:
        runtime.said.add(name)
        runtime.display.message(
            f"the champion {over}: until one is within it, an edit may take no more than that"
        )


def oversize_words(runtime: Runtime) -> str:
    """The verdict on a candidate that takes too much memory."""
    trial = runtime.open_trial
    ceiling = ceiling_mb(runtime.campaign.state, trial.objective) or 0.0
    objective = Objective.of(trial.objective)
    over = objective.over(peak_mb(trial))
    if objective.over(ceiling):
        over += f" and the {ceiling / GB:.4g} GB of the champion, which is above it, too"
    return f"{over}, reverted"


def reach_words(runtime: Runtime) -> str:
    """Whether the candidate's mean score is at the target, and how soon; "" without a target."""
    trial, heats = runtime.open_trial, runtime.open_trial.judged_heats
    heats = [heat for heat in heats if heat.difference is not None]
    of_tokens = parse_budget(runtime.settings.budget).tokens is not None

    def told(runs: Sequence[Training]) -> tuple[float, str]:
        taken = fmean(run.tokens if of_tokens else run.train_seconds for run in runs)
        words = f"{taken:,.0f} tokens" if of_tokens else f"{taken:.1f} s"
        return fmean(run.score or 0.0 for run in runs), words

    sides = told([heat.candidate for heat in heats]), told([heat.champion for heat in heats])
    words = Objective.of(trial.objective).reach(*sides)
    return f"; {words}" if words else ""
