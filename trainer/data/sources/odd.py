"""What is odd in somebody's files: it is left out, counted and told, and too much of it stops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from trainer.data.store import DataError

MOST_ODD = 0.1
"""Share of a file's rows, or of its characters, that may be odd."""
REMEDY = (
    "convert it to UTF-8 text (iconv, pdftotext), remove it, or name the files to read with a glob "
    "such as 'files:PATH/**/*.txt'"
)


class NoText(DataError):
    """A file that holds no text, such as an image: among others it is left out."""


@dataclass
class Count:
    """How many there are, of how many, and what is to be said of the first."""

    count: int = 0
    of: int = 0
    first: str = ""

    def add(self, where: str, count: int = 1) -> None:
        self.first = self.first or where
        self.count += count

    def merge(self, other: Count) -> None:
        self.add(other.first, other.count)
        self.of += other.of

    @property
    def is_most(self) -> bool:
        return self.count > MOST_ODD * self.of


@dataclass
class Odd:
    """What was odd in some files."""

    rows: Count = field(default_factory=Count)
    """Records without text."""
    characters: Count = field(default_factory=Count)
    """NUL and other control characters, and bytes that are no UTF-8."""
    files: Count = field(default_factory=Count)
    """Files, or members of archives, without text."""
    tables: Count = field(default_factory=Count)
    """Files of records that are read as plain text, because no field is known to hold text."""

    def merge(self, one: Odd) -> None:
        """Add what was found in one file.

        Raises:
            DataError: too much of it is odd.
        """
        for name, what in (("rows", "rows have no text"), ("characters", "characters are no text")):
            found: Count = getattr(one, name)
            if found.is_most:
                raise DataError(
                    f"{found.count:,} of {found.of:,} {what}, the first in {found.first}; at most "
                    f"{MOST_ODD:.0%} of a file may be left out: mend it, {REMEDY}"
                )
            getattr(self, name).merge(found)
        self.files.merge(one.files)
        self.tables.merge(one.tables)

    def notes(self) -> Iterator[str]:
        """A line for each kind of thing that is odd."""
        rows, characters, files, tables = self.rows, self.characters, self.files, self.tables
        if rows.count:
            yield f"left out: {rows.count:,} of {rows.of:,} rows, the first in {rows.first}"
        if characters.count:
            yield (
                f"not UTF-8 text: {characters.count:,} of {characters.of:,} characters (control "
                "characters are left out, bytes are read as Windows-1252), the first in "
                f"{characters.first}"
            )
        if files.count:
            yield f"files left out: {files.count:,}, the first: {files.first}"
        if tables.count:
            yield f"files read as plain text: {tables.count:,}, the first: {tables.first}"
