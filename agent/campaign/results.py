"""results.tsv: the five columns of the original autoresearch, one line per trained trial."""

from __future__ import annotations

from pathlib import Path

from agent.campaign.files import write_atomically
from agent.campaign.records import Trial
from agent.campaign.state import State
from trainer.untrusted import one_line

HEADER = ("commit", "val_bpb", "memory_gb", "status", "description")
_STATUS = {"kept": "keep", "reverted": "discard", "failed": "crash"}


def write_tsv(path: Path, state: State) -> None:
    """Write every trial that has a final commit, trial 0 first.

    ``commit`` is 7 hex digits, ``val_bpb`` the mean over the candidate's fresh seeds, ``memory_gb``
    the peak over its trainings in GiB; both are 0 for a crash, as in the original. Rejected trials
    have no commit and are left out.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    trained = (trial for trial in state.finished if trial.commit and trial.verdict != "rejected")
    rows = [HEADER, *(_row(trial) for trial in trained)]
    write_atomically(path, "".join("\t".join(row) + "\n" for row in rows).encode())


def _row(trial: Trial) -> tuple[str, ...]:
    status = _STATUS[trial.outcome]
    crashed = trial.val_bpb is None
    runs = [run.peak_memory_mb for run in trial.trainings if run.role == "candidate"]
    memory = 0.0 if crashed else max(runs, default=0.0) / 1024
    title = one_line(trial.title).replace("\N{REPLACEMENT CHARACTER}", "")
    return (trial.commit[:7], f"{trial.val_bpb or 0.0:.6f}", f"{memory:.1f}", status, title)
