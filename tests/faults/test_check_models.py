"""The script that people with keys run, against a server that speaks both protocols."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from common import KEY
from server import Answer, Request, Server, Step

PATH = Path(__file__).parents[2] / "examples" / "check_models.py"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_models", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Vendor(Server):
    """Answers as a model would that reads everything and caches what it has read once."""

    def __init__(self, *, caches: bool = True, cuts: bool = True) -> None:
        super().__init__(Answer())
        self.caches, self.cuts = caches, cuts

    def next_step(self, request: Request) -> Step:
        answer = super().next_step(request)
        assert isinstance(answer, Answer)
        text = str(request.body)
        if word := re.search(r"codeword is (\w+)", text):
            return replace(answer, text=word[1], input=20_000)
        if self.cuts and "4000, all" in text:
            return replace(answer, text="1 2 3", stop="length")
        cached = 2_000 if self.caches and len(self.posts) > 1 else 0
        return replace(answer, text=" ".join(map(str, range(1, 41))), cache_read=cached)


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return monkeypatch


@pytest.mark.parametrize("kind", ["anthropic", "openai"])
def test_all_is_well(kind: str, environ: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with Vendor() as server:
        environ.setenv(f"{kind.upper()}_API_KEY", KEY)
        url = server.url if kind == "anthropic" else f"{server.url}/v1"
        environ.setenv(f"{kind.upper()}_BASE_URL", url)
        status = script().main([], said.append)
    assert status == 0, said
    assert len(said) == 7
    assert KEY not in "".join(said)


def test_what_fails_is_named(environ: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with Vendor(caches=False, cuts=False) as server:
        status = script().main([f"openai:unheard-of@{server.url}/v1"], said.append)
    assert status == 1
    failed = [line for line in said if line.startswith("FAIL")]
    assert len(failed) == 3, said
    assert "has a price: unknown" in failed[0]
    assert "caches the beginning" in failed[1]
    assert "a cut reply is known: end" in failed[2]


def test_no_key_and_no_such_model(environ: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    assert script().main([], said.append) == 1
    assert script().main(["magic:9"], said.append) == 1
    assert "no model to check" in said[0]
    assert "there is no model 'magic:9'" in said[1]
