"""The interface of a corpus source, and of the text that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Progress = Callable[[str, float], None]
"""Called with the stage in words, and the share of it that is done, in [0, 1]."""
Tick = Callable[[float], None]
"""Called with the share of a stage that is done."""
TEXT_FIELDS = (
    *("text", "content", "body", "messages", "conversations", "document", "article", "story"),
    *("contents", "raw_content", "page_content", "full_text", "selftext", "transcript", "abstract"),
    *("chat_messages", "message", "dialogue", "dialog", "paragraphs", "sentences", "review"),
)
"""The first of these of a record that holds text is its text."""
TURNS = (
    *("system", "instruction", "prompt", "question", "query", "problem", "input", "context"),
    *("reasoning", "output", "completion", "response", "answer", "answers", "solution", "chosen"),
)
"""A record that has none of those is a task or a dialogue: the text of these, in this order."""

WRAPPERS = ("value", "data", "row", "choices", "turns")
"""If there is none of those either. A string counts only beside ``from``, as a turn of a chat: else
it is more likely a date or a number."""
FIELDS = {*TEXT_FIELDS, *TURNS, *WRAPPERS, "from"}


def text_of(value: object) -> str | None:
    """The text of a record, which may be in a record or a list of records (a chat) in it."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace") if b"\0" not in value else None
    if isinstance(value, str):
        return value
    if isinstance(value, list):  # strings among records, as the links of a message: running text
        kinds = set(map(type, value))
        return _joined(value, "" if {str, dict} <= kinds else "\n" if str in kinds else "\n\n")
    if isinstance(value, dict):
        fields = {str(name).strip().lower(): field for name, field in value.items()}
        found = [text_of(fields[name]) for name in TEXT_FIELDS if name in fields]
        text = next(filter(None, found), None) or _joined(fields.get(name) for name in TURNS)
        if text is None:
            wrapped = (fields.get(name) for name in WRAPPERS)
            text = _joined(v for v in wrapped if "from" in fields or isinstance(v, (dict, list)))
        replies = fields.get("replies")  # of a tree of messages
        text = _joined([text, *(replies if isinstance(replies, list) else [])])
        return "" if text is None and "" in found else text
    return None


def _joined(values: Iterable[object], glue: str = "\n\n") -> str | None:
    return glue.join(filter(None, map(text_of, values))) or None


@dataclass(frozen=True)
class Text:
    """What a source gives. A corpus need not fit into memory: training parts may be generators."""

    parts: Mapping[str, Iterable[str]]
    """Documents by part, ``val`` and ``test`` among them. Each is read once, in this order."""
    in_domain: Mapping[str, bool]
    """The training parts, and whether the validation text is of their kind."""
    downloads: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by name of the files that it was made from, where they were downloaded."""
    notes: Sequence[str] = ()
    """What was left out, to be told; without paths, since the fingerprint covers it."""
    groups: Sequence[str] = ()
    """Of each document of ``test``: what a gain may differ by. None: they are all one group, or
    the documents tell (``CorpusSource.group_of``)."""


@dataclass(frozen=True)
class CorpusSource:
    """Where a corpus comes from."""

    name: str
    """Its folder in the cache."""
    version: str
    """Identifies the text that ``build`` makes; another text has another version."""
    megabytes: float
    """Approximate size of the training text, for advice on disk space."""
    build: Callable[[Progress, Path], Text]
    """Called with a progress callback, and a folder for downloads that outlives the corpus.

    Raises DataError if the source cannot be read.
    """
    group_of: Callable[[str], str] | None = None
    """The group of a document of ``test`` where the document tells: asked when it is opened, so
    that texts prepared before there were groups have them too, and stay what they are."""
    alike: str = ""
    """Pattern of the versions whose validation text and text of its kind are the same."""
    reach: Callable[[], None] | None = None
    """For a source that is downloaded: asks the host for it, and raises DataError if it cannot be
    had. None: nothing is downloaded."""
