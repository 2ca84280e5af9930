"""Models that talk to a server on loopback, and the waits that their SDKs ask for."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from clients import Open, bare_environ, open_at
from model_server import Server

from agent.models.types import Model


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return bare_environ(tmp_path)


@pytest.fixture
def opened(environ: dict[str, str]) -> Open:
    """``opened(kind, server)``: a model of that kind which talks to the server."""

    def open_(kind: str, server: Server) -> Model:
        return open_at(kind, server.url, environ)

    return open_


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the SDKs would have slept before each retry, in seconds."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        asked.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return asked
