"""The trusted data side: corpora, splits, tokenizers and token files, prepared once into a cache.

There are three artifacts. Each is moved into place complete, and names the one it was made from:

    <cache>/<source>/<version>/text/               documents of each part, of val and of test
    <cache>/<source>/<version>/v4096/              tokenizer, and tokens of the training parts
    <cache>/<source>/<version>/v4096-val150000/    tokens of the first 150,000 bytes of val

Downloads are kept in ``<cache>/<source>/downloads``. Nothing here imports torch. The test split is
kept as text, which only ``split="test"`` opens.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import filelock

from trainer.data import encoding, store
from trainer.data.sources import apidocs, climbmix, files, tinystories
from trainer.data.sources.base import CorpusSource, Progress
from trainer.data.store import Artifact, Writer
from trainer.data.store import DataError as DataError
from trainer.presets import LADDER

SOURCES: Mapping[str, CorpusSource] = {
    source.name: source for source in (apidocs.SOURCE, climbmix.SOURCE, tinystories.SOURCE)
}
"""Sources by name; ``files:PATH`` makes a source for that path."""


ATTEMPTS = 3
"""Of a preparation whose files are deleted meanwhile, as by whoever empties the cache."""
_MEDDLED = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ESTALE)
_HELD: dict[str, str] = {}


@dataclass(frozen=True)
class TokenFile:
    """One part of a corpus as token ids on disk."""

    name: str
    folder: Path
    n_tokens: int
    """BOS counted."""
    n_docs: int
    n_bytes: int
    """UTF-8 bytes of the text."""
    in_domain: bool
    """Whether the validation text is of this kind."""

    @property
    def tokens(self) -> Path:
        """Raw little-endian uint16, shape [n_tokens]; every document begins with BOS."""
        return self.folder / f"{self.name}.tokens"

    @property
    def doc_starts(self) -> Path:
        """Raw little-endian int64, shape [n_docs]: index in ``tokens`` of each BOS, ascending."""
        return self.folder / f"{self.name}.starts"

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of text per text token (BOS not counted)."""
        return self.n_bytes / (self.n_tokens - self.n_docs)


@dataclass(frozen=True)
class Corpus:
    """What a training and its scoring read."""

    source: str
    vocab_size: int
    train: tuple[TokenFile, ...]
    val: TokenFile
    """The held-out text to score on: of ``val``, or of ``test`` where it was opened; up to 3 bytes
    fewer than asked for, to end with a whole character, or all there are."""
    version: str
    """Identifies the text, independent of the vocabulary."""
    fingerprint: str
    """SHA-256 of the last artifact's manifest: covers every byte of data, but no path or time."""
    artifacts: tuple[Artifact, ...]
    """That hold its tokens."""
    documents: tuple[tuple[str, int], ...] = ()
    """Of opened test text, in order: the group and the UTF-8 bytes of each document."""

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of training text of the validation text's kind, per text token (no BOS)."""
        parts = [part for part in self.train if part.in_domain] or self.train
        return sum(p.n_bytes for p in parts) / sum(p.n_tokens - p.n_docs for p in parts)


def cache_dir() -> Path:
    """``AUTORESEARCH_CACHE``, or ``~/.cache/autoresearch``."""
    folder = os.environ.get("AUTORESEARCH_CACHE") or "~/.cache/autoresearch"
    try:
        return Path(folder).expanduser().absolute()
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


def hold(text: str) -> None:
    """From now on take this text, "SOURCE VERSION" as in a fingerprint, wherever the cache has it,
    whatever has become of the files of ``files:PATH`` since.
    """
    source, _, version = text.rpartition(" ")
    _HELD[source] = version


def held() -> tuple[str, ...]:
    """What ``hold`` was told, for another process to hold."""
    return tuple(f"{source} {version}" for source, version in _HELD.items())


def ignore(stage: str, fraction: float) -> None:
    """Reports no progress."""


def prepare(
    source: str = "apidocs",
    *,
    vocab_size: int = 4096,
    val_bytes: int = 150_000,
    split: Literal["val", "test"] = "val",
    progress: Progress = ignore,
) -> Corpus:
    """The corpus. It is made first if the cache does not hold it, otherwise this takes milliseconds
    (the first time in a process, tokens are read to check that they are intact).

    Safe against concurrent calls and against being killed at any point.

    Args:
        split: ``test`` opens the sealed test text, which nothing else reads, and puts its first
            ``val_bytes`` in the place of ``val``. The caller counts how often it has been opened.

    Raises:
        DataError: unknown source or vocabulary, a source that cannot be read, a cache that cannot
            be written.
    """
    if vocab_size not in LADDER:
        rungs = ", ".join(map(str, LADDER))
        raise DataError(f"VOCAB_SIZE {vocab_size} is not on the ladder; use one of {rungs}")
    if val_bytes < 1:
        raise DataError(f"val_bytes is {val_bytes}; use at least 1")
    found = _find(source)
    root = cache_dir() / found.name / found.version
    make = partial(_artifacts, found, split, vocab_size, val_bytes, progress)
    try:
        _, tokens, held_out = make(root)
    except DataError:
        if (other := _alike(found, root)) is None:
            raise
        root = other
        _, tokens, held_out = make(root)
    (scored,) = _token_files(held_out)
    return Corpus(
        source=source,
        vocab_size=vocab_size,
        train=_token_files(tokens),
        val=scored,
        version=root.name,
        fingerprint=held_out.sha256,
        artifacts=(tokens, held_out),
        documents=tuple((group, size) for group, size in held_out.manifest.get("documents", ())),
    )


def restore(corpus: Corpus) -> bool:
    """Make again what was deleted or damaged of a corpus since it was prepared.

    Returns:
        Whether anything was.

    Raises:
        DataError: it cannot be made, or it would be another text.
    """
    if all(map(store.intact, corpus.artifacts)):
        return False
    split: Literal["val", "test"] = "test" if corpus.val.name == "test" else "val"
    asked = corpus.artifacts[-1].manifest[f"{split}_bytes"]
    again = prepare(corpus.source, vocab_size=corpus.vocab_size, val_bytes=asked, split=split)
    if again.fingerprint != corpus.fingerprint:
        raise DataError(
            f"{corpus.val.folder} was deleted or damaged during a training, and {corpus.source} is "
            "another text now: bring it back as it was, or begin anew"
        )
    return True


def _find(name: str) -> CorpusSource:
    name = absolute(name)
    if name.startswith(files.PREFIX):
        path, held = name.removeprefix(files.PREFIX), _HELD.get(name, "")
        if held:  # the files are looked at only where its text must be made again
            return CorpusSource(
                "files", held, 100.0, lambda *to: files.source(path, held).build(*to)
            )
        return files.source(path)
    return SOURCES[name]


def _alike(source: CorpusSource, root: Path) -> Path | None:
    """The same text in the cache, if another machine's interpreter prepared it.

    For machines that lack what a source is made from: their cache is a copy.
    """
    if not source.alike:
        return None
    others = [other for other in sorted(root.parent.glob(source.alike)) if other != root]
    return next((other for other in reversed(others) if store.read(other / "text", None)), None)


def prepared(source: str, vocab_size: int, val_bytes: int) -> bool:
    """Whether ``prepare`` would find all of it in the cache."""
    found = _find(source)
    names = _names("val", vocab_size, val_bytes)
    return len(_standing(cache_dir() / found.name / found.version, names)) == len(names)


def notes(source: str) -> tuple[str, ...]:
    """What was left out of a corpus when its text was prepared, a line for each kind of thing."""
    found = _find(source)
    text = store.read(cache_dir() / found.name / found.version / "text", None)
    return tuple(text.manifest.get("notes", ())) if text else ()


def reach(source: str) -> None:
    """Ask the host of a source that is downloaded whether it can be had.

    Raises:
        DataError: it cannot; the message says why.
    """
    if (ask := _find(source).reach) is not None:
        ask()


def _names(split: str, vocab_size: int, held_out_bytes: int) -> tuple[str, str, str]:
    """Of text, tokens and held-out tokens."""
    return "text", f"v{vocab_size}", f"v{vocab_size}-{split}{held_out_bytes}"


def _artifacts(
    source: CorpusSource,
    split: str,
    vocab_size: int,
    held_out_bytes: int,
    progress: Progress,
    root: Path,
    attempts: int = ATTEMPTS,
) -> list[Artifact]:
    """Text, tokens and held-out tokens; one process at a time makes what is missing or damaged.

    Raises:
        DataError: what is missing cannot be made.
    """
    fills: tuple[_Fill, ...] = (
        partial(encoding.fill_text, source, root.parent / "downloads", progress),
        partial(encoding.fill_tokens, vocab_size, progress),
        partial(encoding.fill_held_out, source, split, held_out_bytes, progress),
    )
    steps = dict(zip(_names(split, vocab_size, held_out_bytes), fills, strict=True))
    try:
        chain = _standing(root, steps)
        if len(chain) < len(steps):
            root.mkdir(parents=True, exist_ok=True)
            with _lock(root.parent.with_suffix(".lock"), progress):
                store.clean(root.parent)
                chain = _standing(root, steps)
                for name in list(steps)[len(chain) :]:
                    below = chain[-1] if chain else None
                    chain.append(store.make(root / name, below, partial(steps[name], tuple(chain))))
    except NotImplementedError as exc:
        raise DataError(f"{root}: {exc}; set AUTORESEARCH_CACHE to one that has locks") from exc
    except OSError as exc:
        if attempts > 1 and exc.errno in _MEDDLED:
            left = attempts - 1
            return _artifacts(source, split, vocab_size, held_out_bytes, progress, root, left)
        raise DataError(_explained(exc, root, source.megabytes)) from exc
    return chain


_Fill = Callable[[Sequence[Artifact], Writer], Mapping[str, Any]]
"""Writes the files of an artifact that is made from those before it."""


def _standing(root: Path, names: Iterable[str]) -> list[Artifact]:
    """The artifacts that exist and are intact, up to the first one that is missing or damaged."""
    chain: list[Artifact] = []
    for name in names:
        artifact = store.read(root / name, chain[-1] if chain else None)
        if artifact is None:
            break
        chain.append(artifact)
    else:
        # Text is large, and is read only to make the artifacts that depend on it.
        if all(map(store.intact, chain[1:])):
            return chain
    return list(takewhile(store.intact, chain))


def _lock(path: Path, progress: Progress) -> AbstractContextManager[object]:
    """The lock on a source, held until the end of the ``with`` block."""
    lock = filelock.FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except filelock.Timeout:
        progress("waiting for another preparation", 0.0)
        return lock.acquire()


def _explained(exc: OSError, root: Path, megabytes: float) -> str:
    where = root / str(exc.filename or "")  # relative where a folder is removed
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        room = max(200, round(2.5 * megabytes, -2))
        remedy = f"free some {room:.0f} MB there, or set AUTORESEARCH_CACHE to another disk"
    else:
        remedy = "set AUTORESEARCH_CACHE to a folder that can be written, or remove what is there"
    return f"cannot prepare data in {where}: {exc.strerror or exc}; {remedy}"


def _token_files(artifact: Artifact) -> tuple[TokenFile, ...]:
    parts = artifact.manifest["parts"].items()
    return tuple(TokenFile(name, artifact.path, **part) for name, part in parts)
