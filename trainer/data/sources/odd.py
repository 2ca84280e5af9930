"""What is odd in somebody's files: it is left out, counted and told, and too much of it stops."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer.data.store import DataError

MOST_ODD = 0.1
"""Share of a file's rows, or of its characters, that may be odd."""
_REMOVE = "remove it, or name the files to read with a glob such as 'files:PATH/**/*.txt'"
REMEDY = f"convert it to UTF-8 text (iconv, pdftotext), {_REMOVE}"
_WORDS = {
    "rows": "rows have no text and are left out",
    "characters": "characters are no UTF-8 text (bytes are read as Windows-1252, others left out)",
    "files": "files are not read as their names say",
}


class NoText(DataError):
    """A file that holds no text, such as an image: among others it is left out."""


@dataclass
class Count:
    """How many there are, of how many, and what is to be said of the first."""

    count: int = 0
    of: int = 0
    first: str = ""

    def add(self, where: str, count: int = 1, of: int = 0) -> None:
        self.first = self.first or where
        self.count += count
        self.of += of

    @property
    def is_too_much(self) -> bool:
        return self.count > MOST_ODD * self.of

    def told(self, words: str) -> str:
        return f"{self.count:,} of {self.of:,} {words}, the first: {self.first}"


@dataclass
class Odd:
    """What was odd in some files."""

    rows: Count = field(default_factory=Count)
    characters: Count = field(default_factory=Count)
    files: Count = field(default_factory=Count)

    def merge(self, one: Odd) -> None:
        """Add what was found in one file.

        Raises:
            DataError: too much of it is odd.
        """
        for name, words in _WORDS.items():
            found: Count = getattr(one, name)
            if name != "files" and found.is_too_much:
                most = f"at most {MOST_ODD:.0%} of a file may be"
                how = REMEDY if name == "characters" else _REMOVE
                raise DataError(f"{found.told(words)}; {most}: mend it, {how}")
            getattr(self, name).add(found.first, found.count, found.of)

    def notes(self) -> tuple[str, ...]:
        """A line for each kind of thing that is odd."""
        counts = ((getattr(self, name), words) for name, words in _WORDS.items())
        return tuple(count.told(words) for count, words in counts if count.count)
