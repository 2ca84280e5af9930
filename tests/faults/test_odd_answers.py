"""Answers that are not as their API's documentation says: what is meant is read, or it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clients import TWO, ask, bare_environ, failure, open_at
from model_server import EDIT, Answer, Raw, Server
from odd_answers import TEXT, answers, chunk, events, stream, whole

from agent.models import http
from agent.models.types import Unavailable, Usage

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
        whole({"choices": [{"message": EDIT, "finish_reason": "stop"}]}),
        events({"choices": [{"delta": {"text": EDIT}, "finish_reason": "stop"}]}),
        whole({"type": "message", "content": [{"type": "text", "text": EDIT}]}),
        events(TEXT, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, done=False),
        whole({"completion": EDIT, "stop_reason": "stop_sequence"}),
        whole([WHOLE]),
        whole([chunk(EDIT[:9]), chunk(EDIT[9:], finish_reason="stop")]),
        whole({"code": 0, "msg": "ok", "data": WHOLE}),
        whole({"result": {"response": EDIT}, "success": True, "errors": [], "messages": []}),
        Raw((json.dumps(chunk(EDIT[:5])).encode(), b"\n", json.dumps(chunk(EDIT[5:])).encode())),
    ],
)
def test_chat_completions_in_any_form_are_read(tmp_path: Path, step: Raw) -> None:
    reply = answers(step, tmp_path)
    assert (reply.text, reply.stop_reason, reply.model) == (EDIT, "end", "qwen3:8b")


END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
ODD = {"type": "content_block_start", "content_block": {"type": "new_kind", "text": "not this"}}


@pytest.mark.parametrize(
    "step",
    [
        whole(
            {"type": "message", "content": [{"type": "text", "text": EDIT}], "stop_reason": None}
        ),
        whole({"content": [{"text": EDIT}], "model": 7, "usage": []}),
        whole({"completion": EDIT, "stop_reason": "stop_sequence"}),
        events({"type": "content_block_delta", "delta": EDIT}, END, done=False),
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
