"""Answers of servers that are not as their API's documentation says, and what comes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clients import ask, bare_environ, failure, open_at
from model_server import EDIT, Answer, Raw, Server, Step, _chat, _messages

from agent.models.types import Misconfigured, Reply

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


TEXT = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": EDIT}}
"""An event of the Messages API with all of the text."""
