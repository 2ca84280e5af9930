"""Chat Completions through OpenAI's SDK: OpenAI itself, and servers with the same API (Ollama,
vLLM, llama.cpp, ...).

Chat Completions is used instead of Responses, because all of these servers support it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import openai

from agent.models import wire
from agent.models.http import Received, SDKModel
from agent.models.types import Prompt, Usage
from agent.models.wire import Refusal

CACHE_MARKS = 18
"""The latest four marks are written to the cache, all of them are looked up in it."""

_NOT_KNOWN = re.compile(
    r"unsupported|not supported|un(?:known|recognized|expected)|extra|not permitted|not allowed"
    r"|deprecated|instead",
    re.IGNORECASE,
)


@dataclass(eq=False, kw_only=True)
class OpenAIModel(SDKModel):
    """A model by name, at OpenAI or at ``base_url``."""

    sdk: ClassVar[Any] = openai
    base_error = openai.OpenAIError
    paths = "/chat/completions", "/models"

    own_server: bool
    """Whether ``base_url`` is the user's own; then requests have no fields that only OpenAI itself
    supports."""

    def __post_init__(self) -> None:
        names = ["max_tokens", "max_completion_tokens"]
        self._limits = names if self.own_server else names[::-1]
        """Names of the field for the limit; the first is used."""
        self.optional = {"stream_options"} | (set() if self.own_server else {"prompt_cache"})

    def _endpoint(self, client: Any) -> Any:
        return client.chat.completions

    def _request(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": self._messages(prompt),
            self._limits[0]: max_tokens,
            "extra_body": dict(self.entry.extra),
        }
        if "stream_options" in self.optional:
            request["stream_options"] = {"include_usage": True}
        if "prompt_cache" in self.optional:
            # Cached prefixes are found at marks only; one key sends all requests to one server.
            request["prompt_cache_options"] = {"mode": "explicit"}
            digest = hashlib.sha256(prompt.system.text.encode()).hexdigest()
            request["prompt_cache_key"] = f"autoresearch-{digest[:24]}"
        if prompt.seed is not None:
            request["seed"] = prompt.seed
        if prompt.schema:
            schema = {"name": "reply", "schema": json.loads(prompt.schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    def _messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        if "prompt_cache" in self.optional:
            mark = {"prompt_cache_breakpoint": {"mode": "explicit"}}
            blocks = prompt.blocks(CACHE_MARKS, mark)
            contents: list[Any] = [blocks[:1], blocks[1:]]
            both: Any = blocks
        else:  # as plain strings, which every server takes
            contents = [prompt.system.text, "\n".join(part.text for part in prompt.user)]
            both = prompt.text
        if not self.takes_system:
            return [{"role": "user", "content": both}]
        roles = zip(("system", "user"), contents, strict=True)
        return [{"role": role, "content": content} for role, content in roles]

    def _give_way(self, refusal: Refusal) -> bool:
        """Whether to ask again without an optional field, or with its older name.

        Servers differ in the fields that they support. Each field is given up once, permanently.
        """
        if super()._give_way(refusal):
            return True
        refused = self._limits[0] in refusal.all and _NOT_KNOWN.search(refusal.words)
        if refusal.status not in (0, 400, 422) or len(self._limits) < 2 or not refused:
            return False
        del self._limits[0]
        return True

    def _take(self, value: Any, received: Received) -> None:
        """Reasoning comes in separate fields and is skipped."""
        value = wire.mapping(value)
        received.model = wire.string(value.get("model")) or received.model
        received.usage = _usage(value.get("usage")) or received.usage
        listed = value.get("choices")
        choices = wire.items(listed) or [wire.mapping(listed) or value]
        firsts = [c for c in map(wire.mapping, choices) if str(c.get("index") or 0) == "0"]
        for choice in firsts[:1]:
            received.stop = wire.named(choice, *wire.STOP_NAMES) or received.stop
            delta = choice.get("delta")
            said = delta or choice.get("message")
            message = wire.mapping(said)
            received.stop = received.stop or wire.named(message, *wire.STOP_NAMES)
            # At other addresses, llama.cpp, Ollama and Anthropic have it beside.
            text = wire.content(said) or wire.content({**choice, "type": ""})
            if not delta and received.text and text.startswith(received.text):
                received.pieces.clear()  # a last message repeats all
            received.pieces.append(text)
            received.detail += wire.string(message.get("refusal")) or wire.words(
                choice.get("error")
            )
            # A number is a reason as well, and llama.cpp's "stop" is no word.
            ends = (choice.get(name) for name in (*wire.STOP_NAMES, "stop", "done"))
            received.whole |= any(isinstance(end, int) and end > 0 for end in ends)
        if received.usage and listed == [] and received.text:
            received.whole = True  # it comes after the last piece
        if received.detail and received.stop:
            received.stop = received.stop if received.stop == "error" else "refusal"


def _usage(told: Any) -> Usage | None:
    """The reported ``prompt_tokens`` include the tokens read from and written to the cache."""
    prompt = wire.count(told, "prompt_tokens", "input_tokens")
    output = wire.count(told, "completion_tokens", "output_tokens")
    if prompt is None and output is None:
        return None
    details = wire.mapping(told).get("prompt_tokens_details")
    read = wire.count(details, "cached_tokens") or wire.count(told, "prompt_cache_hit_tokens") or 0
    written = wire.count(details, "cache_write_tokens") or 0
    reasoning = wire.mapping(told).get("completion_tokens_details")
    return Usage(
        input=max(0, (prompt or 0) - read - written),
        output=output or 0,
        cache_read=read,
        cache_write=written,
        reasoning=wire.count(reasoning, "reasoning_tokens"),
    )
