"""The notes of trials' commits: all that is needed to replay or to verify them in other clones.

What another version wrote is read as far as it can be: fields that are not known here are left out,
those that lack have their defaults.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from agent.campaign.commits import candidates
from agent.campaign.files import folder_of
from agent.campaign.reading import CampaignError, Curve, read_curve, read_trace
from agent.campaign.records import NULL, FailedCandidate, Training, Trial, Verdict
from agent.campaign.state import State
from agent.git.repo import Move, Repo
from agent.settings import FIXED
from trainer.data.choice import AUTO

NOTES = "refs/notes/autoresearch/"
FETCH = "git fetch origin '+refs/autoresearch/*:refs/autoresearch/*' 'refs/notes/*:refs/notes/*'"
"""How a clone gets refs and notes. Notes are not forced: a clone's own openings stand there."""
_CURVE: TypeAdapter[Curve] = TypeAdapter(Curve)
TOLD = ("title", "val_bpb", "val_bpb_half", "gain", "gain_half", "transfers", "objective")
"""What notes tell of a trial since there is ``verify``."""
_TOLD: TypeAdapter[Trial] = TypeAdapter(Trial)
_TRAINING: TypeAdapter[Training] = TypeAdapter(Training)


def recorded_curve(repo: Repo, tag: str, trial: Trial, training: Training) -> Curve:
    """``read_curve``, else from the note, which keeps the curve of a training without weights."""
    with contextlib.suppress(ValueError):
        own = read_curve(folder_of(repo, tag), training)
        return own or _CURVE.validate_python(_noted(repo, tag, trial, "curves", training.seed))
    return []


def _noted(repo: Repo, tag: str, trial: Trial, part: str, key: object) -> Any:
    """An entry of a part of a trial's note; None if it keeps nothing."""
    with contextlib.suppress(KeyError, TypeError):
        return _read(repo, tag, trial.commit)[part][str(key)]
    return None


def _read(repo: Repo, tag: str, commit: str) -> Any:
    """What a commit's note holds; None if there is none, or it is damaged."""
    with contextlib.suppress(ValueError, RecursionError):
        note = repo.read_note(tag, commit) if commit else None
        return json.loads(note) if note else None
    return None


def made_notes(repo: Repo, tag: str, state: State, trials: Sequence[Trial]) -> Move:
    """The move of the notes that attaches its note to each trial's final commit, and to its
    candidates that were sent back or carried over."""
    notes: dict[str, str] = {}
    for trial in trials:
        files, text = _note(repo, tag, state, trial)
        others = (commit for commit in files if commit != trial.candidate)
        notes |= dict.fromkeys([*others, trial.commit], text)
    return repo.made_notes(repo.notes_ref(tag), notes)


def _note(repo: Repo, tag: str, state: State, trial: Trial) -> tuple[dict[str, str], str]:
    """The files that a trial's candidates trained, by commit, and the text of its note."""
    found = {commit: repo.blob(commit) for commit in candidates(trial)}
    files = {commit: blob for commit, blob in found.items() if blob}
    trained, folder = trial.of("candidate"), folder_of(repo, tag)
    note = {
        "trial": trial.trial,
        "verdict": trial.verdict,
        "candidate": trial.candidate,
        "parent": trial.parent,
        "files": files,
        **{name: getattr(trial, name) for name in TOLD},
        "nulls": [len(state.nulls), sum(null.kept for null in state.nulls)],
        "settings": {name: state.settings.get(name) for name in FIXED},
        "trainings": trial.trainings,
        "traces": {str(t.seed): read_trace(repo, tag, trial, t.seed) for t in trained},
        "curves": {str(t.seed): read_curve(folder, t) for t in trained if not t.weights_sha256},
    }
    # A line for each part, which is quicker than one for each number.
    lines = (f"{json.dumps(k)}: {json.dumps(v, default=asdict)}" for k, v in note.items())
    return files, "{\n" + ",\n".join(lines) + "\n}"


def trial_of(repo: Repo, tag: str, commit: str) -> tuple[State, Trial] | None:
    """State and trial from a commit's note, for a clone that has no journal; None without one.

    Raises:
        CampaignError: the note is damaged, or somebody else's.
    """
    text, trainings = repo.read_note(tag, commit), []
    if text is None:
        return None
    try:
        note = json.loads(text)
        for stored in note["trainings"]:
            with contextlib.suppress(ValidationError):  # of a kind that this version does not know
                trainings.append(_TRAINING.validate_python({"trial": note["trial"], **stored}))
        told = {name: str(value) for name, value in note["settings"].items() if value is not None}
        settings = {"data": AUTO, "isolation": "auto"} | told
        settings |= {name: told[name] for name in ("budget", "preset")}  # not without these
        own = [t.commit for t in trainings if t.role == "candidate"]
        champion = next((t.commit for t in trainings if t.role == "champion"), "")
        candidate = str(note.get("candidate") or own[-1])
        trial = replace(
            _TOLD.validate_python(
                {"trial": note["trial"], "verdict": note["verdict"]}
                | {name: note[name] for name in TOLD if name in note}
            ),
            candidate=candidate,
            commit=commit,
            parent=str(note.get("parent") or champion),
            sent_back=tuple(FailedCandidate(c, "") for c in dict.fromkeys(own) if c != candidate),
            trainings=tuple(trainings),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CampaignError(
            f"the note of {commit[:12]} is damaged, of a newer version or no campaign's ({why}); "
            f"get it again from a clone that has it: git fetch origin '+{NOTES}*:{NOTES}*'"
        ) from None
    return State(settings=settings, trials=[trial], ended=[0]), trial


def all_trials(repo: Repo, tag: str) -> Iterator[tuple[State, Trial]]:
    """Those of all notes that are whole."""
    for line in repo.git("notes", f"--ref={repo.notes_ref(tag)}", "list").decode().splitlines():
        with contextlib.suppress(CampaignError):
            if found := trial_of(repo, tag, line.split()[1]):
                yield found


def state_from_notes(repo: Repo, tag: str) -> State:
    """A campaign's settings, kept trials and null trials.

    Raises:
        CampaignError: a note is damaged, or that of a kept trial lacks.
    """
    state, nulls = State(settings={"tag": tag}), [0, 0]
    for commit in repo.noted(tag):
        if (found := trial_of(repo, tag, commit)) is None:
            continue
        note = _read(repo, tag, commit)
        if found[1].kept and commit not in note.get("files", ()):  # no candidate of it
            title = found[1].title or repo.commit_for(commit).message.partition("\n")[0]
            state.trials.append(replace(found[1], title=title, status="ok"))
            state.settings |= found[0].settings
            nulls = max(nulls, note.get("nulls", nulls))
    state.trials.sort(key=lambda trial: trial.trial)
    if not state.trials or state.trials[0].trial != 0:
        raise CampaignError(f"{repo.notes_ref(tag)} has no note of the baseline: {FETCH}")
    state.trials = _by_verdict(state.trials)
    kept = [trial.commit for trial in state.trials]
    pairs = zip((trial.parent for trial in state.trials[1:]), kept, strict=False)
    missing = [parent for parent, before in pairs if parent not in ("", before)]
    tips = repo.refs(repo.branch(tag), f"refs/remotes/origin/autoresearch/{tag}").values()
    missing += [tip for tip in tips if tip not in kept and repo.is_own(tip)]  # an older one may be
    if missing:
        raise CampaignError(f"{repo.notes_ref(tag)} lacks the note of {missing[0][:12]}: {FETCH}")
    verdicts: list[Verdict] = ["revert"] * (nulls[0] - nulls[1])
    verdicts += ["keep"] * nulls[1]
    aim = state.objective
    state.trials += [Trial(-1, category=NULL, verdict=v, objective=aim) for v in verdicts]
    state.ended = [*range(len(state.trials))]
    return state


def _by_verdict(kept: list[Trial]) -> list[Trial]:
    """Kept trials, given by number, in the order in which they were kept: each on the last."""
    first, *rest = kept
    after = {trial.parent: trial for trial in rest}
    found = [first]
    while (following := after.pop(found[-1].commit, None)) is not None:
        found.append(following)
    return [*found, *(trial for trial in rest if trial not in found)]


def trained_file(repo: Repo, tag: str, trial: Trial, candidate: str) -> str:
    """Hash of the train.py that a trial trained as ``candidate``; "" if nothing tells it."""
    final = trial.commit if candidate == trial.candidate else ""
    known = _noted(repo, tag, trial, "files", candidate) or repo.blob(candidate)
    return str(known or (final and repo.blob(final)))
