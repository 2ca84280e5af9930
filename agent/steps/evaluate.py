"""Judge: train candidate and champion until luck is ruled out or in, then write the verdict."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, replace
from pathlib import Path

from agent.campaign.state import Role, Training, Trial
from agent.campaign.store import CampaignError
from agent.judge import reward
from agent.learning import learn
from agent.steps.repair import send_back
from agent.steps.runtime import Run
from trainer import measure

CHAMPION_FAILURES = 3
"""Trainings of the champion that may fail within a trial before it is given up."""
CHAMPION_SEEDS = 3
"""Scores of a champion below which each trial measures it once more."""
DISTURBED = 0.2
"""Share of the processors that others may use during a training that counts."""
AGAIN = 2
"""Disturbed trainings of a trial that are done again before it is given up."""
UNJUDGED_TRIALS = 3
"""Trials given up in a row, after which the run waits before the next."""
BUSY_SECONDS = 60.0
AUDIT_ATTEMPTS = 2
"""At an audit that the harness, not the candidate, may have failed."""


def judge(run: Run) -> None:
    """Train whom the judge asks for until it can say keep or revert, or the candidate fails."""
    while True:
        trial = run.open_trial
        runs = [t for t in trial.of("candidate") if t.commit == trial.candidate]
        failed = next((t for t in runs if t.counted and t.status != "ok"), None)
        if failed is not None:
            if send_back(run, failed):
                return
            words = run.judge().words("revert", [], [], status=failed.status, reason=failed.reason)
            return conclude(run, "revert", words, status=failed.status)
        broken = [t for t in trial.of("champion") if t.counted and t.status != "ok"]
        if len(broken) >= CHAMPION_FAILURES:
            return _give_up(run, f"the champion could not be trained ({broken[-1].reason})")
        if len(disturbed(trial)) > AGAIN:
            return _give_up(run, "other programs kept the processors busy")
        if trial.audit is not None and not trial.audit.ok:
            found = trial.audit
            words = run.judge().words("revert", [], [], status=found.status, reason=found.reason)
            return conclude(run, "revert", words, status=found.status)
        if trial.audit is None and any(t.quarantined for t in trial.of("candidate")):
            if not audit(run):
                return
            continue
        if _champion_is_due(run, trial):
            train(run, "champion", run.champion.commit)
            continue
        answer = run.judge().verdict(
            run.champion_scores(),
            trial.scores,
            lines_delta=trial.lines_added - trial.lines_removed,
            trials_since_keep=run.campaign.state.trials_since_keep(),
        )
        if answer == "candidate":
            train(run, "candidate", trial.candidate)
        elif answer == "champion":
            train(run, "champion", run.champion.commit)
        elif answer == "keep" and not trial.is_audited:
            if not audit(run):  # what its bound takes off may change the answer
                return
        else:
            words = run.judge().words(answer, run.champion_scores(), trial.scores)
            return conclude(run, answer, words, status="ok")


def _champion_is_due(run: Run, trial: Trial) -> bool:
    """Whether to measure a young champion again beside this trial's screening.

    Compared with one lucky score every candidate looks bad, and none would ask for a second one.
    """
    young = run.settings.keep != "greedy" and len(run.champion_scores()) < CHAMPION_SEEDS
    measured = any(t.counted for t in trial.of("champion"))
    return young and bool(trial.scores) and not measured


def disturbed(trial: Trial) -> list[Training]:
    """Its trainings during which others used the processors; they never reach the judge."""
    return [t for t in trial.trainings if not (t.counted or t.quarantined)]


def _give_up(run: Run, why: str) -> None:
    """The machine is at fault: nobody wins and nothing is learnt. If it stays so, wait."""
    conclude(run, "revert", f"not judged: {why}, reverted", status="abandoned")
    recent = run.campaign.state.finished[-UNJUDGED_TRIALS:]
    if [trial.status for trial in recent] == ["abandoned"] * UNJUDGED_TRIALS:
        run.display.message(f"waiting {BUSY_SECONDS:.0f} s for a quieter machine: {why}")
        run.wait("busy", BUSY_SECONDS, why)


def conclude(run: Run, verdict: str, words: str, *, status: str) -> None:
    """Write the verdict with its numbers, then learn from it."""
    trial, judge = run.open_trial, run.judge()
    numbers: dict[str, float | None] = dict.fromkeys(
        ("val_bpb", "val_bpb_half", "gain", "gain_half")
    )
    # A campaign has to start from something, be it a disturbed score that nothing is judged by.
    scores = trial.uncharged_scores or (trial.all_scores if trial.trial == 0 else ())
    if scores and status == "ok":
        score = judge.score_interval(scores)
        numbers |= {"val_bpb": score.mean, "val_bpb_half": score.half}
        if trial.trial > 0:
            gain = judge.gain_interval(run.champion_scores(), trial.scores)
            numbers |= {"gain": gain.mean, "gain_half": gain.half}
    taught = None
    if trial.trial > 0 and verdict != "rejected":
        gained = numbers["gain"]
        if gained is not None:
            gained -= _charge(run, trial)
        taught = reward(gained, numbers["gain_half"], judge.sigma, status=status)
    run.campaign.conclude(verdict=verdict, words=words, status=status, reward=taught, **numbers)
    trial = run.campaign.state.trials[-1]
    learn(run.prior, trial)
    run.display.verdict(trial, run.campaign.state, run.prior.probabilities())
    while run.campaign.messages:
        run.display.message(run.campaign.messages.pop(0))


def _charge(run: Run, trial: Trial) -> float:
    """What the program's objective takes off for memory and time beyond the champion's."""
    again = run.campaign.state.champion_runs.get(run.champion.commit)
    champion = (again or run.champion.of("candidate"))[-1]
    candidate = trial.of("candidate")[-1]
    return run.program.objective.charge(
        candidate.peak_memory_mb - champion.peak_memory_mb,
        candidate.train_seconds - champion.train_seconds,
    )


def audit(run: Run) -> bool:
    """The stronger audit of one of the candidate's trainings, drawn by lot; False if it failed.

    Of a quarantined one while there is no other. Without its weights it is trained once more.
    """
    campaign, trial = run.campaign, run.open_trial
    candidates = trial.of("candidate")
    left = [
        t for t in candidates
        if t.val_bpb is not None
        and _sha256(campaign.weights(trial.trial, t.seed)) == t.weights_sha256
    ]  # fmt: skip
    left = [t for t in left if t.counted] or left
    if not left:
        train(run, "candidate", trial.candidate)
        return True
    chosen = secrets.choice(left)
    assert chosen.val_bpb is not None
    run.display.message("auditing: what does it answer to prefixes alone?")
    for _ in range(AUDIT_ATTEMPTS):
        found = measure.audit(
            campaign.source(trial.candidate),
            campaign.weights(trial.trial, chosen.seed),
            chosen.val_bpb,
            preset=run.settings.preset,
            data=run.settings.data,
            isolation=run.settings.isolation,
            on_event=run.display.event,
            cancel=run.stop,
        )
        run.stop_if_asked()
        if found.ok or found.status == "invalid":
            campaign.record(
                "audit", trial=trial.trial, commit=trial.candidate, trainings=len(candidates),
                **asdict(found),
            )  # fmt: skip
            return True
    _give_up(run, f"the audit could not be carried out ({found.reason})")
    return False


def _sha256(path: Path) -> str:
    """Of a file, "" where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weights_to(run: Run, role: Role, seed: int) -> Path | None:
    number = run.open_trial.trial
    return run.campaign.weights(number, seed) if role == "candidate" and number else None


def _refuse_other_ground(run: Run, measured: measure.Measurement) -> None:
    """A score on other text, or on another device, has nothing to be compared with."""
    first = next((t for trial in run.campaign.state.trials for t in trial.trainings), None)
    for name in ("text", "device", "device_name"):
        was = first.fingerprint.get(name) if first else None
        now = measured.fingerprint.get(name)
        if was and now and was != now:
            raise CampaignError(
                f"the campaign's {name} was {was} and is {now} now: bring it back, or start "
                "another --tag; nothing was recorded"
            )


def _is_too_good(run: Run, role: Role, measured: measure.Measurement) -> bool:
    """Once in a trial: the second time it is not an accident, and the audit has looked."""
    trial = run.open_trial
    if role != "candidate" or measured.val_bpb is None or trial.trial == 0:
        return False
    champion = run.champion_scores()
    before = any(t.quarantined for t in trial.of("candidate"))
    return bool(champion) and not before and run.judge().too_good(champion, measured.val_bpb)


def train(run: Run, role: Role, commit: str) -> Training:
    """One training, journalled before and after; one that a kill cut off is done again."""
    campaign, trial = run.campaign, run.open_trial
    run.stop_if_asked()
    cut_off = campaign.state.started
    seed = cut_off.seed if cut_off else run.fresh_seed()
    started = Training(trial.trial, role, commit, seed, status="abandoned")
    campaign.record(
        "training_started", trial=trial.trial, role=role, commit=commit, seed=seed,
        status=started.status,
    )  # fmt: skip
    run.display.training(trial, started, run.settings.budget)
    measured = measure.measure(
        campaign.source(commit),
        budget=run.settings.budget,
        seed=seed,
        preset=run.settings.preset,
        data=run.settings.data,
        isolation=run.settings.isolation,
        on_event=run.display.event,
        cancel=run.stop,
        weights_to=_weights_to(run, role, seed),
    )
    run.stop_if_asked()
    _refuse_other_ground(run, measured)
    quiet = measured.status not in ("ok", "overtime") or measured.disturbance <= DISTURBED
    quarantined = quiet and _is_too_good(run, role, measured)
    counted = quiet and not quarantined
    ended = replace(started, counted=counted, quarantined=quarantined)
    campaign.record_training(ended, measured)
    training = run.open_trial.trainings[-1]
    run.display.trained(training)
    if quarantined:
        run.display.message(
            "too good to be true: quarantined; it is audited, and trained again with a fresh seed"
        )
    elif not counted:
        run.display.message(
            f"{measured.disturbance:.0%} of the processors went to other programs meanwhile; "
            "this training does not count"
        )
    return training
