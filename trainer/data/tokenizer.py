"""Byte-level BPE: ``rustbpe`` trains, ``tiktoken`` encodes, and BOS is always the last id."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainer.data.store import DataError
from trainer.presets import LADDER

if TYPE_CHECKING:
    import tiktoken

# GPT-4's pattern, but numbers have at most two digits: three-digit tokens waste a small vocabulary.
PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
THREADS = min(8, os.cpu_count() or 1)


class Tokenizer:
    """``vocab_size`` ids: text tokens by rank, the 256 bytes first, then BOS."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = tuple(tokens)
        self.vocab_size = len(self.tokens) + 1
        self.bos = len(self.tokens)
        self._bytes = (*self.tokens, b"")

    @classmethod
    def trained(cls, texts: Iterable[str], vocab_size: int) -> Tokenizer:
        """Trained on ``texts``; the same texts give the same tokenizer."""
        if vocab_size == LADDER[0]:  # the bytes and BOS: nothing to learn
            return cls([bytes([value]) for value in range(256)])
        try:
            import rustbpe  # only here: prepared data can be used without it
        except ImportError:
            raise _not_installed("rustbpe", "trains the tokenizer") from None
        trainer = rustbpe.Tokenizer()
        trainer.train_from_iterator(iter(texts), vocab_size - 1, pattern=PATTERN)
        ranks = sorted(trainer.get_mergeable_ranks(), key=lambda item: item[1])
        return cls([bytes(token) for token, _ in ranks])

    @classmethod
    def load(cls, raw: bytes) -> Tokenizer:
        """From a file's bytes in tiktoken's format: one line per token, base64 and rank."""
        return cls([base64.b64decode(line.split()[0]) for line in raw.splitlines()])

    def dump(self) -> bytes:
        """What ``load`` reads."""
        return b"".join(b"%s %d\n" % (base64.b64encode(t), i) for i, t in enumerate(self.tokens))

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.uint16]]:
        """Ids of each text, BOS first."""
        return [
            np.fromiter(chain((self.bos,), ids), dtype=np.uint16, count=len(ids) + 1)
            for ids in self._encoding.encode_ordinary_batch(list(texts), num_threads=THREADS)
        ]

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of text; BOS has none."""
        return b"".join(map(self._bytes.__getitem__, ids))

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        try:
            import tiktoken
        except ImportError:
            raise _not_installed("tiktoken", "encodes text") from None
        return tiktoken.Encoding(
            "autoresearch",
            pat_str=PATTERN,
            mergeable_ranks={token: rank for rank, token in enumerate(self.tokens)},
            special_tokens={"<|bos|>": self.bos},
            explicit_n_vocab=self.vocab_size,
        )


def _not_installed(package: str, task: str) -> DataError:
    return DataError(
        f"{package}, which {task}, is not installed; run: pip install {package}, or set "
        "AUTORESEARCH_CACHE to a folder that was prepared on another machine"
    )
