"""Claude through the Messages API and its SDK."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import anthropic

from agent.models import wire
from agent.models.http import Received, SDKModel
from agent.models.types import Prompt, Usage

CACHE_MARKS = 4
"""The API accepts no more cache marks in one request."""
CACHE_TTL = "1h"
"""A trial takes longer than the default of five minutes."""


@dataclass(eq=False, kw_only=True)
class AnthropicModel(SDKModel):
    """A model by name, at Anthropic or at ``base_url``."""

    sdk: ClassVar[Any] = anthropic
    base_error = anthropic.AnthropicError
    paths = "/v1/messages", "/v1/models"

    def __post_init__(self) -> None:
        self.optional = {"cache_control"}

    def _endpoint(self, client: Any) -> Any:
        return client.messages

    def _request(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        mark = {"cache_control": {"type": "ephemeral", "ttl": CACHE_TTL}}
        blocks = prompt.blocks(CACHE_MARKS, mark)
        system = 1 if self.takes_system else 0
        contents: list[Any] = [blocks[:system], blocks[system:]]
        if not self.optional:
            contents = ["\n".join(block["text"] for block in content) for content in contents]
        return {
            "model": self.model,
            "max_tokens": max_tokens,
            **({"system": contents[0]} if system else {}),
            "messages": [{"role": "user", "content": contents[1]}],
            "extra_body": dict(self.entry.extra),
        }

    def _take(self, value: Any, received: Received) -> None:
        """Reasoning is in blocks and deltas of other types. A server that ignores ``stream`` sends
        the message that streams have in their first event, whole."""
        value = wire.mapping(value)
        message = wire.mapping(value.get("message") or value)
        delta = wire.mapping(value.get("delta"))
        received.whole |= value.get("type") == "message_stop"
        received.model = wire.string(message.get("model")) or received.model
        if value.get("type") != "message_start":  # whose pieces follow
            received.pieces.append(wire.content({**message, "type": ""}))
        received.pieces += [wire.content(value.get(name)) for name in ("content_block", "delta")]
        for source in (message, delta):
            received.stop = wire.named(source, *wire.STOP_NAMES) or received.stop
            details = wire.mapping(source.get("stop_details"))
            known = ("category", "explanation")
            received.detail = (
                " ".join(wire.string(details.get(key)) for key in known).strip() or received.detail
            )
        for source in (message, value):
            received.usage = _usage(source.get("usage"), received.usage)


def _usage(told: Any, before: Usage | None) -> Usage | None:
    """What is told later goes over what was told before."""
    names = {
        "input": ("input_tokens", "prompt_tokens"),
        "output": ("output_tokens", "completion_tokens"),
        "cache_read": ("cache_read_input_tokens",),
        "cache_write": ("cache_creation_input_tokens",),
    }
    found = {field: wire.count(told, *keys) for field, keys in names.items()}
    details = wire.mapping(told).get("output_tokens_details")
    found["reasoning"] = wire.count(details, "thinking_tokens")
    now = {field: number for field, number in found.items() if number is not None}
    return replace(before or Usage(0, 0), **now) if now else before
