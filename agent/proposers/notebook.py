"""What a model's reply is worth as a notebook. Pure."""

from __future__ import annotations

import difflib
import itertools
import re

from agent.campaign.notebook import CHARACTERS, HEADINGS
from trainer.source import plain
from trainer.untrusted import printable

_FENCE = re.compile(r"\n[`~]{3,}\s*$")
_SENTENCE = re.compile(r"[.!?:;)](?=\s)|\n")
_MOST_REPLY = 200_000


def notebook_in(reply: str) -> str:
    """The notebook in a reply, from its first heading on; "" if the three are not there in order
    or nothing is below them.

    So an edit, an excuse, or the words of a program without its provider do not replace it.
    """
    text = _FENCE.sub("", printable(plain(reply), _MOST_REPLY).rstrip()).strip()
    parts = _parts(text)
    return "\n\n".join(parts) if any("\n" in part for part in parts) else ""


def _parts(text: str) -> list[str]:
    """The three parts, each from its heading on; [] if they are not there in order."""
    places = [0]
    for heading in HEADINGS:
        if not (found := _heading(heading).search(text, places[-1])):
            return []
        places.append(found.start())
    return [text[a:b].strip() for a, b in itertools.pairwise([*places[1:], len(text)])]


def _heading(words: str) -> re.Pattern[str]:
    """A line that begins with a heading, in Markdown or not."""
    words = words.replace("learnt", "learn(?:t|ed)")
    return re.compile(rf"^[^a-z\n]*{words}\b", re.IGNORECASE | re.MULTILINE)


def fitted(text: str, most: int = CHARACTERS) -> str:
    """``text``, whose longest parts are cut until all have room."""
    if len(text) <= most:
        return text
    parts, room, cut = _parts(text) or [text], most, dict[str, str]()
    for left, part in zip(range(len(parts), 0, -1), sorted(parts, key=len), strict=True):
        cut[part] = _cut(part, room // left)
        room -= len(cut[part]) + len("\n\n")
    return "\n\n".join(cut[part] for part in parts)


def _cut(text: str, most: int) -> str:
    """``text``, cut behind the last sentence or line that fits whole; a sentence that is too long
    for that is cut between words."""
    if len(text) <= most:
        return text
    head = text[: most + 1]
    ends = [found.end() for found in _SENTENCE.finditer(head) if most // 2 < found.end() <= most]
    end = ends[-1] if ends else max(head.rfind(" "), 0) or most
    return text[:end].rstrip()


def changed_lines(written: str, now: str) -> list[str]:
    """What a person has changed since the model wrote it, as lines of a diff; none where the model
    wrote nothing yet."""
    if not written:
        return []
    diff = difflib.unified_diff(written.split("\n"), now.split("\n"), n=0, lineterm="")
    return [line for line in list(diff)[2:] if line[0] in "+-"]  # without names and places
