"""The trusted data side: corpora, splits, tokenizers and token files, prepared once into a cache.

There are three artifacts. Each is moved into place complete, and names the one it was made from:

    <cache>/<source>/<version>/text/               documents of each part, of val and of test
    <cache>/<source>/<version>/v4096/              tokenizer, and tokens of the training parts
    <cache>/<source>/<version>/v4096-val150000/    tokens of the first 150,000 bytes of val

Downloads are kept in ``<cache>/<source>/downloads``. Nothing here imports torch. The test split is
kept as text, which only ``open_test`` reads again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from trainer.data import encoding, store
from trainer.data.sources import apidocs, climbmix, files, tinystories
from trainer.data.sources.base import CorpusSource
from trainer.data.sources.base import Progress as Progress
from trainer.data.store import Artifact, Writer
from trainer.data.store import DataError as DataError
from trainer.presets import LADDER

SOURCES: Mapping[str, CorpusSource] = {
    source.name: source for source in (apidocs.SOURCE, climbmix.SOURCE, tinystories.SOURCE)
}
"""Sources by name; ``files:PATH`` makes a source for that path."""


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
    """Held-out bytes asked for."""
    train: tuple[TokenFile, ...]
    val: TokenFile
    """The held-out text to score on: of ``val``, or of ``test`` from ``open_test``."""
    val_text_bytes: int
    """Actual held-out bytes: up to 3 fewer, to end with a whole character, or all there are."""
    version: str
    """Identifies the text, independent of the vocabulary."""
    fingerprint: str
    """SHA-256 of the last artifact's manifest: covers every byte of data, but no path or time."""

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of training text of the validation text's kind, per text token (no BOS)."""
        parts = [part for part in self.train if part.in_domain] or self.train
        return sum(p.n_bytes for p in parts) / sum(p.n_tokens - p.n_docs for p in parts)


def cache_dir() -> Path:
    """``AUTORESEARCH_CACHE``, or ``~/.cache/autoresearch``."""
    folder = Path(os.environ.get("AUTORESEARCH_CACHE") or "~/.cache/autoresearch")
    try:
        return folder.expanduser()
    except RuntimeError as exc:
        raise DataError(f"no home folder for the cache {folder}: set AUTORESEARCH_CACHE") from exc


def absolute(source: str) -> str:
    """The source with an absolute path after ``files:``, so that it means the same in every folder.

    Raises:
        DataError: unknown source, or there is no home folder to resolve ``~`` with.
    """
    if source.startswith(files.PREFIX):
        return files.PREFIX + files.absolute(source.removeprefix(files.PREFIX))
    if source not in SOURCES:
        names = ", ".join([*SOURCES, f"{files.PREFIX}PATH"])
        raise DataError(f"unknown data source {source!r}; there is: {names}")
    return source


def prepare(
    source: str = "apidocs",
    *,
    vocab_size: int = 4096,
    val_bytes: int = 150_000,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus. It is made first if the cache does not hold it, otherwise this takes milliseconds
    (the first time in a process, tokens are read to check that they are intact).

    Safe against concurrent calls and against being killed at any point.

    Raises:
        DataError: unknown source or vocabulary, a source that cannot be read, a cache that cannot
            be written.
    """
    return _corpus(source, "val", vocab_size, val_bytes, progress or _ignore)


def open_test(
    source: str = "apidocs",
    *,
    vocab_size: int = 4096,
    val_bytes: int = 150_000,
    progress: Progress | None = None,
) -> Corpus:
    """The corpus with the first ``val_bytes`` of the sealed test text in the place of ``val``.

    Nothing else reads test text. The caller counts how often it has been opened.

    Raises:
        DataError: as for ``prepare``.
    """
    return _corpus(source, "test", vocab_size, val_bytes, progress or _ignore)


def decode(source: str, vocab_size: int, ids: Iterable[int]) -> str:
    """The text of token ids; BOS gives no text, and a character that was cut gives U+FFFD.

    Raises:
        DataError: the source has not been prepared with this vocabulary.
    """
    folder = _root(_find(source)) / f"v{vocab_size}"
    try:
        tokenizer = encoding.load_tokenizer(folder)
    except OSError as exc:
        raise DataError(
            f"no tokenizer in {folder} ({exc.strerror}): prepare {source} first"
        ) from exc
    return tokenizer.decode(ids).decode("utf-8", errors="replace")


# --- artifacts ---


@dataclass(frozen=True)
class _Step:
    name: str
    make: Callable[[Sequence[Artifact], Progress, Writer], Mapping[str, Any]]
    stages: Mapping[str, float]
    """Stages that it reports, and about how many seconds each takes."""


def _corpus(
    source: str, split: str, vocab_size: int, held_out_bytes: int, progress: Progress
) -> Corpus:
    if vocab_size not in LADDER:
        rungs = ", ".join(map(str, LADDER))
        raise DataError(f"VOCAB_SIZE {vocab_size} is not on the ladder; use one of {rungs}")
    if held_out_bytes < 1:
        raise DataError(f"val_bytes is {held_out_bytes}; use at least 1")
    found = _find(source)
    root = _root(found)
    try:
        _, tokens, held_out = _chain(found, root, split, vocab_size, held_out_bytes, progress)
    except OSError as exc:
        raise DataError(_explained(exc, root, found.megabytes)) from exc
    (scored,) = _token_files(held_out)
    return Corpus(
        source=source,
        vocab_size=vocab_size,
        val_bytes=held_out_bytes,
        train=_token_files(tokens),
        val=scored,
        val_text_bytes=scored.n_bytes,
        version=found.version,
        fingerprint=held_out.sha256,
    )


def _find(name: str) -> CorpusSource:
    name = absolute(name)
    if name.startswith(files.PREFIX):
        return files.source(name.removeprefix(files.PREFIX))
    return SOURCES[name]


def _root(source: CorpusSource) -> Path:
    return cache_dir() / source.name / source.version


def _chain(
    source: CorpusSource,
    root: Path,
    split: str,
    vocab_size: int,
    held_out_bytes: int,
    progress: Progress,
) -> list[Artifact]:
    def text(_: Sequence[Artifact], report: Progress, writer: Writer) -> Mapping[str, Any]:
        return encoding.fill_text(source, root.parent / "downloads", report, writer)

    def tokens(below: Sequence[Artifact], report: Progress, writer: Writer) -> Mapping[str, Any]:
        return encoding.fill_tokens(vocab_size, below[0], report, writer)

    def held_out(below: Sequence[Artifact], report: Progress, writer: Writer) -> Mapping[str, Any]:
        return encoding.fill_held_out(split, held_out_bytes, below[0], below[1], report, writer)

    steps = (
        _Step("text", text, source.stages),
        _Step(f"v{vocab_size}", tokens, encoding.token_stages(source.megabytes)),
        _Step(f"v{vocab_size}-{split}{held_out_bytes}", held_out, encoding.held_out_stages(split)),
    )
    chain = _standing(root, steps)
    return chain if len(chain) == len(steps) else _complete(root, steps, progress)


def _standing(root: Path, steps: Sequence[_Step]) -> list[Artifact]:
    """The artifacts that exist and are intact, up to the first one that is missing or damaged."""
    chain: list[Artifact] = []
    for step in steps:
        artifact = store.read(root / step.name, chain[-1] if chain else None)
        if artifact is None:
            break
        chain.append(artifact)
    # Text is large, and is read only to make the artifacts that depend on it.
    if len(chain) == len(steps) and all(map(store.intact, chain[1:])):
        return chain
    return list(takewhile(store.intact, chain))


def _complete(root: Path, steps: Sequence[_Step], progress: Progress) -> list[Artifact]:
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root.parent.with_suffix(".lock"), progress):
        store.clean(root)
        chain = _standing(root, steps)
        missing = steps[len(chain) :]
        report = _shares(progress, {k: v for step in missing for k, v in step.stages.items()})
        for step in missing:
            below = chain[-1] if chain else None
            fill = partial(step.make, tuple(chain), report)
            chain.append(store.make(root / step.name, below, fill))
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
    """Convert shares of a stage to shares of the whole."""
    before = dict(zip(stages, np.cumsum([0.0, *stages.values()]).tolist(), strict=False))
    total = sum(stages.values())

    def report(stage: str, fraction: float) -> None:
        progress(stage, min(1.0, (before[stage] + stages[stage] * fraction) / total))

    return report


def _explained(exc: OSError, root: Path, megabytes: float) -> str:
    where = exc.filename or root
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        room = max(200, round(2.5 * megabytes, -2))
        remedy = f"free some {room:.0f} MB there, or set AUTORESEARCH_CACHE to another disk"
    else:
        remedy = "set AUTORESEARCH_CACHE to a folder that can be written"
    return f"cannot prepare data in {where}: {exc.strerror or exc}; {remedy}"


def _token_files(artifact: Artifact) -> tuple[TokenFile, ...]:
    return tuple(
        TokenFile(
            name=name,
            tokens=artifact.path / f"{name}.tokens",
            doc_starts=artifact.path / f"{name}.starts",
            n_tokens=part["n_tokens"],
            n_docs=part["n_docs"],
            n_bytes=part["n_bytes"],
            in_domain=part["in_domain"],
        )
        for name, part in artifact.manifest["parts"].items()
    )
