"""Claude through the Messages API and its SDK."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import anthropic

from agent.models.http import Received, SDKModel
from agent.models.types import Prompt, StopReason, Usage

CACHE_MARKS = 4
"""The API accepts no more cache marks in one request."""
CACHE_TTL = "1h"
"""A trial takes longer than the default of five minutes."""

_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
}
"""HTTP status for errors inside a stream, whose own status was 200; other errors are outages."""


class AnthropicModel(SDKModel):
    """A model by name, at Anthropic or at ``base_url``."""

    sdk: ClassVar[Any] = anthropic
    base_error = anthropic.AnthropicError
    stop_reasons: ClassVar[Mapping[str, StopReason]] = {
        "end_turn": "end",
        "stop_sequence": "end",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "refusal": "refusal",
    }

    async def _receive(
        self, client: Any, prompt: Prompt, max_tokens: int, received: Received
    ) -> None:
        async with client.messages.stream(**self._request(prompt, max_tokens)) as stream:
            async for event in stream:
                if event.type in ("message_start", "message_delta"):
                    _take(stream.current_message_snapshot, received)
                elif event.type == "text":  # what is lost if the stream is cut off here
                    received.text = event.snapshot

    def _request(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        mark = {"cache_control": {"type": "ephemeral", "ttl": CACHE_TTL}}
        blocks = prompt.blocks(CACHE_MARKS, mark)
        return {
            "model": self.model,
            "max_tokens": self.entry.limit(max_tokens),
            "system": blocks[:1],
            "messages": [{"role": "user", "content": blocks[1:]}],
            "extra_body": dict(self.entry.extra),
        }

    def _meaning(self, error: Any) -> tuple[int, str]:
        said = getattr(error, "api_message", None) or str(error)
        status: int = getattr(error, "status_code", 529)
        if status < 400:
            status = _STATUS.get(error.type or "", 529)
        # This API calls an exhausted balance an invalid request; to the user it is HTTP 402.
        return (402 if status == 400 and "credit balance" in said else status), said


def _take(message: Any, received: Received) -> None:
    """Note what the SDK has put together so far; reasoning is in blocks of another type."""
    received.model = message.model or received.model
    received.text = "".join(block.text for block in message.content if block.type == "text")
    received.stop = message.stop_reason or ""
    if details := getattr(message, "stop_details", None):
        received.detail = f"{details.category or ''} {details.explanation or ''}"
    told = message.usage
    reasoning = getattr(told, "output_tokens_details", None)
    received.usage = Usage(
        input=told.input_tokens,
        output=told.output_tokens,
        cache_read=told.cache_read_input_tokens or 0,
        cache_write=told.cache_creation_input_tokens or 0,
        reasoning=reasoning.thinking_tokens if reasoning is not None else None,
    )
