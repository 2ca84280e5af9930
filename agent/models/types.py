"""The interface of a model: it completes a prompt.

There are three kinds of failure: the service cannot answer now (``Unavailable``), the user has to
fix something (``Misconfigured``), or the answer is incomplete (``Reply.stop_reason``). None of them
ever contains a key: external texts pass through ``secrets``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from trainer.errors import UserError

StopReason = Literal["end", "length", "refusal", "unusable", "other"]
Cause = Literal["outage", "paid", "unexplained", "nowhere"]
"""Why there was no answer: the service is not there or says so itself; what had come of a reply is
lost, and has to be paid for; for no reason that is known, so that it may be a mistake; or its name
is not known and never was, which is a mistake or a network that is not there yet."""


@dataclass(frozen=True)
class Part:
    """A piece of a prompt."""

    name: str
    """What it is, for messages: ``rules``, ``train.py``, ``trial 7``, ``focus``."""
    text: str
    mark: bool = False
    """Whether the prompt up to here will be sent again, unchanged, and is worth caching."""
    fixed: str = ""
    """The text, or the part of it that stays the same when a campaign is repeated; measurements
    do not repeat exactly. Recorded replies are found by it."""


@dataclass(frozen=True)
class Prompt:
    """A prompt. The parts that change least come first, so that servers can cache the beginning."""

    parts: tuple[Part, ...]
    """The first is the system prompt, the others are the user's message."""
    trial: int | None = None
    """The trial that the reply is for; None outside of campaigns."""
    attempt: int = 0
    """Number of earlier replies of the trial that were turned down."""
    schema: str = ""
    """JSON schema that the reply has to match; "" for free text. Only ``local`` is given one."""
    seed: int | None = None
    """Sampling seed, for a model that repeats its reply for the same seed."""
    files: Mapping[str, str] = field(default_factory=dict)
    """By name, what a program that works in a folder finds there. It may edit train.py."""

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

    def blocks(self, most: int, mark: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The parts as both vendors' APIs take them, with ``mark`` on at most ``most`` of them."""
        marks = self.marked(most)
        return [
            {"type": "text", "text": part.text, **(mark if i in marks else {})}
            for i, part in enumerate(self.parts)
        ]


@dataclass(frozen=True)
class Usage:
    """Tokens of one reply, each counted once: a prompt is input + cache_read + cache_write."""

    input: int
    output: int
    """Including reasoning."""
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int | None = None
    """Part of ``output``; None if the server does not say."""

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write


@dataclass(frozen=True)
class Reply:
    """A reply. It may be used only if its ``stop_reason`` is ``end``."""

    text: str
    stop_reason: StopReason
    usage: Usage | None
    """None if the server does not say."""
    model: str
    """Name of the model, as the server gives it."""
    detail: str = ""
    """The server's own words on why it stopped; for ``unusable``, what the model did wrong."""
    file: str | None = None
    """The train.py that a program left in its folder; None if it left that as it was."""


class ModelError(UserError):
    """The model gave no reply."""


class Unavailable(ModelError):
    """The service cannot answer now: an outage, a rate limit, a timeout, a stream cut off."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        usage: Usage | None = None,
        cause: Cause = "outage",
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after = retry_after
        """Seconds that the service asks to wait."""
        self.usage = usage
        """Tokens that were used in spite of the failure, as far as they are known."""


class Misconfigured(ModelError):
    """Asking again will not help; the message says what to do."""


class Cancelled(Exception):
    """The caller's ``cancel`` was set while a reply was awaited."""


class Model(Protocol):
    """One way of reaching one LLM."""

    name: str
    """The spec that opens it, without any key; prices are looked up by it."""

    def complete(
        self, prompt: Prompt, *, max_tokens: int, cancel: threading.Event | None = None
    ) -> Reply:
        """Ask and wait.

        Args:
            max_tokens: bound on the reply, reasoning included.

        Raises:
            Unavailable, Misconfigured: see these classes.
            Cancelled: ``cancel`` was set; the connection or process is closed.
        """
        ...
