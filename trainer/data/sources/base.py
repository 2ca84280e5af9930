"""The interface of a corpus source, and of the text that it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Progress = Callable[[str, float], None]
"""Called with the stage in words, and the share of it that is done, in [0, 1]."""
Tick = Callable[[float], None]
"""Called with the share of a stage that is done."""
TEXT_FIELDS = ("text", "content")
"""The first of these that a record or a Parquet file has is its text."""


@dataclass(frozen=True)
class Text:
    """What a source gives. A corpus need not fit into memory: training parts may be generators."""

    parts: Mapping[str, Iterable[str]]
    """Documents by part, ``val`` and ``test`` among them. Each is read once, in this order."""
    in_domain: Mapping[str, bool]
    """The training parts, and whether the validation text is of their kind."""
    downloads: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by name of the files that it was made from, where they were downloaded."""


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
    alike: str = ""
    """Pattern of the versions whose validation text and text of its kind are the same."""
    reach: Callable[[], None] | None = None
    """For a source that is downloaded: asks the host for it, and raises DataError if it cannot be
    had. None: nothing is downloaded."""
