"""Takes held-out text, and removes copies of it from the text to train on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress

from trainer.data.text import Shingles, batches, normalise

_BATCH_CHARS = 4_000_000


def clean(documents: Iterable[str]) -> Iterator[str]:
    """Each document normalised; those that are then empty are left out."""
    for document in documents:
        if text := normalise(document).strip("\n"):
            yield text


def take(documents: Iterator[str], n_bytes: int) -> Iterator[str]:
    """The next whole documents, until they are at least ``n_bytes`` of UTF-8."""
    size = 0
    while size < n_bytes and (document := next(documents, None)) is not None:
        yield document
        size += len(document.encode())


def without_copies(documents: Iterable[str], held_out: Shingles) -> Iterator[str]:
    """Documents that are not mostly a copy of held-out text; memory is bounded."""
    for batch in batches(documents, _BATCH_CHARS):
        yield from compress(batch, ~held_out.mostly_cover(batch))
