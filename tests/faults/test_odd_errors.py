"""Errors in any form, with any status: the words are told, and a mistake is no outage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clients import KEY, TWO, ask, bare_environ, failure, open_at
from model_server import EDIT, Answer, Failure, Raw, Server
from odd_answers import JSON, answers, events, refused, whole

from agent.models import http
from agent.models.types import Misconfigured, Unavailable, Usage

SAID = "the words"


@TWO
@pytest.mark.parametrize(
    "body",
    [
        {"error": SAID},
        {"error": {"message": SAID}},
        {"error": {"error": {"message": SAID, "code": None}}},
        {"detail": SAID},
        {"detail": [{"loc": ["body", "x"], "msg": SAID, "type": "t"}]},
        {"message": SAID},
        {"object": "error", "message": SAID, "code": 400},
        {"errors": [{"message": SAID}]},
        [{"error": {"message": SAID, "status": "INVALID_ARGUMENT"}}],
        SAID,
        f"<html><style>p {{}}</style><body><p>{SAID}</p></body></html>",
    ],
)
def test_the_server_s_own_words_are_told(tmp_path: Path, kind: str, body: Any) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    said = refused(Failure(400, body=text.encode()), tmp_path, kind)
    assert SAID in said
    assert "{" not in said and "<" not in said


@TWO
@pytest.mark.parametrize(
    "error",
    [
        {"message": SAID, "code": 400},
        {"message": SAID, "code": "400"},
        {"message": SAID, "type": "invalid_request_error"},
        {"message": f"{SAID}: model not found"},
        f"{SAID}: Unexpected endpoint or method. (POST /x). Returning 200 anyway",
    ],
)
@pytest.mark.parametrize("form", ["stream", "event", "whole"])
def test_mistakes_told_with_status_200(tmp_path: Path, kind: str, error: Any, form: str) -> None:
    told = json.dumps({"error": error})
    step = {
        "stream": events(told),
        "event": Raw((f"event: error\ndata: {json.dumps(error)}\n\n".encode(),)),
        "whole": whole({"error": error}),
    }[form]
    assert SAID in refused(step, tmp_path, kind)


@TWO
@pytest.mark.parametrize(
    "error",
    [
        {"message": SAID, "code": 503},
        {"message": SAID, "code": "rate_limit_exceeded"},
        {"message": SAID, "type": "overloaded_error"},
        SAID,
    ],
)
def test_outages_told_with_status_200(tmp_path: Path, kind: str, error: Any) -> None:
    with Server(whole({"error": error})) as server:
        caught = failure(open_at(kind, server.url, bare_environ(tmp_path)))
    assert isinstance(caught, Unavailable)
    assert SAID in str(caught)
    assert (caught.cause, "HTTP" in str(caught)) == (
        ("unexplained", False) if error == SAID else ("outage", True)
    )


@TWO
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "Invalid API key"}, "key was refused"),
        ({"code": 40101, "msg": "invalid api key"}, "key was refused"),
        ({"error": 404}, "no such model or address"),
    ],
)
def test_mistakes_in_words_or_numbers_with_status_200(
    tmp_path: Path, kind: str, body: Any, said: str
) -> None:
    assert said in refused(whole(body), tmp_path, kind)


@pytest.mark.parametrize(
    ("status", "words", "fault", "cause"),
    [
        (200, '{"error": true, "msg": "who knows"}', Unavailable, "unexplained"),
        (200, '{"error": "context deadline exceeded, try again"}', Unavailable, "outage"),
        (500, "AuthenticationError: Incorrect API key provided", Misconfigured, ""),
        (503, "No available channel for model qwen3:8b", Misconfigured, ""),
        (500, "model requires more system memory (9 GiB) than is available", Misconfigured, ""),
        (502, "dial tcp: no route to host", Unavailable, "outage"),
        (429, "Billing hard limit has been reached", Misconfigured, ""),
        (429, "Your account has no credits left. Please recharge", Misconfigured, ""),
        (429, "余额不足或无可用资源包,请充值。", Misconfigured, ""),
        (500, "user quota is not enough", Misconfigured, ""),
        (400, "token quota is not enough", Misconfigured, ""),
        (511, "Network Authentication Required", Unavailable, "unexplained"),
        (403, "Your account has been flagged for suspicious activity", Misconfigured, ""),
        (503, "The moderation service is overloaded", Unavailable, "outage"),
        (429, "Quota exceeded, please check your plan and billing details", Unavailable, "outage"),
        (403, "Rate limit exceeded, retry in 10 minutes", Unavailable, "outage"),
        (400, "The server is overloaded, please try again", Unavailable, "outage"),
        (403, "Country not supported", Misconfigured, ""),
        (400, "The model has crashed without additional information.", Unavailable, "outage"),
        (400, "Too many tokens, please wait before trying again.", Unavailable, "outage"),
        (
            413,
            "Request too large, on tokens per minute: Limit 6000, Requested 7200",
            Misconfigured,
            "",
        ),
    ],
)
def test_what_words_say_of_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, words: str,
    fault: type[Exception], cause: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(http.SDKModel, "max_retries", 0)
    with Server(Failure(status, body=words.encode())) as server:
        error = failure(open_at("own server", server.url, bare_environ(tmp_path)))
    assert isinstance(error, fault)
    assert getattr(error, "cause", "") == cause


@TWO
@pytest.mark.parametrize(
    ("status", "fault"), [(404, Unavailable), (405, Unavailable), (401, Misconfigured)]
)
def test_an_address_that_has_answered_is_right(
    tmp_path: Path, kind: str, status: int, fault: type[Exception]
) -> None:
    with Server(Answer(), Failure(status, body=b"ngrok: tunnel not found")) as server:
        model = open_at(kind, server.url, bare_environ(tmp_path))
        ask(model)
        error = failure(model)
    assert isinstance(error, fault)
    assert getattr(error, "cause", "unexplained") == "unexplained"


def test_an_error_that_only_says_that_it_is_compressed(tmp_path: Path) -> None:
    step = Raw((b'{"error": {"message": "the words"}}',), 400, JSON | {"content-encoding": "gzip"})
    assert SAID in refused(step, tmp_path)


@TWO
def test_a_page_before_a_server_that_has_answered_is_no_refusal(tmp_path: Path, kind: str) -> None:
    page = Failure(403, body=b"<html><title>Just a moment...</title></html>")
    with Server(Answer(), page, Failure(403)) as server:
        model = open_at(kind, server.url, bare_environ(tmp_path))
        ask(model)
        first, second = failure(model), failure(model)
    assert isinstance(first, Unavailable) and first.cause == "unexplained"
    assert isinstance(second, Misconfigured)


@TWO
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": SAID, "code": "content_filter"}),
        (400, f"{SAID}: the prompt triggered Azure OpenAI's content management policy"),
        (403, {"message": f"{SAID}: Input was flagged", "code": 403}),
        (400, f"{SAID}: Your request was rejected as a result of our safety system."),
        (400, {"message": SAID, "code": "content_policy_violation"}),
        (400, f"{SAID}: Content Exists Risk"),
        (400, {"message": SAID, "code": "data_inspection_failed"}),
        (400, f"{SAID}: The content was blocked by guardrail"),
        (
            400,
            {
                "message": f"{SAID}: 系统检测到输入或生成内容可能包含不安全或敏感内容",
                "code": "1301",
            },
        ),
        (400, f"{SAID}: the request was rejected because it was considered high risk"),
        (200, {"message": SAID, "code": "content_filter"}),
    ],
)
def test_a_prompt_that_a_filter_refuses_is_a_refusal_of_this_prompt(
    tmp_path: Path, kind: str, status: int, error: Any
) -> None:
    body = json.dumps({"error": error}).encode()
    reply = answers(Failure(status, body=body), tmp_path, kind)
    assert (reply.text, reply.stop_reason, reply.usage) == ("", "refusal", Usage(0, 0))
    assert SAID in reply.detail


@TWO
def test_what_had_come_before_a_refusal_is_not_free(tmp_path: Path, kind: str) -> None:
    error = {"message": "Output blocked by content filtering policy", "code": 400}
    reply = answers(Answer(in_stream=error), tmp_path, kind)
    assert (reply.text, reply.stop_reason) == ("", "refusal")
    assert reply.usage == (Usage(900, 1) if kind == "anthropic" else None)


def test_a_key_that_is_refused_is_told_in_the_server_s_words(tmp_path: Path) -> None:
    said = refused(Failure(401, f"key not allowed to access qwen3, {KEY}"), tmp_path)
    assert "key not allowed to access qwen3" in said and "check AUTORESEARCH_API_KEY" in said
    assert KEY not in said


@pytest.mark.parametrize(
    "words", ["cache_control.ttl: Extra inputs are not permitted", "system: Input should be a "
              "valid string"]
)  # fmt: skip
def test_cache_marks_give_way(tmp_path: Path, words: str) -> None:
    with Server(Failure(400, words), Answer()) as server:
        assert ask(open_at("anthropic", server.url, bare_environ(tmp_path))).text == EDIT
        body = server.posts[1].body
    assert isinstance(body["system"], str) and isinstance(body["messages"][0]["content"], str)


@TWO
def test_an_answer_of_another_kind_is_quoted(tmp_path: Path, kind: str) -> None:
    step = whole({"choices": None, "base_resp": {"status_code": 1004, "status_msg": SAID}})
    with Server(step) as server:
        caught = failure(open_at(kind, server.url, bare_environ(tmp_path)))
    assert isinstance(caught, Unavailable)
    assert SAID in str(caught)
