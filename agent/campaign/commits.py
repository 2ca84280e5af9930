"""The commits of trials: their messages, and how one that git has pruned is made again.

All bytes of a commit follow from the journal: its parent, the reply, the texts, and when the trial
began. So a commit that is made again has the hash that the journal names, or is not used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from agent.campaign.records import Trial
from agent.edits.blocks import Edit, EditError, parse
from agent.edits.constants import constants as known_constants
from agent.edits.constants import set_constants
from agent.git.message import commit_message
from agent.git.repo import Repo
from agent.objective import Objective
from trainer.errors import UserError
from trainer.presets import find_preset
from trainer.source import in_form_of, plain


def last_commit(trial: Trial) -> str:
    """Where the trial's ref points to; "" if the trial has no commit."""
    return trial.commit or trial.candidate


def candidates(trial: Trial) -> tuple[str, ...]:
    """The commits that a trial has trained: those that were sent back or carried over, and the
    last one."""
    sent = (one.candidate for one in trial.sent_back)
    return tuple(dict.fromkeys((*sent, *trial.carried, *filter(None, [trial.candidate]))))


def commit_candidate(repo: Repo, trial: Trial, source: str) -> str:
    """Commit a candidate of ``trial``, which has what is known of the edit; the hash."""
    texts = {"Category": trial.category, "Hypothesis": trial.hypothesis}
    trailers = {"Trial": str(trial.trial), **texts, **_reads_clock(trial)}
    message = commit_message(
        trial.category, trial.title, None, None, None, trailers, body=_why(trial)
    )
    return repo.commit_file(trial.parent, source, message, trial.started)


def commit_verdict(repo: Repo, trial: Trial) -> str:
    """The candidate's commit with the verdict in its message; returns the hash."""
    candidates = [t for t in trial.of("candidate") if t.commit == trial.candidate]
    audit = trial.audit
    scores = [t.val_bpb for t in candidates]
    trailers = {
        "Trial": str(trial.trial),
        "Category": trial.category,
        "Hypothesis": trial.hypothesis,
        "Proposer": trial.proposer,
        "Val-Bpb": _interval(trial.val_bpb, trial.val_bpb_half) or f"none ({trial.status})",
        "Gain": _interval(trial.gain, trial.gain_half) or "none",
        "Seeds": " ".join(str(t.seed) for t in candidates),
        "Scores": " ".join(f"{s:.6f}" if s is not None else "none" for s in scores),
        "Differences": " ".join(f"{d:+.6f}" for d in trial.differences) or "none",
        "Audit": f"prefixes alone, bound {audit.leak_bound_bpb:.6f}" if audit else "usual",
        "Verdict": f"{trial.verdict}: {trial.words}",
        "Program": trial.program,
        "Parent": trial.parent,
        **_reads_clock(trial),
    }
    if trial.objective:
        trailers["Objective"] = Objective.of(trial.objective).words()
    if trial.claimed is not None:
        trailers["Claimed"] = f"{trial.claimed:.6f}"
    if trial.submitted.get("commit"):
        trailers["Imported"] = trial.submitted["commit"]
    message = commit_message(
        trial.category,
        trial.title,
        trial.val_bpb,
        trial.val_bpb_half,
        None if trial.objective else trial.gain,  # it is no change in val_bpb then
        trailers,
        body=_why(trial),
    )
    return repo.recommit(trial.candidate, message)


def commit_again(repo: Repo, settings: Mapping[str, Any], trial: Trial) -> None:
    """Make a trial's last commit again, if a reply in the journal gives the hash that it names.

    After a candidate was sent back, later replies may have been turned down.
    """
    for reply in (trial.reply, *reversed(trial.turned_down)):
        with contextlib.suppress(UserError, EditError):
            original = repo.read_file(trial.parent)
            parent = plain(original)
            if trial.trial == 0:
                source = baseline_source(parent, settings)
            else:
                source = parse(reply, "file").apply(parent)  # reads blocks, too
            if commit_candidate(repo, trial, in_form_of(original, source)) == trial.candidate:
                if trial.commit:
                    commit_verdict(repo, trial)
                return


def baseline_source(base: str, settings: Mapping[str, Any]) -> str:
    """What a campaign starts from: the file of ``--start``, else HEAD's train.py (``base``), with
    those of the preset's constants that it names written into it."""
    source = settings.get("start_source", base)
    constants = find_preset(settings["preset"]).constants
    named = {constant.name for constant in known_constants(source)}
    blocks = set_constants(source, {k: v for k, v in constants.items() if k in named})
    return Edit("baseline", "", "", blocks).apply(source) if blocks else source


def _why(trial: Trial) -> str:
    """The hypothesis, and the sign that would show it wrong."""
    against = f"\n\nIt would be wrong if this showed: {trial.sign}" if trial.sign else ""
    return trial.hypothesis + against


def _reads_clock(trial: Trial) -> dict[str, str]:
    return {"Reads-Clock": trial.reads_clock} if trial.reads_clock else {}


def _interval(value: float | None, half: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" + (f" ± {half:.6f}" if half is not None else "")
