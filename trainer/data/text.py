"""Plain text from HTML fragments, and finding text that is mostly a copy of other text."""

from __future__ import annotations

import hashlib
import html
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

SHINGLE_WORDS = 8
MAX_CONTAINMENT = 0.5

_BLOCK = "p|para|ul|ol|li|dl|dt|dd|note|important|h1|h2|h3|h4|pre|br|div|title"
_INLINE = (
    "code|a|i|b|em|strong|u|link|replaceable|fullname|filename|text|region|xhtml|zonbook|name"
    "|accessibility|span|sup|sub|tt|type|value|role"
)
# Only tags of known names: the source also has placeholders such as <account-id>, which are text.
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE})(?:\s[^>]*)?/?>", re.IGNORECASE)
_BLOCK_TAG = re.compile(rf"<(/?)({_BLOCK})(?:\s[^>]*)?/?>", re.IGNORECASE)
_SPACE_BEFORE_POINT = re.compile(r" +(?=[.,;:)](?:\s|$))")
_UNWANTED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\ufeff\ud800-\udfff]"
)
_WORD = re.compile(r"\w+")
_LEAD = {"note": "Note: ", "important": "Important: "}


def normalise(text: str) -> str:
    """Text in NFC that encodes to UTF-8: no lone surrogates, no control characters but \\n, \\t."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", _UNWANTED.sub("", text))


def from_html(fragment: str) -> str:
    """The text of an HTML fragment: an empty line between paragraphs, "- " before list items."""
    if "&lt;/p&gt;" in fragment:  # escaped as a whole, by accident, inside <pre>
        fragment = html.unescape(fragment).replace("<pre>", "")
    first, *rest = _BLOCK_TAG.split(_INLINE_TAG.sub("", fragment))
    layout = _Layout()
    layout.add(first)
    for closing, tag, text in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        layout.tag(tag.lower(), opening=not closing)
        layout.add(text)
    return normalise("".join(layout.out))


def _flowed(text: str) -> str:
    return _SPACE_BEFORE_POINT.sub("", " ".join(text.split()))


class _Layout:
    """Lays out blocks in the order of input; it accepts unbalanced tags, which the source has."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self._depth = 0
        self._item = False  # the next block begins a list item
        self._lead = ""
        self._pre = False

    def tag(self, tag: str, *, opening: bool) -> None:
        if tag in ("ul", "ol", "dl"):
            self._depth = max(0, self._depth + (1 if opening else -1))
            self._item = False
        elif tag in ("li", "dt"):
            self._item = opening or self._item
        elif tag in _LEAD:
            self._lead = _LEAD[tag] if opening else ""
        elif tag == "pre":
            self._pre = opening

    def add(self, raw: str) -> None:
        raw = html.unescape(raw)
        text = raw.strip("\n").rstrip() if self._pre else _flowed(raw)
        if not text:
            return
        indent = ""
        if self._depth:
            indent = "  " * (self._depth - 1) + ("- " if self._item else "  ")
        if self.out:
            self.out.append("\n" if self._depth else "\n\n")
        self.out.append(indent + self._lead + text)
        self._item, self._lead = False, ""


def novel(texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which texts are not mostly a copy of text before them in the sequence.

    A copy has more than half of its shingles (runs of 8 words, case ignored) in earlier texts,
    dropped ones included. A text shorter than a shingle counts as one shingle, which only an equal
    text has (containment of Broder 1997, "On the resemblance and containment of documents").
    """
    if not texts:
        return np.zeros(0, dtype=np.bool_)
    shingles, counts = _shingles(texts)
    owner = np.repeat(np.arange(len(texts)), counts)
    _, first, which = np.unique(shingles, return_index=True, return_inverse=True)
    seen = owner[first[which]] < owner
    return np.bincount(owner, weights=seen, minlength=len(texts)) <= MAX_CONTAINMENT * counts


class Shingles:
    """The shingles of some texts, to find copies of them in text that does not fit into memory."""

    _FILTER_BITS = 26

    def __init__(self, texts: Sequence[str]) -> None:
        self._all = np.unique(_shingles(texts)[0]) if texts else np.zeros(0, dtype=np.uint64)
        # A table lookup excludes nearly all shingles of other text; it is five times as fast as a
        # search.
        self._maybe = np.zeros(1 << self._FILTER_BITS, dtype=np.bool_)
        self._maybe[self._slots(self._all)] = True

    def mostly_cover(self, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which texts have more than half of their shingles here: the rule of ``novel``."""
        if not texts or not len(self._all):
            return np.zeros(len(texts), dtype=np.bool_)
        shingles, counts = _shingles(texts)
        owner = np.repeat(np.arange(len(texts)), counts)
        maybe = self._maybe[self._slots(shingles)]
        found, whose = shingles[maybe], owner[maybe]
        at = np.minimum(np.searchsorted(self._all, found), len(self._all) - 1)
        covered = np.bincount(whose[self._all[at] == found], minlength=len(texts))
        return covered > MAX_CONTAINMENT * counts

    def _slots(self, shingles: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        return (shingles >> np.uint64(64 - self._FILTER_BITS)).astype(np.int64)


def split(text: Any, limit: int) -> Iterator[str]:
    """Pieces of at most ``limit`` characters, cut at an empty line, line or space in their second
    half where there is one. The text, a string or a file, need not fit into memory."""
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


def shuffled(texts: Iterable[str]) -> list[str]:
    """In the order of their hashes, so that any consecutive part is a fair sample of the whole."""
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())


def batches(texts: Iterable[str], chars: int) -> Iterator[list[str]]:
    """Texts in lists of at least ``chars`` characters; the last may have fewer."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= chars:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Hashes(dict[str, int]):
    """64-bit hash of each word, the same in every process (Python's own is salted)."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
        value = self[word] = int.from_bytes(digest, "little")
        return value


def _shingles(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """64-bit hashes of all shingles, text after text, and how many each text has (at least 1)."""
    hashes = _Hashes()
    words: list[int] = []
    lengths = np.empty(len(texts), dtype=np.int64)
    for i, text in enumerate(texts):
        start = len(words)
        words.extend(map(hashes.__getitem__, _WORD.findall(text.lower())))
        words.extend([0] * (SHINGLE_WORDS - (len(words) - start)))
        lengths[i] = len(words) - start
    ids = np.array(words, dtype=np.uint64)
    runs = np.zeros(len(ids) - SHINGLE_WORDS + 1, dtype=np.uint64)
    for k in range(SHINGLE_WORDS):
        runs = runs * np.uint64(0x9E3779B97F4A7C15) + ids[k : k + len(runs)]
    counts = lengths - (SHINGLE_WORDS - 1)
    first_word = np.cumsum(lengths) - lengths
    first_shingle = np.cumsum(counts) - counts
    at = np.arange(counts.sum()) + np.repeat(first_word - first_shingle, counts)
    return runs[at], counts
