"""Text from a file by its content: packed or not, in any common encoding, as records or plain.

The first bytes tell compression, archive, encoding and whether it is text at all; the name, without
endings such as ``.gz``, tells records (``.jsonl``, ``.json``, ``.csv``, ``.tsv``) from plain text.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

from trainer.data.sources.base import FIELDS, TEXT_FIELDS, text_of
from trainer.data.sources.odd import MOST_ODD, NoText, Odd
from trainer.data.store import DataError
from trainer.data.text import split
from trainer.untrusted import one_line

SECTION_CHARS = 32_000
HEAD_BYTES = 1 << 16
"""What is looked at to tell what a file is."""
MOST_LAYERS = 4
"""Archives in archives."""
MOST_CELL_CHARACTERS = 10_000_000
"""A longer cell of a CSV file is one whose quotes do not end."""
NO_FIELD = "no text under a usual name (text, content, messages, prompt ...)"

FAULTS = (
    *(OSError, EOFError, ValueError, RuntimeError, csv.Error),
    *(zlib.error, lzma.LZMAError, struct.error, zipfile.BadZipFile),
)
"""What reading a damaged file raises."""

csv.field_size_limit(MOST_CELL_CHARACTERS)


def _zstd(stream: IO[bytes]) -> IO[bytes]:
    import pyarrow  # only here: it takes long to import

    unpacked: IO[bytes] = pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, "r"), "zstd")
    return unpacked


_PACKED: Mapping[bytes, Callable[[Any], Any]] = {
    rb"\x1f\x8b": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
    rb"BZh[1-9]1AY&SY": bz2.BZ2File,
    rb"\xfd7zXZ\0": lzma.LZMAFile,
    rb"\x28\xb5\x2f\xfd": _zstd,
}
_NO_TEXT: Mapping[bytes, str] = {
    b"%PDF-": "a PDF is not read: convert it, as with pdftotext",
    b"{\\rtf": "RTF is not read: save it as plain text",
    b"ARROW1": "Arrow is not read: save it as Parquet",
    b"\xff\xff\xff\xff": "an Arrow stream is not read: save it as Parquet",
    b"\x89PNG": "a picture is no text",
    b"PK\3\4": "a ZIP archive under another name, as docx and epub are: save it as plain text",
    b"7z\xbc\xaf": "unpack it, a 7z archive is not read",
    b'\x04"M\x18': "unpack it, LZ4 is not read",
    b"version https://git-lfs": "only Git LFS's pointer to the file: run git lfs pull",
}
"""First bytes of what is not read, and what to do."""
_ENDINGS = re.compile(r"\.(gz|bz2|xz|zst|zstd)$")
_ENCODINGS = {
    re.escape(codecs.BOM_UTF8): "utf-8-sig",
    re.escape(codecs.BOM_UTF32_LE): "utf-32",
    re.escape(codecs.BOM_UTF32_BE): "utf-32",
    re.escape(codecs.BOM_UTF16_LE): "utf-16",
    re.escape(codecs.BOM_UTF16_BE): "utf-16",
    rb"(?:[^\0]\0){4}": "utf-16-le",
    rb"(?:\0[^\0]){4}": "utf-16-be",
}
_NEXT = re.compile(r"[\s,]*(?=[^\s,])")
_DOCUMENT = re.compile(r'\s*(?:\[\s*[{"]|\{\s*")')
_FIELD = re.compile(rf'"({"|".join(sorted(FIELDS))})"\s*:', re.IGNORECASE)
_LINES = (".jsonl", ".ndjson", ".jsonlines", ".ldjson", ".jl")
_QUOTED = re.compile(r'^"((?:[^"]|"")*)"$')
_BACKSLASH = re.compile(r'(?<!\\)\\"')
_ESCAPED = re.compile(_BACKSLASH.pattern + r'[^,;\t|\s"]')
"""A quote that a backslash marks as the text's own, where no cell can end."""
_STRANGE = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f\udc80-\udcff]")
"""Control characters that no text has, and what ``surrogateescape`` makes of bytes."""
_MENDED = {
    **dict.fromkeys(range(32)),
    **{ord(kept): kept for kept in "\t\n\v\f\r\x1b"},
    **{0xDC00 + byte: bytes([byte]).decode("cp1252", "ignore") for byte in range(128, 256)},
}


def sections(name: str, stream: IO[bytes], odd: Odd, layers: int = 0) -> Iterator[str]:
    """Text of a file, or of all that it holds, at most SECTION_CHARS characters at a time.

    Args:
        name: by which it is told; its ending counts.

    Raises:
        NoText: it is no text, which its first bytes tell.
        DataError: too much of it is odd.
        Any of FAULTS: it is damaged.
    """
    if layers > MOST_LAYERS:
        raise DataError(f"{name} is packed more than {MOST_LAYERS} times: unpack it")
    file = io.BufferedReader(stream, HEAD_BYTES)  # type: ignore[type-var]
    head = file.peek(HEAD_BYTES)[:HEAD_BYTES]
    kind = _ENDINGS.sub("", name.lower())
    own = Odd()
    if unpack := next((use for magic, use in _PACKED.items() if re.match(magic, head)), None):
        yield from sections(name, unpack(file), own, layers + 1)
    elif kind.endswith(".zip"):
        yield from _of_zip(name, _seekable(file, layers), own, layers)
    elif kind.endswith(".parquet") or head.startswith(b"PAR1"):
        from trainer.data.sources import parquet  # only here: it takes long to import

        rows = enumerate(parquet.records(_seekable(file, layers), name), 1)
        yield from _of_records(f"{name}, row", rows, own)
    elif head[257:262] == b"ustar":
        raise NoText(f"{name}: unpack it, a tar archive is not read")
    elif remedy := next((_NO_TEXT[magic] for magic in _NO_TEXT if head.startswith(magic)), None):
        raise NoText(f"{name}: {remedy}")
    else:
        own.files.of = 1
        yield from _of_text(name, kind, head, file, own)
    odd.merge(own)


def _seekable(file: IO[bytes], layers: int) -> IO[bytes]:
    return io.BytesIO(file.read()) if layers else file


def _of_zip(name: str, stream: IO[bytes], odd: Odd, layers: int) -> Iterator[str]:
    with zipfile.ZipFile(stream) as archive:
        for member in archive.namelist():
            if member.endswith("/") or member.startswith("__MACOSX") or "/." in f"/{member}":
                continue
            try:
                with archive.open(member) as file:
                    yield from sections(f"{name}/{member}", file, odd, layers + 1)
            except NoText as error:
                odd.files.add(str(error), of=1)


def _of_text(name: str, kind: str, head: bytes, stream: IO[bytes], odd: Odd) -> Iterator[str]:
    encoding = next((e for magic, e in _ENCODINGS.items() if re.match(magic, head)), "utf-8")
    errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
    looked_at = Odd()
    start = _Mended(name, io.StringIO(head.decode(encoding, errors), None), looked_at).read()
    if looked_at.characters.is_too_much:
        raise NoText(f"{looked_at.characters.first}, so it is no text and left out")
    file = _Mended(name, io.TextIOWrapper(stream, encoding, errors), odd)
    records, unit, rest, why = None, "row", "", NO_FIELD
    line, is_whole, _ = start.lstrip().partition("\n")
    first = _loaded(line)
    is_cut = not is_whole and line.startswith("{")  # a first line longer than what is looked at
    is_odd = isinstance(first, (list, Exception)) and not is_cut
    if kind.endswith((".csv", ".tsv")):
        records = _of_table(start.lstrip("\n"), file)
    elif kind.endswith(".json") or (is_odd and _DOCUMENT.match(start)):
        rest = file.read()
        document = _of_document(rest, needs_text=not kind.endswith(_LINES))
        records, why = (None, document) if isinstance(document, str) else (document, why)
    elif kind.endswith(_LINES) or _has_text(first) or (is_cut and _FIELD.search(line)):
        records, unit = _of_lines(file), "line"
    if records is not None:
        yield from _of_records(f"{name}, {unit}", records, odd)
        return
    if kind.endswith((".json", ".csv", ".tsv")):
        odd.files.add(f"{name}: {why}, so it is read as plain text")
    yield from split(rest or file, SECTION_CHARS)


class _Mended:
    """A file of text. Its strange characters are counted; bytes are read as Windows-1252."""

    def __init__(self, name: str, file: IO[str], odd: Odd) -> None:
        self._name, self._file, self._odd = name, file, odd.characters
        self._line = 1

    def read(self, limit: int = -1) -> str:
        text = self._file.read(limit)
        self._odd.of += len(text)
        return self._mend(text)

    def __iter__(self) -> Iterator[str]:
        return map(self._mend, self._file)

    def _mend(self, text: str) -> str:
        lines, self._line = self._line, self._line + text.count("\n")
        if found := _STRANGE.findall(text):
            line = lines + text.count("\n", 0, text.index(found[0]))
            byte = ord(found[0]) & 0xFF
            what = f"byte 0x{byte:02x}" if byte else "a NUL character"
            self._odd.add(f"{self._name}, line {line}: {what}", len(found))
            text = text.translate(_MENDED)
        return text


Records = Iterable[tuple[int, Any]]
"""Numbered; an exception in the place of a record says why there is none."""


def _of_records(name: str, records: Records, odd: Odd) -> Iterator[str]:
    for number, record in records:
        odd.rows.of += 1
        try:
            text = text_of(record)
        except RecursionError:
            text = None
        if text is None:
            why = record if isinstance(record, Exception) else NO_FIELD
            if isinstance(record, dict) and record:
                named = one_line(", ".join(map(str, record)), 100)
                why = f"{NO_FIELD}, only {named}: rename the one with the text"
            odd.rows.add(f"{name} {number}: {why}")
        else:
            odd.characters.of += len(text)
            if "\0" in text:  # as an escape in JSON; normalising takes it out
                odd.characters.add(f"{name} {number}: a NUL character", text.count("\0"))
            yield from split(text, SECTION_CHARS)


def _of_lines(lines: Iterable[str]) -> Records:
    return ((n, _loaded(line)) for n, line in enumerate(lines, 1) if line.strip())


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        return ValueError(f"not JSON ({exc})")


def _of_document(content: str, needs_text: bool) -> Records | str:
    """Records of a JSON document, or of several one below the other; or why there are none.

    Raises:
        ValueError: it has text, but is damaged or cut off.
    """
    values, at, decoder = [], 0, json.JSONDecoder()
    try:
        while rest := _NEXT.match(content, at):
            value, at = decoder.raw_decode(content, rest.end())
            values.append(value)
    except (ValueError, RecursionError) as exc:
        lines = content.split("\n")
        if any(_has_text(_loaded(line)) for line in lines[:3]):
            return _of_lines(lines)
        if not needs_text or _FIELD.search(content, 0, HEAD_BYTES):
            raise ValueError(f"not JSON ({exc})") from exc
        return f"not JSON ({exc})"
    value = values[0] if len(values) == 1 else values
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return enumerate(value, 1)
    places = [value]
    for place in places:  # and what is below it, unless it is a document itself
        if isinstance(place, dict) and not any(isinstance(place.get(n), str) for n in TEXT_FIELDS):
            places += place.values()
    lists = (place for place in places if isinstance(place, list) and any(map(_has_text, place)))
    records = next(lists, value if isinstance(value, list) else [value])
    return NO_FIELD if needs_text and not any(map(_has_text, records)) else enumerate(records, 1)


def _has_text(record: Any) -> bool:
    return isinstance(record, dict) and text_of(record) is not None


def _of_table(start: str, lines: Iterable[str]) -> Records | None:
    """Records of a table; None if none of its columns is known to hold text."""
    lines = iter(lines)
    if re.match('"?sep=', start, re.IGNORECASE):  # told to Excel
        next(lines)
        start = start.partition("\n")[2]
    header = start.partition("\n")[0]
    for delimiter in ",;\t|":
        names = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
        if _has_text(dict.fromkeys(names, "a")):
            if delimiter == "\t" and _is_literal(start, len(names)):
                return _rows(names, csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
            if _ESCAPED.search(start):
                lines = (_BACKSLASH.sub('""', line) for line in lines)
            spaced = f"{delimiter} " in header  # then quotes begin behind a space, too
            table = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=spaced)
            return _rows(names, table)
    return None


def _is_literal(start: str, cells: int) -> bool:
    """Whether each line is a row: then quotes are the text's own, and need not end."""
    lines = start.splitlines()[:-1]
    return sum(line.count("\t") == cells - 1 for line in lines) >= (1 - MOST_ODD) * len(lines)


def _rows(names: Sequence[str], reader: Any) -> Records:
    while True:
        before = reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            for number in range(before + 1, reader.line_num + 1):  # as of a quote that does not end
                yield number, ValueError(str(error))
            continue
        if reader.dialect.quoting == csv.QUOTE_NONE:
            row = [_QUOTED.sub(lambda m: m[1].replace('""', '"'), cell) for cell in row]
        if row and len(row) != len(names):
            yield reader.line_num, ValueError(f"{len(row)} cells, the header has {len(names)}")
        elif row and row != names:
            yield reader.line_num, dict(zip(names, row, strict=True))
