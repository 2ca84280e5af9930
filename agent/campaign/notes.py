"""What a campaign tells clones of its repository: a note for each commit, and each opening.

Openings of the sealed test text stand on the baseline's commit, a line of JSON each, which begins
with its time so that git can merge them: ``git notes merge -s cat_sort_uniq``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from pydantic import TypeAdapter

from agent.campaign.reading import read_trace
from agent.campaign.records import NULL, Trial
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.settings import FIXED
from trainer.errors import UserError
from trainer.untrusted import one_line

TOLD = ("title", "parent", "val_bpb", "val_bpb_half", "gain", "gain_half", "transfers")
"""What notes tell of a trial since there is ``verify``."""
_FIELDS = ("trial", "verdict", "trainings", *TOLD)
_TRIAL = TypeAdapter(Trial)


def note_of(repo: Repo, tag: str, trial: Trial, state: State) -> str:
    """Everything that is needed to replay and to verify the commit in a clone, as JSON."""
    told = {
        **{name: getattr(trial, name) for name in _FIELDS},
        "baseline": trial.trial == 0,
        "nulls": [len(state.nulls), sum(null.kept for null in state.nulls)],
        "settings": {name: state.settings.get(name) for name in FIXED},
        "traces": {
            str(run.seed): read_trace(repo, tag, trial, run.seed) for run in trial.of("candidate")
        },
    }
    return json.dumps(told, indent=1, default=asdict)


def state_from_notes(repo: Repo, tag: str) -> State:
    """A campaign's settings, kept trials and null trials.

    Raises:
        UserError: a note cannot be read, or the baseline has none.
    """
    state, nulls = State(), [0, 0]
    for commit in repo.noted(tag):
        try:
            note = json.loads(repo.read_note(tag, commit) or "")
            if note["verdict"] == "keep":
                info = repo.commit_for(commit)
                said = {"title": info.message.partition("\n")[0], "parent": info.parent or ""}
                said |= {"commit": commit, "status": "ok"}
                said |= {name: note[name] for name in _FIELDS if name in note}
                state.trials.append(_TRIAL.validate_python(said))
                state.settings = {"tag": tag, **note["settings"]}
                nulls = max(nulls, note.get("nulls", nulls))
        except (ValueError, KeyError, TypeError) as error:
            where = f"{commit[:12]} in {repo.notes_ref(tag)}"
            why = one_line(str(error), 200)
            raise UserError(f"the note of {where} cannot be read: {why}") from None
    state.trials.sort(key=lambda trial: trial.trial)
    if not state.trials or state.trials[0].trial != 0:
        raise UserError(f"{repo.notes_ref(tag)} has no note of the baseline: fetch it again")
    verdicts: list[Literal["keep", "revert"]] = ["revert"] * (nulls[0] - nulls[1])
    verdicts += ["keep"] * nulls[1]
    state.trials += [Trial(-1, category=NULL, verdict=verdict) for verdict in verdicts]
    return state


def openings(repo: Repo, tag: str, baseline: str) -> list[dict[str, Any]]:
    """The openings that notes tell of: ``by`` what, of which ``commits``, whether in a ``clone``.

    Raises:
        UserError: a line cannot be read.
    """
    text = repo.read_note(tag, baseline, ref=repo.openings_ref(tag)) or ""
    try:
        return [{"by": "", "clone": True, **json.loads(line)} for line in text.splitlines() if line]
    except (ValueError, TypeError):
        raise UserError(f"{repo.openings_ref(tag)} has a line that is no JSON object") from None


def add_opening(
    repo: Repo, tag: str, baseline: str, by: str, commits: Sequence[str], *, clone: bool
) -> None:
    """Add an opening to the notes, on disk when this returns.

    Raises:
        RepoError: git could not write it.
    """
    ref, told = repo.openings_ref(tag), {"by": by, "commits": list(commits), "clone": clone}
    before = repo.read_note(tag, baseline, ref=ref) or ""
    line = json.dumps({"time": round(time.time(), 3), **told})
    repo.add_note(tag, baseline, f"{before}{line}\n", ref=ref)
