"""Texts of the proposers, rendered from the templates in prompts/; none of them is in Python."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from agent.edits.constants import format_literal
from agent.models.types import Misconfigured
from agent.proposers.base import Context
from trainer.untrusted import printable

PROMPTS = Path(__file__).parents[1] / "prompts"
"""In a clone it is a link to the folder at its top, in an installation a folder of its own."""
DATA_LENGTH = 6_000


class Templates:
    """The templates of one folder. The filter ``data`` bounds external text, ``literal`` writes a
    constant's value."""

    def __init__(self, folder: Path) -> None:
        import jinja2  # only here: doctor needs the sizes of prompts, and no template

        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            autoescape=False,
        )
        self._environment.filters |= {"data": _data, "literal": format_literal}

    def render(self, name: str, **values: Any) -> str:
        """The text of ``name``.md.j2, ending in one line feed.

        Raises:
            Misconfigured: the template is missing or broken.
        """
        import jinja2

        try:
            return self._environment.get_template(f"{name}.md.j2").render(values).strip() + "\n"
        except jinja2.TemplateSyntaxError as error:
            where = f"{error.name}, line {error.lineno}"
            raise Misconfigured(f"prompts/{where}: {error.message}") from None
        except jinja2.TemplateError as error:
            raise Misconfigured(f"prompts/{name}.md.j2: {error}") from None


@functools.cache
def templates(folder: Path = PROMPTS) -> Templates:
    """The templates of a folder, the same object for all who ask."""
    return Templates(folder)


def trial_record(context: Context) -> str:
    """What a proposal was made from, as text: a short form of the facts in a model's prompt."""
    return templates().render("record", context=context)


def _data(text: object) -> str:
    """External text: printable, bounded, and unable to close the ``<data>`` around it."""
    return printable(str(text), DATA_LENGTH).replace("</data", "</ data")
