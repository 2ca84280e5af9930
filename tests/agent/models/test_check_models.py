"""The script that people with keys run, against a server that speaks both protocols."""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from clients import KEY
from model_server import EDIT, Answer, Request, Server, Step

PATH = Path(__file__).parents[3] / "examples" / "check_models.py"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_models", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def edit() -> str:
    """One that applies to the shipped train.py: of its first constant."""
    source = (PATH.parents[1] / "trainer" / "train.py").read_text()
    line = next(line for line in source.splitlines() if re.match(r"[A-Z_]+ = \d+", line))
    return (
        "title: one more\ncategory: hyperparameters\nhypothesis: more is more\n"
        f"<<<<<<< SEARCH\n{line}\n=======\n{re.sub('= ', '= 1', line, count=1)}\n"
        ">>>>>>> REPLACE\n"
    )


class Vendor(Server):
    """Answers as a model would that reads everything and caches what it has read once."""

    def __init__(self, *, caches: bool = True, cuts: bool = True, quotes: bool = True) -> None:
        super().__init__(Answer())
        self.caches, self.cuts, self.quotes = caches, cuts, quotes

    def next_step(self, request: Request) -> Step:
        answer = super().next_step(request)
        assert isinstance(answer, Answer)
        text = str(request.body)
        if "Propose one edit" in text:
            return replace(answer, text=edit() if self.quotes else EDIT.replace("WARM", "COOL"))
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
    assert all(line.startswith("ok") for line in said)
    assert KEY not in "".join(said)


def test_what_fails_is_named(environ: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with Vendor(caches=False, cuts=False, quotes=False) as server:
        environ.setenv("OPENAI_API_KEY", KEY)
        environ.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        status = script().main(["openai:unheard-of"], said.append)
    assert status == 1
    failed = [line for line in said if line.startswith("FAIL")]
    assert len(failed) == 4, said
    assert "has a price: unknown" in failed[0]
    assert "caches the beginning" in failed[1]
    assert "a cut reply is known: end" in failed[2]
    assert "proposes an edit that applies: " in failed[3]


def test_cache_and_price_of_a_server_of_one_s_own_are_notes(environ: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with Vendor(caches=False) as server:
        status = script().main([f"openai:unheard-of@{server.url}/v1"], said.append)
    assert status == 0, said
    assert [line.split(": ")[1] for line in said if line.startswith("note")] == [
        "has a price",
        "caches the beginning",
    ]


def test_no_key_and_no_such_model(environ: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    assert script().main([], said.append) == 1
    assert script().main(["magic:9", "magic", "none"], said.append) == 1
    assert "no model to check" in said[0]
    assert "there is no model 'magic:9'" in said[1]
    assert "there is no model 'magic'" in said[2]
    assert "none is no model" in said[3]


def test_a_key_in_a_spec_is_not_shown(environ: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    specs = ["openai:m@http://h/v1?api_key=hunter2", "openai:m@http://me:hunter2@h/v1"]
    assert script().main(specs, said.append) == 1
    assert ["must hold no password" in line for line in said] == [True, True]
    assert "hunter2" not in "".join(said)


def test_local_is_not_asked_what_is_too_long_for_it(environ: pytest.MonkeyPatch) -> None:
    class Local:
        name = "local"

    said: list[str] = []
    module = script()
    environ.setattr(module, "open_model", lambda spec, environ: (Local(), "as asked"))
    assert module.main(["local"], said.append) == 1
    assert "doctor --llm local" in said[0]


@pytest.mark.process
def test_a_program_is_asked_for_an_edit_only(environ: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    spec = f"command:{sys.executable} {PATH.with_name('stub_agent.py')}"
    assert script().main([spec], said.append) == 0, said
    assert [line.split(": ", 2)[-1].split(" from ")[0] for line in said] == ["BATCH_ROWS"]
