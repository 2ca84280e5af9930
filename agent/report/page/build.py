"""report.html and progress.png, a page in one file and its picture to share."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from agent.campaign.files import write_atomically
from agent.campaign.state import State
from agent.report.page.data import everything
from agent.report.view import view
from trainer.untrusted import one_line

SCRIPTS = ("dom.js", "chart.js", "trial.js", "sections.js", "live.js", "main.js")
"""Joined in this order to one script."""


def write_report(folder: Path, state: State, prior: Mapping[str, float]) -> tuple[Path, Path]:
    """Write ``progress.png`` and ``report.html`` into a campaign's folder; returns both paths.

    Raises:
        OSError: a file cannot be written; the old one is as it was.
    """
    from agent.report.plots import progress_png  # matplotlib takes a second to import

    picture, path = folder / "progress.png", folder / "report.html"
    progress_png(picture, state)
    tag = one_line(state.settings.get("tag", folder.name))
    text = page(tag, everything(view(state, tag, prior), state, folder))
    write_atomically(path, text.encode())
    return picture, path


def page(title: str, data: Mapping[str, Any]) -> str:
    """The whole file.

    Args:
        title: plain text, such as the campaign's tag.
        data: of ``page.data``; it stands in the page as JSON, which no browser runs.
    """
    return _template().render(
        title=f"autoresearch {title}",
        style=Markup(_style()),
        script=Markup(_script()),
        data=Markup(in_script(data)),
        policy=policy(data["live"]),
    )


def in_script(data: Mapping[str, Any]) -> str:
    """JSON that no HTML parser takes for markup, wherever it stands.

    Raises:
        ValueError: a number that JSON cannot express.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))  # ASCII: no U+2028 either
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def policy(is_live: bool) -> str:
    """The Content-Security-Policy: this script and this style and nothing else, from nowhere."""
    rules = {
        "default-src": "'none'",
        "script-src": f"'sha256-{_digest(_script())}'",
        "style-src": f"'sha256-{_digest(_style())}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
    }
    if is_live:
        rules["connect-src"] = "'self'"
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def _style() -> str:
    return _read("page.css")


@functools.cache
def _script() -> str:
    parts = "\n".join(_read(name) for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();\n'


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html")
