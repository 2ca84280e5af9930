"""What the tests of the clients share."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agent.models import choose
from agent.models.choose import open_model
from agent.models.types import Model, ModelError, Part, Prompt, Reply

TWO = pytest.mark.parametrize("kind", ["anthropic", "own server"])
"""One of each class of clients; ``BOTH`` has OpenAI's own fields as well."""
BOTH = pytest.mark.parametrize("kind", ["anthropic", "openai", "own server"])

Open = Callable[..., Model]

KEY = "sk-secret-0123456789abcdef"
PROMPT = Prompt(
    (
        Part("rules", "You are a researcher.\n", mark=True),
        Part("train.py", "WARMDOWN = 0.3\n", mark=True),
        Part("trial 1", "reverted\n", mark=True),
        Part("trial 2", "kept\n", mark=True),
        Part("focus", "Propose.\n"),
    )
)


def ask(model: Model, **options: object) -> Reply:
    return model.complete(PROMPT, max_tokens=1000, **options)  # type: ignore[arg-type]


def failure(model: Model) -> ModelError:
    with pytest.raises(ModelError) as caught:
        ask(model)
    return caught.value


def open_at(kind: str, url: str, environ: Mapping[str, str], path: str = "/v1") -> Model:
    """The model of a kind of ``BOTH`` that asks the server at ``url``."""
    keys = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY, choose.OWN_SERVER_KEY: KEY}
    urls = {"ANTHROPIC_BASE_URL": url, "OPENAI_BASE_URL": f"{url}{path}"}
    spec = {
        "anthropic": "anthropic:claude-sonnet-5-5",
        "openai": "openai:gpt-6.1-sol",
        "own server": f"openai:qwen3:8b@{url}",
    }[kind]
    model, _ = open_model(spec, {**environ, **keys, **urls})
    assert model is not None
    return model


def bare_environ(home: Path) -> dict[str, str]:
    """An environment with no key, no configuration, and nothing at Ollama's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "OLLAMA_HOST": f"http://127.0.0.1:{port}",
    }
