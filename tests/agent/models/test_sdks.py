"""The clients of both APIs, through the real SDKs: what is sent, and what a reply comes to."""

from __future__ import annotations

from pathlib import Path

import pytest
from clients import BOTH, PROMPT, Open, ask, failure
from model_server import EDIT, Answer, Failure, Server

from agent.models.types import Misconfigured, Part, Prompt, Unavailable, Usage

# --- a good answer ---


@BOTH
def test_text_usage_and_model_come_back(opened: Open, kind: str) -> None:
    answer = Answer(
        thinking="<<<<<<< SEARCH is how a block begins", input=900, output=70, cache_read=500,
        cache_write=20, reasoning=11,
    )  # fmt: skip
    with Server(answer) as server:
        reply = ask(opened(kind, server))
        assert server.posts[0].body["stream"], "so that the time-out is for a silence"
    assert reply.text == EDIT
    assert (reply.stop_reason, reply.model) == ("end", "fake-1")
    assert reply.usage == Usage(900, 70, cache_read=500, cache_write=20, reasoning=11)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"<think>\n<<<<<<< SEARCH\n</think>\n\n{EDIT}", EDIT),
        (f"so, thinking ...</think>\n{EDIT}", EDIT),
        (f"<think>never done\n{EDIT[:-20]}", ""),
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
def test_an_empty_reply_is_a_reply(opened: Open, kind: str) -> None:
    with Server(Answer(text="", thinking="hm")) as server:
        reply = ask(opened(kind, server))
    assert (reply.text, reply.stop_reason) == ("", "end")


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
@pytest.mark.parametrize("body", [b"hello", b"event: x\ndata: {not json\n\n", b""])
def test_garbage_is_an_outage(opened: Open, kind: str, body: bytes) -> None:
    with Server(Failure(200, body=body, content_type="text/html")) as server:
        assert isinstance(failure(opened(kind, server)), Unavailable)


@BOTH
def test_usage_that_is_not_told_is_unknown(opened: Open, kind: str) -> None:
    with Server(Answer(usage=False)) as server:
        usage = ask(opened(kind, server)).usage
    assert (usage is None) == (kind != "anthropic"), "Messages always tells"
