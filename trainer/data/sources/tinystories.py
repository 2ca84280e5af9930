"""Source ``tinystories``: short stories for children written by GPT-4, in very simple English.

Eldan and Li 2023, "TinyStories: How Small Can Language Models Be and Still Speak Coherent
English?", cleaned, with duplicates removed and shuffled by Karpathy (``tinystories-gpt4-clean``,
CDLA-Sharing-1.0), which the ancestor recommends for small machines. Rows 0 to 9,999 are ``test``
and the next 10,000 are ``val``, as its card says; training takes the rows that follow, up to
500 MB, far more than a small machine reads in a campaign's trainings. Stories that are mostly a
copy of held-out ones are dropped. One file, 670 MB of download, some 1.5 GB in the cache.

The host could not be reached where this was written, and no checksum of the file was found. Its
address names an immutable revision; the file is checked against the SHA-256 that the Hub sends.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path

from trainer.data.sources.base import CorpusSource, Progress, Text
from trainer.data.sources.held_out import clean, take, without_copies
from trainer.data.sources.packages import downloading
from trainer.data.text import Shingles

REPOSITORY = "karpathy/tinystories-gpt4-clean"
REVISION = "0397e27157956705a0260709da3095bb9c43d6a7"
FILE = "tinystories_gpt4_clean.parquet"
SHA256 = ""
RECIPE = 1
"""Goes up with every change that changes a document."""

HELD_OUT_ROWS = 10_000
"""Rows of ``test``, and of ``val``: some 8 MB each."""
TRAIN_BYTES = 500_000_000


def build(progress: Progress, folder: Path) -> Text:
    """Part ``tinystories``, ``val`` and ``test``.

    Raises:
        DataError: the file cannot be downloaded or read.
    """
    hub, parquet = downloading()
    tick = partial(progress, "downloading tinystories")
    sums = hub.fetch(REPOSITORY, REVISION, {FILE: SHA256}, folder, tick)
    progress("reading held-out text", 0.0)
    rows = parquet.texts(folder / FILE)
    test = list(clean(islice(rows, HELD_OUT_ROWS)))
    val = list(clean(islice(rows, HELD_OUT_ROWS)))
    test = list(without_copies(test, Shingles(val)))
    train = without_copies(take(clean(rows), TRAIN_BYTES), Shingles([*val, *test]))
    return Text({"val": val, "test": test, "tinystories": train}, {"tinystories": True}, sums)


def reach() -> None:
    """Ask for the file."""
    hub, _ = downloading()
    hub.reach(REPOSITORY, REVISION, FILE)


SOURCE = CorpusSource(
    name="tinystories",
    version=f"{REVISION[:12]}-r{RECIPE}",
    megabytes=TRAIN_BYTES / 1e6,
    build=build,
    reach=reach,
)
