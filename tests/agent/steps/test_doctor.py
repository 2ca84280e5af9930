"""A server that cuts a long prompt without a word is found out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clients import KEY
from model_server import Answer, Failure, Request, Server, Step
from project import agent, clone

from agent.models.choose import open_model
from agent.models.types import Model
from agent.steps import doctor
from agent.steps.doctor import cut_short
from trainer.data.prepare import DataError
from trainer.sandbox.confine import available

if TYPE_CHECKING:
    from tests.agent.conftest import Git

CONTEXT_CHARACTERS = 12_000


NAMES = (
    *("python", "git", "repository", "filters", "identity", "cache", "disk", "device", "corpus"),
    *("program", "workers", "isolation", "pace", "llm"),
)


@pytest.mark.process
def test_where_all_is_well_it_tells_pace_and_what_a_night_holds(tmp_path: Path) -> None:
    done = agent(clone(tmp_path), "doctor", "--llm", "none", "--json", check=False)
    found = {check["check"]: check for check in json.loads(done.stdout)}
    assert {*NAMES, "night"} <= found.keys(), done.stderr
    assert done.returncode == (0 if available()[0] == "os" else 1), done.stdout
    assert re.fullmatch(r"[\d,.]+ steps, [\d,]+ tokens a second", found["pace"]["detail"])
    assert re.search(r"8 h hold about [1-9][\d,]* trials", found["night"]["detail"])
    assert "GB free for campaigns" in found["disk"]["detail"]


@pytest.mark.process
def test_nothing_that_fails_stops_another_check_or_tells_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("AUTORESEARCH_API_KEY", KEY)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)

    def bug() -> str:
        raise ZeroDivisionError(f"{KEY}\nin a check")

    monkeypatch.setattr(doctor, "_device", bug)
    with Server(Failure(401, f"the key {KEY} is not known")) as server:
        found = {c.check: c for c in doctor.checks(tmp_path, f"openai:m@{server.url}/v1")}
    assert set(NAMES) <= found.keys()
    failed = {name for name, check in found.items() if not check.ok}
    assert failed - {"isolation", "doors"} == {
        *("repository", "cache", "device", "corpus"),
        *({"llm", "prompt"} & failed),
    }
    assert {"llm", "prompt"} & failed
    assert (
        "AUTORESEARCH_CACHE" in found["cache"].detail and "git init" in found["repository"].detail
    )
    for name in ("program", "pace"):
        assert found[name].detail == "not looked at, since repository failed"
    assert found["device"].detail.startswith("ZeroDivisionError: ")
    assert found["identity"].detail.startswith("none; a run needs none, adopt does")
    assert KEY not in str(found) and not any("\n" in check.detail for check in found.values())


def test_too_little_room_and_programs_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, git: Git
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path))
    assert "GB free" in doctor._cache()
    monkeypatch.setattr(doctor, "_FREE_GB", 1e9)
    with pytest.raises(DataError, match="GB needed; free some, or set AUTORESEARCH_CACHE"):
        doctor._cache()
    git(tmp_path, "init", "--quiet")
    assert doctor._filters(tmp_path) == "none"
    git(tmp_path, "config", "filter.lfs.process", "git-lfs-of-nowhere filter-process")
    git(tmp_path, "config", "filter.ok.smudge", "cat %f")
    git(tmp_path, "config", "filter.my own.smudge", "echo it's %f")
    assert doctor._filters(tmp_path).startswith(
        "not usable: filter.lfs.process (git-lfs-of-nowhere), filter.my own.smudge, which no shell "
        "can read (echo it's %f: No closing quotation; git config --edit); a run does without"
    )


@pytest.mark.parametrize(
    ("text", "ok", "words"),
    [
        ("---\nhours: 8\nmax_cost: 2\n---\n", True, "settings: hours, max_cost; categories: sizes"),
        ("", True, "settings: none, so the defaults hold; categories: sizes"),
        (
            "---\nhours: 8\n",
            False,
            "line 1: the front matter that '---' opens is not closed: end it",
        ),
        ("---\nhours: [\n---\n", False, "line 2: not YAML: .*write 'name: value' lines"),
        (
            "---\nmax-csot: 8\n---\n",
            False,
            "line 2: unknown setting max-csot; did you mean max_cost",
        ),
        ("---\nhours: 8 h\n---\n", False, "line 2: hours: .*write it in digits"),
        (None, False, "cannot be read: No such file .*git checkout program.md brings it back"),
    ],
)
def test_program_md_is_looked_at(text: str | None, ok: bool, words: str, user_repo: Path) -> None:
    (user_repo / "program.md").unlink(missing_ok=True)
    if text is not None:
        (user_repo / "program.md").write_text(f"{text}## Categories\n- **sizes**: widths\n")
    (found,) = doctor._looked("program", lambda: doctor._program(user_repo / "trainer"))
    assert found.ok == ok and re.search(words, found.detail)


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
