"""Chat Completions through OpenAI's SDK: OpenAI itself, and servers with the same API (Ollama,
vLLM, llama.cpp, ...).

Chat Completions is used instead of Responses, because all of these servers support it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import openai

from agent.models.http import Received, SDKModel
from agent.models.types import Prompt, StopReason, Usage

CACHE_MARKS = 18
"""The latest four marks are written to the cache, all of them are looked up in it."""

_NOT_KNOWN = re.compile(
    r"unsupported|not supported|un(?:known|recognized|expected)|extra|not permitted|not allowed"
    r"|deprecated|instead",
    re.IGNORECASE,
)
_BAD_REQUEST = re.compile(r"invalid_?request|bad_?request|context_length", re.IGNORECASE)
_THOUGHT = re.compile(r"\A\s*(?:<think>)?.*?</think>\s*|\A\s*<think>.*\Z", re.DOTALL)


@dataclass(eq=False, kw_only=True)
class OpenAIModel(SDKModel):
    """A model by name, at OpenAI or at ``base_url``."""

    sdk: ClassVar[Any] = openai
    base_error = openai.OpenAIError
    stop_reasons: ClassVar[Mapping[str, StopReason]] = {
        "stop": "end",
        "length": "length",
        "content_filter": "refusal",
        "refusal": "refusal",
    }

    own_server: bool
    """Whether ``base_url`` is the user's own; then requests have no fields that only OpenAI itself
    supports."""

    def __post_init__(self) -> None:
        names = ["max_tokens", "max_completion_tokens"]
        self._limits = names if self.own_server else names[::-1]
        """Names of the field for the limit; the first is used."""
        self._optional = {"stream_options"} | (set() if self.own_server else {"prompt_cache"})
        """Fields that are sent as long as the server does not refuse them."""

    async def _receive(
        self, client: Any, prompt: Prompt, max_tokens: int, received: Received
    ) -> None:
        async with await client.chat.completions.create(
            **self._request(prompt, max_tokens)
        ) as stream:
            async for chunk in stream:
                _take(chunk, received)
        if received.detail and received.stop:
            received.stop = "refusal"
        # Servers that do not know a model's reasoning tags leave the reasoning in the text.
        received.text = _THOUGHT.sub("", received.text, count=1)

    def _request(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model,
            "messages": self._messages(prompt),
            self._limits[0]: self.entry.limit(max_tokens),
            "stream": True,
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
        else:  # as plain strings, which every server takes
            contents = [prompt.system.text, "\n".join(part.text for part in prompt.user)]
        roles = zip(("system", "user"), contents, strict=True)
        return [{"role": role, "content": content} for role, content in roles]

    def _give_way(self, error: Exception) -> bool:
        """Whether to ask again without an optional field, or with its older name.

        Servers differ in the fields that they support. Each field is given up once, permanently.
        """
        if not isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
            return False
        said = f"{error.param or ''} {error.message}"
        if refused := {name for name in self._optional if name in said}:
            self._optional -= refused
            return True
        if len(self._limits) > 1 and self._limits[0] in said and _NOT_KNOWN.search(said):
            del self._limits[0]
            return True
        return False

    def _meaning(self, error: Any) -> tuple[int, str]:
        told = error.body.get("message") if isinstance(error.body, dict) else None
        code = str(error.code or "")
        if isinstance(error, openai.APIStatusError):
            # The status means too many requests, but waiting does not add credit to an account.
            status = 402 if code == "insufficient_quota" else error.status_code
        elif _BAD_REQUEST.search(f"{error.type} {code}"):  # inside a stream, so without a status
            status = 400
        else:
            status = int(code) if code.isdigit() else 500
        return status, str(told or error)


def _take(chunk: Any, received: Received) -> None:
    """Process one chunk; reasoning comes in separate fields and is skipped."""
    received.model = chunk.model or received.model
    if chunk.usage is not None:
        received.usage = _usage(chunk.usage)
    for choice in chunk.choices or []:
        received.stop = choice.finish_reason or received.stop
        if choice.delta is not None:
            received.detail += choice.delta.refusal or ""
            received.text += choice.delta.content or ""


def _usage(told: Any) -> Usage:
    """The reported ``prompt_tokens`` include the tokens read from and written to the cache."""
    prompt, output = told.prompt_tokens_details, told.completion_tokens_details
    read = (prompt.cached_tokens if prompt is not None else None) or 0
    written = (prompt.cache_write_tokens if prompt is not None else None) or 0
    return Usage(
        input=max(0, (told.prompt_tokens or 0) - read - written),
        output=told.completion_tokens or 0,
        cache_read=read,
        cache_write=written,
        reasoning=output.reasoning_tokens if output is not None else None,
    )
