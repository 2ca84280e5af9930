"""Judge: run heats until the test decides, then write the verdict."""

from __future__ import annotations

import hashlib
import math
import secrets
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from agent.campaign import events
from agent.campaign.evidence import ceiling_mb, effect_of
from agent.campaign.records import Audit, Training
from agent.forecast import Forecast
from agent.judge import OVERSIZE, Decision, Estimate, Judge, shrunk
from agent.steps.aim import oversize_words, reach_words
from agent.steps.carry import carry_over, is_stale
from agent.steps.faults import stop_if_again
from agent.steps.heat import run_heat
from agent.steps.next_action import failure, next_action
from agent.steps.proof import prove_tie
from agent.steps.runtime import Runtime
from agent.steps.verdict import conclude
from trainer.untrusted import printable

TRACEBACK_LENGTH = 3000
AUDIT_ATTEMPTS = 2
"""Attempts at an audit whose failure may be a fault of the harness, not of the candidate."""


def evaluate_candidate(runtime: Runtime) -> None:
    """Run heats until the judge says keep or revert, or the candidate fails or is hopeless."""
    state = runtime.campaign.state
    while (trial := runtime.trial) is not None and not trial.wants_proposal:
        ceiling = ceiling_mb(state, trial.objective)
        action = next_action(trial, decide(runtime), runtime.rule_of(trial), ceiling)
        if action in ("heat", "prove", "audit", "keep") and is_stale(runtime, trial):
            carry_over(runtime)
            continue
        match action:
            case "heat":
                _run_heat(runtime)
            case "prove":
                prove_tie(runtime)
            case "audit":
                audit_candidate(runtime)
            case "repair":
                _send_back(runtime)
            case "abandon":
                _abandon(runtime)
            case "fail":
                _fail(runtime)
            case "oversize":
                _conclude_judged(runtime, "revert", status=OVERSIZE)
            case "give up":
                _give_up(runtime, f"the candidate was {_words_of(trial.faults[-1].candidate)}")
            case "keep" | "revert" as verdict:
                _conclude_judged(runtime, verdict)


def decide(runtime: Runtime) -> Decision:
    """What the judge says of the open trial's heats so far."""
    trial = runtime.open_trial
    if trial.proof == "same" and trial.differences:
        return "keep"
    judge = runtime.make_judge(trial.kind)
    level = runtime.level_of(trial)
    return judge.verdict(trial.differences, size_delta=trial.size_delta, level=level)


def _send_back(runtime: Runtime) -> None:
    """Journal that the open trial's candidate goes back for repair, with the end of its log."""
    trial, failed = runtime.open_trial, failure(runtime.open_trial)
    assert failed is not None
    log = runtime.campaign.folder / "trials" / str(trial.trial) / f"training-{failed.seed}.log"
    told = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    reason = f"the training failed, {failed.status}: {failed.reason}\n"
    reason += printable(told.strip(), TRACEBACK_LENGTH)
    runtime.campaign.record(events.SentBack(trial=trial.trial, reason=reason))
    runtime.display.message(f"{failed.status} ({failed.reason}): sent back to be mended")


def _fail(runtime: Runtime) -> None:
    """Revert a candidate whose training or audit failed."""
    failed = failure(runtime.open_trial) or runtime.open_trial.audit
    assert failed is not None
    conclude(runtime, "revert", failure_words(failed.status, failed.reason), status=failed.status)


def failure_words(status: str, reason: str) -> str:
    """The verdict on a failed training in plain words."""
    told = {"oom": "ran out of memory", "overtime": "ran over its time"}.get(status, status)
    return f"{told}{f' ({reason})' if reason else ''}, reverted"


def _run_heat(runtime: Runtime) -> None:
    """Run one; stop the run, with its trial open, once the champion has failed too often in a
    row."""
    heats = len(runtime.open_trial.heats)
    run_heat(runtime)
    if len(runtime.open_trial.heats) == heats:
        return
    champion = runtime.open_trial.heats[-1].champion
    if champion.status in ("ok", "abandoned"):
        runtime.in_vain["champion"] = 0
    elif not champion.reused:  # else who led the heat has heeded it
        stop_if_again(runtime, "champion", f"the champion failed, {_words_of(champion)}")


def _words_of(training: Training) -> str:
    return f"{training.status} ({training.reason})" if training.reason else training.status


def _give_up(runtime: Runtime, why: str) -> None:
    """Leave the trial unjudged for a fault of the machine: nothing is learnt from it."""
    conclude(runtime, "revert", f"not judged: {why}, reverted", status="unjudged")


def _abandon(runtime: Runtime) -> None:
    """Revert a candidate whose heat was hopeless, with the forecast as its gain."""
    abandoned = failure(runtime.open_trial)
    assert abandoned is not None and runtime.open_trial.forecast is not None
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
        difference=(mean, error),
        believed=shrunk(mean, error, _effect(runtime)),
    )


def _effect(runtime: Runtime) -> float:
    return effect_of(runtime.campaign.state, runtime.open_trial, runtime.preset)


def _conclude_judged(
    runtime: Runtime, verdict: Literal["keep", "revert"], *, status: str = "ok"
) -> None:
    """Write a verdict that the judge has reached, or the memory that its trainings took."""
    trial, judge = runtime.open_trial, runtime.make_judge(runtime.open_trial.kind)
    differences = trial.differences
    gain = judge.gain(differences)
    mean, error, _ = judge.moderated(differences)
    effect = _effect(runtime)
    tie = verdict == "keep" and _is_tie(runtime, judge)
    words = judge.words(verdict, differences, tie=tie)
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
        oversize_words(runtime) if status == OVERSIZE else f"{words}{reach_words(runtime)}",
        status=status,
        gain=gain,
        difference=(mean, error),
        believed=None if trial.is_null else shrunk(mean, error, effect),
        tie=tie,
        tie_cost=cost,
    )


def _is_tie(runtime: Runtime, judge: Judge) -> bool:
    """Whether a keep is for the smaller size, not for the gain."""
    trial = runtime.open_trial
    is_better = judge.verdict(trial.differences, level=runtime.level_of(trial)) == "keep"
    return trial.proof == "same" or (trial.size_delta < 0 and not is_better)


def audit_candidate(runtime: Runtime) -> None:
    """Run the stronger audit on a random training of the candidate.

    A quarantined training is used only if there is no other. If the weights of all trainings are
    missing, there is one more heat instead.
    """
    campaign, trial = runtime.campaign, runtime.open_trial
    candidates = trial.of("candidate")
    left = [
        t for t in candidates
        if t.val_bpb is not None
        and t.commit == trial.candidate
        and _sha256(campaign.weights(trial.trial, t.seed)) == t.weights_sha256
    ]  # fmt: skip
    left = [t for t in left if t.counted] or left
    if not left:
        return _run_heat(runtime)
    chosen = secrets.choice(left)
    assert chosen.val_bpb is not None
    runtime.display.message("auditing: what does it answer to prefixes alone?")
    for _ in range(AUDIT_ATTEMPTS):
        work = runtime.work(
            "audit",
            campaign.source(trial.candidate),
            claimed_bpb=chosen.val_bpb,
            train_seconds=chosen.train_seconds,
        )
        weights = campaign.weights(trial.trial, chosen.seed)
        # Of a heat's candidates the best is kept, and the others are tried again on it.
        worth = fmean(trial.differences) if trial.differences else 0.0
        found = runtime.measure(
            replace(work, weights=weights),
            worth=worth,
            is_vain=lambda: is_stale(runtime, trial),
        )
        if found is None:
            return None
        runtime.stop_if_asked()
        if found.ok or found.status in ("invalid", "oom"):  # what it can bring about itself
            runtime.in_vain["audit"] = 0
            audit = Audit(
                trial=trial.trial,
                commit=trial.candidate,
                ok=found.ok,
                status=found.status,
                reason=found.reason,
                leak_bound_bpb=found.leak_bound_bpb,
                trainings=len(candidates),
                seconds=found.seconds,
            )
            return campaign.record(events.Audited(audit=audit))
    why = f"the audit could not be carried out ({found.reason})"
    stop_if_again(runtime, "audit", why)
    return _give_up(runtime, why)


def _sha256(path: Path) -> str:
    """SHA-256 of a file, "" if there is no file."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
