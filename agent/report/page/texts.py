"""Long texts of many trials in little room: each prompt as what differs from the one before.

Prompts of a campaign share most of their lines. A stored text is a list of parts, each a new text
or ``[first, last]``: lines of the text before, counted from 0, ``last`` not included.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.report.details import attempt
from trainer.untrusted import printable

TEXT_CHARACTERS = 20_000
"""Of a diff, a reply or a log; the trial's folder holds the whole."""
PROMPT_CHARACTERS = 200_000
PROMPTS_BYTES = 3_000_000
"""Of all prompts of a page; older ones are named by their path."""
MOST_PROMPTS = 300
"""Finding what differs takes milliseconds each."""
Part = str | list[int]


def difference(before: Sequence[str], after: Sequence[str]) -> list[Part]:
    """How to make the lines ``after`` from the lines ``before``, which end with line feeds."""
    first, most = 0, min(len(before), len(after))
    while first < most and before[first] == after[first]:
        first += 1
    last = 0
    while last < most - first and before[-1 - last] == after[-1 - last]:
        last += 1
    old, new = before[first : len(before) - last], after[first : len(after) - last]
    parts: list[Part] = [[0, first]] if first else []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            parts.append([first + a, first + b])
        elif c < d:
            parts.append("".join(new[c:d]))
    return [*parts, [len(before) - last, len(before)]] if last else parts


def restored(before: Sequence[str], parts: Sequence[Part]) -> str:
    """The text that ``difference`` took apart."""
    return "".join(p if isinstance(p, str) else "".join(before[p[0] : p[1]]) for p in parts)


def prompts(folder: Path, numbers: Sequence[int]) -> dict[str, Any]:
    """The newest prompts of these trials, in the order in which they were asked.

    Returns:
        ``kept``: rows of trial, name of the file and parts, the first made from nothing; ``older``:
        by trial, the paths of those that have no room, below the campaign's folder.
    """
    paths = [(n, path) for n in numbers for path in prompt_paths(folder, n)]
    read = [(n, path, _lines(path)) for n, path in paths[-MOST_PROMPTS:]]
    kept: list[list[Any]] = []
    size, first = 0, len(read)
    while first > 0:
        before: Sequence[str] = read[first - 2][2] if first > 1 else ()
        n, path, lines = read[first - 1]
        parts = difference(before, lines)
        size += sum(len(p.encode()) + 4 if isinstance(p, str) else 16 for p in parts)
        if size + sum(len(line.encode()) for line in lines) > PROMPTS_BYTES:
            break
        kept.append([n, path.name, parts])
        first -= 1
    if kept:
        n, path, lines = read[first]
        kept[-1] = [n, path.name, ["".join(lines)]]
    older: dict[int, list[str]] = {}
    for n, path in paths[: len(paths) - len(kept)]:
        older.setdefault(n, []).append(str(path.relative_to(folder)))
    return {"kept": kept[::-1], "older": older}


def prompt_paths(folder: Path, number: int) -> list[Path]:
    """The files of a trial's prompts, oldest first."""
    return sorted((folder / "trials" / str(number)).glob("prompt*.md"), key=attempt)


def read_text(path: Path, limit: int = TEXT_CHARACTERS) -> str:
    """A stored text, printable and cut in its middle; "" if it is not there."""
    try:
        return printable(path.read_text(encoding="utf-8", errors="replace"), limit)
    except OSError:
        return ""


def _lines(path: Path) -> list[str]:
    return read_text(path, PROMPT_CHARACTERS).splitlines(keepends=True)
