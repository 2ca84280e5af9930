"""What a model is: something that completes a prompt.

Whatever can go wrong is one of three: the service cannot answer now (``Unavailable``), the user has
to mend something (``Misconfigured``), or an answer came that is not a whole one
(``Reply.stop_reason``). No key is ever in any of them: texts from outside pass ``scrub``.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal, Protocol, TypeVar

from trainer.untrusted import printable

StopReason = Literal["end", "length", "refusal", "other"]
OnText = Callable[[str], None]

DETAIL_LENGTH = 400
LONGEST_RETRY_WAIT = 20.0
"""Seconds that a client may wait by itself; a longer pause is the campaign's, which shows it."""
MAX_RETRIES = 4
_SHORTEST_SECRET = 8
_POLL_SECONDS = 0.1

_SECRET_NAME = re.compile(
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|(?:^|_)(?:PAT|PASS))(?:_ID)?(?:_?\d+)?$",
    re.IGNORECASE,
)
_LOOKS_SECRET = re.compile(r"\b(?:sk|pk|rk|key)-[\w*.-]{6,}|\bBearer\s+\S+", re.IGNORECASE)
_GIVEN_AS_SECRET = re.compile(
    r"((?:--?[\w-]*(?:key|token|secret|password|passwd)(?:\s+|=)|\w*(?:key|token|secret|password)=)"
    r"""["']?)[^\s"'&]+|(\w://)[^\s/@"']+(?=@)""",
    re.IGNORECASE,
)
"""What stands after an option, a variable or a query field that is called a key, and before the
host of a URL."""

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """A piece of a prompt."""

    name: str
    """What it is, for messages: ``rules``, ``train.py``, ``trial 7``, ``focus``."""
    text: str
    mark: bool = False
    """Whether the prompt up to here will be sent again, unchanged, and is worth caching."""
    fixed: str = ""
    """The text, or what of it stays when a campaign is carried out again: no measurement repeats
    to the last digit. A recorded reply answers whoever asks for the same."""


@dataclass(frozen=True)
class Prompt:
    """What a model is told, what changes least first, so that servers can cache the beginning."""

    parts: tuple[Part, ...]
    """The first is the system prompt, the others are the user's message."""
    trial: int | None = None
    """The trial that the reply is for; None outside of campaigns."""
    attempt: int = 0
    """Replies of the trial that were turned down before."""
    schema: str = ""
    """JSON schema that the reply has to keep; "" for free text. Only ``local`` is given one."""
    seed: int | None = None
    """For a model that samples the same reply from the same seed."""

    @property
    def system(self) -> Part:
        return self.parts[0]

    @property
    def user(self) -> tuple[Part, ...]:
        return self.parts[1:]

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts)

    def marked(self, most: int) -> frozenset[int]:
        """Indices of at most ``most`` marked parts: the first two, which seldom change, and the
        latest ones."""
        marks = [i for i, part in enumerate(self.parts) if part.mark]
        return frozenset(marks if len(marks) <= most else marks[:2] + marks[2 - most :])


@dataclass(frozen=True)
class Usage:
    """Tokens of one reply, each counted once: a prompt is input + cache_read + cache_write."""

    input: int
    output: int
    """With reasoning."""
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int | None = None
    """Part of ``output``; None if the server does not say."""

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True)
class Reply:
    """What came back. Only a reply that came to its ``end`` may be acted on."""

    text: str
    stop_reason: StopReason
    usage: Usage | None
    """None if the server does not say."""
    model: str
    """As the server names it."""
    detail: str = ""
    """The server's own words on why it stopped."""


class ModelError(Exception):
    """No reply."""


class Unavailable(ModelError):
    """The service cannot answer now: an outage, a rate limit, a timeout, a stream cut off."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, usage: Usage | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the service asks to be left alone."""
        self.usage = usage
        """What was used up all the same, as far as it is known."""


class Misconfigured(ModelError):
    """Asking again will not help; the message says what to do."""


class Cancelled(Exception):
    """The caller's ``cancel`` was set while a reply was awaited."""


class Model(Protocol):
    """One way of reaching one LLM."""

    name: str
    """The spec that opens it, without any key; prices are looked up by it."""

    def complete(
        self,
        prompt: Prompt,
        *,
        max_tokens: int,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Ask and wait.

        Args:
            max_tokens: bound on the reply, reasoning included.
            on_text: is given the reply's text as it arrives, in this thread.

        Raises:
            Unavailable, Misconfigured: see there.
            Cancelled: ``cancel`` was set; the connection or process is closed.
        """
        ...


def run(work: Coroutine[Any, Any, T], cancel: threading.Event | None) -> T:
    """Run a coroutine to its end, or stop it within a tenth of a second of ``cancel``.

    Raises:
        Cancelled: it was stopped.
    """

    async def watched() -> T:
        task = asyncio.ensure_future(work)
        while not task.done():
            if cancel is not None and cancel.is_set():
                task.cancel()
                await asyncio.wait([task])
                raise Cancelled("asked to stop while waiting for the model")
            await asyncio.wait([task], timeout=_POLL_SECONDS)
        return task.result()

    return asyncio.run(watched())


def secrets(environ: Mapping[str, str], names: Collection[str] = ()) -> tuple[str, ...]:
    """Values of an environment that must not be shown, longest first.

    Args:
        names: variables that hold a key, whatever they are called.
    """
    values = {
        value
        for name, value in environ.items()
        if (name in names or _SECRET_NAME.search(name)) and len(value) >= _SHORTEST_SECRET
    }
    return tuple(sorted(values, key=len, reverse=True))


def scrub(text: str, hidden: Iterable[str]) -> str:
    """``text`` without the values ``hidden``."""
    for value in hidden:
        text = text.replace(value, "[key]")
    return text


def redact(text: str, hidden: Iterable[str]) -> str:
    """``text`` without the values ``hidden`` and whatever else looks like a key."""
    return _GIVEN_AS_SECRET.sub(r"\1\2[key]", _LOOKS_SECRET.sub("[key]", scrub(text, hidden)))


def quote(text: str, hidden: Iterable[str]) -> str:
    """Somebody else's error text on one line: bounded, printable, nothing like a key in it."""
    return " ".join(printable(redact(text, hidden), DETAIL_LENGTH).split())


def refusal(
    name: str, status: int, said: str, *, key: str, retry_after: float | None = None
) -> ModelError:
    """The error for an HTTP status.

    Args:
        said: the server's words, already passed through ``quote``.
        key: where the key comes from, for the user.
    """
    if status == 401:
        return Misconfigured(f"{name}: the key was refused (HTTP 401); check {key}")
    if status == 402:
        return Misconfigured(f"{name}: the account cannot pay for this (HTTP 402): {said}")
    if status == 404:
        return Misconfigured(f"{name}: no such model or address (HTTP 404): {said}")
    if status in (408, 409, 429) or status >= 500:
        return Unavailable(f"{name}: HTTP {status}: {said}", retry_after=retry_after)
    return Misconfigured(f"{name}: the request was refused (HTTP {status}): {said}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` (seconds or a date)."""
    for header, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(header, "")
        if re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
            return float(value) / scale
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, date.timestamp() - time.time())


async def leave_long_waits(response: Any) -> None:
    """Response hook for the SDKs' HTTP clients: they sleep as long as a server asks, unseen.

    Both obey ``x-should-retry``, so a wait beyond the bound comes back as ``Unavailable``.
    """
    wait = retry_after(response.headers)
    if wait is not None and wait > LONGEST_RETRY_WAIT:
        response.headers["x-should-retry"] = "false"
