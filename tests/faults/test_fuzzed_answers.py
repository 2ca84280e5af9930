"""Answers of any bytes and any JSON, to the real SDKs: a reply or an error of ours, no hang."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import TWO, ask, bare_environ, open_at
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_server import Answer, Raw, Server, _chat, _messages

from agent.models.types import Model, ModelError, Reply

FAST = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip

WORDS = """\
choices delta message content text type finish_reason stop_reason usage error detail code status
model index content_block prompt_tokens output_tokens completion_tokens_details refusal stop_details
prompt_tokens_details"""
KEYS = st.sampled_from(WORDS.split())
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from(["text", "stop", "message_stop", "content_block_delta", "error", "message"]),
)  # fmt: skip
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
STATUS = st.sampled_from([200, 200, 200, 200, 400, 404, 422, 301])


@pytest.fixture(params=TWO.args[1])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def model(server: Server, kind: str, tmp_path: Path) -> Model:
    model = open_at(kind, server.url, bare_environ(tmp_path))
    model.max_retries = 0  # type: ignore[attr-defined]
    return model


def check(server: Server, model: Model, step: Raw) -> None:
    """No exception but ours comes out, and what comes out is of the types that it says."""
    server.script = [step]
    try:
        reply = ask(model)
    except ModelError as error:
        assert str(error) and "\n" not in str(error)
        assert len(str(error)) < 2000
        return
    assert isinstance(reply, Reply)
    assert all(isinstance(text, str) for text in (reply.text, reply.model, reply.detail))
    reply.text.encode()
    assert reply.usage is None or min(reply.usage.input, reply.usage.output) >= 0


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """A stream with pieces replaced, left out, doubled or compressed."""

    @st.composite
    def make(draw: st.DrawFn) -> bytes:
        result = data
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(result)))
            end = start + draw(st.integers(0, 30))
            piece = draw(st.binary(max_size=6) | st.sampled_from([b"\n", b"\r", b"null", b'"']))
            result = result[:start] + piece + result[end:]
        return zlib.compress(result) if draw(st.integers(0, 9)) == 0 else result

    return make()


@pytest.mark.process
def test_damaged_streams(server: Server, model: Model, kind: str) -> None:
    whole = b"".join((_messages if kind == "anthropic" else _chat)(Answer(thinking="hm")))

    @FAST
    @given(damaged(whole), st.integers(1, 400), STATUS)
    def each(data: bytes, size: int, status: int) -> None:
        chunks = tuple(data[i : i + size] for i in range(0, len(data), size))
        check(server, model, Raw(chunks, status))

    each()


@pytest.mark.process
def test_values_of_any_type(server: Server, model: Model) -> None:
    @FAST
    @given(st.lists(ANY, max_size=4), st.booleans(), STATUS)
    def each(values: list[Any], is_stream: bool, status: int) -> None:
        texts = [json.dumps(value).encode() for value in values]
        chunks = [b"data: " + text + b"\n\n" for text in texts] if is_stream else texts[:1]
        check(
            server, model, Raw((*chunks, b"data: [DONE]\n\n") if is_stream else (*chunks,), status)
        )

    each()


LONG: list[Callable[[int], str]] = [
    lambda n: '{"error": ' * n + '"x"' + "}" * n,
    lambda n: '{"choices": [{"delta": {"content": ' + '[{"text": ' * n + '"x"' + "}]" * n + "}}]}",
    lambda n: '{"content": ' + "[" * n + "]" * n + "}",
    lambda n: "[" * n + "]" * n,
    lambda n: '{"usage": {"prompt_tokens": ' + "9" * 9 * n + "}}",
    lambda n: '{"detail": ' + "[" * n + '{"msg": "x"}' + "]" * n + "}",
    lambda n: '{"x": ' + '{"y": ' * n + "1" + "}" * n + "}",
    lambda n: '{"error": "' + "system role " * 9 * n + '"}',
    lambda n: "<html>" + "<script" * 9 * n,
]


@pytest.mark.parametrize("make", LONG)
@pytest.mark.parametrize(
    ("form", "status"),
    [
        ("data: %s\n\n", 200),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("%s", 200), ("data: %s\n\n", 400), ("%s", 400))
        ),
    ],
)
def test_deep_and_long_ones(
    server: Server, model: Model, make: Callable[[int], str], status: int, form: str
) -> None:
    for depth in (250, 450, 900):  # the last is too deep for the JSON reader
        check(server, model, Raw(((form % make(depth)).encode(),), status))
