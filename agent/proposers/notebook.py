"""What a model's reply is worth as a notebook. Pure."""

from __future__ import annotations

import difflib
import re

from agent.campaign.notebook import CHARACTERS, HEADINGS
from trainer.source import plain
from trainer.untrusted import printable

_FENCE = re.compile(r"\n[`~]{3,}\s*$")
_SENTENCE = re.compile(r"[.!?:;)](?=\s)|\n")
_MOST_REPLY = 200_000


def notebook_in(reply: str) -> str:
    """The notebook in a reply, from its first heading on; "" if the three are not there in order.

    So an edit, an excuse, or the words of a program without its provider do not replace it.
    """
    text = printable(plain(reply), _MOST_REPLY)
    places = [found.start() for heading in HEADINGS if (found := _heading(heading).search(text))]
    if len(places) < len(HEADINGS) or places != sorted(places):
        return ""
    return _FENCE.sub("", text[places[0] :].rstrip()).strip()


def _heading(words: str) -> re.Pattern[str]:
    """A line that begins with a heading, in Markdown or not."""
    words = words.replace("learnt", "learn(?:t|ed)")
    return re.compile(rf"^[^a-z\n]*{words}\b", re.IGNORECASE | re.MULTILINE)


def fitted(text: str, most: int = CHARACTERS) -> str:
    """``text``, cut behind the last sentence or line that fits whole; a sentence that is too long
    for that is cut between words."""
    if len(text) <= most:
        return text
    head = text[: most + 1]
    ends = [found.end() for found in _SENTENCE.finditer(head) if found.end() <= most]
    end = ends[-1] if ends else max(head.rfind(" "), 0) or most
    return text[:end].rstrip()


def changed_lines(written: str, now: str) -> list[str]:
    """What a person has changed since the model wrote it, as lines of a diff; none where the model
    wrote nothing yet."""
    if not written:
        return []
    diff = difflib.unified_diff(written.split("\n"), now.split("\n"), n=0, lineterm="")
    return [line for line in list(diff)[2:] if line[0] in "+-"]  # without names and places
