"""Read what a server sends, however far it is from what the documentation of its API says.

Answers are read here and not by the SDKs, which raise errors of many classes where a server differs
from its vendor's: bytes that are no UTF-8, null for a list, one JSON object for a stream. Nothing
here raises anything but ``Unreadable``.
"""

from __future__ import annotations

import codecs
import io
import json
import re
import reprlib
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agent.models.types import StopReason
from trainer.untrusted import finite

DONE: Final = "[DONE]"
"""What servers of Chat Completions send after the last event of a whole answer."""
MOST_BYTES = 32 << 20
"""An answer that is longer has no end."""

_DEEPEST = 9
_MAGIC = b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"
"""How gzip and zlib begin."""
NO_CREDIT = (
    r"insufficient.(?:quota|balance)|credit balance|payment required|quota is not enough|余额|欠费"
    r"|recharge|\b(?:out of|insufficient|not enough|no) (?:\w+ )?(?:credits?|funds|balance)\b"
    r"|\bcard (?:\w+ )?declined|billing.hard.limit"
)
"""Waiting does not add credit, whatever status this has."""
_ACCOUNT = (
    r"\b(?:account|access|organi[sz]ation|api.?key|project)\b.{0,60}"
    r"\b(?:flagged|suspend|terminat|disabl|bann|block|deactivat|restrict)"
)
FILTERED = (
    rf"\A(?!(?s:.*?{_ACCOUNT}))(?s:.*?)(?:content.?(?:filter|polic|moderation|exists risk)"
    r"|content management policy|usage (?:polic|guideline)|safety.(?:system|filter|check|polic)"
    r"|guard.?rail|moderation|\b(?:prompt|input|output|content|request|response|text|message)s? "
    r"(?:\w+ ){0,3}(?:flagged|blocked)|data.?inspection|prohibited.content|considered high risk"
    r"|(?:sensitive|inappropriate|unsafe|harmful).?(?:content|information)|new_sensitive"
    r"|敏感|不安全|不合规)"
)
"""A filter does not like this one prompt, or the reply to it; the next may pass."""
_ERROR_KEYS = "error", "message", "detail", "msg", "error_message", "error_msg", "errors", "title"
_HTML = re.compile(r"\s*<[!?a-z]", re.IGNORECASE)
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 2000
_BRIEF.maxdict = 40
_HALVES = re.compile("[\udc80-\udcff]+")
_LONE = re.compile("[\ud800-\udfff]")
_STATUS = {
    401: r"authentication|unauth|api.?key",
    402: r"billing.(?!details)|insufficient.quota|insufficient.credit|payment",
    403: r"permission|forbidden",
    404: r"not.?found|endpoint",
    429: r"rate.?limit|too.?many.?requests",
    503: r"overload|unavailable|time.?out|timed out|busy|internal|capacity|loading"
    r"|(?:server|api).?error|try again",
    400: r"invalid|bad.?request|context|validation|unsupported",
}
"""HTTP status for the type, the code or the words of an error that came with status 200."""
_VAGUE = 400, 404
"""Their patterns are for types and codes only."""
_NO_ADDRESS = re.compile(
    r"(?:unexpected|unknown|invalid|no such) (?:endpoint|url|path|route|model)|not found|no route"
    r"(?! to host)|cannot (?:post|get) /|method not allowed|does not exist|no available channel"
    r"|more system memory",
    re.IGNORECASE,
)

_TEXTS = "text", "value", "content", "response", "completion"
"""Of the fields that hold text, or something with text in it."""
STOP_NAMES = "finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason"
"""Of the field that says why a reply ended."""
_STOPS: tuple[tuple[StopReason, re.Pattern[str]], ...] = (
    ("refusal", re.compile("filter|refus|safety|block|prohibited|recitation|spii|sensitive|guard")),
    ("length", re.compile("length|max_|limit|context|window|incomplete")),
    ("end", re.compile("(?<![a-z])(?:stop|eos|eot|end|complete|done|finish|normal|success)")),
)
"""Why a reply ended, in the words of many servers; the first that matches counts."""


class Unreadable(ValueError):
    """Not what the API sends; its text is the server's."""


async def values(chunks: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    """The JSON values of an answer: those of its events if it is a stream, else its lines or the
    whole of it. ``DONE`` follows what is known to be whole. An event's name becomes the ``type`` of
    a value without one.

    Raises:
        Unreadable: there is something else in it.
    """
    data: list[str] = []
    rest: list[str] = []
    event = ""
    streamed = False
    async for line in _lines(chunks):
        field, colon, text = line.partition(":")
        text = text.strip()
        done = text.upper() == DONE
        if colon and field in ("data", "error") and not done:
            streamed = True
            data.append(text)
            event = "error" if field == "error" else event  # as llama.cpp has it
        elif not line.strip() or done:
            for value in _parsed(data, event):
                yield value
            if done or event.lower() == "done":
                yield DONE
            data, event = [], ""
            if rest and not streamed:
                rest.append("")  # it may be one of a text
        elif colon and field == "event":
            event = text
        elif not (colon and field in ("", "id", "retry")):
            rest.append(line)
    for value in _parsed(data if streamed else rest, event):
        yield value
    if (rest and not streamed) or event.lower() == "done":
        yield DONE


async def first(content: bytes) -> Any:
    """The first value of a body that has arrived, or its text."""

    async def once() -> AsyncIterator[bytes]:
        yield content

    try:
        async for value in values(once()):
            return value
    except Unreadable as unreadable:
        return str(unreadable)
    return ""


async def leave_compressed(response: Any) -> None:
    """Response hook: ``values`` expands what is compressed, and not every body is that says so."""
    if response.headers.get("content-encoding", "").lower() in ("gzip", "deflate"):
        del response.headers["content-encoding"]


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines, whatever they end in. A byte that is no UTF-8 becomes a lone surrogate, so that
    ``joined`` can put a character together that was divided between two events."""
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder("utf-8-sig")("surrogateescape"), translate=True
    )
    line: list[str] = []
    async for chunk in _inflated(chunks):
        *ends, last = decoder.decode(chunk).split("\n")
        for end in ends:
            yield "".join((*line, end))
            line = []
        line.append(last)
    yield "".join((*line, decoder.decode(b"", final=True)))


async def _inflated(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes, expanded if they are compressed, whatever the header says."""
    held, size = b"", 0
    inflate: Any = None  # False if it is not compressed
    async for chunk in chunks:
        held += chunk
        while len(held) > 1 or (held and inflate is not None):
            if inflate is None:
                inflate = held.startswith(_MAGIC) and zlib.decompressobj(47)
            try:
                piece = inflate.decompress(held, MOST_BYTES) if inflate else held
            except zlib.error:
                raise Unreadable("compressed data, which are broken") from None
            held = b""
            if inflate and inflate.eof:  # another may follow, or padding
                held, inflate = inflate.unused_data.lstrip(b"\0"), None
            size += len(piece)
            if size >= MOST_BYTES:
                raise Unreadable("an answer without an end")
            yield piece
    yield held


def _parsed(lines: list[str], event: str) -> Iterator[Any]:
    """One value that takes all lines, else one a line."""
    if not "".join(lines).strip():
        return
    try:
        found = [_load("\n".join(lines))]
    except Unreadable as unreadable:
        try:
            found = [_load(line) for line in lines if line.strip()]
        except Unreadable:
            raise unreadable from None
    for value in (inner for outer in found for inner in _answers(outer)):
        if event == "error" and not mapping(value).get("error"):
            yield {"error": value}
        else:
            yield {"type": event, **value} if event and isinstance(value, dict) else value


def _answers(value: Any) -> list[Any]:
    """The answers in a list, or in an envelope that gateways put around one."""
    if isinstance(value, list) and value and not is_error(value[0]):
        return value
    told, known = mapping(value), {"choices", "content", "response"}
    if told.get("error") or told.keys() & known:
        return [value]
    wrapped = (mapping(told.get(name)) for name in ("data", "result"))
    return [next((inner for inner in wrapped if inner.keys() & known), value)]


def _load(text: str) -> Any:
    try:
        return json.loads(text, strict=False)  # text may hold line ends
    except (ValueError, RecursionError):
        raise Unreadable(text.strip()) from None


# --- fields of any type ---


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def named(value: Any, *names: str) -> str:
    """The first of the fields ``names`` of an object that holds a word; null may be spelt out."""
    found = (string(mapping(value).get(name)) for name in names)
    return next((word for word in found if word.lower() not in ("", "null", "none")), "")


def count(value: Any, *names: str) -> int | None:
    """The first of the fields ``names`` of an object that holds a number of tokens."""
    for name in names:
        found = mapping(value).get(name)
        if isinstance(found, str) and re.fullmatch(r"\s*\d{1,15}(?:\.0*)?\s*", found):
            found = float(found)
        number = finite(found)
        if number is not None and 0 <= number < 1 << 53:
            return int(number)
    return None


def content(value: Any, depth: int = _DEEPEST) -> str:
    """The text of a message's content: a string, or parts, without those that are reasoning."""
    if isinstance(value, list) and depth:
        return "".join(content(part, depth - 1) for part in value)
    if isinstance(value, dict) and depth:
        if string(value.get("type")) not in ("", "text", "output_text", "text_delta", "message"):
            return ""
        found = (content(value.get(name), depth - 1) for name in _TEXTS)
        return next(filter(None, found), "")
    return string(value)


def joined(text: str) -> str:
    """``text`` with divided characters put together; a half without its other becomes U+FFFD."""
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    text = _HALVES.sub(_character, text)
    return _LONE.sub("\N{REPLACEMENT CHARACTER}", text)


def _character(halves: re.Match[str]) -> str:
    return halves[0].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def stop_reason(word: str) -> StopReason:
    """Why a reply ended; without a word it is one of which the service said that this is all."""
    word = re.sub(r"[\s-]+", "_", word.strip().lower()).rpartition(".")[2]
    return next(
        (reason for reason, form in _STOPS if form.search(word)), "other" if word else "end"
    )


# --- errors ---


@dataclass(frozen=True)
class Refusal:
    """An error that the service told."""

    status: int
    """0 if it came with status 200 and is not understood."""
    told: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        return words(self.told)

    @property
    def all(self) -> str:
        """The words and all fields, for what a word is looked up in."""
        return f"{self.words} {brief(self.told)}"[:8000]

    def says(self, pattern: str) -> bool:
        return re.search(pattern, self.all, re.IGNORECASE) is not None


def is_html(value: Any) -> bool:
    return _HTML.match(string(value)) is not None


def is_error(value: Any) -> bool:
    """Whether a value that came with status 200 tells of an error, in whatever form."""
    told = mapping(_only(value))
    return (
        isinstance(value, str)
        or bool(told.get("error"))
        or "error" in (told.get("type"), told.get("object"))
        or (
            not told.keys() & {"choices", "content", "delta", "usage"}
            and any(isinstance(told.get(key), str | list) and told[key] for key in _ERROR_KEYS)
        )
    )


def _only(value: Any) -> Any:
    """What a list of one holds, as Google's errors are."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def status(value: Any) -> int:
    """The HTTP status that an error amounts to which came with status 200; 0 if it is not known."""
    told = mapping(_only(value))
    inner = mapping(told.get("error"))
    names = [source.get(key) for source in (inner, told) for key in ("code", "status", "type")]
    for name in (*names, told.get("error")):
        if found := re.fullmatch(r"([45]\d\d)(?:\d\d)?", str(name)):
            return int(found[1])
    for name in map(string, names):
        if known := [number for number, form in _STATUS.items() if re.search(form, name, re.I)]:
            return known[0]
    return status_in(words(value))


def status_in(said: str) -> int:
    """The HTTP status that an error's words amount to; 0 if it is not known."""
    if _NO_ADDRESS.search(said):
        return 404
    found = (number for number, form in _STATUS.items() if re.search(form, said, re.I))
    return next((number for number in found if number not in _VAGUE), 0)


def words(value: Any, depth: int = _DEEPEST) -> str:
    """A server's own words in an error, whatever form it has."""
    if isinstance(value, str):
        return _TAGS.sub(" ", value[:4000]) if is_html(value) else value
    if isinstance(value, list) and depth:
        return "; ".join(filter(None, (words(item, depth - 1) for item in value[:5])))
    if not isinstance(value, dict) or not depth:
        return "" if value is None else brief(value)
    where = ".".join(map(str, items(value.get("loc"))[:9]))  # as FastAPI names a field
    said = next((s for key in _ERROR_KEYS if (s := words(value.get(key), depth - 1))), "")
    behind = words(mapping(value.get("metadata")).get("raw"), depth - 1)  # OpenRouter's providers
    said = ": ".join(filter(None, (said, behind)))
    return ": ".join(filter(None, (where, said))) or brief(value)


def brief(value: Any) -> str:
    """A value with all its fields, as far as it is not long or deep."""
    return _BRIEF.repr(value)
