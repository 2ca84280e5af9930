"""Lines for people that fit: a terminal's width and colours, or the plain text of a pipe.

Widths are in cells, of which a wide character takes two. Texts have to be printable already; they
are ``rich.text.Text``, which knows no markup, so brackets in a title stay brackets.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

MOST = 100
"""Columns that are used at most, and in a pipe or a file."""
LEAST = 40
"""A narrower terminal has to wrap."""
_WRAPS = Console(file=io.StringIO(), width=MOST, color_system=None)


def width() -> int:
    """The columns that there are on standard output."""
    console = Console(file=sys.stdout)
    return min(max(console.width, LEAST), MOST) if console.is_terminal else MOST


def hung(head: Text | str, text: Text | str, columns: int, style: str = "") -> list[Text]:
    """``text`` behind ``head``, wrapped so that its further lines begin where the first did."""
    head = Text(head) if isinstance(head, str) else head
    text = Text(text, style) if isinstance(text, str) else text
    room = max(columns - head.cell_len, LEAST // 2)
    found: list[Text] = []
    for line in text.wrap(_WRAPS, room, overflow="fold") or [Text()]:
        found.append(Text.assemble(head if not found else " " * head.cell_len, line))
        found[-1].rstrip()
    return found


def cut(text: Text | str, columns: int, pad: bool = False) -> Text:
    """One line, with an ellipsis where it is longer."""
    text = Text(text) if isinstance(text, str) else text.copy()
    text.truncate(columns, overflow="ellipsis", pad=pad)
    return text


def table(rows: Sequence[Sequence[str]], columns: int, gap: int = 2) -> list[Text]:
    """Rows under each other, the first of them the heading; what is too wide is cut, the first
    column before the widest."""
    widths = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    while sum(widths) + gap * (len(widths) - 1) > columns and max(widths) > 8:
        widths[0 if widths[0] > 8 else widths.index(max(widths))] -= 1
    found = []
    for n, row in enumerate(rows):
        cells = [cut(cell, size, pad=True) for cell, size in zip(row, widths, strict=True)]
        line = Text(" " * gap).join(cells)
        line.rstrip()
        line.stylize("dim" if n == 0 else "")
        found.append(line)
    return found


def plain(lines: Iterable[Text]) -> str:
    """As a pipe gets them."""
    return "\n".join(line.plain for line in lines)


def put_lines(lines: Iterable[Text]) -> None:
    """Print them, as they come: in colour on a terminal that has it, else without any codes."""
    console = Console(file=sys.stdout, highlight=False)
    for line in lines:
        if console.is_terminal:
            console.print(line, soft_wrap=True)
        else:
            print(line.plain, flush=True)
