"""Read a campaign: its state, and the files of its trials. Whether a run goes on is no matter."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from agent.campaign import snapshot
from agent.campaign.files import JOURNAL, folder_of
from agent.campaign.journal import is_begun
from agent.campaign.learning import next_shares, rebuild_prior
from agent.campaign.lock import holder
from agent.campaign.records import Training, Trial
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.prior import Prior
from agent.program import parse_program
from trainer.errors import UserError

Curve = Sequence[tuple[float, int, float]]
"""(seconds, step, nats per token), as a training reported them."""
_CURVE: TypeAdapter[Curve] = TypeAdapter(Curve)


class CampaignError(UserError):
    """The campaign cannot go on; the message says why and what to do."""


def last_active(repo: Repo) -> str:
    """Tag of the campaign whose journal was written last.

    Raises:
        CampaignError: there is no campaign yet.
    """
    if not (journals := _journals(repo)):
        raise CampaignError(f"no campaign in {repo.root} yet; start one: python -m agent run")
    return max(journals, key=lambda path: path.stat().st_mtime).parent.name


def tags(repo: Repo) -> list[str]:
    """All campaigns that have a journal, the one whose journal was written last first."""
    journals = sorted(_journals(repo), key=lambda path: -path.stat().st_mtime)
    return [path.parent.name for path in journals]


def _journals(repo: Repo) -> list[Path]:
    """Those that hold something, by tag."""
    return sorted(filter(is_begun, (repo.root / "campaigns").glob(f"*/{JOURNAL}")))


def refuse_without_journal(repo: Repo, tag: str) -> None:
    folder = folder_of(repo, tag)
    if (folder / "trials").exists() and not is_begun(folder / JOURNAL):
        raise CampaignError(
            f"the journal of campaign {tag} is gone or empty: restore {folder / JOURNAL} from a "
            f"copy, or remove the rest: python -m agent clean --tag {tag}"
        )


def load(repo: Repo, tag: str) -> State:
    """A campaign's state, for reading.

    Raises:
        CampaignError: no such campaign, or its journal is gone.
    """
    state = peek(repo, tag)
    if not state.settings:
        refuse_without_journal(repo, tag)
        known = [path.parent.name for path in _journals(repo)]
        there_are = f"; there are: {', '.join(known)}" if known else ""
        raise CampaignError(f"there is no campaign {tag!r} in {repo.root}{there_are}")
    return state


def peek(repo: Repo, tag: str) -> State:
    """A campaign's state, empty if there is no such campaign."""
    return snapshot.read_state(folder_of(repo, tag) / JOURNAL)


def prior_of(state: State) -> Prior:
    """The prior after all that happened in the campaign."""
    if not state.program_text:
        raise CampaignError("this campaign has not begun its first trial yet; run it again")
    described = parse_program(state.program_text, lenient=True).described
    seed, lent = state.settings["seed"], (state.lent, state.lent_described)
    return rebuild_prior(described, seed, state.in_order, *lent)


def next_shares_of(state: State) -> dict[str, float]:
    """Probabilities of the categories for the next trial; as ``prior_of``."""
    return next_shares(prior_of(state), state)


def shares_of(state: State) -> dict[str, float]:
    """The same; empty where nothing was read yet, or nothing that this version can read."""
    with contextlib.suppress(UserError):
        return next_shares_of(state)
    return {}


def running(repo: Repo, tag: str) -> int | None:
    """Process id of what writes the journal, a run or another command; None if nothing does."""
    return holder(folder_of(repo, tag) / JOURNAL)


def run_of(state: State, pid: int | None) -> int | None:
    """``pid``, if what writes is a run, which tries what is submitted."""
    return pid if state.settings.get("pid") == pid and not state.stop_reason else None


def stem(training: Training) -> str:
    """Name, without ending, of the files that a training left in its trial's folder."""
    return f"{'champion' if training.role == 'champion' else 'training'}-{training.seed}"


def read_trace(repo: Repo, tag: str, trial: Trial, seed: int) -> str | None:
    """The recorded clock of a candidate: from the trial's folder, else from its commit's note; None
    if neither has it undamaged."""
    path = folder_of(repo, tag) / "trials" / str(trial.trial) / f"training-{seed}.trace"
    with contextlib.suppress(OSError, ValueError):
        return path.read_text(encoding="ascii")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        note = repo.read_note(tag, trial.commit) if trial.commit else None
        trace: object = json.loads(note)["traces"][str(seed)] if note else None
        return trace if isinstance(trace, str) else None
    return None


def read_curve(folder: Path, training: Training) -> Curve:
    """What a training logged, from the campaign's folder; empty if it is not whole or not there."""
    path = folder / "trials" / str(training.trial) / f"{stem(training)}.curve.json"
    try:
        return _CURVE.validate_json(path.read_bytes())
    except (OSError, ValueError):
        return []
