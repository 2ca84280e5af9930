"""What a corpus is, in figures that a researcher would look up first: from its prepared files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainer.data import store
from trainer.data.prepare import Corpus, TokenFile
from trainer.presets import LADDER

SHARES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class SourceCard:
    """One named source of training text."""

    name: str
    in_domain: bool
    documents: int
    megabytes: float
    """Of UTF-8 text."""
    tokens: int
    bytes_per_token: Mapping[int, float]
    """By vocabulary: the corpus's own, and those of which there are token files already."""
    lengths: tuple[int, ...]
    """Tokens of a document, BOS counted: quantiles at ``SHARES``."""
    documents_a_row: float
    """Of which a row has text, at the median, where rows are cut end to end."""


def source_cards(corpus: Corpus, seq_len: int) -> tuple[SourceCard, ...]:
    """A card for each training source; reads where documents start, and no text.

    Args:
        seq_len: tokens of a row.

    Raises:
        OSError, ValueError: the prepared files are gone or damaged.
    """
    elsewhere = _bytes_per_token(corpus)
    return tuple(_card(part, corpus.vocab_size, elsewhere, seq_len) for part in corpus.train)


def _card(
    part: TokenFile, vocab_size: int, elsewhere: Mapping[int, Mapping[str, float]], seq_len: int
) -> SourceCard:
    starts = np.fromfile(part.doc_starts, dtype="<i8")
    lengths = np.diff(starts, append=part.n_tokens)
    firsts = np.arange(0, part.n_tokens, seq_len)
    lasts = np.minimum(firsts + seq_len, part.n_tokens) - 1
    touched = np.searchsorted(starts, lasts, "right") - np.searchsorted(starts, firsts, "right") + 1
    by_vocabulary = {size: of[part.name] for size, of in elsewhere.items() if part.name in of}
    by_vocabulary[vocab_size] = part.bytes_per_token
    return SourceCard(
        name=part.name,
        in_domain=part.in_domain,
        documents=part.n_docs,
        megabytes=part.n_bytes / 1e6,
        tokens=part.n_tokens,
        bytes_per_token=dict(sorted(by_vocabulary.items())),
        lengths=tuple(int(q) for q in np.quantile(lengths, SHARES)),
        documents_a_row=float(np.median(touched)),
    )


def _bytes_per_token(corpus: Corpus) -> dict[int, dict[str, float]]:
    """By vocabulary and source, of what is prepared of the same text; nothing is made for it."""
    root = corpus.artifacts[0].path.parent
    text = store.read(root / "text", None)
    found = {size: store.read(root / f"v{size}", text) for size in LADDER} if text else {}
    return {
        size: {
            name: TokenFile(name, artifact.path, **part).bytes_per_token
            for name, part in artifact.manifest["parts"].items()
        }
        for size, artifact in found.items()
        if artifact is not None
    }
