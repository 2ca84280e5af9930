"""What the clients of both SDKs share: one request with retries, cancellable, and its errors."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import httpx2

from agent.models.catalog import Entry
from agent.models.secrets import quote
from agent.models.types import (
    Cancelled,
    Misconfigured,
    ModelError,
    Prompt,
    Reply,
    StopReason,
    Unavailable,
    Usage,
)

LONGEST_RETRY_WAIT = 20.0
"""Longest wait of a client, in seconds; the campaign itself does longer waits and shows them."""
MAX_RETRIES = 4
_POLL_SECONDS = 0.1


@dataclass
class Received:
    """The part of a reply that has arrived."""

    model: str
    text: str = ""
    stop: str = ""
    """Why it ended, in the service's own word; "" if it was cut off."""
    detail: str = ""
    usage: Usage | None = None


@dataclass(eq=False, kw_only=True)
class SDKModel(ABC):
    """A model that is asked through a vendor's SDK, as a stream: then ``timeout`` is for a silence.

    Both SDKs are generated alike, with the same names for their clients and errors.
    """

    sdk: ClassVar[Any]
    base_error: ClassVar[type[Exception]]
    stop_reasons: ClassVar[Mapping[str, StopReason]]
    max_retries: ClassVar[int] = MAX_RETRIES

    name: str
    model: str
    base_url: str
    key_from: str
    """Where the key comes from, for messages."""
    api_key: str = field(repr=False)
    entry: Entry = field(repr=False)
    hidden: Sequence[str] = field(repr=False)

    def complete(
        self, prompt: Prompt, *, max_tokens: int, cancel: threading.Event | None = None
    ) -> Reply:
        """See ``Model.complete``."""
        return asyncio.run(self._watched(prompt, max_tokens, cancel))

    async def _watched(
        self, prompt: Prompt, max_tokens: int, cancel: threading.Event | None
    ) -> Reply:
        """Wait for a reply, or stop within a tenth of a second of ``cancel``."""
        task = asyncio.ensure_future(self._complete(prompt, max_tokens))
        while not task.done():
            if cancel is not None and cancel.is_set():
                task.cancel()
                await asyncio.wait([task])
                raise Cancelled("asked to stop while waiting for the model")
            await asyncio.wait([task], timeout=_POLL_SECONDS)
        return task.result()

    async def _complete(self, prompt: Prompt, max_tokens: int) -> Reply:
        while True:
            received = Received(self.model)
            try:
                async with self._client() as client:
                    await self._receive(client, prompt, max_tokens, received)
                failure = None if received.stop else self._failure(None, received.usage)
            except (self.base_error, httpx2.HTTPError, json.JSONDecodeError) as error:
                if self._give_way(error):
                    continue
                failure = self._failure(error, received.usage)
            # Raised outside ``except``, so that the SDK's exception, which holds the request, is
            # not its context.
            if failure is not None:
                if received.text and isinstance(failure, Unavailable):
                    failure.cause = "paid"
                raise failure
            return Reply(
                text=received.text,
                stop_reason=self.stop_reasons.get(received.stop, "other"),
                usage=received.usage,
                model=received.model,
                detail=quote(received.detail, self.hidden) or quote(received.stop, self.hidden),
            )

    def _client(self) -> Any:
        return self.sdk.AsyncClient(
            api_key=self.api_key,
            base_url=self.base_url,
            max_retries=self.max_retries,
            timeout=self.entry.timeout,
            http_client=self.sdk.DefaultAsyncHttpxClient(
                event_hooks={"response": [leave_long_waits]},
                # No proxy is asked for what is on this machine.
                mounts={"all://127.0.0.1": None, "all://localhost": None},
            ),
        )

    @abstractmethod
    async def _receive(
        self, client: Any, prompt: Prompt, max_tokens: int, received: Received
    ) -> None:
        """Ask, and fill ``received`` with what arrives, without the model's reasoning."""

    @abstractmethod
    def _meaning(self, error: Exception) -> tuple[int, str]:
        """The HTTP status that an API error amounts to, and the server's words."""

    def _give_way(self, error: Exception) -> bool:
        """Whether to ask again, in another way."""
        return False

    def _failure(self, error: Exception | None, usage: Usage | None) -> ModelError:
        """What an error means, None being a stream that ended before the reply did."""
        cut = f"{self.name}: no whole answer from {self.base_url}: "
        if error is None:
            words = "the stream was cut off, or is not one of this API"
            return Unavailable(cut + words, usage=usage, cause="unexplained")
        if isinstance(error, json.JSONDecodeError):
            words = f"not JSON: {quote(str(error), self.hidden)}"
            return Unavailable(cut + words, usage=usage, cause="unexplained")
        if isinstance(error, httpx2.HTTPError | self.sdk.APIConnectionError):
            cause = str(error.__cause__ or error) or type(error).__name__
            return Unavailable(cut + quote(cause, self.hidden), usage=usage)
        if not isinstance(error, self.sdk.APIError):
            return Misconfigured(f"{self.name}: {quote(str(error), self.hidden)}")
        status, words = self._meaning(error)
        said = quote(words, self.hidden)
        if status in (408, 409, 429) or status >= 500:
            headers = error.response.headers if hasattr(error, "response") else {}
            wait = seconds_to_wait(headers)
            failure = f"{self.name}: HTTP {status}: {said}"
            return Unavailable(failure, retry_after=wait, usage=usage)
        known = {
            401: f"the key was refused (HTTP 401); check {self.key_from}",
            402: f"the account cannot pay for this (HTTP 402): {said}",
            404: f"no such model or address (HTTP 404): {said}",
        }
        usual = f"the request was refused (HTTP {status}): {said}"
        return Misconfigured(f"{self.name}: {known.get(status, usual)}")


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
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
    """Response hook for the SDKs' HTTP clients, which silently sleep as long as a server asks.

    Both obey ``x-should-retry``, so a wait above the limit is reported as ``Unavailable``.
    """
    wait = seconds_to_wait(response.headers)
    if wait is not None and wait > LONGEST_RETRY_WAIT:
        response.headers["x-should-retry"] = "false"
