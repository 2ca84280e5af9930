"""Claude through the Messages API and its SDK."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import anthropic
import httpx2

from agent.models.catalog import Entry
from agent.models.http import MAX_RETRIES, leave_long_waits, refusal, run_coroutine, seconds_to_wait
from agent.models.secrets import quote
from agent.models.types import (
    Misconfigured,
    ModelError,
    OnText,
    Part,
    Prompt,
    Reply,
    StopReason,
    Unavailable,
    Usage,
)

CACHE_MARKS = 4
"""The API accepts no more cache marks in one request."""
CACHE_TTL = "1h"
"""A trial takes longer than the default of five minutes."""

_STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "end",
    "stop_sequence": "end",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
}
"""HTTP status for errors inside a stream, whose own status was 200; other errors are outages."""


class AnthropicModel:
    """A model by name, at Anthropic or at ``base_url``."""

    def __init__(
        self, model: str, *, api_key: str, base_url: str, entry: Entry, hidden: Sequence[str]
    ) -> None:
        self.name = f"anthropic:{model}"
        self._model = model
        self._key = api_key
        self._base_url = base_url
        self._entry = entry
        self._hidden = hidden

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def complete(
        self,
        prompt: Prompt,
        *,
        max_tokens: int,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """See ``Model.complete``."""
        return run_coroutine(self._complete(prompt, max_tokens, on_text), cancel)

    async def _complete(self, prompt: Prompt, max_tokens: int, on_text: OnText | None) -> Reply:
        received = _Received(self._model, self._hidden)
        try:
            async with anthropic.AsyncAnthropic(
                api_key=self._key,
                base_url=self._base_url,
                max_retries=MAX_RETRIES,
                timeout=self._entry.timeout,
                http_client=anthropic.DefaultAsyncHttpxClient(
                    event_hooks={"response": [leave_long_waits]}
                ),
            ) as client:
                stream: Any = await client.messages.create(
                    **self._request(prompt, max_tokens), stream=True
                )
                async with stream:
                    async for event in stream:
                        received.take(event, on_text)
            failure = received.fault(self.name)
        except (anthropic.AnthropicError, httpx2.HTTPError, json.JSONDecodeError) as error:
            failure = self._failure(error, received.usage)
        # Raised outside ``except``: the SDK's exception, with the request, must not be its context.
        if failure is not None:
            raise failure
        return received.reply()

    def _request(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        marks = prompt.marked(CACHE_MARKS)
        blocks = [_block(part, i in marks) for i, part in enumerate(prompt.parts)]
        return {
            "model": self._model,
            "max_tokens": self._entry.limit(max_tokens),
            "system": blocks[:1],
            "messages": [{"role": "user", "content": blocks[1:]}],
            "extra_body": dict(self._entry.extra),
        }

    def _failure(self, error: Exception, usage: Usage | None) -> ModelError:
        said = quote(getattr(error, "api_message", None) or str(error), self._hidden)
        if isinstance(error, anthropic.APIStatusError):
            status = error.status_code
            if status < 400:
                status = _STATUS.get(error.type or "", 529)
            # This API calls an exhausted balance an invalid request; to the user it is HTTP 402.
            if status == 400 and "credit balance" in said:
                status = 402
            failure = refusal(
                self.name,
                status,
                said,
                key="ANTHROPIC_API_KEY",
                retry_after=seconds_to_wait(error.response.headers),
            )
            if isinstance(failure, Unavailable):
                failure.usage = usage
            return failure
        if isinstance(error, httpx2.HTTPError | anthropic.APIConnectionError):
            cause = quote(str(error.__cause__ or error) or type(error).__name__, self._hidden)
            return Unavailable(
                f"{self.name}: no whole answer from {self._base_url}: {cause}", usage=usage
            )
        if isinstance(error, json.JSONDecodeError):
            return Unavailable(f"{self.name}: the stream is not JSON: {said}", usage=usage)
        return Misconfigured(f"{self.name}: {said}")


class _Received:
    """The part of a reply that has arrived."""

    def __init__(self, model: str, hidden: Sequence[str]) -> None:
        self.model = model
        self._hidden = hidden
        self.usage: Usage | None = None
        self._texts: list[str] = []
        self._stop: str | None = None
        self._detail = ""
        self._begun = False

    def take(self, event: Any, on_text: OnText | None) -> None:
        """Process one event; reasoning (thinking) text is skipped."""
        if event.type == "message_start":
            self._begun = True
            self.model = event.message.model or self.model
            self.usage = _usage(event.message.usage, None)
        elif event.type == "content_block_start" and event.content_block.type == "text":
            self._say(event.content_block.text, on_text)
        elif event.type == "content_block_delta" and event.delta.type == "text_delta":
            self._say(event.delta.text, on_text)
        elif event.type == "message_delta":
            self._stop = event.delta.stop_reason
            details = event.delta.stop_details
            if details is not None:
                self._detail = f"{details.category or ''} {details.explanation or ''}"
            self.usage = _usage(event.usage, self.usage)

    def _say(self, text: str, on_text: OnText | None) -> None:
        if text:
            self._texts.append(text)
            if on_text is not None:
                on_text(text)

    def fault(self, name: str) -> ModelError | None:
        """Why this is not a whole message, None if it is."""
        if not self._begun:
            return Unavailable(f"{name}: the answer is not a stream of the Messages API")
        if self._stop is None:
            return Unavailable(f"{name}: the stream was cut off", usage=self.usage)
        return None

    def reply(self) -> Reply:
        return Reply(
            text="".join(self._texts),
            stop_reason=_STOP_REASONS.get(self._stop or "", "other"),
            usage=self.usage,
            model=self.model,
            detail=quote(self._detail, self._hidden) or quote(self._stop or "", self._hidden),
        )


def _block(part: Part, mark: bool) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": part.text}
    if mark:
        block["cache_control"] = {"type": "ephemeral", "ttl": CACHE_TTL}
    return block


def _usage(told: Any, before: Usage | None) -> Usage:
    """Counts are cumulative, and the later event omits those that have not changed."""
    last = before or Usage(0, 0)
    details = getattr(told, "output_tokens_details", None)

    def latest(value: int | None, earlier: int) -> int:
        return earlier if value is None else value

    return Usage(
        input=latest(told.input_tokens, last.input),
        output=latest(told.output_tokens, last.output),
        cache_read=latest(told.cache_read_input_tokens, last.cache_read),
        cache_write=latest(told.cache_creation_input_tokens, last.cache_write),
        reasoning=details.thinking_tokens if details is not None else last.reasoning,
    )
