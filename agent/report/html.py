"""report.html and progress.png, a page and its picture to share.

The page is one file that loads nothing and runs nothing. Titles, hypotheses and diffs may come from
a model: every value is made printable before it enters a template, and escaped as its format asks.
The page's Content-Security-Policy forbids scripts and external addresses.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, select_autoescape
from markupsafe import Markup

from agent.campaign.files import write_atomically
from agent.campaign.learning import prior_course
from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.objective import Objective
from agent.report.summary import paragraph, standing
from agent.report.text import (
    clock,
    interval,
    noise_words,
    nothing_left,
    percents,
    signed,
    span,
    sparks,
)
from agent.report.verification import transfer_words
from trainer.untrusted import one_line, printable

TEXT_CHARACTERS = 20_000
"""Limit for each text; the trial's folder holds the whole diff."""
HIDDEN = ("tag", "pid", "start_source")


def write_report(folder: Path, state: State, prior: Mapping[str, float]) -> tuple[Path, Path]:
    """Write ``progress.png`` and ``report.html`` into a campaign's folder; returns both paths.

    Raises:
        OSError: a file cannot be written; the old one is as it was.
    """
    from agent.report.plots import progress_png  # matplotlib takes a second to import

    picture, page = folder / "progress.png", folder / "report.html"
    progress_png(picture, state)
    runs = [run for trial in state.trials for run in trial.trainings if run.fingerprint]
    settings = {k: v for k, v in state.settings.items() if k not in HIDDEN and v is not None}
    settings["noise"] = f"{noise_words(standing(state).noise)}, bits per byte, of a difference"
    if state.objective:
        settings["objective"] = Objective.of(state.objective).words()
    text = _template("report.html", _printable).render(
        tag=state.settings.get("tag", folder.name),
        summary=paragraph(state),
        picture=Markup(base64.b64encode(picture.read_bytes()).decode()),
        trials=[(trial, _diff(folder, trial)) for trial in state.finished],
        prior=percents(prior),
        exhausted=[nothing_left(*one) for one in state.exhausted.items()],
        over_time=sparks(prior_course(state)),
        settings=settings,
        fingerprint=runs[-1].fingerprint if runs else {},
        champion=state.champion.commit[:12] if state.champion is not None else "",
        harvest=state.harvested.get("result"),
        notebook=state.notebook.text,
    )
    write_atomically(page, text.encode("utf-8", "replace"))
    return picture, page


def _template(name: str, shown: Callable[[object], str]) -> Template:
    """A report's template, in which every value but ``Markup`` is passed through ``shown``."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else shown(value),
    )
    environment.globals |= {"clock": clock, "interval": interval, "signed": signed, "span": span}
    environment.globals["typed"] = lambda value: Markup(shlex.quote(one_line(value)))
    environment.globals["transfer_words"] = transfer_words
    return environment.get_template(name)


def _printable(value: object) -> str:
    return printable(str(value), TEXT_CHARACTERS)


def _diff(folder: Path, trial: Trial) -> list[str]:
    patch = folder / "trials" / str(trial.trial) / "diff.patch"
    text = patch.read_text(encoding="utf-8", errors="replace") if patch.exists() else ""
    return _printable(text).splitlines()
