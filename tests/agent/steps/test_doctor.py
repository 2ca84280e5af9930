"""A server that cuts a long prompt without a word is found out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clients import KEY
from model_server import Answer, Request, Server, Step

from agent.models.choose import open_model
from agent.models.types import Model
from agent.steps import doctor
from agent.steps.doctor import cut_short

CONTEXT_CHARACTERS = 12_000


class Reader(Server):
    """Answers with the codeword if it is in what it reads: the last so many characters."""

    def __init__(self, reads: int, tells: bool) -> None:
        super().__init__(Answer(usage=tells))
        self.reads = reads

    def next_step(self, request: Request) -> Step:
        answer = super().next_step(request)
        assert isinstance(answer, Answer)
        text = " ".join(map(_text, request.body["messages"]))[-self.reads :]
        found = re.search(r"codeword is (\w+)", text)
        word = found[1] if found else "I do not know"
        return replace(answer, text=word, input=len(text) // 4)


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content)


def model_at(server: Server) -> Model:
    model, _ = open_model(f"openai:small@{server.url}/v1", {})
    assert model is not None
    return model


@pytest.mark.parametrize("tells", [True, False])
def test_a_whole_context(tells: bool) -> None:
    with Reader(10_000_000, tells) as server:
        assert cut_short(model_at(server)) == ""
    (asked,) = server.posts
    assert len(_text(asked.body["messages"][-1])) > 60_000


@pytest.mark.parametrize(("tells", "said"), [(True, "read 3,000 tokens"), (False, "did not know")])
def test_a_cut_context_is_named(tells: bool, said: str) -> None:
    with Reader(CONTEXT_CHARACTERS, tells) as server:
        found = cut_short(model_at(server))
    assert said in found
    assert "OLLAMA_CONTEXT_LENGTH" in found


def test_the_doctor_asks_a_server_of_ones_own() -> None:
    with Reader(CONTEXT_CHARACTERS, True) as server:
        spec = f"openai:small@{server.url}/v1"
        found = {check.check: check for check in doctor._llm(spec)}
    assert found["llm"].ok
    assert not found["prompt"].ok
    assert "OLLAMA_CONTEXT_LENGTH" in found["prompt"].detail


def test_the_doctor_asks_whoever_is_recorded_but_not_for_the_tape(tmp_path: Path) -> None:
    tape = tmp_path / "tape.jsonl"
    with Reader(10_000_000, True) as server:
        spec = f"openai:small@{server.url}/v1"
        found = {check.check: check for check in doctor._llm(f"cassette:{tape}+{spec}")}
        assert len(server.posts) == 1
        assert found["prompt"].ok
        assert tape.read_bytes() == b""
        replayed = {check.check: check for check in doctor._llm(f"cassette:{tape}")}
    assert replayed["prompt"].ok
    assert "not asked: a cassette" in replayed["prompt"].detail


def test_the_doctor_gives_the_local_model_no_long_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local:
        name = "local"

    monkeypatch.setattr(doctor, "open_model", lambda spec, environ: (Local(), "local, as asked"))
    found = {check.check: check for check in doctor._llm("local")}
    assert found["prompt"].ok
    assert "not asked: local" in found["prompt"].detail


def test_the_doctor_spends_no_money_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    with Reader(10_000_000, True) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        found = {check.check: check for check in doctor._llm("auto")}
        assert "not asked" in found["prompt"].detail
        assert server.posts == []
        (asked,) = [c for c in doctor._llm("openai:gpt-6-luna") if c.check == "prompt"]
    assert asked.ok
    assert KEY not in str(found)
