"""Send a candidate that failed in its first training back to whoever wrote it."""

from __future__ import annotations

from agent.campaign.state import Training
from agent.proposers.base import REPAIRS
from agent.steps.runtime import Run
from trainer.untrusted import printable

TRACEBACK_LENGTH = 3000


def send_back(run: Run, failed: Training) -> bool:
    """Journal that the open trial's candidate is to be mended; False if that is not to be.

    Only what a programmer would mend goes back: a crash, memory, the contract. What an audit found
    or time ran out for is a result. A candidate that trained once, and failed with another seed,
    has a score that no other candidate may inherit.
    """
    trial = run.open_trial
    mendable = failed.status in ("crashed", "oom") or failed.reason.startswith("contract")
    trained = any(training.val_bpb is not None for training in trial.of("candidate"))
    if not mendable or trained or len(trial.sent_back) >= REPAIRS.get(trial.proposer, 0):
        return False
    log = run.campaign.folder / "trials" / str(trial.trial) / f"training-{failed.seed}.log"
    told = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    reason = f"the training failed, {failed.status}: {failed.reason}\n"
    run.campaign.record(
        "repair", trial=trial.trial, reason=reason + printable(told.strip(), TRACEBACK_LENGTH)
    )
    run.display.message(f"{failed.status} ({failed.reason}): sent back to be mended")
    return True
