"""Train a trial's commit again with its recorded clock, and check that its score is the same.

This checks the record: that these numbers came of this file. Whether the gain is real, ``verify``
checks.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from agent.campaign import notes
from agent.campaign.commits import candidates, last_commit
from agent.campaign.evidence import noise_of
from agent.campaign.files import JOURNAL
from agent.campaign.reading import CampaignError, Curve, load, peek, read_trace
from agent.campaign.records import Training, Trial
from agent.campaign.state import State
from agent.edits.facts import reads_clock
from agent.executors.base import Executor, Work
from agent.executors.choose import Opens
from agent.git.repo import Repo
from agent.steps.fresh import fresh_heat, fresh_seed, interval, side_by_side
from trainer.data.prepare import hold
from trainer.errors import UserError
from trainer.measure import Measurement
from trainer.presets import find_preset
from trainer.training.remains import recorded_steps

Known = tuple[str, State, Trial]
"""A trial, and its campaign's tag and state."""
OnEvent = Callable[[Mapping[str, Any]], None]
VERDICTS = ("bit-exact", "within-noise", "failed")
CLOCK_ENDED = "the recorded clock has"
"""What the reason of a replay says that went on where its clock ends."""
CUT_OFF = ("abandoned", "oom", "overtime", "killed")
"""Ends from outside, which come after the last reading of the clock that is recorded."""
NOISE_SCALES = 3.0
"""Two trainings of one file that differ by more than this many scales differ by more than noise."""
LOSS_NOISE = 0.05
"""Where there is no score: a logged loss that differs by more than this share of it does so."""
_TRIAL_REF = re.compile(r"(?:refs/)?autoresearch/([^/]+)/trials/(\d+)")
_TRAILER = re.compile(r"^Trial: ([1-9]\d*)$", re.MULTILINE)
"""Not of a baseline: those of several campaigns have one parent, by which a trial is known."""
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?")


@dataclass(frozen=True)
class Record:
    """What is known of a training that is to be repeated."""

    training: Training
    trace: str
    curve: Curve
    noise: float
    """Scale of the noise of a score."""
    clocks: str
    """What its file reads that is another thing each time."""


def find_trial(repo: Repo, commit: str, claimed: bool = False) -> Known:
    """The campaign and trial that a commit belongs to, by journals, then by notes.

    Args:
        claimed: take also the trial that its ref or its message names: somebody has amended the
            trial's commit, or has put it on another one.

    Raises:
        CampaignError: the commit belongs to no trial.
    """
    sha, ref = _resolve(repo, commit), _TRIAL_REF.fullmatch(commit)
    tags = [name.removeprefix(notes.NOTES) for name in repo.refs(notes.NOTES.rstrip("/"))]
    known, damaged = list[Known](), ""
    for name in sorted(path.parent.name for path in repo.root.glob(f"campaigns/*/{JOURNAL}")):
        try:
            state = load(repo, name)
            known += [(name, state, trial) for trial in state.trials]
        except UserError as error:
            damaged += f"; campaign {name} was left out: {error}"
    known += [(tag, *found) for tag in tags if (found := notes.trial_of(repo, tag, sha))]
    for one in known:
        if sha in (one[2].commit, *candidates(one[2])):
            return one
    info = repo.commit_for(sha)
    said = ref or _TRAILER.search(info.message)
    if claimed and said:
        known += [(tag, *found) for tag in tags for found in notes.all_trials(repo, tag)]
        for tag, state, trial in known:
            is_it = tag == ref[1] if ref else trial.parent == info.parent
            if is_it and trial.trial == int(said[said.re.groups]) and last_commit(trial):
                return tag, state, trial
    raise CampaignError(
        f"{sha[:12]} is no trial of a campaign in {repo.root / 'campaigns'}, and has no note; see: "
        f"python -m agent log; {_fetch(repo)}{damaged}"
    )


def _resolve(repo: Repo, rev: str) -> str:
    """The full hash of a commit; a clone has the branch ``autoresearch/T`` below its remote."""
    if sha := repo.resolve(rev) or repo.resolve(f"{_remote(repo)}/{rev}"):
        return sha
    ref = _TRIAL_REF.fullmatch(rev)
    for trial in peek(repo, ref[1]).trials if ref else []:
        if ref and trial.trial == int(ref[2]) and not last_commit(trial):
            null = f"is a null trial, of its champion's file: replay {trial.parent[:12]}"
            why = null if trial.is_null else "was never trained"
            raise CampaignError(f"trial {trial.trial} has no commit of its own: it {why}")
    raise CampaignError(
        f"{rev!r} names no commit in {repo.root} (null and rejected trials have none); see: python "
        f"-m agent log; {_fetch(repo)}"
    )


def _remote(repo: Repo) -> str:
    return (repo.git("remote").decode().split() or ["origin"])[0]


def _fetch(repo: Repo) -> str:
    fetch = notes.FETCH.replace(" origin ", f" {_remote(repo)} ")
    return f"a clone gets refs and notes with: {fetch}"


def replay_commit(
    repo: Repo, commit: str, seeds: int | None, on_event: OnEvent, opens: Opens
) -> dict[str, Any]:
    """Repeat a training of a trial with its recorded clock: the one that failed, else the first.

    Args:
        seeds: how many fresh trainings are to estimate its score anew; None for no estimate.

    Returns:
        What ``replay --json`` prints.

    Raises:
        UserError: no such trial, or it has no training to replay, or no score to estimate, or there
            is nothing to measure with.
    """
    tag, state, trial = find_trial(repo, commit, claimed=True)
    sha, settings = _resolve(repo, commit), state.settings
    candidate = sha if sha in candidates(trial) else trial.candidate
    recorded = _decisive([t for t in trial.of("candidate") if t.commit == candidate])
    if recorded is None:
        raise CampaignError(f"trial {trial.trial} has no training to replay")
    if seeds is not None and recorded.val_bpb is None:
        raise CampaignError(f"it was {recorded.status}, and has no score: leave out --seeds")
    trace = read_trace(repo, tag, trial, recorded.seed)
    if trace is None:
        raise CampaignError(
            f"the clock of trial {trial.trial}, seed {recorded.seed}, is neither in "
            f"campaigns/{tag}/trials/{trial.trial} nor in the notes of its commit"
        )
    found: dict[str, Any] = {
        "commit": sha,
        "trial": trial.trial,
        "seed": recorded.seed,
        "recorded_bpb": recorded.val_bpb,
        "replayed_bpb": None,
        "recorded_end": _end(recorded, trace),
        "replayed_end": "not trained",
        "verdict": "failed",
        "differences": ["the commit's train.py is not the one that was trained"],
        "fresh": None,
    }
    if notes.trained_file(repo, tag, trial, candidate) not in ("", repo.blob(sha)):
        return found
    source = repo.read_file(sha)
    hold(recorded.fingerprint.get("text", ""))
    how = {name: settings[name] for name in ("budget", "preset", "data", "isolation")}
    how["device"] = "cpu" if recorded.fingerprint.get("device") == "cpu" else "auto"
    work = Work("heat", (source,), how | {"seed": recorded.seed, "trace": trace})
    with closing(opens(settings)) as executor:
        (measured,) = executor.run(work, on_event=on_event, cancel=threading.Event())
        if seeds is not None:
            try:
                found["fresh"] = _fresh_estimate(source, sha, seeds, settings, on_event, executor)
            except UserError as error:  # what was replayed is told all the same
                found["fresh"] = {"failed": str(error)}
    curve = notes.recorded_curve(repo, tag, trial, recorded)
    noise = noise_of(state, "structure", find_preset(settings["preset"])).scale
    record = Record(recorded, trace, curve, noise, reads_clock(source))
    found["verdict"], found["differences"] = compare(record, measured)
    found |= {"replayed_bpb": measured.val_bpb, "replayed_end": _end(measured, measured.trace)}
    return found


def _decisive(trainings: list[Training]) -> Training | None:
    """The last training, if it failed by the file's own fault; else the first that has a score."""
    if not trainings or trainings[-1].status not in ("ok", "killed"):
        return trainings[-1] if trainings else None
    return next((t for t in trainings if t.status == "ok"), trainings[0])


def _end(of: Training | Measurement, trace: str) -> str:
    steps = of.steps or recorded_steps(trace)
    if CLOCK_ENDED in of.reason:
        return f"still training after step {steps}, where its recorded clock ends"
    return f"{of.status} at step {steps}" + (f" ({of.reason})" if of.reason else "")


def _fresh_estimate(
    source: str,
    sha: str,
    seeds: int,
    settings: dict[str, Any],
    on_event: OnEvent,
    executor: Executor,
) -> dict[str, Any]:
    """The mean score of a file with seeds that no trial had, and its 95 % interval."""
    how: Any = {"names": [f"commit {sha[:12]}"], "settings": settings, "executor": executor}
    how |= {"on_event": on_event, "cancel": threading.Event()}
    fresh = [fresh_seed("replay", sha, number) for number in range(seeds)]
    jobs = [functools.partial(fresh_heat, [source], seed, **how) for seed in fresh]
    scores = []
    for found in side_by_side(jobs, executor.slots):
        if isinstance(found, UserError):
            raise found
        scores.append(found[0].val_bpb or 0.0)  # without a score it has failed
    return {**asdict(interval(scores)), "seeds": seeds}


def compare(record: Record, measured: Measurement) -> tuple[str, list[str]]:
    """The verdict on a replay, and what is different: conditions first, then results."""
    recorded = record.training
    after = {**measured.fingerprint, "isolation": measured.isolation, "how": measured.how}
    before = {**recorded.fingerprint, "isolation": recorded.isolation, "how": recorded.how}
    conditions = {
        name: f"{name}: {was} then, {after.get(name)} now"
        for name, was in sorted(before.items())
        if was and after.get(name) != was
    }
    how = conditions.pop("how", "")  # by design it changes no bit
    verdict, result = _compare_results(record, measured, bool(conditions or record.clocks))
    found = [*conditions.values(), result]
    if verdict != "bit-exact":
        reads = f"train.py reads {record.clocks}: no replay can repeat that"
        found = [*conditions.values(), how, result, reads if record.clocks else ""]
    return verdict, [one for one in found if one]


def _compare_results(record: Record, measured: Measurement, is_other: bool) -> tuple[str, str]:
    """The verdict, and why it is not another.

    Args:
        is_other: whether conditions differ, or may: then only equal numbers are bit-exact.
    """
    recorded = record.training
    has_weights = recorded.weights_sha256 or recorded.val_bpb is not None
    # The numbers in a reason are those of an audit or a limit, and others each time.
    alike = measured.status == recorded.status and (
        _NUMBER.sub("", measured.reason) == _NUMBER.sub("", recorded.reason)
    )
    alike &= bool(has_weights) or measured.trace == record.trace
    if not alike and not (recorded.status in CUT_OFF and CLOCK_ENDED in measured.reason):
        then, now = _end(recorded, record.trace), _end(measured, measured.trace)
        return "failed", f"end: {then} then, {now} now"
    if not has_weights:
        return _compare_losses(record, measured, is_other)
    distance = abs((measured.val_bpb or 0.0) - (recorded.val_bpb or 0.0))
    near = VERDICTS[1 if distance <= NOISE_SCALES * record.noise else 2]
    if recorded.weights_sha256 not in ("", measured.weights_sha256):
        return near, "weights: not the same bits"
    return (near, "score: another number for the same weights") if distance else ("bit-exact", "")


def _compare_losses(record: Record, measured: Measurement, is_other: bool) -> tuple[str, str]:
    """Of two trainings without weights that ended alike, at the same step."""
    now = {step: loss for _, step, loss in measured.curve}
    pairs = [(loss, now[step]) for _, step, loss in record.curve if step in now]
    if any(was != again for was, again in pairs):
        near = all(abs(was - again) <= LOSS_NOISE * abs(was) for was, again in pairs)
        return VERDICTS[1 if is_other and near else 2], "losses: other numbers"
    if not pairs and any(record.training.losses):
        return "within-noise", "losses: not recorded here"
    if is_other and recorded_steps(record.trace) and (not pairs or record.curve[-1][1] not in now):
        few = f"{len(pairs)} of {len(record.curve)}, without the last"
        return "within-noise", f"losses: only {few}, were logged then and now; they are equal"
    return "bit-exact", ""


def replay_text(found: Mapping[str, Any]) -> str:
    """What ``replay_commit`` found, for a person: what is different, then the numbers."""
    was, now = (
        found[f"{when}_end"] if (bpb := found[f"{when}_bpb"]) is None else f"{bpb:.6f}"
        for when in ("recorded", "replayed")
    )
    lines = [
        *(f"different: {difference}" for difference in found["differences"]),
        f"{found['verdict']}: {found['commit'][:12]}, trial {found['trial']}, seed {found['seed']}",
        f"recorded {was}, replayed {now}",
    ]
    if (fresh := found["fresh"]) and "failed" in fresh:
        lines.append(f"no fresh estimate: {fresh['failed']}")
    elif fresh:
        ends = f"[{fresh['low']:.6f}, {fresh['high']:.6f}]"
        lines.append(f"fresh estimate {fresh['mean']:.6f} {ends} with {fresh['seeds']} new seeds")
    return "\n".join(lines)
