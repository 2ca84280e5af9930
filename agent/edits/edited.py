"""A train.py that a program has edited, written as a reply, so that all goes on as with any."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from agent.edits.blocks import CLOSE, DIVIDER, FIELD, OPEN, EditError, marker_of, parse
from agent.edits.locate import lines_of, places, text_of
from agent.thoughts import without_thoughts
from trainer.source import plain
from trainer.untrusted import one_line

_NOT_PROSE = ("```", "~~~", "<<<", ">>>", "===")


def as_reply(said: str, old: str, new: str, *, category: str, rules: str) -> str:
    """The reply whose blocks make ``new`` of ``old``, under the fields that the program printed.

    The category is the one that was asked for, if it named none; a hypothesis that it did not give
    is said to be missing. Lines of ``rules``, a part of the prompt, are no answer: some programs
    print that again, and there are fields in it.
    """
    shown = {line for line in rules.split("\n") if line.strip() and not _is_markup(line)}
    lines = [line for line in without_thoughts(said).split("\n") if line not in shown]
    before, after = lines_of(plain(old)), lines_of(plain(new))
    fields = {"category": category} | _fields(lines)
    if not fields.get("hypothesis"):
        words = one_line(" ".join(line for line in lines if not _is_markup(line))) or "nothing"
        fields = {"title": f"edit: {words}", "hypothesis": f"none; it printed: {words}"} | fields
    head = "".join(f"{name}: {value}\n" for name, value in fields.items())
    refused = ""
    for blocks in _blocks(before, after):
        try:
            # What is read must be what was written, which a line like a divider can prevent.
            if lines_of(plain(parse(head + blocks).apply(old))) == after:
                return head + blocks
        except EditError:  # for the same reason as it will be when it is read again
            refused = refused or head + blocks
    return refused


def _fields(lines: Sequence[str]) -> dict[str, str]:
    """The last value of each field, with the lines that continue it. Where blocks are printed, too,
    the first: what comes then may be of further edits."""
    found: dict[str, str] = {}
    has_blocks, name = any(map(_opens, lines)), ""
    for line in lines:
        match = FIELD.match(line)
        if found and (_opens(line) or (has_blocks and match and match[1].lower() in found)):
            break
        if match:
            name = match[1].lower()
            found[name] = match[2].strip()
        elif not line.strip() or _is_markup(line):
            name = ""
        elif name in ("hypothesis", "title", "sign"):
            found[name] += f" {line.strip()}"
    return found


def _is_markup(line: str) -> bool:
    return line.strip().startswith(_NOT_PROSE)


def _opens(line: str) -> bool:
    return marker_of(line) == OPEN


def _blocks(before: list[str], after: list[str]) -> Iterator[str]:
    """The runs of lines that changed as blocks, with ever more lines around each, while none of
    them stands in the file twice."""
    for around in (0, *(1 << n for n in range(len(before).bit_length() + 1))):
        # A new matcher, because asking one for groups changes what it answers next.
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        groups = list(matcher.get_grouped_opcodes(around))
        runs = [(g[0][1], g[-1][2], g[0][3], g[-1][4]) for g in groups]
        if all(_is_unique(before, before[i1:i2]) for i1, i2, _, _ in runs):
            yield "".join(
                f"\n{OPEN}\n{text_of(before[i1:i2])}{DIVIDER}\n{text_of(after[j1:j2])}{CLOSE}\n"
                for i1, i2, j1, j2 in runs
            )


def _is_unique(before: list[str], old: list[str]) -> bool:
    return any(line.strip() for line in old) and len(places(before, old)) == 1
