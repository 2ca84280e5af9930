"""Wrong addresses, and models that a server does not have: the right ones are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from clients import bare_environ, failure, open_at
from model_server import Failure, Server, Step
from odd_answers import refused, whole

from agent.models.types import Misconfigured

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
