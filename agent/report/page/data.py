"""What the page tells, as JSON: the view, and around it what only a page has room for."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agent.campaign.files import JOURNAL
from agent.campaign.records import Heat, Trial
from agent.campaign.state import State
from agent.objective import Objective
from agent.report.details import attempt, facts
from agent.report.page.texts import in_script, prompt_paths, prompts, read_text
from agent.report.summary import without_ideas
from agent.report.text import clock, heat_words, noise_words, signed, span
from agent.report.verification import verified_text
from agent.report.view import View
from trainer.untrusted import one_line, printable

HIDDEN = ("tag", "pid", "start_source", "llm_key")
DETAILS_BYTES = 8_000_000
"""Of all trials' details in a file; kept trials come first, then the newest."""
Json = dict[str, Any]


def view_json(view: View) -> Json:
    """The view without the trials' rows."""
    told = asdict(replace(view, rows=()))  # copying a thousand rows takes a tenth of a second
    del told["rows"]
    told["now"]["live"] = view.now.live.model_dump(mode="json") if view.now.live else None
    if view.found.claimed is not None:
        told["found"]["claimed"]["words"] = view.found.claimed.words
    return told


def rows(view: View) -> list[Json]:
    return [asdict(row) for row in view.rows]


def everything(view: View, state: State, folder: Path) -> Json:
    """The data of a page that is a file."""
    details, size = {}, 0
    order = sorted(state.finished, key=lambda trial: (not trial.kept, -trial.trial))
    for trial in order:
        found = details_of(trial, folder)
        size += len(in_script(found))
        if size > DETAILS_BYTES:
            break
        details[trial.trial] = found
    asked = prompts(folder, [trial.trial for trial in state.finished])
    return {
        "view": view_json(view),
        "more": more(view, state, folder),
        "rows": rows(view),
        "details": details,
        "prompts": asked,
        "live": False,
    }


def details_of(trial: Trial, folder: Path) -> Json:
    """What is shown of a trial when it is opened, but its prompts, which share most of their
    text."""
    stored = folder / "trials" / str(trial.trial)
    replies = sorted(stored.glob("reply*.md"), key=attempt)
    return {
        "facts": [[label, one_line(text, 1000)] for label, text in facts(trial) if text],
        "turned_down": [printable(reason, 2000).strip() for reason in trial.rejections],
        "heats": [_heat(heat) for heat in trial.heats],
        "trainings": [
            [
                "" if run.heat is None else str(run.heat + 1),
                run.role,
                str(run.seed),
                one_line(run.status) + ("" if run.counted else ", not counted"),
                "" if run.val_bpb is None else f"{run.val_bpb:.6f}",
                f"{run.steps:,}",
                f"{run.peak_memory_mb:,.0f} MB",
                clock(run.wall_seconds),
                one_line(run.reason),
            ]
            for run in trial.trainings
        ],
        "diff": read_text(stored / "diff.patch"),
        "replies": [[path.name, read_text(path)] for path in replies],
        "logs": [[path.name, read_text(path, 4000)] for path in sorted(stored.glob("*.log"))],
    }


def prompts_of(trial: int, folder: Path) -> list[list[str]]:
    """A trial's prompts, whole."""
    return [[path.name, read_text(path, 200_000)] for path in prompt_paths(folder, trial)]


def _heat(heat: Heat) -> Json:
    """Its verdict and both curves: training loss by equal parts of the budget."""
    return {
        "number": heat.number + 1,
        "words": heat_words(heat),
        "champion": _rounded(heat.champion.losses),
        "candidate": _rounded(heat.candidate.losses),
    }


def _rounded(losses: Sequence[float | None]) -> list[float | None]:
    return [None if loss is None else round(loss, 4) for loss in losses]


def more(view: View, state: State, folder: Path) -> Json:
    """What else there is to say of the campaign; it changes with its events only."""
    settings = {k: v for k, v in state.settings.items() if k not in HIDDEN and v is not None}
    settings["noise"] = f"{noise_words(view.belief.noise)}, bits per byte, of a difference"
    if state.objective:
        settings["objective"] = Objective.of(state.objective).words()
    runs = [run for trial in state.trials for run in trial.trainings if run.fingerprint]
    return {
        "settings": _pairs(settings),
        "machine": _pairs(runs[-1].fingerprint if runs else {}),
        "verified": printable(verified_text(state.verified), 20_000) if state.verified else "",
        "harvest": _harvest(state.harvested.get("result")),
        "replays": _replays(folder),
        "notebook": printable(state.notebook.text, 20_000),
        "programs": _programs(state, folder),
        "scale": _scale(state),
        "without_ideas": [one_line(name, 40) for name in without_ideas(state)],
    }


def _pairs(values: Mapping[str, Any]) -> list[list[str]]:
    return [
        [one_line(name, 60), one_line(value if isinstance(value, str) else json.dumps(value), 1000)]
        for name, value in values.items()
    ]


def _harvest(found: Mapping[str, Any] | None) -> Json | None:
    if not found:
        return None
    keeps = [
        [
            str(keep["trial"]),
            one_line(keep["title"]),
            signed(keep["gain"]),
            span(keep["alone"]),
            span(keep["left_out"]),
            one_line(keep["words"]),
        ]
        for keep in found["keeps"]
    ]
    return {"seeds": len(found["seeds"]), "keeps": keeps}


def _replays(folder: Path) -> list[list[str]]:
    """Of each trial trained again on its recorded clock: what came of it the last time."""
    found = []
    for path in sorted((folder / "trials").glob("*/replay.json")):
        try:
            stored = json.loads(path.read_bytes())
            scores = [f"{b:.6f}" for b in (stored["recorded_bpb"], stored["replayed_bpb"]) if b]
            found.append(
                [one_line(stored["trial"]), one_line(stored["verdict"]), " → ".join(scores)]
            )
        except (OSError, ValueError, KeyError, TypeError):  # a person may have edited it
            continue
    return found


def _scale(state: State) -> list[float] | None:
    """Lowest and highest cost on the chart, without the trials far above it."""
    from agent.report.plots import points_of, scale  # matplotlib takes a second to import

    points = points_of(state)
    return list(scale(points)) if points else None


def _programs(state: State, folder: Path) -> list[Json]:
    """Versions of program.md that trials read, each once: the first one whole, others as what
    changed since the one before."""
    texts = _program_texts(folder / JOURNAL) or [("", state.program_text)]
    used: dict[str, list[int]] = {}
    for trial in state.trials:
        used.setdefault(trial.program, []).append(trial.trial)
    told, before = [], ""
    for number, (sha, text) in enumerate(texts):
        shown = text if not number else "\n".join(_changes(before, text))
        trials = used.get(sha[:12], []) if sha else [trial.trial for trial in state.trials]
        told.append(
            {
                "version": sha[:12],
                "trials": _ranges(trials),
                "text": printable(shown, 20_000),
                "is_diff": number > 0,
            }
        )
        before = text
    return told


def _program_texts(journal: Path) -> list[tuple[str, str]]:
    """Hash and text of each version, once, oldest first. Only these lines are read whole: a journal
    of a thousand trials takes seconds otherwise."""
    found: dict[str, str] = {}
    try:
        with journal.open("rb") as lines:
            for line in lines:
                if b'"event":"program"' in line[:200]:
                    stored = json.loads(line)
                    found.setdefault(str(stored["sha256"]), str(stored["text"]))
    except (OSError, ValueError, KeyError):
        pass  # the last line may be half written; what is damaged, others tell
    return list(found.items())


def _changes(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=2)
    return list(lines)[2:]  # without the names of files


def _ranges(numbers: Sequence[int]) -> str:
    """``0-4, 7``."""
    ends = []
    for _, run in itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        of = [number for _, number in run]
        ends.append(str(of[0]) if len(of) == 1 else f"{of[0]}-{of[-1]}")
    return ", ".join(ends)
