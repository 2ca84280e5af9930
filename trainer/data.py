"""The trusted data side: corpora, splits, tokenizers and token files, prepared once into a cache.

Three layers, each moved into place whole and naming the one that it was made from:

    <cache>/<source>/<version>/text/               documents of each part, of val and of test
    <cache>/<source>/<version>/v4096/              tokenizer, and tokens of the training parts
    <cache>/<source>/<version>/v4096-val150000/    tokens of the first 150,000 bytes of val

Nothing here imports torch. The test split is text that nothing here reads again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import filelock
import numpy as np

from trainer import corpus_apidocs, layers
from trainer.layers import DataError as DataError
from trainer.layers import Layer, Writer
from trainer.tokenizer import Tokenizer

LADDER = (257, 512, 1024, 2048, 4096, 8192, 16384)
"""Vocabulary sizes that VOCAB_SIZE may take; 257 is bytes and BOS. BOS is id ``size - 1``."""

Progress = Callable[[str, float], None]
"""Called with the stage in words, and the share of all the work that is done, in [0, 1]."""
Tick = Callable[[float], None]
"""Called with the share of a stage that is done."""


class Source(Protocol):
    """What a module of SOURCES has."""

    @property
    def VERSION(self) -> str:
        """Names the text that ``build`` makes; another text has another name."""

    @property
    def STAGES(self) -> Mapping[str, float]:
        """What ``build`` reports, each with about how many seconds it takes."""

    @property
    def IN_DOMAIN(self) -> Mapping[str, bool]:
        """The training parts, and whether the validation text is of their kind."""

    def build(self, progress: Progress, /) -> dict[str, list[str]]:
        """Documents of each training part, then of ``val`` and ``test``.

        Raises:
            DataError: the source cannot be read.
        """


SOURCES: Mapping[str, Source] = {"apidocs": corpus_apidocs}


@dataclass(frozen=True)
class TokenFile:
    """One part of a corpus as token ids on disk."""

    name: str
    tokens: Path
    """Raw little-endian uint16, shape [n_tokens]; every document begins with BOS."""
    doc_starts: Path
    """Raw little-endian int64, shape [n_docs]: index in ``tokens`` of each BOS, ascending."""
    n_tokens: int
    """BOS counted."""
    n_docs: int
    n_bytes: int
    """UTF-8 bytes of the text."""
    in_domain: bool
    """Whether the validation text is of this kind."""

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of text per text token (BOS not counted)."""
        return self.n_bytes / (self.n_tokens - self.n_docs)


@dataclass(frozen=True)
class Corpus:
    """What a training and its scoring read."""

    source: str
    vocab_size: int
    val_bytes: int
    """Validation bytes asked for."""
    train: tuple[TokenFile, ...]
    val: TokenFile
    val_text_bytes: int
    """Validation bytes there are: at most 3 fewer, for a whole last character, or all there is."""
    fingerprint: str
    """SHA-256 of the last layer's manifest: pins every byte of the data, not its place or age."""


def cache_dir() -> Path:
    """``AUTORESEARCH_CACHE``, or ``~/.cache/autoresearch``."""
    folder = Path(os.environ.get("AUTORESEARCH_CACHE") or "~/.cache/autoresearch")
    try:
        return folder.expanduser()
    except RuntimeError as exc:
        raise DataError(f"no home folder for the cache {folder}: set AUTORESEARCH_CACHE") from exc


def prepare(
    source: str = "apidocs",
    *,
    vocab_size: int = 4096,
    val_bytes: int = 150_000,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus; made first where the cache does not hold it, otherwise a matter of milliseconds.

    Safe against two at a time and against being killed at any point.

    Raises:
        DataError: unknown source or vocabulary, a source that cannot be read, a cache that cannot
            be written.
    """
    root = _root(source)
    if vocab_size not in LADDER:
        rungs = ", ".join(map(str, LADDER))
        raise DataError(f"VOCAB_SIZE {vocab_size} is not on the ladder; use one of {rungs}")
    if val_bytes < 1:
        raise DataError(f"val_bytes is {val_bytes}; use at least 1")
    steps = (
        _Step("text", partial(_make_text, source), SOURCES[source].STAGES),
        _Step(f"v{vocab_size}", partial(_make_tokens, vocab_size), _TOKENS_STAGES),
        _Step(f"v{vocab_size}-val{val_bytes}", partial(_make_val, val_bytes), _VAL_STAGES),
    )
    try:
        chain = _standing(root, steps)
        if len(chain) < len(steps):
            chain = _complete(root, steps, progress or _ignore)
    except OSError as exc:
        raise DataError(_explained(exc, root)) from exc
    _, tokens, val = chain
    (val_file,) = _token_files(val)
    return Corpus(
        source=source,
        vocab_size=vocab_size,
        val_bytes=val_bytes,
        train=_token_files(tokens),
        val=val_file,
        val_text_bytes=val_file.n_bytes,
        fingerprint=val.sha256,
    )


def decode(source: str, vocab_size: int, ids: Iterable[int]) -> str:
    """The text of token ids; BOS is nothing, and what a cut leaves of a character is U+FFFD.

    Raises:
        DataError: the source has not been prepared with this vocabulary.
    """
    path = _root(source) / f"v{vocab_size}" / _TOKENIZER
    try:
        tokenizer = Tokenizer.load(path.read_bytes())
    except OSError as exc:
        raise DataError(f"no tokenizer at {path} ({exc.strerror}): prepare {source} first") from exc
    return tokenizer.decode(ids).decode("utf-8", errors="replace")


# --- layers ---

_TOKENIZER = "tokenizer.bpe"
_TRAINING, _ENCODING = "training the tokenizer", "encoding the training text"
_ENCODING_VAL = "encoding the validation text"
_TOKENS_STAGES = {_TRAINING: 2.0, _ENCODING: 2.5}
_VAL_STAGES = {_ENCODING_VAL: 0.2}


@dataclass(frozen=True)
class _Step:
    name: str
    make: Callable[[Sequence[Layer], Progress, Writer], Mapping[str, Any]]
    stages: Mapping[str, float]
    """What it reports, each with about how many seconds it takes."""


def _root(source: str) -> Path:
    if source not in SOURCES:
        raise DataError(f"unknown data source {source!r}; there is: {', '.join(SOURCES)}")
    return cache_dir() / source / SOURCES[source].VERSION


def _standing(root: Path, steps: Sequence[_Step]) -> list[Layer]:
    """The layers that are there and whole, up to the first that is not."""
    chain: list[Layer] = []
    for step in steps:
        layer = layers.read(root / step.name, chain[-1] if chain else None)
        if layer is None:
            break
        chain.append(layer)
    return chain


def _complete(root: Path, steps: Sequence[_Step], progress: Progress) -> list[Layer]:
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root.parent.with_suffix(".lock"), progress):
        layers.clean(root)
        chain = _standing(root, steps)
        missing = steps[len(chain) :]
        report = _shares(progress, {k: v for step in missing for k, v in step.stages.items()})
        for step in missing:
            below = chain[-1] if chain else None
            fill = partial(step.make, tuple(chain), report)
            chain.append(layers.make(root / step.name, below, fill))
    return chain


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        progress("waiting for another preparation", 0.0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _ignore(stage: str, fraction: float) -> None:
    pass


def _shares(progress: Progress, stages: Mapping[str, float]) -> Progress:
    """From shares of a stage to shares of the whole."""
    before = dict(zip(stages, np.cumsum([0.0, *stages.values()]).tolist(), strict=False))
    total = sum(stages.values())

    def report(stage: str, fraction: float) -> None:
        progress(stage, min(1.0, (before[stage] + stages[stage] * fraction) / total))

    return report


def _explained(exc: OSError, root: Path) -> str:
    where = exc.filename or root
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some 200 MB there, or set AUTORESEARCH_CACHE to a folder on another disk"
    else:
        remedy = "set AUTORESEARCH_CACHE to a folder that can be written"
    return f"cannot prepare data in {where}: {exc.strerror or exc}; {remedy}"


def _make_text(
    source: str, below: Sequence[Layer], report: Progress, writer: Writer
) -> dict[str, Any]:
    corpus = SOURCES[source]
    parts = corpus.build(report)
    for name, documents in parts.items():
        encoded = [document.encode() for document in documents]
        writer.write(f"{name}.txt", encoded)
        starts = np.cumsum([0, *map(len, encoded)])[:-1]
        writer.write(f"{name}.starts", [starts.astype("<i8").tobytes()])
    return {
        "source": source,
        "version": corpus.VERSION,
        "in_domain": dict(corpus.IN_DOMAIN),
        "documents": {name: len(documents) for name, documents in parts.items()},
    }


def _make_tokens(
    vocab_size: int, below: Sequence[Layer], report: Progress, writer: Writer
) -> dict[str, Any]:
    (text,) = below
    in_domain: dict[str, bool] = text.manifest["in_domain"]
    documents = {name: _documents(text, name) for name in in_domain}
    # Not on the out-of-domain parts: the tokenizer, and with it the validation tokens, would then
    # depend on the interpreter's version.
    sample = [d for name, part in documents.items() if in_domain[name] for d in part]
    tokenizer = Tokenizer.trained(_counted(sample, partial(report, _TRAINING)), vocab_size)
    if tokenizer.vocab_size != vocab_size:
        raise DataError(
            f"the training text has only {tokenizer.vocab_size - 1} tokens to give, VOCAB_SIZE "
            f"{vocab_size} needs {vocab_size - 1}; use a smaller vocabulary"
        )
    writer.write(_TOKENIZER, [tokenizer.dump()])
    chars = sum(len(d) for part in documents.values() for d in part)
    parts = {}
    done = 0.0
    for name, part in documents.items():
        share = sum(map(len, part)) / chars
        tick = partial(_tick_within, partial(report, _ENCODING), done, share)
        counts = _write_tokens(writer, name, tokenizer, part, tick)
        parts[name] = {**counts, "in_domain": in_domain[name]}
        done += share
    return {"vocab_size": vocab_size, "parts": parts}


def _make_val(
    val_bytes: int, below: Sequence[Layer], report: Progress, writer: Writer
) -> dict[str, Any]:
    text, tokens = below
    tokenizer = Tokenizer.load((tokens.path / _TOKENIZER).read_bytes())
    documents = list(_first_bytes(_documents(text, "val"), val_bytes))
    counts = _write_tokens(writer, "val", tokenizer, documents, partial(report, _ENCODING_VAL))
    return {"val_bytes": val_bytes, "parts": {"val": {**counts, "in_domain": True}}}


def _tick_within(tick: Tick, start: float, share: float, fraction: float) -> None:
    tick(start + share * fraction)


def _first_bytes(documents: Iterable[str], count: int) -> Iterator[str]:
    """Documents up to ``count`` bytes in all, the last one cut after a whole character."""
    for document in documents:
        raw = document.encode()
        if len(raw) > count:
            if cut := raw[:count].decode(errors="ignore"):
                yield cut
            return
        yield document
        count -= len(raw)


def _write_tokens(
    writer: Writer, name: str, tokenizer: Tokenizer, documents: Sequence[str], tick: Tick
) -> dict[str, int]:
    """Write ``name``.tokens and ``name``.starts; what was written decodes to the documents."""
    starts: list[int] = []
    n_tokens = n_bytes = 0

    def chunks() -> Iterator[bytes]:
        nonlocal n_tokens, n_bytes
        for batch in tokenizer.encode(documents):
            for ids in batch:
                raw = documents[len(starts)].encode()
                if tokenizer.decode(ids.tolist()) != raw:
                    raise DataError(
                        f"document {len(starts)} of {name} is not what its tokens decode to; "
                        "reinstall rustbpe and tiktoken"
                    )
                starts.append(n_tokens)
                n_tokens += len(ids)
                n_bytes += len(raw)
                yield ids.astype("<u2", copy=False).tobytes()
            tick(len(starts) / len(documents))

    writer.write(f"{name}.tokens", chunks())
    writer.write(f"{name}.starts", [np.array(starts, dtype="<i8").tobytes()])
    return {"n_tokens": n_tokens, "n_docs": len(starts), "n_bytes": n_bytes}


def _documents(text: Layer, name: str) -> list[str]:
    raw = (text.path / f"{name}.txt").read_bytes()
    starts = np.fromfile(text.path / f"{name}.starts", dtype="<i8").tolist()
    return [raw[start:end].decode() for start, end in pairwise([*starts, len(raw)])]


def _counted(documents: Sequence[str], tick: Tick) -> Iterator[str]:
    for i, document in enumerate(documents):
        if i % 500 == 0:
            tick(i / len(documents))
        yield document


def _token_files(layer: Layer) -> tuple[TokenFile, ...]:
    return tuple(
        TokenFile(
            name=name,
            tokens=layer.path / f"{name}.tokens",
            doc_starts=layer.path / f"{name}.starts",
            n_tokens=part["n_tokens"],
            n_docs=part["n_docs"],
            n_bytes=part["n_bytes"],
            in_domain=part["in_domain"],
        )
        for name, part in layer.manifest["parts"].items()
    )
