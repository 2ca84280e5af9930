"""results.tsv: the five columns of the original autoresearch, one line per trained trial."""

from __future__ import annotations

from pathlib import Path

from agent.campaign.chain import chain
from agent.campaign.files import write_atomically
from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.judge import Estimate
from agent.objective import Objective
from trainer.presets import find_preset
from trainer.untrusted import one_line

HEADER = ("commit", "val_bpb", "memory_gb", "status", "description")
_STATUS = {"kept": "keep", "reverted": "discard", "failed": "crash"}


WHOLE = 500
"""Up to so many trials the file is written after each; later once in a hundredth of them, as it is
written whole, so that a trial costs the same."""


def is_due(state: State) -> bool:
    """Whether the file is to be written after the last verdict; it is at a run's end as well."""
    last = next(reversed(state.finished), None)
    count = len(state.trials)
    return last is None or last.kept or count <= WHOLE or count % (count // 100) == 0


def write_tsv(path: Path, state: State) -> None:
    """Write every trial that has a final commit, trial 0 first.

    ``commit`` is 7 hex digits, ``val_bpb`` that of ``campaign.chain`` (of an abandoned trial, the
    forecast; once it is a chain of other costs, the score, and abandoned trials are left out),
    ``memory_gb`` the peak over its trainings in GiB; both are 0 for a crash, as in the
    original. Trials that were rejected or not judged, and null trials, are left out.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    trained = (
        trial
        for trial in state.finished
        if trial.commit and trial.verdict != "rejected" and trial.status != "unjudged"
    )
    values = chain(state, find_preset(str(state.settings.get("preset", "auto"))))
    if any(not Objective.of(trial.objective).is_score for trial in state.finished):
        trained = (trial for trial in trained if trial.status != "abandoned")
        scores = {t.trial: t.val_bpb for t in state.finished if t.val_bpb is not None}
        values = {number: Estimate(scores[number], 0.0) for number in values if number in scores}
    rows = [HEADER, *(_row(trial, values.get(trial.trial)) for trial in trained)]
    write_atomically(path, "".join("\t".join(row) + "\n" for row in rows).encode())


def _row(trial: Trial, value: Estimate | None) -> tuple[str, ...]:
    status = _STATUS[trial.outcome]
    crashed = value is None
    runs = [run.peak_memory_mb for run in trial.trainings if run.role == "candidate"]
    memory = 0.0 if crashed else max(runs, default=0.0) / 1024
    bpb = f"{value.mean if value else 0.0:.6f}"
    return (trial.commit[:7], bpb, f"{memory:.1f}", status, _description(trial.title))


def _description(title: str) -> str:
    """As the original's notebook can read and draw it: for pandas a cell that begins with a double
    quote goes on to the next one, for matplotlib what is between dollars is mathematics."""
    words = one_line(title).replace("\N{REPLACEMENT CHARACTER}", "").strip()
    words = words.replace('"', "'") if words.startswith('"') else words
    return words.replace("$", r"\$") if words.count("$") > 1 else words
