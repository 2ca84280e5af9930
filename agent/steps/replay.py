"""Train a trial's commit again with its recorded clock, and check that its score is the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter

from agent.campaign.evidence import noise_of
from agent.campaign.files import JOURNAL, folder_of
from agent.campaign.reading import CampaignError, Curve, load, read_curve, read_trace
from agent.campaign.records import Training, Trial
from agent.campaign.state import State
from agent.git.repo import Repo
from trainer.data.prepare import hold
from trainer.measure import Measurement, measure
from trainer.presets import find_preset

NOTES = "refs/notes/autoresearch/"
SETTINGS = ("budget", "preset", "data", "isolation")
"""Those of a campaign that a training depends on."""
VERDICTS = ("bit-exact", "within-noise", "failed")
CLOCK_ENDED = "the recorded clock has"
"""What the reason of a replay says that went on where its clock ends."""
NOISE_SCALES = 3.0
"""Two trainings of one file that differ by more than this many scales differ by more than noise."""


@dataclass(frozen=True)
class Replayed:
    """One repeated training."""

    recorded: Training
    measured: Measurement
    verdict: str
    differences: tuple[str, ...]
    """What is different now: outcome, hardware, software, data."""


def find_trial(repo: Repo, commit: str) -> tuple[str, State, Trial]:
    """The campaign and trial that a commit belongs to.

    Raises:
        CampaignError: the commit belongs to no trial.
    """
    sha = repo.commit_for(commit).sha
    for path in sorted((repo.root / "campaigns").glob(f"*/{JOURNAL}")):
        tag = path.parent.name
        state = load(repo, tag)
        for trial in state.finished:
            if sha in (trial.commit, trial.candidate):
                return tag, state, trial
    for ref in repo.git("for-each-ref", "--format=%(refname)", NOTES).decode().split():
        tag = ref.removeprefix(NOTES)
        note = repo.read_note(tag, sha)
        if note is not None:
            return tag, *_from_note(sha, note)
    raise CampaignError(
        f"{sha[:12]} is no trial of a campaign in {repo.root / 'campaigns'}; "
        "see: python -m agent log; notes of a clone come with: "
        f"git fetch origin '{NOTES}*:{NOTES}*'"
    )


def _from_note(sha: str, text: str) -> tuple[State, Trial]:
    """State and trial from a trial's note, for a clone that has the commits but no campaign.

    Raises:
        CampaignError: it is damaged, of a newer version, or somebody else's.
    """
    try:
        note = json.loads(text)
        trainings = TypeAdapter(tuple[Training, ...]).validate_python(note["trainings"])
        trial = Trial(int(note["trial"]), commit=sha, trainings=trainings, verdict=note["verdict"])
        settings = {name: str(note["settings"][name]) for name in SETTINGS}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CampaignError(
            f"the note of {sha[:12]} is damaged, of a newer version or no campaign's ({why}); get "
            f"it again from a clone that has it: git fetch origin '+{NOTES}*:{NOTES}*'"
        ) from None
    return State(settings=settings, trials=[trial]), trial


def replay_commit(
    repo: Repo,
    commit: str,
    seeds: int,
    on_event: Callable[[Mapping[str, Any]], None],
) -> tuple[Trial, list[Replayed]]:
    """Repeat the first ``seeds`` trainings of a trial, each with its recorded clock.

    Trainings that succeeded come first. One that crashed, or was abandoned, is repeated as far as
    it got.

    Raises:
        CampaignError: no such trial, or it has no training to replay.
    """
    tag, state, trial = find_trial(repo, commit)
    recorded = sorted(trial.of("candidate"), key=lambda training: training.status != "ok")
    if not recorded:
        raise CampaignError(f"trial {trial.trial} has no training to replay")
    scale = noise_of(state, "structure", find_preset(state.settings["preset"])).scale
    source = repo.read_file(trial.commit)
    results = []
    for training in recorded[:seeds]:
        trace = read_trace(repo, tag, trial, training.seed)
        if trace is None:
            raise CampaignError(
                f"the clock of trial {trial.trial}, seed {training.seed}, is neither in "
                f"campaigns/{tag}/trials/{trial.trial} nor in the notes of its commit"
            )
        hold(training.fingerprint.get("text", ""))
        measured = measure(
            source,
            seed=training.seed,
            trace=trace,
            on_event=on_event,
            **{name: state.settings[name] for name in SETTINGS},
        )
        curve = read_curve(folder_of(repo, tag), training)
        results.append(_compare(training, measured, scale, curve))
    return trial, results


def _compare(recorded: Training, measured: Measurement, scale: float, curve: Curve) -> Replayed:
    differences = [
        f"{name}: {was} then, {measured.fingerprint.get(name)} now"
        for name, was in sorted(recorded.fingerprint.items())
        if measured.fingerprint.get(name) != was
    ]
    if recorded.status != "ok" and _ends_alike(recorded, measured):
        agree = _losses_agree(curve, measured.curve)
        if not agree:
            differences.insert(0, "losses: other numbers" if curve else "losses: not recorded here")
        verdict = VERDICTS[0 if agree else 2 if curve else 1]
        return Replayed(recorded, measured, verdict, tuple(differences))
    if measured.val_bpb is None or recorded.val_bpb is None:
        differences.insert(0, f"status: {measured.status} ({measured.reason})")
        return Replayed(recorded, measured, "failed", tuple(differences))
    same_weights = measured.weights_sha256 == recorded.weights_sha256
    if same_weights and measured.val_bpb == recorded.val_bpb:
        return Replayed(recorded, measured, "bit-exact", tuple(differences))
    if not same_weights:
        differences.insert(0, "weights: not the same bits")
    near = abs(measured.val_bpb - recorded.val_bpb) <= NOISE_SCALES * scale
    return Replayed(recorded, measured, VERDICTS[1 if near else 2], tuple(differences))


def _ends_alike(recorded: Training, measured: Measurement) -> bool:
    """Whether a training without a score ended as before, after as many readings of its clock.

    One that was abandoned asks for one more reading than there was.
    """
    if recorded.status == "abandoned":
        return measured.status == "invalid" and CLOCK_ENDED in measured.reason
    return (measured.status, measured.reason) == (recorded.status, recorded.reason)


def _losses_agree(before: Curve, after: Curve) -> bool:
    """Whether the losses of all steps that both logged are equal, and there is one."""
    known = {step: loss for _, step, loss in after}
    shared = [loss == known[step] for _, step, loss in before if step in known]
    return bool(shared) and all(shared)


def replay_json(trial: Trial, results: Sequence[Replayed]) -> dict[str, Any]:
    """The fields of ``replay --json``: means over the seeds, and the worst verdict."""
    recorded = [r.recorded.val_bpb for r in results if r.recorded.val_bpb is not None]
    replayed = [r.measured.val_bpb for r in results if r.measured.val_bpb is not None]
    return {
        "commit": trial.commit,
        "recorded_bpb": fmean(recorded) if recorded else None,
        "replayed_bpb": fmean(replayed) if replayed else None,
        "verdict": max((r.verdict for r in results), key=VERDICTS.index),
        "differences": list(dict.fromkeys(d for r in results for d in r.differences)),
    }


def replay_text(found: Mapping[str, Any]) -> str:
    """``replay_json`` for a person."""
    was, now = (
        f"{found[name]:.6f}" if found[name] is not None else "no score"
        for name in ("recorded_bpb", "replayed_bpb")
    )
    lines = [f"{found['verdict']}: {found['commit'][:12]} recorded {was}, replayed {now}"]
    return "\n".join([*lines, *(f"  {difference}" for difference in found["differences"])])
