"""Source ``files:PATH``: text of your own, from a file, a folder or a glob.

First bytes and name tell what a file is (see ``formats``): compressed, an archive, Parquet, records
(JSON lines, JSON, a table), or plain text. The text of a record is what ``base.text_of`` finds. A
file that is no text is left out, as are rows without text; both are counted and told. Where more
than a tenth of a file is odd, it is refused. A folder is read recursively, except for hidden
entries (a name that begins with a dot).

The version is a hash of names, sizes and contents, so a changed folder is another corpus, and the
same files in another place are the same corpus.

A file or a record is cut into sections of at most 32,000 characters, at an empty line if possible.
A section is held out as a whole: the sections with the smallest hashes are ``val``, and those with
the next hashes are ``test``. Each has a twentieth of the bytes (a tenth where that is under 200 kB,
at most 10 MB). So equal sections are in the same split; training documents that are mostly a copy
of held-out text are dropped. A section gives documents of at most 16,000 characters.

Each first-level folder is a part to train on, and the files beside them are the part ``text``. If a
part has less than 100 kB, or there are more than 16 parts, all text is one part ``text``.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.data.sources.base import CorpusSource, Progress, Text
from trainer.data.sources.held_out import without_copies
from trainer.data.sources.odd import REMEDY, NoText, Odd
from trainer.data.sources.reading import File, find
from trainer.data.store import DataError
from trainer.data.text import Shingles, shuffled, split
from trainer.untrusted import one_line

PREFIX = "files:"
RECIPE = 3
"""Goes up with every change that changes a document or its split."""
DOCUMENT_CHARS = 16_000
MIN_BYTES = 500_000
"""Smallest size of the text; with less, training learns nothing that validation can measure."""
HELD_OUT_SHARE, SMALL_SHARE = 0.05, 0.1
SMALL_BYTES, MOST_BYTES = 200_000, 10_000_000
MIN_PART_BYTES, MOST_PARTS = 100_000, 16
LOOSE = "text"


def absolute(path: str) -> str:
    """Make a path absolute, from ``~`` or the current folder; a glob stays a glob.

    Raises:
        DataError: it cannot be a path, or there is no home folder.
    """
    if not path:
        raise DataError(f"{PREFIX} names no file; write {PREFIX}PATH")
    try:
        return str(Path(path).expanduser().resolve())
    except (OSError, RuntimeError, ValueError) as exc:
        raise DataError(f"{PREFIX}{path!r} is no path that can be resolved: {exc}") from exc


def source(path: str, version: str = "") -> CorpusSource:
    """The source for a path or glob; if a version is given, of that text.

    Raises:
        DataError: there is no such file, one cannot be read, or they give another text.
    """
    files = find(Path(absolute(path)))
    own = hashlib.sha256(f"{RECIPE}".encode())
    for file in files:
        line = f"\n{file.name}\t{file.size}\t{file.sha256}"
        own.update(line.encode(errors="surrogateescape"))
    if version not in ("", own.hexdigest()[:16]):
        raise DataError(
            f"{PREFIX}{path} gives another text than {version}, with which the campaign began and "
            "which the cache has lost: the files have changed, or are read in another way since an "
            "update; bring the files or the cache back, or start another --tag"
        )
    megabytes = sum(file.size for file in files) / 1e6
    build = partial(_build, files)
    return CorpusSource("files", own.hexdigest()[:16], megabytes, build)


class _Section(NamedTuple):
    key: int
    """64-bit hash of the text, which decides its split."""
    size: int
    """UTF-8 bytes."""
    text: str


def _build(files: tuple[File, ...], progress: Progress, _: Path) -> Text:
    keys, sizes = array("Q"), array("q")
    by_folder: Counter[str] = Counter()
    odd, read = Odd(), []
    for i, file in enumerate(files):
        progress("surveying the files", i / len(files))
        try:
            for section in _sections([file], odd):
                keys.append(section.key)
                sizes.append(section.size)
                by_folder[file.folder] += section.size
            read.append(file)
        except NoText as error:
            odd.files.add(str(error), of=1)
    notes = odd.notes()
    if sum(sizes) < MIN_BYTES:
        left_out = f" ({'; '.join(notes)}: {REMEDY})" if notes else ""
        raise DataError(
            f"{len(files)} file{'s' * (len(files) != 1)} ({files[0].path}"
            f"{', ...' * (len(files) != 1)}) with {sum(sizes):,} bytes of text in all: at least "
            f"{MIN_BYTES:,} are needed to train and to hold text out; give more{left_out}"
        )
    last_val, last_test = _boundaries(np.array(keys), np.array(sizes))

    progress("reading held-out text", 0.0)
    held_out = [(s, one_line(f.name)) for f in read for s in _sections([f]) if s.key <= last_test]
    val = shuffled(set(_documents(s.text for s, _ in held_out if s.key <= last_val)))
    file_of: dict[str, str] = {}
    for section, name in reversed(held_out):  # of equal documents the first file counts
        if section.key > last_val:
            file_of |= dict.fromkeys(_documents([section.text]), name)
    test = list(without_copies(shuffled(file_of), Shingles(val)))
    known = Shingles([*val, *test])

    def train(of_part: Sequence[File]) -> Iterator[str]:
        texts = (section.text for section in _sections(of_part) if section.key > last_test)
        yield from without_copies(_documents(texts), known)
        for file in of_part:
            file.check_unchanged()

    names = _part_names(by_folder)
    parts: dict[str, Iterable[str]] = {"val": val, "test": test}
    for part in sorted(set(names.values())):
        parts[part] = train([file for file in read if names.get(file.folder) == part])
    in_domain = dict.fromkeys(sorted(set(names.values())), True)
    return Text(parts, in_domain, notes=notes, groups=[file_of[text] for text in test])


def _sections(files: Iterable[File], odd: Odd | None = None) -> Iterator[_Section]:
    for file in files:
        for text in file.sections(odd or Odd()):
            raw = text.encode()
            key = int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "big")
            yield _Section(key, len(raw), text)


def _boundaries(keys: npt.NDArray[np.uint64], sizes: npt.NDArray[np.int64]) -> tuple[int, int]:
    """The largest key of ``val``, and of ``test``."""
    order = np.argsort(keys)
    reached = np.cumsum(sizes[order])
    total = int(reached[-1])
    wanted = min(MOST_BYTES, max(HELD_OUT_SHARE * total, min(SMALL_SHARE * total, SMALL_BYTES)))
    val = int(np.searchsorted(reached, wanted))
    test = int(np.searchsorted(reached, reached[val] + wanted))
    return int(keys[order[val]]), int(keys[order[test]])


def _part_names(by_folder: Counter[str]) -> dict[str, str]:
    """Name of the part that each first-level folder belongs to."""
    names = {folder: re.sub(r"\W+", "-", folder).strip("-") or LOOSE for folder in by_folder}
    names = {f: f"{name}-text" if name in ("val", "test") else name for f, name in names.items()}
    by_part: Counter[str] = Counter()
    for folder, name in names.items():
        by_part[name] += by_folder[folder]
    if len(by_part) > MOST_PARTS or min(by_part.values()) < MIN_PART_BYTES:
        return dict.fromkeys(names, LOOSE)
    return names


def _documents(sections: Iterable[str]) -> Iterator[str]:
    for section in sections:
        for piece in split(section, DOCUMENT_CHARS):
            if text := piece.strip("\n"):
                yield text
