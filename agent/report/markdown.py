"""Reports in Markdown, for a pull request or an issue: of a campaign, and of a harvest.

Titles and hypotheses may come from a model: every value but ``Markup`` is one line, with the syntax
of Markdown and of HTML escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from agent.campaign.files import write_atomically
from agent.campaign.learning import prior_course
from agent.campaign.state import State
from agent.report.summary import paragraph, repeat_command, typed
from agent.report.text import clock, interval, nothing_left, percents, signed, span, sparks
from agent.report.verification import transfer_words
from agent.report.view import view
from trainer.untrusted import one_line

_SYNTAX = re.compile(r"([\\`*_{}\[\]()#|~!])")


def markdown(state: State, prior: Mapping[str, float]) -> str:
    """The campaign for a pull request: what is verified, what was kept and why, all trials, the
    commands that repeat it."""
    tag = str(state.settings.get("tag", ""))
    shown = view(state, tag, prior)
    return _rendered(
        "report.md",
        {
            "tag": tag,
            "view": shown,
            "summary": Markup(paragraph(state)),
            "trials": state.finished,
            "prior": percents(prior),
            "exhausted": [nothing_left(*one) for one in state.exhausted.items()],
            "over_time": sparks(prior_course(state)),
            "harvest": state.harvested.get("result"),
            "notebook": state.notebook.text.split("\n") if state.notebook.text else [],
            "repeat": Markup(repeat_command(state)),  # one line, and not its first characters
        },
    )


def write_harvest(folder: Path, found: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Write what a harvest found for a pull request; returns its text and the paths of text and
    picture."""
    from agent.report.plots import harvest_png  # matplotlib takes a second to import

    picture, page = folder / "harvest.png", folder / "harvest.md"
    harvest_png(picture, found["keeps"])
    text = _rendered("harvest.md", found)
    write_atomically(page, text.encode("utf-8", "replace"))
    return text, [str(page), str(picture)]


def _rendered(name: str, values: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: value if isinstance(value, Markup) else _escaped(value),
    )
    environment.globals |= {"clock": clock, "interval": interval, "signed": signed, "span": span}
    environment.globals["typed"] = lambda value: Markup(typed(value))
    environment.globals["transfer_words"] = transfer_words
    return environment.get_template(name).render(values)


def _escaped(value: object) -> str:
    return _SYNTAX.sub(r"\\\1", html.escape(one_line(value), quote=False))
