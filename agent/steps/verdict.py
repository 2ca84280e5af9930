"""The verdict of a trial: written with its numbers, then learnt from."""

from __future__ import annotations

from agent.campaign import events
from agent.campaign.chain import mean_score
from agent.campaign.evidence import noise_of
from agent.campaign.learning import next_shares, teach_prior
from agent.campaign.records import Verdict
from agent.judge import OVERSIZE, Estimate, reward
from agent.objective import Objective
from agent.report.text import nothing_left
from agent.steps.runtime import Runtime


def conclude(
    runtime: Runtime,
    verdict: Verdict,
    words: str,
    *,
    status: str,
    gain: Estimate | None = None,
    difference: tuple[float, float] | None = None,
    believed: float | None = None,
    tie: bool = False,
    tie_cost: float = 0.0,
) -> None:
    """Write the verdict with its numbers, then learn from it.

    Args:
        gain: what people are told.
        difference: what a model is told: the mean that was measured, and its standard error.
        believed: the gain, shrunk by its uncertainty, for the reward.
    """
    trial, score, taught = runtime.open_trial, None, None
    if trial.scores and status in ("ok", OVERSIZE):
        noise = noise_of(runtime.campaign.state, "structure", runtime.preset, trial.objective)
        score = mean_score(list(trial.scores), noise)
    if trial.claimed is not None:
        is_other = trial.proposer == "import" and not Objective.of(trial.objective).is_score
        words = f"claimed {trial.claimed:+.4f}{' of val_bpb' * is_other}, here {words}"
    words = "; ".join([words, *(nothing_left(*one) for one in trial.exhausted.items())])
    # A category that was not drawn teaches nothing about drawing it.
    is_drawn = trial.trial > 0 and not trial.is_null and not trial.submitted
    if is_drawn and verdict != "rejected":
        taught = reward(believed, runtime.preset.reward_unit, status=status)
    runtime.campaign.conclude(
        events.Concluded(
            trial=trial.trial,
            verdict=verdict,
            words=words,
            status=status,
            reward=taught,
            val_bpb=score.mean if score is not None else None,
            val_bpb_half=score.half or None if score is not None else None,
            gain=gain.mean if gain is not None else None,
            gain_half=gain.half if gain is not None else None,
            difference=difference,
            noise=runtime.make_judge(trial.kind).noise.scale if trial.heats else None,
            level=runtime.level_of(trial) if trial.heats else None,
            tie=tie,
            tie_cost=tie_cost,
            slots=runtime.devices.executor.slots,
        )
    )
    trial = runtime.campaign.state.trials[trial.trial]
    teach_prior(runtime.prior, trial)
    state = runtime.campaign.state
    runtime.display.verdict(trial, state, next_shares(runtime.prior, state))
    if trial.kept and not trial.is_null:
        runtime.devices.champion_is(trial.commit)
    runtime.devices.concluded()
    if trial.kept and trial.trial > 0 and not trial.is_null:
        runtime.notify.soon("champion", f"trial {trial.trial}, {trial.title}: {trial.words}")
    runtime.tell()
