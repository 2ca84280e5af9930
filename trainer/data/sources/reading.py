"""Finding files of text, and reading them a section at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.data.sources.formats import FAULTS, sections
from trainer.data.sources.odd import NoText, Odd
from trainer.data.store import DataError, digest
from trainer.data.text import normalise
from trainer.untrusted import one_line

_MAGIC = re.compile(r"[*?[]")


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

    def sections(self, odd: Odd) -> Iterator[str]:
        """Normalised text of at most SECTION_CHARS characters at a time, none of it blank.

        Args:
            odd: is told what is left out.

        Raises:
            NoText: it is no text.
            DataError: it is not what its name says, too much of it is odd, or it cannot be read.
        """
        try:
            with self.path.open("rb") as stream:
                for section in sections(one_line(self.name), stream, odd):
                    if text := normalise(section).strip("\n"):
                        yield text
        except NoText:
            raise
        except DataError as exc:
            raise DataError(f"{self.path}: {exc}") from exc
        except FAULTS as exc:
            raise DataError(
                f"cannot read {self.path}: {one_line(exc)}; where it is damaged or cut off, get it "
                "again, or remove it"
            ) from exc


def find(path: Path) -> tuple[File, ...]:
    """The files at an absolute path or glob, by name.

    Raises:
        DataError: there are no files, or one cannot be inspected.
    """
    try:
        if path.is_dir():
            root, paths = path, list(_below(path))
        elif path.is_file():
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


def _below(folder: Path) -> Iterator[Path]:
    seen = {folder.resolve()}
    for where, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        below = {Path(where, name).resolve(): name for name in sorted(folders)}
        folders[:] = [n for p, n in below.items() if not n.startswith(".") and p not in seen]
        seen |= set(below)
        yield from (path for name in names if (path := Path(where, name)).is_file())


def _unreadable(error: OSError) -> None:
    raise error
