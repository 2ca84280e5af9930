"""What the clients of both SDKs share: cancellable waits, retries, and HTTP errors."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Coroutine, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from agent.models.types import Cancelled, Misconfigured, ModelError, Unavailable

LONGEST_RETRY_WAIT = 20.0
"""Longest wait of a client, in seconds; the campaign itself does longer waits and shows them."""
MAX_RETRIES = 4
_POLL_SECONDS = 0.1

T = TypeVar("T")


def run_coroutine(work: Coroutine[Any, Any, T], cancel: threading.Event | None) -> T:
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
