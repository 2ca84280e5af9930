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
from agent.models.http import STOP_NAMES, Received, Refusal, SDKModel
from agent.models.types import Prompt, Usage

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
        self._optional = {"stream_options"} | (set() if self.own_server else {"prompt_cache"})
        """Fields that are sent as long as the server does not refuse them."""

    def _endpoint(self, client: Any) -> Any:
        return client.chat.completions

    def _request(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": self._messages(prompt),
            self._limits[0]: max_tokens,
            "extra_body": dict(self.entry.extra),
        }
        if "stream_options" in self._optional:
            request["stream_options"] = {"include_usage": True}
        if "prompt_cache" in self._optional:
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
        if "prompt_cache" in self._optional:
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
        if refusal.status in (400, 422):
            if refused := {name for name in self._optional if name in refusal.all}:
                self._optional -= refused
                return True
            refused_limit = self._limits[0] in refusal.all and _NOT_KNOWN.search(refusal.words)
            if len(self._limits) > 1 and refused_limit:
                del self._limits[0]
                return True
        return super()._give_way(refusal)

    def _take(self, value: Any, received: Received) -> None:
        """Reasoning comes in separate fields and is skipped."""
        value = wire.mapping(value)
        received.model = wire.string(value.get("model")) or received.model
        received.usage = _usage(value.get("usage")) or received.usage
        for given in wire.items(value.get("choices"))[:1] or [value]:
            choice = wire.mapping(given)
            received.stop = wire.named(choice, *STOP_NAMES) or received.stop
            delta = choice.get("delta")
            message = wire.mapping(delta or choice.get("message"))
            text = wire.content(message.get("content")) or wire.string(choice.get("text"))
            if not delta and received.text and text.startswith(received.text):
                received.text = ""  # a last message repeats all
            received.text += text
            received.detail += wire.string(message.get("refusal")) or wire.words(
                choice.get("error")
            )
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
