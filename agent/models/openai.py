"""Chat Completions through OpenAI's SDK: OpenAI itself, and servers with the same API (Ollama,
vLLM, llama.cpp, ...).

Chat Completions is used instead of Responses, because all of these servers support it.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from typing import Any

import openai

from agent.models.catalog import Entry
from agent.models.http import MAX_RETRIES, leave_long_waits, refusal, run_coroutine, seconds_to_wait
from agent.models.secrets import quote
from agent.models.types import (
    Misconfigured,
    ModelError,
    OnText,
    Prompt,
    Reply,
    StopReason,
    Unavailable,
    Usage,
)

CACHE_MARKS = 18
"""The latest four marks are written to the cache, all of them are looked up in it."""

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "end",
    "length": "length",
    "content_filter": "refusal",
}
_NOT_KNOWN = re.compile(
    r"unsupported|not supported|un(?:known|recognized|expected)|extra|not permitted|not allowed"
    r"|deprecated|instead",
    re.IGNORECASE,
)
_THOUGHT = re.compile(r"\A\s*(?:<think>)?.*?</think>\s*|\A\s*<think>.*\Z", re.DOTALL)


class OpenAIModel:
    """A model by name, at OpenAI or at ``base_url``."""

    def __init__(
        self,
        model: str,
        *,
        api_key: str,
        base_url: str,
        own_server: bool,
        key_from: str,
        entry: Entry,
        hidden: Sequence[str],
    ) -> None:
        """
        Args:
            own_server: whether ``base_url`` was part of the spec; then requests have no fields
                that only OpenAI itself supports.
            key_from: where the key comes from, for messages.
        """
        self.name = f"openai:{model}@{base_url}" if own_server else f"openai:{model}"
        self._model = model
        self._key = api_key
        self._base_url = base_url
        self._key_from = key_from
        self._entry = entry
        self._hidden = hidden
        self._limit = "max_tokens" if own_server else "max_completion_tokens"
        self._cached = not own_server
        self._counted = True
        self._given_up: set[str] = set()

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
        while True:
            received = _Received(self._model, self._hidden)
            try:
                await self._ask(prompt, max_tokens, received, on_text)
                failure = received.fault(self.name)
            except (openai.OpenAIError, json.JSONDecodeError) as error:
                if self._give_way(error):
                    continue
                failure = self._failure(error, received.usage)
            # Raised outside ``except``, so that the SDK's exception, which holds the request, is
            # not its context.
            if failure is not None:
                raise failure
            return received.reply()

    async def _ask(
        self, prompt: Prompt, max_tokens: int, received: _Received, on_text: OnText | None
    ) -> None:
        async with openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self._base_url,
            max_retries=MAX_RETRIES,
            timeout=self._entry.timeout,
            http_client=openai.DefaultAsyncHttpxClient(
                event_hooks={"response": [leave_long_waits]}
            ),
        ) as client:
            stream: Any = await client.chat.completions.create(**self._request(prompt, max_tokens))
            async with stream:
                async for chunk in stream:
                    received.take(chunk, on_text)

    def _request(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model,
            "messages": self._messages(prompt),
            self._limit: self._entry.limit(max_tokens),
            "stream": True,
            "extra_body": dict(self._entry.extra),
        }
        if self._counted:
            request["stream_options"] = {"include_usage": True}
        if self._cached:
            # Cached prefixes are found at marks only; one key sends all requests to one server.
            request["prompt_cache_options"] = {"mode": "explicit"}
            digest = hashlib.sha256(prompt.system.text.encode()).hexdigest()
            request["prompt_cache_key"] = f"autoresearch-{digest[:24]}"
        return request

    def _messages(self, prompt: Prompt) -> list[dict[str, Any]]:
        if not self._cached:
            # As plain strings, which every server takes.
            texts = [prompt.system.text, "\n".join(part.text for part in prompt.user)]
            return [
                {"role": role, "content": text}
                for role, text in zip(("system", "user"), texts, strict=True)
            ]
        marks = prompt.marked(CACHE_MARKS)
        blocks: list[dict[str, Any]] = []
        for i, part in enumerate(prompt.parts):
            blocks.append({"type": "text", "text": part.text})
            if i in marks:
                blocks[-1]["prompt_cache_breakpoint"] = {"mode": "explicit"}
        return [
            {"role": "system", "content": blocks[:1]},
            {"role": "user", "content": blocks[1:]},
        ]

    def _give_way(self, error: Exception) -> bool:
        """Whether to ask again without an optional field, or with its older name.

        Servers differ in the fields that they support. Each field is given up once, permanently.
        """
        if not isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
            return False
        said = f"{error.param or ''} {error.message}"
        if "prompt_cache" in said and self._cached:
            self._cached = False
            return True
        if "stream_options" in said and self._counted:
            self._counted = False
            return True
        if self._limit in said and _NOT_KNOWN.search(said) and not self._given_up:
            self._given_up.add(self._limit)
            names = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
            self._limit = names[self._limit]
            return True
        return False

    def _failure(self, error: Exception, usage: Usage | None) -> ModelError:
        body = getattr(error, "body", None)
        told = body.get("message") if isinstance(body, dict) else None
        said = quote(str(told or error), self._hidden)
        if isinstance(error, openai.APIConnectionError):
            cause = quote(str(error.__cause__ or error) or type(error).__name__, self._hidden)
            return Unavailable(
                f"{self.name}: no whole answer from {self._base_url}: {cause}", usage=usage
            )
        if isinstance(error, openai.APIStatusError):
            # The status means too many requests, but waiting does not add credit to an account.
            status = 402 if error.code == "insufficient_quota" else error.status_code
            return refusal(
                self.name,
                status,
                said,
                key=self._key_from,
                retry_after=seconds_to_wait(error.response.headers),
            )
        if isinstance(error, openai.APIError):  # inside a stream, so without a status
            code = str(error.code or "")
            status = int(code) if code.isdigit() else 500
            if re.search(r"invalid_?request|bad_?request|context_length", f"{error.type} {code}",
                         re.IGNORECASE):  # fmt: skip
                status = 400
            failure = refusal(self.name, status, said, key=self._key_from)
            if isinstance(failure, Unavailable):
                failure.usage = usage
            return failure
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
        self._refusals: list[str] = []
        self._stop: str | None = None
        self._begun = False

    def take(self, chunk: Any, on_text: OnText | None) -> None:
        """Process one chunk; reasoning comes in separate fields and is skipped."""
        self._begun = self._begun or chunk.object == "chat.completion.chunk"
        self.model = chunk.model or self.model
        if chunk.usage is not None:
            self.usage = _usage(chunk.usage)
        for choice in chunk.choices or []:
            if choice.finish_reason:
                self._stop = choice.finish_reason
            if choice.delta is None:
                continue
            if choice.delta.refusal:
                self._refusals.append(choice.delta.refusal)
            if choice.delta.content:
                self._texts.append(choice.delta.content)
                if on_text is not None:
                    on_text(choice.delta.content)

    def fault(self, name: str) -> ModelError | None:
        """Why this is not a whole message, None if it is."""
        if not self._begun:
            return Unavailable(f"{name}: the answer is not a stream of Chat Completions")
        if self._stop is None:
            return Unavailable(f"{name}: the stream was cut off", usage=self.usage)
        return None

    def reply(self) -> Reply:
        refused = "".join(self._refusals)
        return Reply(
            # Servers that do not know a model's reasoning tags leave the reasoning in the text.
            text=_THOUGHT.sub("", "".join(self._texts), count=1),
            stop_reason="refusal" if refused else _STOP_REASONS.get(self._stop or "", "other"),
            usage=self.usage,
            model=self.model,
            detail=quote(refused, self._hidden) or quote(self._stop or "", self._hidden),
        )


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
