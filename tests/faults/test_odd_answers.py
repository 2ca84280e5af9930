"""Answers that are not as their API's documentation says: what is meant is read, or it is told."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from clients import TWO, ask, bare_environ, failure, open_at
from model_server import EDIT, Answer, Failure, Raw, Server, Step, _chat, _messages

from agent.models import http
from agent.models.types import Misconfigured, Reply, Unavailable, Usage

JSON = {"content-type": "application/json"}


def answers(step: Step, home: Path, kind: str = "own server") -> Reply:
    with Server(step) as server:
        reply = ask(open_at(kind, server.url, bare_environ(home)))
        assert len(server.posts) == 1
        return reply


def refused(step: Step, home: Path, kind: str = "own server") -> str:
    with Server(step) as server:
        error = failure(open_at(kind, server.url, bare_environ(home)))
        assert len(server.posts) == 1, "asking again would not help"
    assert isinstance(error, Misconfigured)
    return str(error)


def stream(kind: str, text: str = EDIT) -> bytes:
    answer = Answer(text=text, thinking="hm")
    return b"".join(_messages(answer) if kind == "anthropic" else _chat(answer))


def events(*values: Any, done: bool = True) -> Raw:
    lines = [f"data: {v if isinstance(v, str) else json.dumps(v)}\n\n".encode() for v in values]
    return Raw((*lines, b"data: [DONE]\n\n") if done else tuple(lines))


def whole(value: Any) -> Raw:
    return Raw((json.dumps(value, indent=1).encode(),), headers=JSON)


def chunk(text: Any, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, **fields}]}


# --- bytes ---


def pieces(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[i : i + size] for i in range(0, len(data), size))


@TWO
@pytest.mark.parametrize(
    "form",
    [
        "bytes", "crlf", "cr", "no space", "comments", "bom", "gzip", "zlib", "single line ends",
        "no last line end",
    ],
)  # fmt: skip
def test_a_stream_in_any_form_is_read(tmp_path: Path, kind: str, form: str) -> None:
    text = EDIT + "# π ≈ 3, 💡\n"
    data = (
        stream(kind, text)
        .replace(rb"\u03c0", "π".encode())
        .replace(rb"\ud83d\udca1", b"\xf0\x9f\x92\xa1")
    )
    packer = zlib.compressobj(wbits=31)
    changed = {
        "bytes": data,
        "crlf": data.replace(b"\n", b"\r\n"),
        "cr": data.replace(b"\n", b"\r"),
        "no space": data.replace(b"data: ", b"data:"),
        "comments": b": hello\n\n" + data.replace(b"\n\n", b"\n\n: ping\n\nretry: 3\nid: 1\n\n"),
        "bom": b"\xef\xbb\xbf" + data,
        "gzip": packer.compress(data) + packer.flush(),
        "zlib": zlib.compress(data),
        "single line ends": data.replace(b"\n\n", b"\n") if kind != "anthropic" else data,
        "no last line end": data.rstrip(b"\n"),
    }[form]
    reply = answers(Raw(pieces(changed, 7)), tmp_path, kind)
    assert (reply.text, reply.stop_reason) == (text, "end")


@pytest.mark.parametrize("halves", [(b"\xc3", b"\xa9"), (rb"\ud83d", rb"\udc80")])
def test_a_character_divided_between_two_events_is_put_together(
    tmp_path: Path, halves: tuple[bytes, bytes]
) -> None:
    data = b"".join(
        b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % half for half in halves
    )
    text = answers(Raw((data, b"data: [DONE]\n\n")), tmp_path).text
    assert text in ("é", "\N{SKULL}")


def test_reasoning_only_is_told(tmp_path: Path) -> None:
    reply = answers(events(chunk("<think>hm", finish_reason="stop")), tmp_path)
    assert (reply.text, reply.detail) == ("", "it is reasoning only")


def test_half_a_character_is_no_character(tmp_path: Path) -> None:
    data = b'data: {"choices": [{"delta": {"content": "caf\xc3"}, "finish_reason": "stop"}]}\n\n'
    assert answers(Raw((data,)), tmp_path).text == "caf\N{REPLACEMENT CHARACTER}"


@TWO
@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00",
        b"\x1f\x8b\x08broken",
        b"[" * 100_000,
        b'data: {"a": ' * 9,
        b"data: nul\x00\n\n",
    ],
)
def test_what_cannot_be_read_is_an_outage(tmp_path: Path, kind: str, body: bytes) -> None:
    with Server(Raw((body,))) as server:
        assert isinstance(failure(open_at(kind, server.url, bare_environ(tmp_path))), Unavailable)


# --- forms ---

MESSAGE = {"role": "assistant", "content": EDIT}
WHOLE = {"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    "step",
    [
        whole(WHOLE),
        whole(WHOLE | {"model": None, "usage": None, "created": 1.5, "error": None}),
        whole({"choices": [{"message": {"content": [{"type": "text", "text": EDIT}]}}]}),
        whole({"choices": [{"text": EDIT, "finish_reason": "eos"}]}),
        whole({"message": MESSAGE, "done": True}),
        events({"choices": []}, {"choices": None}, {}, chunk(EDIT, finish_reason="stop")),
        events(chunk(None), chunk(EDIT[:9]), {"choices": [{"delta": None}]}, chunk(EDIT[9:])),
        events({"choices": [{"message": MESSAGE, "finish_reason": "stop"}]}),
        events(chunk(EDIT), WHOLE),
        events(chunk(EDIT, finishReason="STOP"), done=False),
        events(chunk(EDIT, finish_reason=None, done_reason="stop"), done=False),
        events(chunk([{"type": "thinking", "thinking": [{"text": "x"}]}, {"text": EDIT}])),
        events(chunk(EDIT, finish_reason="null", index="0", logprobs=3), {"usage": "none"}),
        events(chunk(EDIT), {"choices": [], "usage": {"prompt_tokens": 9}}, done=False),
        events(chunk(EDIT, finish_reason=1), done=False),
        Raw((b"data: %s\n\ndata: [done]\n\n" % json.dumps(chunk(EDIT)).encode(),)),
        Raw((b"data: %s\n\nevent: done\ndata: \n\n" % json.dumps(chunk(EDIT)).encode(),)),
        events(*(chunk(EDIT[:end]) for end in (1, 2, 20, 40, None))),
        events({"choices": [{"index": 1, "delta": {"content": "not this"}}]}, chunk(EDIT)),
        events(
            {
                "choices": [
                    {"index": 0, "delta": {"content": EDIT}},
                    {"index": 1, "delta": {"content": "not this"}},
                ]
            }
        ),
        events({"choices": [{"delta": EDIT}]}),
        events({"choices": chunk(EDIT)["choices"][0]}),
        events(
            {"content": EDIT[:9], "stop": False}, {"content": EDIT[9:], "stop": True}, done=False
        ),
        events({"response": EDIT, "done": False}, {"response": "", "done": True}, done=False),
        Raw((json.dumps(chunk(EDIT[:5])).encode(), b"\n", json.dumps(chunk(EDIT[5:])).encode())),
    ],
)
def test_chat_completions_in_any_form_are_read(tmp_path: Path, step: Raw) -> None:
    reply = answers(step, tmp_path)
    assert (reply.text, reply.stop_reason, reply.model) == (EDIT, "end", "qwen3:8b")


TEXT = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": EDIT}}
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
ODD = {"type": "content_block_start", "content_block": {"type": "new_kind", "text": "not this"}}


@pytest.mark.parametrize(
    "step",
    [
        whole(
            {"type": "message", "content": [{"type": "text", "text": EDIT}], "stop_reason": None}
        ),
        whole({"content": [{"text": EDIT}], "model": 7, "usage": []}),
        events(TEXT, END, done=False),
        events(
            {"type": "message_start", "message": {"content": [{"type": "text", "text": EDIT}]}},
            TEXT,
            END,
        ),
        events({"type": "message_start", "message": None}, ODD, TEXT, {"type": "message_stop"}),
        events({"type": "ping"}, {"type": "unknown"}, None, [], TEXT, END | {"usage": None}),
    ],
)
def test_messages_in_any_form_are_read(tmp_path: Path, step: Raw) -> None:
    reply = answers(step, tmp_path, "anthropic")
    assert (reply.text, reply.stop_reason, reply.usage) == (EDIT, "end", None)
    assert reply.model == "claude-sonnet-5-5"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        *(
            (word, "end")
            for word in ("stop", "STOP", "eos", "eos_token", "end_turn", "end-of-text")
        ),
        *(
            (word, "end")
            for word in ("FinishReason.STOP", "completed", "<|eot_id|>", "stop_sequence")
        ),
        *((word, "length") for word in ("max_tokens", "MAX_TOKENS", "length", "incomplete")),
        *((word, "refusal") for word in ("content_filter", "SAFETY", "FinishReason.RECITATION")),
        *((word, "other") for word in ("tool_calls", "tool_use", "pause_turn", "suspended")),
    ],
)
def test_why_it_stopped_in_other_words(tmp_path: Path, word: str, reason: str) -> None:
    assert answers(events(chunk(EDIT, finish_reason=word)), tmp_path).stop_reason == reason
    end = {"type": "message_delta", "delta": {"stop_reason": word}}
    assert answers(events(TEXT, end, done=False), tmp_path, "anthropic").stop_reason == reason


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3}, Usage(7, 3)),
        ({"prompt_tokens": "7", "completion_tokens": 3.0}, Usage(7, 3)),
        ({"input_tokens": 7, "output_tokens": 3}, Usage(7, 3)),
        ({"prompt_tokens": None, "completion_tokens": 3, "prompt_tokens_details": []}, Usage(0, 3)),
        ({"prompt_tokens": -7, "completion_tokens": True}, None),
        ({"prompt_tokens": float("inf"), "completion_tokens": 10**400}, None),
        ([7, 3], None),
        ("7", None),
    ],
)
def test_usage_of_any_type(tmp_path: Path, usage: Any, read: Usage | None) -> None:
    step = events(chunk(EDIT, finish_reason="stop"), {"choices": [], "usage": usage})
    assert answers(step, tmp_path).usage == read


# --- ends ---


def test_done_is_an_end_without_a_reason(tmp_path: Path) -> None:
    assert answers(events(chunk(EDIT)), tmp_path).stop_reason == "end"


@pytest.mark.parametrize(
    "step",
    [
        events(chunk(EDIT), done=False),
        events(chunk("")),
        events(chunk(EDIT, finish_reason="error", error={"message": "upstream"})),
        events(chunk(EDIT, finish_reason="abort")),
    ],
)
def test_what_has_no_end_is_an_outage(tmp_path: Path, step: Raw) -> None:
    with Server(step) as server:
        error = failure(open_at("own server", server.url, bare_environ(tmp_path)))
    assert isinstance(error, Unavailable)


def test_nothing_is_waited_for_after_the_end(tmp_path: Path) -> None:
    """A server may keep the connection open."""
    with Server(Answer(stop="stalled")) as server:
        data = stream("own server")
        server.script = [Raw((data, b": ping\n\n" * 9))]
        assert ask(open_at("own server", server.url, bare_environ(tmp_path))).text == EDIT


@TWO
@pytest.mark.parametrize("sign", [b": ping\n\n", b'event: ping\ndata: {"type": "ping"}\n\n'])
def test_signs_of_life_are_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, sign: bytes
) -> None:
    """The server would go on for half a minute, and each sign comes before the time-out."""
    monkeypatch.setattr(http, "LIFE_SIGNS", 0.001)
    with Server(Raw((sign,) * 3000, pause=0.01)) as server:
        error = failure(open_at(kind, server.url, bare_environ(tmp_path)))
    assert isinstance(error, Unavailable)
    assert "nothing but signs of life" in str(error)


# --- errors ---

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
        (429, "Quota exceeded, please check your plan and billing details", Unavailable, "outage"),
        (403, "Rate limit exceeded, retry in 10 minutes", Unavailable, "outage"),
        (400, "The server is overloaded, please try again", Unavailable, "outage"),
        (403, "Country not supported", Misconfigured, ""),
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


# --- addresses ---

HTML = b"<!DOCTYPE html>\n<html><title>Welcome</title></html>"
WRONG: Sequence[Step] = [
    whole({"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
    Failure(200, body=HTML, content_type="text/html"),
    Failure(404, body=HTML, content_type="text/html"),
    Failure(405, body=b'{"detail": "Method Not Allowed"}'),
    Failure(404, body=b""),
    Failure(200, body=b"<center>nginx</center>", content_type="text/html"),
]
NOT_THIS_API: Sequence[Step] = [
    Failure(200, body=b"Ollama is running", content_type="text/plain"),
    Failure(200, body=b"", content_type="text/plain"),
    whole({"status": "ok"}),
    whole({"object": "list", "data": [{"id": "x"}]}),
]


@pytest.mark.parametrize("step", [*WRONG, *NOT_THIS_API])
@pytest.mark.parametrize(
    ("path", "right"),
    [("", "/v1"), ("/v1/chat/completions", "/v1"), ("/v2", "/v1"), ("/api", "/api/v1")],
)
def test_the_right_address_is_told(tmp_path: Path, step: Step, path: str, right: str) -> None:
    with Server(step, lists={f"{right}/models": ["gemma"]}) as server:
        error = failure(open_at("openai", server.url, bare_environ(tmp_path), path))
        asked = [request.headers.get("authorization") for request in server.requests]
    assert isinstance(error, Misconfigured)
    assert f"{server.url}{path}/chat/completions" in str(error)
    assert f"the right address is {server.url}{right}, which has the models gemma" in str(error)
    assert len(set(asked)) == 1


@pytest.mark.parametrize("step", WRONG)
def test_an_address_that_cannot_be_guessed(tmp_path: Path, step: Step) -> None:
    said = refused(step, tmp_path, "anthropic")
    assert "/v1/messages" in said
    assert "check the address" in said


def test_another_model_s_name(tmp_path: Path) -> None:
    fault = Failure(404, "The model `qwen3:8b` does not exist.", "NotFoundError")
    with Server(fault, lists={"/v1/models": ["qwen3.5", "gemma"]}) as server:
        error = failure(open_at("own server", server.url, bare_environ(tmp_path)))
    assert "this server has the models qwen3.5, gemma" in str(error)
