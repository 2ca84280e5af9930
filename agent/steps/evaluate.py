"""Judge: train candidate and champion until the test decides, then write the verdict."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, replace
from pathlib import Path

from agent.campaign.records import Role, Training, Trial
from agent.campaign.state import teach_prior
from agent.campaign.store import CampaignError
from agent.judge import reward
from agent.proposers.base import REPAIRS
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.untrusted import printable

CHAMPION_FAILURES = 3
"""A trial is abandoned after this many failed trainings of the champion."""
CHAMPION_SEEDS = 3
"""While a champion has fewer scores than this, each trial measures it once more."""
DISTURBED = 0.2
"""Share of the processors that other programs may use during a training that counts."""
MAX_REPEATS = 2
"""Number of disturbed trainings of a trial that are repeated before it is abandoned."""
UNJUDGED_TRIALS = 3
"""After this many abandoned trials in a row, the run waits before the next one."""
BUSY_SECONDS = 60.0
TRACEBACK_LENGTH = 3000
AUDIT_ATTEMPTS = 2
"""Attempts at an audit whose failure may be a fault of the harness, not of the candidate."""


def evaluate_candidate(runtime: Runtime) -> None:
    """Train what the judge asks for until it decides keep or revert, or the candidate fails."""
    while True:
        trial = runtime.open_trial
        runs = [t for t in trial.of("candidate") if t.commit == trial.candidate]
        failed = next((t for t in runs if t.counted and t.status != "ok"), None)
        if failed is not None:
            if _send_back(runtime, failed):
                return
            words = runtime.make_judge().words(
                "revert", [], [], status=failed.status, reason=failed.reason
            )
            return conclude(runtime, "revert", words, status=failed.status)
        broken = [t for t in trial.of("champion") if t.counted and t.status != "ok"]
        if len(broken) >= CHAMPION_FAILURES:
            return _give_up(runtime, f"the champion could not be trained ({broken[-1].reason})")
        if len(disturbed(trial)) > MAX_REPEATS:
            return _give_up(runtime, "other programs kept the processors busy")
        if trial.audit is not None and not trial.audit.ok:
            found = trial.audit
            words = runtime.make_judge().words(
                "revert", [], [], status=found.status, reason=found.reason
            )
            return conclude(runtime, "revert", words, status=found.status)
        if trial.audit is None and any(t.quarantined for t in trial.of("candidate")):
            if not audit_candidate(runtime):
                return
            continue
        if _champion_is_due(runtime, trial):
            train_once(runtime, "champion", runtime.champion.commit)
            continue
        answer = runtime.make_judge().verdict(
            runtime.champion_scores(),
            trial.scores,
            lines_delta=trial.lines_added - trial.lines_removed,
            trials_since_keep=runtime.campaign.state.trials_since_keep(),
        )
        if answer == "candidate":
            train_once(runtime, "candidate", trial.candidate)
        elif answer == "champion":
            train_once(runtime, "champion", runtime.champion.commit)
        elif answer == "keep" and not trial.is_audited:
            if not audit_candidate(runtime):  # its leak bound may change the answer
                return
        else:
            words = runtime.make_judge().words(answer, runtime.champion_scores(), trial.scores)
            return conclude(runtime, answer, words, status="ok")


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


def _champion_is_due(runtime: Runtime, trial: Trial) -> bool:
    """Whether to measure a new champion again in this trial, after the screening.

    Compared with one lucky score of the champion every candidate looks bad, and the judge would
    never ask for a second score.
    """
    young = runtime.settings.keep != "greedy" and len(runtime.champion_scores()) < CHAMPION_SEEDS
    measured = any(t.counted for t in trial.of("champion"))
    return young and bool(trial.scores) and not measured


def disturbed(trial: Trial) -> list[Training]:
    """Its trainings during which other programs used the processors; the judge never sees them."""
    return [t for t in trial.trainings if not (t.counted or t.quarantined)]


def _give_up(runtime: Runtime, why: str) -> None:
    """Abandon the trial for a fault of the machine: nothing is learnt. If this repeats, wait."""
    conclude(runtime, "revert", f"not judged: {why}, reverted", status="abandoned")
    recent = runtime.campaign.state.finished[-UNJUDGED_TRIALS:]
    if [trial.status for trial in recent] == ["abandoned"] * UNJUDGED_TRIALS:
        runtime.display.message(f"waiting {BUSY_SECONDS:.0f} s for a quieter machine: {why}")
        runtime.wait("busy", BUSY_SECONDS, why)


def conclude(runtime: Runtime, verdict: str, words: str, *, status: str) -> None:
    """Write the verdict with its numbers, then learn from it."""
    trial, judge = runtime.open_trial, runtime.make_judge()
    numbers: dict[str, float | None] = dict.fromkeys(
        ("val_bpb", "val_bpb_half", "gain", "gain_half")
    )
    # A campaign needs a score to start from, if need be a disturbed one; no trial is judged by it.
    scores = trial.uncharged_scores or (trial.all_scores if trial.trial == 0 else ())
    if scores and status == "ok":
        score = judge.score_interval(scores)
        numbers |= {"val_bpb": score.mean, "val_bpb_half": score.half}
        if trial.trial > 0:
            gain = judge.gain_interval(runtime.champion_scores(), trial.scores)
            numbers |= {"gain": gain.mean, "gain_half": gain.half}
    taught = None
    if trial.trial > 0 and verdict != "rejected":
        gained = numbers["gain"]
        if gained is not None:
            gained -= _charge(runtime, trial)
        taught = reward(gained, numbers["gain_half"], judge.sigma, status=status)
    runtime.campaign.conclude(verdict=verdict, words=words, status=status, reward=taught, **numbers)
    trial = runtime.campaign.state.trials[-1]
    teach_prior(runtime.prior, trial)
    runtime.display.verdict(trial, runtime.campaign.state, runtime.prior.probabilities())
    while runtime.campaign.messages:
        runtime.display.message(runtime.campaign.messages.pop(0))


def _charge(runtime: Runtime, trial: Trial) -> float:
    """What the program's objective subtracts for memory and time beyond the champion's."""
    again = runtime.campaign.state.champion_runs.get(runtime.champion.commit)
    champion = (again or runtime.champion.of("candidate"))[-1]
    candidate = trial.of("candidate")[-1]
    return runtime.program.objective.charge(
        candidate.peak_memory_mb - champion.peak_memory_mb,
        candidate.train_seconds - champion.train_seconds,
    )


def audit_candidate(runtime: Runtime) -> bool:
    """Run the stronger audit on a random training of the candidate; False if it could not be run.

    A quarantined training is used only if there is no other. If the weights of all trainings are
    missing, the candidate is trained once more instead.
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
        train_once(runtime, "candidate", trial.candidate)
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


def _weights_to(runtime: Runtime, role: Role, seed: int) -> Path | None:
    number = runtime.open_trial.trial
    return runtime.campaign.weights(number, seed) if role == "candidate" and number else None


def _refuse_other_device_or_text(runtime: Runtime, measured: measure.Measurement) -> None:
    """Refuse a score on other text or on another device, because it cannot be compared."""
    first = next((t for trial in runtime.campaign.state.trials for t in trial.trainings), None)
    for name in ("text", "device", "device_name"):
        was = first.fingerprint.get(name) if first else None
        now = measured.fingerprint.get(name)
        if was and now and was != now:
            raise CampaignError(
                f"the campaign's {name} was {was} and is {now} now: bring it back, or start "
                "another --tag; nothing was recorded"
            )


def _is_too_good(runtime: Runtime, role: Role, measured: measure.Measurement) -> bool:
    """Whether to quarantine it, once per trial; a second score is no accident, and was audited."""
    trial = runtime.open_trial
    if role != "candidate" or measured.val_bpb is None or trial.trial == 0:
        return False
    champion = runtime.champion_scores()
    before = any(t.quarantined for t in trial.of("candidate"))
    return (
        bool(champion) and not before and runtime.make_judge().too_good(champion, measured.val_bpb)
    )


def train_once(runtime: Runtime, role: Role, commit: str) -> Training:
    """Run one training, journalled before and after; one that a kill cut off is repeated."""
    campaign, trial = runtime.campaign, runtime.open_trial
    runtime.stop_if_asked()
    cut_off = campaign.state.open_training
    seed = cut_off.seed if cut_off else runtime.fresh_seed()
    started = Training(trial.trial, role, commit, seed, status="abandoned")
    campaign.record(
        "training_started", trial=trial.trial, role=role, commit=commit, seed=seed,
        status=started.status,
    )  # fmt: skip
    runtime.display.training(trial, started, runtime.settings.budget)
    measured = measure.measure(
        campaign.source(commit),
        budget=runtime.settings.budget,
        seed=seed,
        preset=runtime.settings.preset,
        data=runtime.settings.data,
        isolation=runtime.settings.isolation,
        on_event=runtime.display.event,
        cancel=runtime.stop,
        weights_to=_weights_to(runtime, role, seed),
    )
    runtime.stop_if_asked()
    _refuse_other_device_or_text(runtime, measured)
    quiet = measured.status not in ("ok", "overtime") or measured.disturbance <= DISTURBED
    quarantined = quiet and _is_too_good(runtime, role, measured)
    counted = quiet and not quarantined
    ended = replace(started, counted=counted, quarantined=quarantined)
    campaign.record_training(ended, measured)
    training = runtime.open_trial.trainings[-1]
    runtime.display.trained(training)
    if quarantined:
        runtime.display.message(
            "too good to be true: quarantined; it is audited, and trained again with a fresh seed"
        )
    elif not counted:
        runtime.display.message(
            f"{measured.disturbance:.0%} of the processors went to other programs meanwhile; "
            "this training does not count"
        )
    return training
