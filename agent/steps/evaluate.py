"""Judge: run heats until the test decides, then write the verdict."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.campaign.chain import mean_score
from agent.campaign.evidence import effect_of, level_of, noise_of
from agent.campaign.records import Heat, Training, Trial
from agent.campaign.state import teach_prior
from agent.forecast import Forecast
from agent.judge import Decision, Estimate, Judge, reward, shrunk
from agent.proposers.base import REPAIRS
from agent.steps.heat import run_heat
from agent.steps.proof import prove_tie
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.untrusted import printable

MAX_FAULTS = 3
"""A trial stays unjudged after this many heats that failed for no fault of the candidate."""
TRACEBACK_LENGTH = 3000
AUDIT_ATTEMPTS = 2
"""Attempts at an audit whose failure may be a fault of the harness, not of the candidate."""


def evaluate_candidate(runtime: Runtime) -> None:
    """Run heats until the judge says keep or revert, or the candidate fails or is hopeless."""
    while (trial := runtime.open_trial).verdict is None:
        heats = trial.heats
        faults = [heat for heat in heats if heat.is_fault]
        failed = _failure(heats)
        if failed is not None and failed.status == "abandoned":
            return _abandon(runtime, failed)
        if failed is not None:
            return None if _send_back(runtime, failed) else _fail(runtime, failed)
        if len(faults) >= MAX_FAULTS:
            return _give_up(runtime, f"the champion could not be trained ({_why(faults[-1])})")
        if trial.audit is not None and not trial.audit.ok:
            return _fail(runtime, trial.audit)
        if trial.audit is None and any(t.quarantined for t in trial.of("candidate")):
            if not audit_candidate(runtime):
                return None
            continue
        answer = decide(runtime)
        if answer == "heat":
            may_tie = trial.size_delta < 0 and not heats and not trial.proof
            prove_tie(runtime) if may_tie and runtime.rule != "greedy" else run_heat(runtime)
        elif answer == "keep" and not trial.is_audited and not trial.is_null:
            if not audit_candidate(runtime):  # its leak bound may change the answer
                return None
        else:
            return _conclude_judged(runtime, answer)
    return None


def decide(runtime: Runtime) -> Decision:
    """What the judge says of the open trial's heats so far."""
    trial = runtime.open_trial
    if trial.proof == "same" and trial.differences:
        return "keep"
    return runtime.make_judge(trial.kind).verdict(
        trial.differences,
        size_delta=trial.size_delta,
        level=level_of(runtime.campaign.state, runtime.rule),
    )


def _failure(heats: Sequence[Heat]) -> Training | None:
    """How the candidate failed, None if it did not.

    It did not in a proof, whose clock may not fit it. One overtime is forgiven, since a machine
    that stands still for a moment at the end of a training looks the same.
    """
    failed = [
        heat.candidate
        for heat in heats
        if heat.candidate.status != "ok" and heat.candidate.counted and not heat.is_fault
    ]
    return failed[0] if failed and [t.status for t in failed] != ["overtime"] else None


def _why(heat: Heat) -> str:
    return heat.champion.reason or heat.candidate.reason or heat.champion.status


def _send_back(runtime: Runtime, failed: Training) -> bool:
    """Journal that the open trial's candidate goes back for repair; False if it must not.

    Only faults that a programmer would repair go back: a crash, out of memory, a broken contract. A
    failed audit or a timeout is a result. A candidate that trained once, and failed with another
    seed, does not go back, because a repaired candidate must not inherit its score.
    """
    trial = runtime.open_trial
    mendable = failed.status in ("crashed", "oom") or failed.reason.startswith("contract")
    trained = any(training.val_bpb is not None for training in trial.of("candidate"))
    if not mendable or trained or len(trial.sent_back) >= REPAIRS.get(trial.proposer, 0):
        return False
    log = runtime.campaign.folder / "trials" / str(trial.trial) / f"training-{failed.seed}.log"
    told = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    reason = f"the training failed, {failed.status}: {failed.reason}\n"
    runtime.campaign.record(
        "repair", trial=trial.trial, reason=reason + printable(told.strip(), TRACEBACK_LENGTH)
    )
    runtime.display.message(f"{failed.status} ({failed.reason}): sent back to be mended")
    return True


def _fail(runtime: Runtime, failed: Any) -> None:
    """Revert a candidate whose training or audit failed."""
    conclude(runtime, "revert", failure_words(failed.status, failed.reason), status=failed.status)


def failure_words(status: str, reason: str) -> str:
    """The verdict on a failed training in plain words."""
    told = {"oom": "ran out of memory", "overtime": "ran over its time"}.get(status, status)
    return f"{told}{f' ({reason})' if reason else ''}, reverted"


def _give_up(runtime: Runtime, why: str) -> None:
    """Leave the trial unjudged for a fault of the machine: nothing is learnt from it."""
    conclude(runtime, "revert", f"not judged: {why}, reverted", status="unjudged")


def _abandon(runtime: Runtime, abandoned: Training) -> None:
    """Revert a candidate whose heat was hopeless, with the forecast as its gain."""
    assert runtime.open_trial.forecast is not None, "heats are ended by forecasts only"
    told, earlier = Forecast(*runtime.open_trial.forecast), runtime.open_trial.differences
    mean, error = told.mean, told.error
    if earlier:  # the forecast stands for one difference among them
        mean, error, _ = runtime.make_judge(runtime.open_trial.kind).moderated([*earlier, mean])
        error = math.hypot(error, told.error / (len(earlier) + 1))
    gain = Forecast(mean, error).interval
    words = f"forecast {gain.mean:+.4f} ± {gain.half:.4f}, {abandoned.reason}, reverted"
    conclude(
        runtime,
        "revert",
        words,
        status="abandoned",
        gain=gain,
        believed=shrunk(mean, error, _effect(runtime)),
    )


def _effect(runtime: Runtime) -> float:
    return effect_of(runtime.campaign.state, runtime.open_trial.kind, runtime.preset)


def _conclude_judged(runtime: Runtime, verdict: Decision) -> None:
    """Write a verdict that the judge has reached."""
    trial, judge = runtime.open_trial, runtime.make_judge(runtime.open_trial.kind)
    differences = trial.differences
    gain = judge.gain(differences)
    mean, error, _ = judge.moderated(differences)
    effect = _effect(runtime)
    tie = verdict == "keep" and _is_tie(runtime, judge)
    words = judge.words("keep" if verdict == "keep" else "revert", differences, tie=tie)
    cost = judge.tie_cost(differences) if tie else 0.0
    if trial.proof == "same":
        gain, error, cost = Estimate(0.0, 0.0), 0.0, 0.0
        words = "kept: shorter, and the same numbers to the last bit"
    elif verdict == "keep" and not trial.is_null:
        gain = judge.corrected_gain(differences, effect)
    if trial.is_null:
        told = words.removeprefix("kept: ").removesuffix(", reverted")
        words = f"null trial, {'kept, falsely' if verdict == 'keep' else 'not kept'}: {told}"
    conclude(
        runtime,
        verdict,
        words,
        status="ok",
        gain=gain,
        believed=None if trial.is_null else shrunk(mean, error, effect),
        tie=tie,
        tie_cost=cost,
    )


def _is_tie(runtime: Runtime, judge: Judge) -> bool:
    """Whether a keep is for the smaller size, not for the gain."""
    trial = runtime.open_trial
    level = level_of(runtime.campaign.state, runtime.rule)
    return trial.proof == "same" or (
        trial.size_delta < 0 and judge.verdict(trial.differences, level=level) != "keep"
    )


def conclude(
    runtime: Runtime,
    verdict: str,
    words: str,
    *,
    status: str,
    gain: Estimate | None = None,
    believed: float | None = None,
    **facts: Any,
) -> None:
    """Write the verdict with its numbers, then learn from it.

    Args:
        gain: what people are told.
        believed: the gain, shrunk by its uncertainty, for the reward.
    """
    trial, numbers = runtime.open_trial, dict.fromkeys(("val_bpb", "val_bpb_half"))
    if trial.scores and status == "ok":
        noise = noise_of(runtime.campaign.state, "structure", runtime.preset)
        score = mean_score(list(trial.scores), noise)
        numbers |= {"val_bpb": score.mean, "val_bpb_half": score.half or None}
    taught = None
    if trial.trial > 0 and verdict != "rejected" and not trial.is_null:
        gained = believed - _charge(runtime, trial) if believed is not None else None
        taught = reward(gained, runtime.preset.reward_unit, status=status)
    runtime.campaign.conclude(
        verdict=verdict,
        words=words,
        status=status,
        reward=taught,
        gain=gain.mean if gain is not None else None,
        gain_half=gain.half if gain is not None else None,
        level=level_of(runtime.campaign.state, runtime.rule) if trial.heats else None,
        **numbers,
        **facts,
    )
    trial = runtime.campaign.state.trials[-1]
    teach_prior(runtime.prior, trial)
    runtime.display.verdict(trial, runtime.campaign.state, runtime.prior.probabilities())
    while runtime.campaign.messages:
        runtime.display.message(runtime.campaign.messages.pop(0))


def _charge(runtime: Runtime, trial: Trial) -> float:
    """What the program's objective subtracts for memory and time beyond the champion's."""
    last = trial.heats[-1]
    was_cut_short = last.candidate.status == "abandoned"  # it saved no time by that
    return runtime.program.objective.charge(
        last.candidate.peak_memory_mb - last.champion.peak_memory_mb,
        0.0 if was_cut_short else last.candidate.train_seconds - last.champion.train_seconds,
    )


def audit_candidate(runtime: Runtime) -> bool:
    """Run the stronger audit on a random training of the candidate; False if it could not be run.

    A quarantined training is used only if there is no other. If the weights of all trainings are
    missing, there is one more heat instead.
    """
    campaign, trial = runtime.campaign, runtime.open_trial
    candidates = trial.of("candidate")
    left = [
        t for t in candidates
        if t.val_bpb is not None
        and _sha256(campaign.weights(trial.trial, t.seed)) == t.weights_sha256
    ]  # fmt: skip
    left = [t for t in left if t.counted] or left
    if not left:
        run_heat(runtime)
        return True
    chosen = secrets.choice(left)
    assert chosen.val_bpb is not None
    runtime.display.message("auditing: what does it answer to prefixes alone?")
    for _ in range(AUDIT_ATTEMPTS):
        found = measure.audit(
            campaign.source(trial.candidate),
            campaign.weights(trial.trial, chosen.seed),
            chosen.val_bpb,
            preset=runtime.settings.preset,
            data=runtime.settings.data,
            isolation=runtime.settings.isolation,
            on_event=runtime.display.event,
            cancel=runtime.stop,
        )
        runtime.stop_if_asked()
        if found.ok or found.status == "invalid":
            campaign.record(
                "audit", trial=trial.trial, commit=trial.candidate, trainings=len(candidates),
                **asdict(found),
            )  # fmt: skip
            return True
    _give_up(runtime, f"the audit could not be carried out ({found.reason})")
    return False


def _sha256(path: Path) -> str:
    """SHA-256 of a file, "" if there is no file."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
