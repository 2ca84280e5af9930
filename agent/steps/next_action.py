"""What is to be done next with a candidate: one pure decision, from the trial so far."""

from __future__ import annotations

from typing import Literal

from agent.campaign.records import Training, Trial
from agent.judge import Decision, Rule
from agent.proposers.base import REPAIRS

Action = Literal[
    "heat", "prove", "audit", "repair", "abandon", "fail", "give up", "oversize", "keep", "revert"
]  # fmt: skip
MAX_FAULTS = 3
"""A trial stays unjudged after this many heats in which its candidate was killed; a run ends after
as many in a row in which the champion failed."""


def next_action(
    trial: Trial, answer: Decision, rule: Rule, ceiling_mb: float | None = None
) -> Action:
    """What comes next for a trial with a candidate.

    Args:
        answer: what the judge says of its heats so far.
        ceiling_mb: the memory that its trainings may take; None for as much as there is.
    """
    failed, audit = failure(trial), trial.audit
    if failed is not None and failed.status == "abandoned":
        return "abandon"
    if failed is not None:
        return "repair" if _may_go_back(trial, failed) else "fail"
    if ceiling_mb is not None and not trial.is_null and peak_mb(trial) > ceiling_mb:
        return "oversize"
    if sum(heat.champion.status in ("ok", "abandoned") for heat in trial.faults) >= MAX_FAULTS:
        return "give up"
    if audit is not None and not audit.ok:
        return "fail"
    if audit is None and any(t.quarantined for t in trial.of("candidate")):
        return "audit"
    if answer == "heat":
        may_tie = trial.size_delta < 0 and not trial.heats and not trial.proof
        return "prove" if may_tie and rule != "greedy" else "heat"
    if answer == "keep" and not trial.is_audited and not trial.is_null:
        return "audit"  # its leak bound may change the answer
    return answer


def peak_mb(trial: Trial) -> float:
    """The most memory that the present candidate took in a heat with a difference: of one whose
    champion failed there is no gain to tell, and it is done again."""
    heats = [heat for heat in trial.heats if heat.difference is not None]
    return max((heat.candidate.peak_memory_mb for heat in heats), default=0.0)


def failure(trial: Trial) -> Training | None:
    """How the candidate failed, None if it did not.

    It did not in a proof, whose clock may not fit it. One overtime is forgiven, since a machine
    that stands still for a moment at the end of a training looks the same.
    """
    failed = [
        heat.candidate
        for heat in trial.heats
        if heat.candidate.status != "ok" and heat.candidate.counted and not heat.is_fault
    ]
    return failed[0] if failed and [t.status for t in failed] != ["overtime"] else None


def _may_go_back(trial: Trial, failed: Training) -> bool:
    """Whether a failed candidate goes back to its proposer to be mended.

    Only faults that a programmer would repair go back: a crash, out of memory, a broken contract. A
    failed audit or a timeout is a result. A candidate that trained once, and failed with another
    seed, does not go back, because a repaired candidate must not inherit its score; what it was
    before it was carried over is another program.
    """
    mendable = failed.status in ("crashed", "oom") or failed.reason.startswith("contract")
    own = (one for one in trial.of("candidate") if one.commit == trial.candidate)
    trained = any(training.val_bpb is not None for training in own)
    return mendable and not trained and len(trial.sent_back) < REPAIRS.get(trial.proposer, 0)
