"""The clients of both APIs, through the real SDKs, against a server on loopback with faults."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from faults.common import KEY, PROMPT, ask, bare_environ
from faults.server import EDIT, Answer, Failure, Hang, Server, Step

from agent.models import base, choose
from agent.models.base import (
    Cancelled,
    Misconfigured,
    Model,
    ModelError,
    Part,
    Prompt,
    Unavailable,
    Usage,
)
from agent.models.choose import open_model

BOTH = pytest.mark.parametrize("kind", ["anthropic", "openai", "own server"])

Open = Callable[..., Model]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return bare_environ(tmp_path)


@pytest.fixture
def opened(environ: dict[str, str]) -> Open:
    """``opened(kind, server)``: a model of that kind which talks to the server."""

    def open_(kind: str, server: Server) -> Model:
        keys = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY, choose.OWN_SERVER_KEY: KEY}
        urls = {"ANTHROPIC_BASE_URL": server.url, "OPENAI_BASE_URL": f"{server.url}/v1"}
        spec = {
            "anthropic": "anthropic:claude-sonnet-5-5",
            "openai": "openai:gpt-6.1-sol",
            "own server": f"openai:qwen3:8b@{server.url}",
        }[kind]
        model, _ = open_model(spec, environ | keys | urls)
        assert model is not None
        return model

    return open_


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the SDKs would have slept before each retry, in seconds."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return asked


def failure(model: Model) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(model)
    return caught.value


# --- a good answer ---


@BOTH
def test_text_usage_and_model_come_back(opened: Open, kind: str) -> None:
    answer = Answer(
        thinking="<<<<<<< SEARCH is how a block begins", input=900, output=70, cache_read=500,
        cache_write=20, reasoning=11,
    )  # fmt: skip
    heard: list[str] = []
    with Server(answer) as server:
        reply = ask(opened(kind, server), on_text=heard.append)
    assert reply.text == EDIT == "".join(heard)
    assert len(heard) > 1, "it was streamed"
    assert (reply.stop_reason, reply.model) == ("end", "fake-1")
    assert reply.usage == Usage(900, 70, cache_read=500, cache_write=20, reasoning=11)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"<think>\n<<<<<<< SEARCH\n</think>\n\n{EDIT}", EDIT),
        (f"so, thinking ...</think>\n{EDIT}", EDIT),
        (f"<think>never done\n{EDIT}", ""),
        (EDIT, EDIT),
    ],
)
def test_reasoning_left_in_the_text_is_no_text(opened: Open, text: str, left: str) -> None:
    with Server(Answer(text=text)) as server:
        assert ask(opened("own server", server)).text == left


def test_anthropic_request_is_laid_out_for_the_cache(opened: Open) -> None:
    with Server() as server:
        ask(opened("anthropic", server))
        body = server.posts[0].body
    blocks = [*body["system"], *body["messages"][0]["content"]]
    assert [block["text"] for block in blocks] == [part.text for part in PROMPT.parts]
    assert [block.get("cache_control") for block in blocks] == [
        *[{"type": "ephemeral", "ttl": "1h"}] * 4,
        None,
    ]
    assert set(body) == {"model", "max_tokens", "system", "messages", "stream"}


def test_openai_request_is_laid_out_for_the_cache(opened: Open) -> None:
    with Server() as server:
        ask(opened("openai", server))
        body = server.posts[0].body
    system, user = body["messages"]
    blocks = [*system["content"], *user["content"]]
    assert [block["text"] for block in blocks] == [part.text for part in PROMPT.parts]
    assert ["prompt_cache_breakpoint" in block for block in blocks] == [True] * 4 + [False]
    assert body["max_completion_tokens"] == 1000
    assert not {"max_tokens", "temperature", "top_p", "seed"} & set(body)


def test_own_server_gets_only_what_every_server_knows(opened: Open) -> None:
    with Server() as server:
        ask(opened("own server", server))
        request = server.posts[0]
    assert request.path == "/v1/chat/completions"
    assert set(request.body) == {"model", "messages", "max_tokens", "stream", "stream_options"}
    assert "".join(message["content"] for message in request.body["messages"]).count("kept") == 1


def test_marks_are_bounded_and_keep_the_first_two_and_the_latest() -> None:
    many = Prompt(tuple(Part(str(i), "x", mark=i < 30) for i in range(31)))
    assert many.marked(4) == {0, 1, 28, 29}
    assert PROMPT.marked(4) == {0, 1, 2, 3}


@BOTH
def test_extra_fields_are_passed_through(
    environ: dict[str, str], opened: Open, tmp_path: Path, kind: str
) -> None:
    with Server() as server:
        name = opened(kind, server).name
        own = tmp_path / "mine.toml"
        own.write_text(f'[models."{name}"]\nextra = {{ temperature = 0.5 }}\nmax_tokens = 99\n')
        environ["AUTORESEARCH_MODELS"] = str(own)
        ask(opened(kind, server))
        body = server.posts[0].body
    assert body["temperature"] == 0.5
    assert 99 in (body.get("max_tokens"), body.get("max_completion_tokens"))


# --- stops other than the end ---


@BOTH
@pytest.mark.parametrize("stop", ["length", "refusal"])
def test_stop_reason_is_told(opened: Open, kind: str, stop: str) -> None:
    with Server(Answer(stop=stop, why="not this one")) as server:
        reply = ask(opened(kind, server))
    assert reply.stop_reason == stop
    assert stop != "refusal" or reply.detail == "not this one"


@BOTH
def test_unknown_stop_reasons_are_not_the_end(opened: Open, kind: str) -> None:
    with Server(Answer(stop="tool_calls")) as server:
        assert ask(opened(kind, server)).stop_reason == "other"


@BOTH
@pytest.mark.parametrize("stop", ["cut", "ended"])
def test_cut_stream_is_an_outage_and_no_reply(opened: Open, kind: str, stop: str) -> None:
    with Server(Answer(stop=stop)) as server:
        error = failure(opened(kind, server))
    assert isinstance(error, Unavailable)
    if kind == "anthropic":
        assert error.usage == Usage(900, 1), "what was used up is known from the first event"


@BOTH
def test_error_inside_the_stream_is_an_outage(opened: Open, kind: str) -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    with Server(Answer(in_stream=error)) as server:
        caught = failure(opened(kind, server))
    assert isinstance(caught, Unavailable)
    assert "Overloaded" in str(caught)


@BOTH
def test_refused_request_inside_the_stream_is_not_an_outage(opened: Open, kind: str) -> None:
    error = {"type": "invalid_request_error", "message": "prompt is too long"}
    with Server(Answer(in_stream=error)) as server:
        caught = failure(opened(kind, server))
    assert isinstance(caught, Misconfigured)
    assert "prompt is too long" in str(caught)


@BOTH
@pytest.mark.parametrize("body", [b"<html>hello</html>", b"event: x\ndata: {not json\n\n", b""])
def test_garbage_is_an_outage(opened: Open, kind: str, body: bytes) -> None:
    with Server(Failure(200, body=body, content_type="text/html")) as server:
        assert isinstance(failure(opened(kind, server)), Unavailable)


@BOTH
def test_usage_that_is_not_told_is_unknown(opened: Open, kind: str) -> None:
    with Server(Answer(usage=False)) as server:
        usage = ask(opened(kind, server)).usage
    assert (usage is None) == (kind != "anthropic"), "Messages always tells"


# --- faults ---


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


@BOTH
@pytest.mark.parametrize("status", [500, 529])
def test_outage_after_the_retries(opened: Open, waits: list[float], kind: str, status: int) -> None:
    with Server(Failure(status, "try later")) as server:
        error = failure(opened(kind, server))
        assert len(server.posts) == base.MAX_RETRIES + 1
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
def test_silence_is_an_outage(
    environ: dict[str, str], opened: Open, waits: list[float], tmp_path: Path, kind: str
) -> None:
    with Server(Hang()) as server:
        own = tmp_path / "mine.toml"
        own.write_text(f'[models."{opened(kind, server).name}"]\ntimeout = 0.05\n')
        environ["AUTORESEARCH_MODELS"] = str(own)
        assert isinstance(failure(opened(kind, server)), Unavailable)


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
    with Server(Failure(400, told, "BadRequestError")) as server:
        with pytest.raises(Misconfigured, match="too large"):
            ask(opened("own server", server))
        assert len(server.posts) == 1


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


# --- keys ---


def test_a_vendor_s_key_is_not_sent_to_others(environ: dict[str, str]) -> None:
    with Server() as server:
        model, _ = open_model(f"openai:m@{server.url}", environ | {"OPENAI_API_KEY": KEY})
        assert model is not None
        ask(model)
        assert KEY not in str(server.posts[0])


def test_key_env_names_another_key(environ: dict[str, str], tmp_path: Path) -> None:
    with Server() as server:
        own = tmp_path / "mine.toml"
        own.write_text(f'[models."openai:m@{server.url}/v1"]\nkey_env = "ROUTER"\n')
        environ["AUTORESEARCH_MODELS"] = str(own)
        with pytest.raises(Misconfigured, match="export ROUTER="):
            open_model(f"openai:m@{server.url}", environ)
        model, _ = open_model(f"openai:m@{server.url}", environ | {"ROUTER": KEY})
        assert model is not None
        ask(model)
        assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"


@BOTH
def test_keys_are_nowhere(
    opened: Open,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    faults: list[Step] = [
        Failure(401, f"Incorrect API key provided: {KEY}", "authentication_error"),
        Failure(400, f"header Authorization: Bearer {KEY}", "invalid_request_error"),
        Failure(529, f"request with {KEY} failed"),
        Failure(200, body=f"event: a\ndata: {KEY}\n\n".encode()),
        Answer(in_stream={"type": "api_error", "message": f"key {KEY}"}),
        Answer(stop="refusal", why=f"who sends {KEY}"),
        Answer(stop="cut"),
    ]
    shown = []
    for fault in faults:
        with Server(fault) as server:
            model = opened(kind, server)
            try:
                shown.append(repr(ask(model)))
            except ModelError as error:
                assert error.__context__ is None, "the SDK's error holds the request's headers"
                shown += [str(error), repr(error), repr(vars(error))]
                shown += traceback.format_exception(error)
        shown += [repr(model), model.name]
        assert KEY in str(server.posts[0].headers), "the key was really used"
    shown += [caplog.text, *map(str, capfd.readouterr())]
    assert KEY not in "\n".join(shown)


@pytest.mark.parametrize("key", ["sk-smart…quotes", "sk-two words", "sk-new\nline"])
def test_what_is_no_key_is_not_sent(environ: dict[str, str], key: str) -> None:
    with pytest.raises(Misconfigured, match="OPENAI_API_KEY") as caught:
        open_model("openai:m", environ | {"OPENAI_API_KEY": key})
    assert key not in str(caught.value)


def test_retry_after_forms() -> None:
    assert base.retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert base.retry_after({"retry-after": "1.5"}) == 1.5
    assert base.retry_after({"retry-after": "Fri, 01 Jan 2100 00:00:00 GMT"}) == pytest.approx(
        4102444800 - time.time(), abs=60
    )
    assert base.retry_after({"retry-after": "Sat, 01 Jan 2000 00:00:00 GMT"}) == 0
    assert base.retry_after({"retry-after": "soon"}) is None
    assert base.retry_after({}) is None
