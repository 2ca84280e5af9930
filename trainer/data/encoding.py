"""Fills the artifacts: documents to text, text to tokenizer and tokens. All of it is streamed."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.sources.base import CorpusSource, Progress
from trainer.data.store import Artifact, DataError, Writer
from trainer.data.text import batches
from trainer.data.tokenizer import Tokenizer

TOKENIZER = "tokenizer.bpe"
SAMPLE_BYTES = 100_000_000
"""Text that a tokenizer is trained on; if there is more, every n-th document is taken."""
MIN_TRAIN_BYTES = 200_000
_BATCH_CHARS = 500_000
GROUPS = "test.groups"
ONE_GROUP = "all"
"""Of documents whose source knows no groups, or whose text was prepared before it told them."""


def fill_text(
    source: CorpusSource, downloads: Path, report: Progress, _: Sequence[Artifact], writer: Writer
) -> dict[str, Any]:
    """``PART.txt``, all documents one after another, and ``PART.starts``, where each begins."""
    text = source.build(report, downloads)
    counts: dict[str, int] = {}
    sizes: dict[str, int] = {}
    meter = _Meter(report, "writing the text", 1e6 * source.megabytes)
    for name, documents in text.parts.items():
        starts = array("q")
        sizes[name] = 0
        with writer.open(f"{name}.txt") as append:
            for document in meter.over(documents):
                starts.append(sizes[name])
                sizes[name] += append(document.encode())
        writer.write(f"{name}.starts", np.array(starts, dtype="<i8").tobytes())
        counts[name] = len(starts)
    if text.groups:
        writer.write(GROUPS, json.dumps(list(text.groups)).encode())
    if empty := [name for name in ("val", "test") if not counts[name]]:
        raise DataError(f"{source.name} gave no text for {' and '.join(empty)}; give more text")
    to_train_on = sum(sizes[name] for name in text.in_domain)
    if to_train_on < MIN_TRAIN_BYTES:
        raise DataError(
            f"{source.name} has {to_train_on:,} bytes to train on once copies of held-out text are "
            f"dropped, and {MIN_TRAIN_BYTES:,} are needed; give more text, or less that repeats"
        )
    facts = {
        "source": source.name,
        "version": source.version,
        "in_domain": {name: text.in_domain[name] for name in text.in_domain if counts[name]},
        "documents": counts,
    }
    more = {"downloads": dict(text.downloads), "notes": list(text.notes)}
    return facts | {name: value for name, value in more.items() if value}


def fill_tokens(
    vocab_size: int, report: Progress, below: Sequence[Artifact], writer: Writer
) -> dict[str, Any]:
    """The tokenizer, and ``PART.tokens`` with ``PART.starts`` of each training part."""
    (text,) = below
    in_domain: dict[str, bool] = text.manifest["in_domain"]
    sizes = {name: text.manifest["files"][f"{name}.txt"]["size"] for name in in_domain}
    # Not trained on the out-of-domain parts: then the tokenizer, and with it the validation tokens,
    # would depend on the interpreter's version.
    taught_by = [name for name in in_domain if in_domain[name]]
    report("training the tokenizer", 0.0)
    every = -(-sum(sizes[name] for name in taught_by) // SAMPLE_BYTES)
    sample = (d for name in taught_by for d in islice(documents(text, name), 0, None, every))
    tokenizer = Tokenizer.trained(sample, vocab_size)
    if tokenizer.vocab_size != vocab_size:
        raise DataError(
            f"the training text has only {tokenizer.vocab_size - 1} tokens to give, VOCAB_SIZE "
            f"{vocab_size} needs {vocab_size - 1}; use a smaller vocabulary"
        )
    writer.write(TOKENIZER, tokenizer.dump())
    meter = _Meter(report, "encoding the training text", sum(sizes.values()))
    parts = {}
    for name in in_domain:
        counts = _write_tokens(writer, name, tokenizer, meter.over(documents(text, name)))
        parts[name] = {**counts, "in_domain": in_domain[name]}
    return {"vocab_size": vocab_size, "parts": parts}


def fill_held_out(
    source: CorpusSource,
    split: str,
    n_bytes: int,
    report: Progress,
    below: Sequence[Artifact],
    writer: Writer,
) -> dict[str, Any]:
    """Tokens of the first ``n_bytes`` of ``val`` or ``test``; of ``test``, group and bytes of each
    document too, by which results are told."""
    text, tokens = below
    report("encoding the held-out text", 0.0)
    tokenizer = Tokenizer.load((tokens.path / TOKENIZER).read_bytes())
    first = list(_first_bytes(documents(text, split), n_bytes))
    counts = _write_tokens(writer, split, tokenizer, first)
    facts = {f"{split}_bytes": n_bytes, "parts": {split: {**counts, "in_domain": True}}}
    if split != "test":
        return facts
    whole = list(islice(documents(text, split), len(first)))  # the last of ``first`` may be cut
    if GROUPS in text.manifest["files"]:
        groups = json.loads((text.path / GROUPS).read_text())[: len(whole)]
    else:
        groups = [source.group_of(each) if source.group_of else ONE_GROUP for each in whole]
    sizes = (len(document.encode()) for document in first)
    return {**facts, "documents": list(zip(groups, sizes, strict=True))}


def documents(text: Artifact, name: str) -> Iterator[str]:
    """The documents of a part, or of ``val`` or ``test``, in order."""
    path = text.path / f"{name}.txt"
    starts = np.fromfile(text.path / f"{name}.starts", dtype="<i8").tolist()
    with path.open("rb") as file:
        for start, end in pairwise([*starts, path.stat().st_size]):
            yield file.read(end - start).decode()


def _first_bytes(texts: Iterable[str], count: int) -> Iterator[str]:
    """Documents up to ``count`` bytes in all, the last one cut after a whole character."""
    for text in texts:
        raw = text.encode()
        if len(raw) > count:
            if cut := raw[:count].decode(errors="ignore"):
                yield cut
            return
        yield text
        count -= len(raw)


@dataclass
class _Meter:
    """Reports how much of the text has gone by."""

    report: Progress
    stage: str
    expected: float
    """Characters in all, more or less."""
    seen: int = 0

    def over(self, texts: Iterable[str]) -> Iterator[str]:
        for i, text in enumerate(texts):
            if i % 500 == 0:
                self.report(self.stage, min(1.0, self.seen / self.expected))
            self.seen += len(text)
            yield text


def _write_tokens(
    writer: Writer, name: str, tokenizer: Tokenizer, texts: Iterable[str]
) -> dict[str, int]:
    """Write ``name``.tokens and ``name``.starts; check that the tokens decode to the documents."""
    starts = array("q")
    n_tokens = n_bytes = 0
    with writer.open(f"{name}.tokens") as append:
        for batch in batches(texts, _BATCH_CHARS):
            for text, ids in zip(batch, tokenizer.encode(batch), strict=True):
                raw = text.encode()
                if tokenizer.decode(ids.tolist()) != raw:
                    raise DataError(
                        f"document {len(starts)} of {name} is not what its tokens decode to; "
                        "reinstall rustbpe and tiktoken"
                    )
                starts.append(n_tokens)
                n_tokens += len(ids)
                n_bytes += len(raw)
                append(ids.astype("<u2", copy=False).tobytes())
    writer.write(f"{name}.starts", np.array(starts, dtype="<i8").tobytes())
    return {"n_tokens": n_tokens, "n_docs": len(starts), "n_bytes": n_bytes}
