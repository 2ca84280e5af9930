"""report.html and progress.png. The page is one self-contained file that can be shared.

The page loads nothing and runs nothing. Titles, hypotheses and diffs may come from a model; jinja2
escapes them, and the page's Content-Security-Policy forbids scripts and external addresses.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from agent.campaign.files import write_atomically
from agent.campaign.records import Training, Trial
from agent.campaign.state import State
from agent.report.summary import noise, paragraph
from agent.report.text import clock, interval, noise_words, percents, signed
from trainer.untrusted import one_line, printable

TEMPLATE = "report.html"
DIFF_CHARACTERS = 20_000
"""Limit for each diff; the trial's folder holds the whole diff."""
HIDDEN = ("tag", "pid")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#|~!])")


def write_report(folder: Path, state: State, prior: Mapping[str, float]) -> tuple[Path, Path]:
    """Write ``progress.png`` and ``report.html`` into a campaign's folder; returns both paths.

    Raises:
        OSError: a file cannot be written; the old one is as it was.
    """
    from agent.report.plots import progress_png  # matplotlib takes a second to import

    picture, page = folder / "progress.png", folder / "report.html"
    progress_png(picture, state)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(TEMPLATE).render(
        tag=one_line(state.settings.get("tag", folder.name)),
        summary=paragraph(state),
        picture=base64.b64encode(picture.read_bytes()).decode(),
        trials=[_trial(trial, folder) for trial in state.finished],
        prior=percents(prior),
        settings=_settings(state),
        fingerprint=_fingerprint(state),
        champion=state.champion.commit[:12] if state.champion is not None else "",
    )
    write_atomically(page, text.encode("utf-8", "replace"))
    return picture, page


def _trial(trial: Trial, folder: Path) -> dict[str, Any]:
    """A trial's fields, formatted for the template."""
    patch = folder / "trials" / str(trial.trial) / "diff.patch"
    diff = patch.read_text(encoding="utf-8", errors="replace") if patch.exists() else ""
    return {
        "number": trial.trial,
        "category": one_line(trial.category),
        "title": one_line(trial.title),
        "outcome": trial.outcome,
        "score": interval(trial.val_bpb, trial.val_bpb_half) or one_line(trial.status) or "—",
        "gain": signed(trial.gain),
        "words": one_line(trial.words),
        "clock": clock(trial.seconds),
        "commit": trial.commit[:7],
        "lines": f"+{trial.lines_added} −{trial.lines_removed}" if trial.candidate else "",
        "hypothesis": printable(trial.hypothesis, 4000),
        "proposer": one_line(trial.proposer),
        "propensity": f"{trial.propensity:.0%}" if trial.propensity else "",
        "reward": signed(trial.reward, 2),
        "rejections": [printable(reason, 1000) for reason in trial.rejections],
        "seeds": " ".join(str(run.seed) for run in trial.trainings if run.role == "candidate"),
        "trainings": [_training(run) for run in trial.trainings],
        "diff": [(_kind(line), line) for line in printable(diff, DIFF_CHARACTERS).splitlines()],
    }


def _training(run: Training) -> dict[str, str]:
    score = f"{run.val_bpb:.6f}" if run.val_bpb is not None else ""
    return {
        "heat": "" if run.heat is None else str(run.heat + 1),
        "role": run.role,
        "seed": str(run.seed),
        "status": one_line(run.status) + ("" if run.counted else ", not counted"),
        "score": score or one_line(run.reason),
        "seconds": clock(run.wall_seconds),
        "steps": f"{run.steps:,}",
        "memory": f"{run.peak_memory_mb:,.0f} MB",
    }


def _kind(line: str) -> str:
    """The kind of a line of a diff, which sets its colour."""
    if line.startswith(("+++", "---", "diff ", "index ")):
        return "head"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "same")


def _settings(state: State) -> dict[str, str]:
    shown = {k: v for k, v in state.settings.items() if k not in HIDDEN and v is not None}
    shown["noise"] = f"{noise_words(noise(state))}, bits per byte, of a difference"
    return {one_line(k): _value(v) for k, v in shown.items()}


def _fingerprint(state: State) -> dict[str, str]:
    """Fingerprint of the last training: hardware, software and data of the scores."""
    runs = [run for trial in state.trials for run in trial.trainings if run.fingerprint]
    return {one_line(k): _value(v) for k, v in runs[-1].fingerprint.items()} if runs else {}


def _value(value: object) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, default=str))


def markdown(state: State, prior: Mapping[str, float]) -> str:
    """The campaign for a pull request or an issue: summary, table of trials, prior."""
    tag = one_line(state.settings.get("tag", ""))
    lines = [f"# autoresearch {_escaped(tag)}".rstrip(), "", paragraph(state), ""]
    lines += ["| # | category | what | val_bpb | gain | verdict | commit |"]
    lines += ["|--:|---|---|---|--:|---|---|"]
    for trial in state.finished:
        score = interval(trial.val_bpb, trial.val_bpb_half) or one_line(trial.status)
        texts = [trial.category, trial.title, score, signed(trial.gain), trial.words]
        cells = [_escaped(one_line(text)) for text in texts]
        commit = f"`{trial.commit[:7]}`" if trial.commit else ""
        bold = "**" if trial.outcome == "kept" else ""
        cells[1] = f"{bold}{cells[1]}{bold}" if cells[1] else ""
        lines.append(f"| {trial.trial} | {' | '.join(cells)} | {commit} |")
    shares = [f"{_escaped(name)} {share}%" for name, share in percents(prior).items()]
    if shares:
        lines += ["", f"Prior over categories: {', '.join(shares)}."]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Text with the syntax of Markdown and HTML escaped."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", plain)
