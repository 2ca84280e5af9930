"""Makes text and numbers from untrusted code and models safe to show and to use."""

from __future__ import annotations

import math

LINE_LENGTH = 300


def printable(text: str, limit: int = 2000) -> str:
    """Make text from a child printable: replace control characters, cut the middle of long text."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return "".join(
        c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def one_line(text: object, limit: int = LINE_LENGTH) -> str:
    """One line of printable text, cut between words; unprintable characters become U+FFFD."""
    line = " ".join(printable(" ".join(str(text).split()), 4 * limit).split())
    if len(line) <= limit:
        return line
    return line[: limit - 1].rsplit(" ", 1)[0].rstrip(" ,;:.") + "…"


def whole(value: object) -> int:
    """A count from a child; 0 if the value is not a count."""
    return value if type(value) is int and 0 <= value < 1 << 62 else 0


def finite(value: object) -> float | None:
    """A number from a child; None if it is infinite, not a number, or too large."""
    if type(value) is int and abs(value) < 1 << 62:
        return float(value)
    return value if type(value) is float and math.isfinite(value) else None
