"""Models that talk to a server on loopback, and the waits that their SDKs ask for."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from clients import KEY, Open, bare_environ
from model_server import Server

from agent.models import choose
from agent.models.choose import open_model
from agent.models.types import Model


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
