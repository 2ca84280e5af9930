"""Services that do not answer: what is retried, what is waited for, what the user has to mend."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from clients import BOTH, KEY, Open, ask, failure
from model_server import EDIT, Answer, Failure, Hang, Raw, Server

from agent.models.http import MAX_RETRIES
from agent.models.types import Cancelled, Misconfigured, Unavailable
from agent.models.waits import in_headers


@BOTH
@pytest.mark.parametrize("status", [429, 500, 503, 529])
def test_retried_until_it_answers(opened: Open, waits: list[float], kind: str, status: int) -> None:
    with Server(Failure(status), Failure(status), Answer()) as server:
        assert ask(opened(kind, server)).text == EDIT
        assert [post.headers["x-stainless-retry-count"] for post in server.posts] == ["0", "1", "2"]
    assert len(waits) >= 2


@BOTH
def test_retry_after_is_honoured(opened: Open, waits: list[float], kind: str) -> None:
    busy = Failure(429, type="rate_limit_error", headers={"retry-after": "17"})
    with Server(busy, Answer()) as server:
        assert ask(opened(kind, server)).text == EDIT
        assert len(server.posts) == 2
    assert 17 in waits


@BOTH
def test_long_waits_are_the_caller_s(opened: Open, waits: list[float], kind: str) -> None:
    with Server(Failure(429, headers={"retry-after": "3600"}), Answer()) as server:
        error = failure(opened(kind, server))
        assert len(server.posts) == 1, "and nobody slept an hour"
    assert isinstance(error, Unavailable)
    assert error.retry_after == 3600
    assert 3600 not in waits


PROVIDERS = {  # of Google's Gemini, and of OpenRouter
    "your current rate limit": [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message":
        "You exceeded your current rate limit.\nPlease retry in 3634.07s."}}],
    "temporarily rate-limited upstream": {"error": {
        "message": "Provider returned error", "code": 429,
        "metadata": {"provider_name": "X", "raw": "m is temporarily rate-limited upstream. "
            "Please try again in 1h34.07s"}}},
}  # fmt: skip


@pytest.mark.parametrize("told", PROVIDERS)
@pytest.mark.usefixtures("waits")
def test_words_say_how_long_where_no_header_does(opened: Open, told: str) -> None:
    answer = Raw((json.dumps(PROVIDERS[told]).encode(),), 429, {"content-type": "application/json"})
    with Server(answer) as server:
        error = failure(opened("openai", server))
    assert isinstance(error, Unavailable)
    assert told in str(error)
    assert error.retry_after == pytest.approx(3634, abs=1)


@BOTH
@pytest.mark.parametrize("status", [500, 529])
def test_outage_after_the_retries(opened: Open, waits: list[float], kind: str, status: int) -> None:
    with Server(Failure(status, "try later")) as server:
        error = failure(opened(kind, server))
        assert len(server.posts) == MAX_RETRIES + 1
    assert isinstance(error, Unavailable)
    assert str(status) in str(error)
    assert "try later" in str(error)


@BOTH
def test_no_server_is_an_outage(opened: Open, waits: list[float], kind: str) -> None:
    with Server() as server:
        model = opened(kind, server)
    error = failure(model)
    assert isinstance(error, Unavailable)
    assert "127.0.0.1" in str(error)


@BOTH
def test_no_proxy_is_asked_for_a_server_on_this_machine(
    opened: Open, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:9")
    with Server() as server:
        assert ask(opened(kind, server)).text == EDIT


@BOTH
def test_silence_is_an_outage(
    environ: dict[str, str], opened: Open, waits: list[float], tmp_path: Path, kind: str
) -> None:
    with Server(Hang()) as server:
        own = tmp_path / "mine.toml"
        own.write_text(f'[models."{opened(kind, server).name}"]\ntimeout = 0.05\n')
        environ["AUTORESEARCH_MODELS"] = str(own)
        assert isinstance(failure(opened(kind, server)), Unavailable)


@BOTH
@pytest.mark.parametrize("stop", ["end", "stalled"])
@pytest.mark.process
def test_slow_is_fine_as_long_as_something_comes(
    environ: dict[str, str], opened: Open, tmp_path: Path, kind: str, stop: str
) -> None:
    """The answer takes longer than the time-out, which is for a silence."""
    answer = Answer(stop=stop, pause=0.25)
    with Server(answer) as server:
        own = tmp_path / "mine.toml"
        own.write_text(f'[models."{opened(kind, server).name}"]\ntimeout = 1.5\n')
        environ["AUTORESEARCH_MODELS"] = str(own)
        if stop == "end":
            assert ask(opened(kind, server)).text == EDIT
        else:
            assert isinstance(failure(opened(kind, server)), Unavailable)
        assert len(server.posts) == 1, "what was paid for is not asked for again unseen"


@BOTH
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Failure(401, f"bad key {KEY}", "authentication_error"), "check .*_API_KEY"),
        (Failure(402, "pay first", "billing_error"), "pay first"),
        (Failure(403, "not your region", "permission_error"), "not your region"),
        (Failure(404, "model: nothing", "not_found_error"), "no such model"),
        (Failure(400, "prompt is too long", "invalid_request_error"), "prompt is too long"),
        (Failure(413, "too large", "request_too_large"), "too large"),
    ],
)
def test_what_the_user_has_to_mend(opened: Open, kind: str, fault: Failure, said: str) -> None:
    with Server(fault) as server:
        with pytest.raises(Misconfigured, match=said):
            ask(opened(kind, server))
        assert len(server.posts) == 1, "asking again would not help"


def test_empty_accounts_are_not_outages(opened: Open, waits: list[float]) -> None:
    quota = Failure(429, "You exceeded your quota", "insufficient_quota", "insufficient_quota")
    with Server(quota) as server, pytest.raises(Misconfigured, match="cannot pay"):
        ask(opened("openai", server))
    credit = Failure(400, "Your credit balance is too low", "invalid_request_error")
    with Server(credit) as server, pytest.raises(Misconfigured, match="cannot pay"):
        ask(opened("anthropic", server))


@pytest.mark.parametrize(
    ("kind", "message", "given_up", "instead"),
    [
        (
            "own server",
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "max_tokens",
            "max_completion_tokens",
        ),
        ("openai", "Unknown field: max_completion_tokens", "max_completion_tokens", "max_tokens"),
        ("own server", "stream_options: extra fields not permitted", "stream_options", None),
        ("openai", "prompt_cache_options is not supported", "prompt_cache_options", None),
    ],
)
def test_optional_fields_give_way_once_and_for_all(
    opened: Open, kind: str, message: str, given_up: str, instead: str | None
) -> None:
    with Server(Failure(400, message, "invalid_request_error"), Answer()) as server:
        model = opened(kind, server)
        assert ask(model).text == EDIT
        assert ask(model).text == EDIT
        refused, second, third = (post.body for post in server.posts)
    assert given_up in refused
    assert given_up not in second
    assert instead is None or second[instead] == 1000
    assert second == third


def test_a_limit_that_is_too_high_is_not_another_name(opened: Open) -> None:
    told = "max_tokens is too large: 1000. This model's context has 512 tokens."
    with Server(Failure(400, told, "BadRequestError"), Answer()) as server:
        ask(opened("own server", server))
        assert [post.body["max_tokens"] for post in server.posts] == [1000, 512]


@BOTH
def test_cancel_closes_the_connection(opened: Open, kind: str) -> None:
    cancel = threading.Event()
    with Server(Hang()) as server:
        setter = threading.Thread(target=lambda: server.asked.wait(20) and cancel.set())
        setter.start()
        with pytest.raises(Cancelled):
            ask(opened(kind, server), cancel=cancel)
        setter.join()
        assert server.hung_up.wait(20)


@BOTH
@pytest.mark.parametrize(
    "wait", ["", "nan", "inf", "9" * 400, "-1", "Fri, 31 Dec 9999 23:59:59 -2359"]
)
def test_waits_of_any_form_are_survived(
    opened: Open, waits: list[float], kind: str, wait: str
) -> None:
    with Server(Failure(503, headers={"retry-after": wait}), Answer()) as server:
        try:
            ask(opened(kind, server))
        except Unavailable as outage:
            assert (outage.retry_after or 0) >= 0


def test_retry_after_forms() -> None:
    assert in_headers({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert in_headers({"retry-after": "1.5"}) == 1.5
    assert in_headers({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}) == pytest.approx(
        4102444800 - time.time(), abs=60
    )
    assert in_headers({"retry-after": "Sat, 01 Jan 2000 00:00:00 GMT"}) == 0
    for odd in (
        "soon",
        "nan",
        "-5",
        "Fri, 01 Jan 99999 00:00:00 GMT",
        "Mon, 01 Jan 0001 0:0:0 -2359",
    ):
        assert in_headers({"retry-after": odd}) in (None, 0)
    assert in_headers({}) is None
