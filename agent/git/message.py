"""Commit messages: a subject as a person would write it, and trailers that git can parse.

The texts may come from a model: they are made printable, and no text can end the message early or
be parsed as a trailer.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

from trainer.untrusted import one_line

LINE_WIDTH = 72
TITLE_LENGTH = 72
TEXT_LENGTH = 10_000
"""Limit for a paragraph and for a trailer's value."""


def commit_message(
    category: str,
    title: str,
    val_bpb: float | None,
    half: float | None,
    gain: float | None,
    trailers: Mapping[str, str],
    body: str = "",
) -> str:
    """A commit's message: subject, wrapped body, folded trailers.

    ``val_bpb`` is in bits per byte, ``half`` is the half-width of its interval, ``gain`` is
    champion minus candidate (positive is better); the subject's last number is minus the gain, the
    change in val_bpb. Numbers that are None are left out.
    """
    subject = f"{one_line(category)}: {one_line(title, TITLE_LENGTH)}"
    if val_bpb is not None:
        numbers = f"val_bpb {val_bpb:.4f}"
        numbers += f" ± {half:.4f}" if half is not None else ""
        # Adding 0.0 turns -0.0 into 0.0.
        numbers += f", {round(-gain, 4) + 0.0:+.4f}" if gain is not None else ""
        subject += f" ({numbers})"
    paragraphs = re.split(r"\n\s*\n", body.replace("\r\n", "\n"))
    texts = [_body(one_line(paragraph, TEXT_LENGTH)) for paragraph in paragraphs]
    lines = [f"{key}: {one_line(value, TEXT_LENGTH)}" for key, value in trailers.items()]
    block = "\n".join("\n ".join(_wrapped(line, LINE_WIDTH - 1)) for line in lines)
    return "\n\n".join(part for part in (subject, *texts, block) if part) + "\n"


def _body(paragraph: str) -> str:
    lines = _wrapped(paragraph, LINE_WIDTH)
    # Git reads "---" or "diff " at a line's start as the end of the message, "#" as a comment.
    return "\n".join(f" {line}" if line.startswith(("-", "#", "diff ")) else line for line in lines)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
