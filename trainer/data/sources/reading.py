"""Finding files of text, and reading them a section at a time."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trainer.data.sources.base import TEXT_FIELDS
from trainer.data.store import DataError, digest
from trainer.data.text import normalise

SECTION_CHARS = 32_000
_MAGIC = re.compile(r"[*?[]")
_REMEDY = "remove it, or name the files to read with a glob such as 'files:PATH/**/*.txt'"


@dataclass(frozen=True)
class File:
    """A file as it was when it was found."""

    path: Path
    name: str
    """Relative to where the search began, with ``/``."""
    size: int
    """Bytes on disk."""
    sha256: str

    @property
    def folder(self) -> str:
        """The first-level folder that it is in; empty where it is in none."""
        return self.name.split("/")[0] if "/" in self.name else ""

    def check_unchanged(self) -> None:
        """Raises DataError if the file is missing or has changed."""
        if not self.path.is_file() or digest(self.path) != self.sha256:
            raise DataError(f"{self.path} has changed while it was read; run again")

    def sections(self) -> Iterator[str]:
        """Normalised text of at most SECTION_CHARS characters at a time, none of it blank.

        Raises:
            DataError: it is not what its name says, not UTF-8, or cannot be read.
        """
        for section in self._raw():
            if "\0" in section:
                raise DataError(f"{self.path} holds NUL characters, so it is not text; {_REMEDY}")
            if text := normalise(section).strip("\n"):
                yield text

    def _raw(self) -> Iterator[str]:
        plain = self.name.lower().removesuffix(".gz")
        if self.name.lower().endswith(".parquet"):
            from trainer.data.sources import parquet  # only here: it takes long to import

            for text in parquet.texts(self.path):
                yield from split(text, SECTION_CHARS)
            return
        try:
            with self._open() as file:
                if plain.endswith((".jsonl", ".ndjson")):
                    for number, line in enumerate(file, 1):
                        yield from split(self._record(number, line), SECTION_CHARS)
                else:
                    yield from split(file, SECTION_CHARS)
        except UnicodeDecodeError as exc:
            raise DataError(
                f"{self.path} is not UTF-8 text (byte 0x{exc.object[exc.start]:02x}); {_REMEDY}"
            ) from exc
        except (OSError, EOFError, zlib.error) as exc:
            raise DataError(f"cannot read {self.path}: {exc}; {_REMEDY}") from exc

    def _open(self) -> IO[str]:
        if self.name.lower().endswith(".gz"):
            return gzip.open(self.path, "rt", encoding="utf-8")
        return self.path.open(encoding="utf-8")

    def _record(self, number: int, line: str) -> str:
        if not line.strip():
            return ""
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise DataError(f"{self.path}, line {number} is not JSON: {exc}") from exc
        fields = record if isinstance(record, dict) else {}
        text = next((fields[name] for name in TEXT_FIELDS if name in fields), None)
        if not isinstance(text, str):
            raise DataError(
                f"{self.path}, line {number} has no string under {' or '.join(TEXT_FIELDS)}"
            )
        return text


def find(path: Path) -> tuple[File, ...]:
    """The files at an absolute path or glob, by name.

    Raises:
        DataError: there are no files, or one cannot be inspected.
    """
    try:
        if path.is_dir():
            root, paths = path, list(_below(path))
        elif path.exists():
            root, paths = path.parent, [path]
        elif _MAGIC.search(str(path)):
            pattern = str(path.relative_to(path.anchor))
            paths = [p for p in Path(path.anchor).glob(pattern) if p.is_file()]
            root = Path(os.path.commonpath([p.parent for p in paths])) if paths else path
        else:
            raise DataError(f"there is no file or folder {path}")
        shown = [p for p in paths if not any(n.startswith(".") for n in p.relative_to(root).parts)]
        if not shown:
            raise DataError(f"there are no files in {path} (hidden ones are not read)")
        return tuple(
            File(p, p.relative_to(root).as_posix(), p.stat().st_size, digest(p))
            for p in sorted(shown)
        )
    except ValueError as exc:
        raise DataError(f"{path} is no glob: {exc}") from exc
    except OSError as exc:
        raise DataError(f"cannot read {exc.filename or path}: {exc.strerror}") from exc


def split(text: str | IO[str], limit: int) -> Iterator[str]:
    """Pieces of at most ``limit`` characters, cut at an empty line, line or space in their second
    half where there is one. The text may be a file, and need not fit into memory."""
    file = io.StringIO(text, newline="") if isinstance(text, str) else text
    rest = ""
    while more := file.read(limit):
        rest += more
        while len(rest) > limit:
            cut = _cut(rest, limit)
            yield rest[:cut]
            rest = rest[cut:]
    if rest:
        yield rest


def _cut(text: str, limit: int) -> int:
    for mark in ("\n\n", "\n", " "):
        at = text.rfind(mark, limit // 2, limit)
        if at >= 0:
            return at + len(mark)
    return limit


def _below(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in names if (path := Path(where, name)).is_file())


def _unreadable(error: OSError) -> None:
    raise error
