"""What a model is: something that completes a prompt.

Whatever can go wrong is one of three: the service cannot answer now (``Unavailable``), the user has
to mend something (``Misconfigured``), or an answer came that is not a whole one
(``Reply.stop_reason``). No key is ever in any of them: texts from outside pass through ``secrets``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

StopReason = Literal["end", "length", "refusal", "other"]
OnText = Callable[[str], None]


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
