"""What the clients of both SDKs share: one request with retries, cancellable, and its errors."""

from __future__ import annotations

import asyncio
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import httpx2

from agent.models import room, route, waits, wire
from agent.models.catalog import Entry
from agent.models.secrets import quote, scrub
from agent.models.types import (
    Cancelled,
    Cause,
    Misconfigured,
    ModelError,
    Prompt,
    Reply,
    Unavailable,
    Usage,
)
from agent.models.wire import FILTERED, NO_CREDIT, Refusal
from agent.thoughts import without_thoughts

LONGEST_RETRY_WAIT = 20.0
"""Longest wait of a client, in seconds; the campaign itself does longer waits and shows them."""
MAX_RETRIES = 4
PROBE_SECONDS = 5.0
LIFE_SIGNS = 6.0
"""For how many time-outs a server may send signs of life and nothing else."""
_A_PIECE = 20
"""Characters; pieces as short as this can be alike by chance."""
SMALLER = 2
"""How often a request is made smaller that does not fit."""
_POLL_SECONDS = 0.1

_NOT_ENDED = re.compile("error|abort|cancel|timeout|insufficient|unavailable|fail", re.IGNORECASE)
_PASSES = re.compile(
    "rate.?limit|too many requests|overload|retry in|again (?:later|in)|please wait|crashed", re.I
)
_NO_SYSTEM = re.compile(
    r"\b(?:system|developer)[\W_]{0,3}(?:role|message|prompt|instruction|角色)"
    r"|\bsystem\b.{0,80}\brole|\broles?\b.{0,60}\b(?:system|user)\b|variant .system|only user\b"
    r"|first message|(?:start|begin)\w* with .{0,12}\buser\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass
class Received:
    """The part of a reply that has arrived."""

    model: str
    pieces: list[str] = field(default_factory=list)
    stop: str = ""
    """Why it ended, in the service's own word; "" if it did not say."""
    detail: str = ""
    usage: Usage | None = None
    whole: bool = False
    """Whether the service said that this is all."""

    @property
    def text(self) -> str:
        """The pieces put together, or the last where each repeats all that was before it."""
        pieces = [piece for piece in self.pieces if piece]
        repeats = len(pieces) > 2 or len("".join(pieces[:1])) > _A_PIECE
        if repeats and all(after.startswith(before) for before, after in pairwise(pieces)):
            return pieces[-1] if len(pieces[-1]) > _A_PIECE else "".join(pieces)
        return "".join(pieces)


@dataclass(eq=False, kw_only=True)
class SDKModel(ABC):
    """A model that is asked through a vendor's SDK, as a stream: then ``timeout`` is for a silence.

    Both SDKs are generated alike, with the same names for their clients and errors. They send,
    retry and tell errors apart; answers are read by ``wire``.
    """

    sdk: ClassVar[Any]
    base_error: ClassVar[type[Exception]]
    paths: ClassVar[tuple[str, str]]
    """Below the base URL: what is asked, and where the service lists its models."""
    max_retries: ClassVar[int] = MAX_RETRIES

    name: str
    model: str
    base_url: str
    key_from: str
    """Where the key comes from, for messages."""
    api_key: str = field(repr=False)
    entry: Entry = field(repr=False)
    hidden: Sequence[str] = field(repr=False)
    takes_system: bool = field(default=True, init=False, repr=False)
    """Whether the model has a system role; else the system prompt is put before the user's."""
    found: bool = field(default=False, init=False, repr=False)
    """Whether its name was ever known; then it is an outage if it is not now."""
    answered: bool = field(default=False, init=False, repr=False)
    """Whether it has ever answered; then what is wrong now is not its address."""
    optional: set[str] = field(default_factory=set, init=False, repr=False)
    """Fields that are sent as long as the server does not refuse them."""
    room: tuple[int, float] | None = field(default=None, init=False, repr=False)
    """A limit that the service told, and tokens of prompt a character that count towards it."""

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
        known, smaller = self.room, SMALLER
        while True:
            asked = self.limit(prompt, max_tokens)
            received = Received(self.model)
            failure = await self._ask(prompt, asked, received)
            self.found |= getattr(failure, "cause", "") != "nowhere"
            if isinstance(failure, Refusal):
                if self._give_way(failure):
                    continue
                if failure.status in (0, 400, 403, 422, 451) and failure.says(FILTERED):
                    said = quote(failure.words, self.hidden)
                    used = received.usage or (None if received.text else Usage(0, 0))
                    return Reply("", "refusal", used, self.model, said)
                too_large = room.does_not_fit(failure.status, failure.all)
                if too_large and not failure.says(NO_CREDIT):
                    smaller -= 1
                    if smaller >= 0 and self._shrink(failure, prompt, asked):
                        continue
                    self.room = known  # another prompt may fit
                    raise self._too_large(failure)
                failure = await self._meaning(failure, received.usage)
            is_odd = isinstance(failure, Unavailable) and failure.cause == "unexplained"
            if is_odd and not received.text and not self.answered:
                url, _ = await self._models()
                if url not in ("", self.base_url):
                    failure = await self._no_address(str(failure))
            # Raised here and not where it was found, so that the SDK's exception, which holds the
            # request, is not its context.
            if failure is not None:
                if received.text and isinstance(failure, Unavailable):
                    failure.cause = "paid"
                raise failure
            self.answered = True
            said = quote(received.stop, self.hidden)
            text = without_thoughts(wire.joined(received.text))
            said = said if text or not received.text else "it is reasoning only"
            return Reply(
                text=scrub(text, self.hidden),
                stop_reason=wire.stop_reason(received.stop),
                usage=received.usage,
                model=quote(received.model, self.hidden),
                detail=quote(received.detail, self.hidden) or said,
            )

    async def _ask(
        self, prompt: Prompt, asked: int, received: Received
    ) -> Refusal | ModelError | None:
        """Send one request and fill ``received``; returns what went wrong."""
        by = route.proxy_variable(self.base_url)
        via = f" by the proxy of {by}" if by else ""
        cut = f"{self.name}: no whole answer from {self.base_url}{via}: "
        odd: Any = None
        packed = ""
        try:
            async with (
                asyncio.timeout(LIFE_SIGNS * self.entry.timeout) as limit,
                self._client() as client,
                self._endpoint(client).with_streaming_response.create(
                    **self._request(prompt, asked), stream=True
                ) as response,
            ):
                packed = response.headers.get("content-encoding", "").replace("identity", "")
                async for value in wire.values(response.http_response.aiter_raw()):
                    if value == wire.DONE:
                        received.whole = True
                        break
                    if wire.is_error(value):
                        return Refusal(wire.status(value), value)
                    self._take(value, received)
                    odd = value
                    if wire.mapping(value).get("type") != "ping":
                        now = asyncio.get_running_loop().time()
                        limit.reschedule(now + LIFE_SIGNS * self.entry.timeout)
        except TimeoutError:
            return _odd(f"{cut}nothing but signs of life", received)
        except self.sdk.APIStatusError as error:
            told = await wire.first(error.response.content)
            return Refusal(error.status_code, told, error.response.headers)
        except wire.Unreadable as unreadable:
            if packed:
                return _odd(f"{cut}it is compressed with {packed}, unasked", received)
            if wire.is_html(str(unreadable)):
                return Refusal(404, str(unreadable))
            said = quote(str(unreadable), self.hidden) or "nothing"
            return _odd(f"{cut}it is not of this API: {said}", received)
        except (httpx2.HTTPError, self.sdk.APIConnectionError, route.SOCKSError) as error:
            why = error.__cause__ if isinstance(error, self.sdk.APIConnectionError) else error
            said = quote(str(why or error), self.hidden) or type(error).__name__
            is_proxy = isinstance(why, (httpx2.ProxyError, route.SOCKSError))
            for sign, advice in route.MISTAKES.items():
                if sign in said and not (self.answered and is_proxy):
                    return Misconfigured(f"{cut}{said}; {advice}")
            if not self.found and route.NO_SUCH_NAME.search(said):
                where = by or f"--llm or {self.sdk.__name__.upper()}_BASE_URL"
                return Unavailable(f"{cut}{said}; is the name in {where} right?", cause="nowhere")
            cause: Cause = "unexplained" if is_proxy and not self.answered else "outage"
            return Unavailable(cut + said, usage=received.usage, cause=cause)
        except (self.base_error, httpx2.InvalidURL, UnicodeError) as error:
            return Misconfigured(f"{self.name}: {quote(str(error), self.hidden)}")
        if _NOT_ENDED.search(received.stop):
            said = quote(f"{received.stop} {received.detail}", self.hidden)
            return _odd(f"{cut}it ended with {said}", received)
        if not received.stop and not (received.whole and received.text):
            words = "the stream was cut off, or is not one of this API"
            if odd is not None and not received.text:
                words += f": {quote(wire.brief(odd), self.hidden)}"
            return _odd(cut + words, received)
        return None

    def _client(self) -> Any:
        return self.sdk.AsyncClient(
            api_key=self.api_key,
            base_url=self.base_url,
            max_retries=self.max_retries,
            timeout=self.entry.timeout,
            # Not every server that compresses says so.
            default_headers={"accept-encoding": "identity"},
            http_client=self.sdk.DefaultAsyncHttpxClient(
                event_hooks={"response": [leave_long_waits, wire.leave_compressed]},
                **route.options(self.base_url),
            ),
        )

    @abstractmethod
    def _endpoint(self, client: Any) -> Any:
        """The SDK's resource that has ``create``."""

    @abstractmethod
    def _request(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        """The arguments of ``create``."""

    @abstractmethod
    def _take(self, value: Any, received: Received) -> None:
        """Add a value of the stream, or the whole answer, without the model's reasoning."""

    def limit(self, prompt: Prompt, max_tokens: int) -> int:
        """Tokens to ask for, within what the user and the service allow."""
        most, taken = self.room or (max_tokens, 0.0)
        left = most - round(taken * len(prompt.text))
        return min(self.entry.limit(max_tokens), max(left, room.LEAST))

    def _give_way(self, refusal: Refusal) -> bool:
        """Whether to ask again, in another way, which is then kept."""
        if refusal.status in (0, 400, 422):
            # A server without cache marks may take plain strings only.
            plain = "valid string" in refusal.all
            refused = {n for n in self.optional if n in refusal.all or (plain and "cache" in n)}
            if refused:
                self.optional -= refused
                return True
        gives = refusal.status in (0, 400, 422, 500) and _NO_SYSTEM.search(refusal.all)
        if not gives or not self.takes_system:
            return False
        self.takes_system = False
        return True

    def _shrink(self, refusal: Refusal, prompt: Prompt, asked: int) -> bool:
        """Whether something smaller fits, going by the service's words."""
        guess, length = len(prompt.text) // 3, max(1, len(prompt.text))
        told = room.limit(refusal.words, asked, guess) or room.limit(refusal.all, asked, guess)
        if told is None or min(told[0] - told[1], asked - 1) < room.LEAST:
            return False
        self.room = told[0], told[1] / length
        return self.limit(prompt, asked) < asked

    def _too_large(self, refusal: Refusal) -> Misconfigured:
        return Misconfigured(
            f"{self.name}: prompt and reply do not fit the model (HTTP {refusal.status}): "
            f"{quote(refusal.words, self.hidden)}; give the model a longer context, or ask it for "
            f'less in your models.toml: [models."{self.name}"] max_tokens = N'
        )

    async def _meaning(self, refusal: Refusal, usage: Usage | None) -> ModelError:
        """What to do about an error."""
        status, said = refusal.status, quote(refusal.words, self.hidden)
        if refusal.says(NO_CREDIT):
            status = 402
        behind = wire.status_in(refusal.words)
        if 500 <= status != 511 and not self.answered and behind in (401, 402, 404):
            status = behind  # the server is before another
        failure = f"{self.name}: HTTP {status}: {said}" if status else f"{self.name}: {said}"
        page = status == 403 and wire.is_html(refusal.told)  # of something before the server
        odd = status in (0, 511) or ((status in (404, 405) or page) and self.answered)
        passes = status in (400, 403) and _PASSES.search(refusal.words)
        if odd or passes or status in (408, 409, 425, 429) or status >= 500:
            wait = waits.in_headers(refusal.headers)
            wait = waits.in_words(refusal.words) if wait is None else wait
            cause: Cause = "unexplained" if odd else "outage"
            return Unavailable(failure, retry_after=wait, usage=usage, cause=cause)
        if status in (404, 405):
            return await self._no_address(said)
        known = {
            401: f"the key was refused (HTTP 401): {said}; check {self.key_from}",
            402: f"the account cannot pay for this (HTTP 402): {said}",
        }
        usual = f"the request was refused (HTTP {status}): {said}"
        return Misconfigured(f"{self.name}: {known.get(status, usual)}")

    async def _no_address(self, said: str) -> Misconfigured:
        url, names = await self._models()
        right = "this server" if url == self.base_url else f"the right address is {url}, which"
        listed = f"{right} has the models {', '.join(names[:8])}"
        there = quote(listed if names else "check the address: most end in /v1", self.hidden)
        asked = f"{self.base_url.rstrip('/')}{self.paths[0]}"
        return Misconfigured(f"{self.name}: no such model or address, {asked}: {said}; {there}")

    async def _models(self) -> tuple[str, list[str]]:
        """Where the server lists models, and which; the mistake may be one in its address."""
        for url in route.addresses(self.base_url):
            try:
                async with self._client() as client:
                    asked = client.with_options(base_url=url, max_retries=0, timeout=PROBE_SECONDS)
                    told = await asked.get(self.paths[1], cast_to=httpx2.Response)
                listed = wire.mapping(await wire.first(told.content))
            except (self.base_error, httpx2.HTTPError, route.SOCKSError):
                continue
            models = wire.items(listed.get("data")) or wire.items(listed.get("models"))
            names = [n for m in models if (n := wire.string(wire.mapping(m).get("id")))]
            if names:
                return url, names
        return "", []


def _odd(words: str, received: Received) -> Unavailable:
    return Unavailable(words, usage=received.usage, cause="unexplained")


async def leave_long_waits(response: Any) -> None:
    """Response hook for the SDKs' HTTP clients, which silently sleep as long as a server asks.

    Both obey ``x-should-retry``, so a wait above the limit is reported as ``Unavailable``.
    """
    wait = waits.in_headers(response.headers)
    if wait is not None and wait > LONGEST_RETRY_WAIT:
        response.headers["x-should-retry"] = "false"
