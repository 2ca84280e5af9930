"""Cassettes, the choice of a model, and what is known about models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from clients import KEY, PROMPT, ask
from model_server import EDIT, Answer, Server

from agent.models import catalog
from agent.models.choose import open_model
from agent.models.types import Misconfigured, Model, Part, Prompt


def opened(spec: str, environ: dict[str, str]) -> Model:
    model, _ = open_model(spec, environ)
    assert model is not None
    return model


# --- cassette ---


def test_cassette_round_trip(environ: dict[str, str], tmp_path: Path) -> None:
    tape = tmp_path / "a+b.jsonl"
    answers = [Answer("one", cache_read=7), Answer("two", stop="length")]
    with Server(*answers) as server:
        keys = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
        model, why = open_model(f"cassette:{tape}+anthropic:claude-sonnet-5-5", environ | keys)
        assert model is not None
        assert model.name == "anthropic:claude-sonnet-5-5"
        assert "recorded" in why
        recorded = [ask(model), ask(model)]
    assert KEY not in tape.read_text()
    player, _ = open_model(f"cassette:{tape}", environ)
    assert player is not None
    assert ask(player) == recorded[-1], "what was asked again, counts"
    assert catalog.load_catalog(environ).cost(recorded[-1].usage, player.name) == 0


@pytest.mark.process
def test_cassette_mismatch_names_the_part(environ: dict[str, str], tmp_path: Path) -> None:
    tape = tmp_path / "tape.jsonl"
    model = opened(f"cassette:{tape}+command:echo 1", environ)
    ask(model)
    changed = Prompt((*PROMPT.parts[:3], Part("trial 2", "reverted\n"), PROMPT.parts[4]))
    model.complete(changed, max_tokens=1000)
    player = opened(f"cassette:{tape}", environ)
    other = Prompt((*PROMPT.parts[:3], Part("trial 2", "kept\n"), Part("focus", "Now.\n")))
    with pytest.raises(Misconfigured, match=r"its request 1, the nearest, differs .* 'focus'"):
        player.complete(other, max_tokens=1000)
    with pytest.raises(Misconfigured, match="'max_tokens'"):
        player.complete(PROMPT, max_tokens=999)


ASKED = Prompt(
    (
        Part("rules", "Rules.", fixed="Rules."),
        Part("train.py", "RATE = 1; 5,000 tokens per second", fixed="RATE = 1"),
        Part("trial 1", "reverted, -0.0061 ± 0.002 in 1 heat"),
        Part("focus", "schedule; even", fixed="schedule"),
    ),
    trial=2,
)


def changed(prompt: Prompt, number: int, text: str, fixed: str = "") -> Prompt:
    parts = [*prompt.parts]
    parts[number] = replace(parts[number], text=text, fixed=fixed or parts[number].fixed)
    return replace(prompt, parts=tuple(parts))


@pytest.fixture
def tape(environ: dict[str, str], tmp_path: Path) -> Path:
    """Trial 2, the same again, asked by a run that was killed, and its second attempt."""
    tape = tmp_path / "tape.jsonl"
    faster = changed(ASKED, 1, "RATE = 1; 6,000 tokens per second")
    asks = [("one", ASKED), ("three", faster), ("two", replace(ASKED, attempt=1))]
    for text, prompt in asks:
        opened(f"cassette:{tape}+command:echo {text}", environ).complete(prompt, max_tokens=9)
    # Three commands are three models; here they stand for one.
    tape.write_text(re.sub(r'"command:echo \w+"', '"command:echo"', tape.read_text()))
    return tape


@pytest.mark.process
def test_replies_are_found_by_trial_and_attempt_whatever_was_measured(
    environ: dict[str, str], tape: Path
) -> None:
    def heard(prompt: Prompt) -> str:
        return opened(f"cassette:{tape}", environ).complete(prompt, max_tokens=9).text.strip()

    assert heard(ASKED) == heard(ASKED) == "one", "the same to the letter, as often as asked"
    slower = changed(ASKED, 1, "RATE = 1; 4,000 tokens per second")
    assert heard(changed(slower, 2, "reverted, -0.0042 ± 0.002 in 1 heat")) == "three", (
        "the last one counts"
    )
    assert heard(replace(slower, attempt=1)) == "two"
    left_out = replace(slower, parts=(*slower.parts[:2], slower.parts[3]))
    assert heard(left_out) == "three", "what is told of the history depends on how long it is"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (changed(ASKED, 0, "Others.", "Others."), "'rules'"),
        (changed(ASKED, 1, "RATE = 2", "RATE = 2"), "'train.py'"),
        (changed(ASKED, 3, "optimizer", "optimizer"), "'focus'"),
        (replace(ASKED, attempt=2), "trial 2, attempt 3"),
        (replace(ASKED, trial=1), "trial 1, attempt 1"),
        (replace(ASKED, trial=3), "ends with trial 2"),
    ],
)
@pytest.mark.process
def test_another_question_is_not_answered(
    environ: dict[str, str], tape: Path, other: Prompt, said: str
) -> None:
    with pytest.raises(Misconfigured, match=said):
        opened(f"cassette:{tape}", environ).complete(other, max_tokens=9)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ([ASKED, replace(ASKED, attempt=1)], ASKED),
        ([ASKED], replace(ASKED, trial=1)),
        ([replace(ASKED, trial=1)], changed(replace(ASKED, trial=1), 1, "RATE = 1; 6,000")),
    ],
)
@pytest.mark.process
def test_a_tape_takes_one_campaign_only(
    environ: dict[str, str], tmp_path: Path, first: list[Prompt], then: Prompt
) -> None:
    spec = f"cassette:{tmp_path / 'tape'}+command:echo one"
    for prompt in first:
        opened(spec, environ).complete(prompt, max_tokens=9)
    before = (tmp_path / "tape").read_bytes()
    with pytest.raises(Misconfigured, match="of another campaign"):
        opened(spec, environ).complete(then, max_tokens=9)
    assert (tmp_path / "tape").read_bytes() == before


@pytest.mark.process
def test_a_recording_that_was_killed_goes_on(environ: dict[str, str], tmp_path: Path) -> None:
    spec = f"cassette:{tmp_path / 'tape'}+command:echo one"
    one = replace(ASKED, trial=1)
    for prompt in (one, one, replace(one, attempt=1), ASKED, changed(ASKED, 1, "5,001")):
        opened(spec, environ).complete(prompt, max_tokens=9)
    assert len((tmp_path / "tape").read_bytes().splitlines()) == 5


@pytest.mark.parametrize("left", [5, 40])
@pytest.mark.process
def test_a_torn_last_line_is_dropped(environ: dict[str, str], tmp_path: Path, left: int) -> None:
    tape = tmp_path / "tape"
    spec = f"cassette:{tape}+command:echo one"
    opened(spec, environ).complete(ASKED, max_tokens=9)
    whole = tape.read_bytes()
    tape.write_bytes(whole + whole[:left])
    player = opened(f"cassette:{tape}", environ)
    assert player.complete(ASKED, max_tokens=9).text == "one\n"
    recorder = opened(spec, environ)
    assert tape.read_bytes() == whole + whole[:left], "opening alone changes nothing"
    recorder.complete(ASKED, max_tokens=9)
    assert tape.read_bytes() == whole + whole


def test_what_is_no_cassette_is_not_recorded_over(environ: dict[str, str], tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.write_text("mine, without a line end")
    with pytest.raises(Misconfigured, match="not a recorded reply"):
        opened(f"cassette:{notes}+command:echo one", environ)
    assert notes.read_text() == "mine, without a line end"


@pytest.mark.process
def test_a_cassette_of_two_models_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    for command in ("echo 1", "echo 2"):
        ask(opened(f"cassette:{tmp_path / 'tape'}+command:{command}", environ))
    with pytest.raises(Misconfigured, match="record one model a file"):
        open_model(f"cassette:{tmp_path / 'tape'}", environ)


@pytest.mark.parametrize("content", ["nonsense\n", '{"request": []}\n', "[]\n", "\n"])
def test_what_is_no_cassette(environ: dict[str, str], tmp_path: Path, content: str) -> None:
    tape = tmp_path / "tape.jsonl"
    tape.write_text(content)
    with pytest.raises(Misconfigured, match=r"tape.jsonl, line 1"):
        open_model(f"cassette:{tape}", environ)
    with pytest.raises(Misconfigured, match="cannot be read"):
        open_model(f"cassette:{tmp_path / 'nothing'}", environ)
    with pytest.raises(Misconfigured, match="cannot be written"):
        open_model(f"cassette:{tmp_path / 'no' / 'folder'}+command:cat", environ)


# --- choosing ---


@pytest.fixture
def ollama() -> Iterator[Server]:
    with Server(ollama=["nomic-embed-text:latest", "qwen3:8b", "gemma4:4b"]) as server:
        yield server


def test_auto_prefers_a_key(environ: dict[str, str], ollama: Server) -> None:
    environ["OLLAMA_HOST"] = ollama.url
    both = environ | {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY}
    model, why = open_model("auto", both)
    assert model is not None
    assert model.name == "anthropic:claude-sonnet-5-5"
    assert "because ANTHROPIC_API_KEY is set" in why
    model, why = open_model("auto", environ | {"OPENAI_API_KEY": KEY})
    assert model is not None
    assert model.name == "openai:gpt-6.1-sol"
    assert "because OPENAI_API_KEY is set" in why
    assert not ollama.requests


def test_auto_finds_ollama(environ: dict[str, str], ollama: Server) -> None:
    model, why = open_model("auto", environ | {"OLLAMA_HOST": ollama.url.removeprefix("http://")})
    assert model is not None
    assert model.name == f"openai:qwen3:8b@{ollama.url}/v1"
    assert "Ollama answers" in why
    assert ask(model).text == EDIT


def test_auto_without_anything_says_how_to_plug_one_in(environ: dict[str, str]) -> None:
    model, why = open_model("auto", environ)
    assert model is None
    assert f"no Ollama at {environ['OLLAMA_HOST']}" in why.splitlines()[0]
    assert "ANTHROPIC_API_KEY" in why
    assert "--llm openai:MODEL@" in why
    assert "--llm local" in why
    assert "--llm cassette:" in why
    assert len(why.splitlines()) <= 6


def test_an_ollama_without_models_is_no_model(environ: dict[str, str]) -> None:
    with Server(ollama=[]) as server:
        model, why = open_model("auto", environ | {"OLLAMA_HOST": server.url})
    assert model is None
    assert "has no model yet" in why


def test_something_else_at_ollama_s_address_is_no_model(environ: dict[str, str]) -> None:
    with Server() as server:
        assert open_model("auto", environ | {"OLLAMA_HOST": server.url})[0] is None


def test_none_is_none_even_with_a_key(environ: dict[str, str]) -> None:
    assert open_model("none", environ | {"OPENAI_API_KEY": KEY})[0] is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gpt", "there is no model 'gpt'; give auto, none"),
        ("local:smollm", "there is no model 'local:smollm'"),
        ("", "there is no model ''"),
        ("anthropic:", "for example anthropic:claude-"),
        ("openai", "for example openai:gpt-"),
        ("anthropic:claude-sonnet-5-5", "export ANTHROPIC_API_KEY="),
        ("openai:gpt-6.1-sol", "export OPENAI_API_KEY="),
        ("openai:m@localhost:8000", "must be a URL"),
        ("openai:m@http://me:hunter2@host/v1", "must hold no password"),
        ("openai:m@http://hunter2@host/v1", "must hold no password"),
        ("openai:m@https://host/v1?api_key=hunter2", "must hold no password"),
        ("openai:m@https://host/v1#hunter2", "must hold no password"),
        ("openai:m@host/v1?api_key=hunter2", "must hold no password"),
        ("opnai:m@https://host/v1?api_key=hunter2", "there is no model"),
        ("anthropic:m@https://host?api_key=hunter2", "no URL"),
        ("command:no-such-program --key hunter2", "there is no program"),
        ("command:cat --key hunter2 'unbalanced", "No closing quotation"),
        ("cassette:x+auto", "nothing to record"),
    ],
)
def test_bad_specs(environ: dict[str, str], spec: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said) as caught:
        open_model(spec, environ)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "variable"),
    [
        ("anthropic:m", "ANTHROPIC_BASE_URL"),
        ("openai:m", "OPENAI_BASE_URL"),
        ("auto", "OLLAMA_HOST"),
    ],
)
@pytest.mark.parametrize("url", ["http://me:hunter2@h/v1", "http://h/v1?key=hunter2", "http://h#k"])
def test_no_key_in_a_base_url(environ: dict[str, str], spec: str, variable: str, url: str) -> None:
    kind = spec.partition(":")[0].upper()
    with pytest.raises(Misconfigured, match=f"{variable} must hold no password") as caught:
        open_model(spec, environ | {f"{kind}_API_KEY": KEY, variable: url})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("cat --key sk-abcdefgh123", "cat --key [key]"),
        ("cat --api-key=Zm9vYmFy", "cat --api-key=[key]"),
        ("cat --token 'Zm9v' -x", "cat --token '[key]' -x"),
        ("sh -c 'API_KEY=Zm9vYmFy cat'", "sh -c 'API_KEY=[key] cat'"),
        ("cat https://me:Zm9v@host/", "cat https://[key]@host/"),
        ("cat Zm9vYmFy-of-the-environment", "cat [key]"),
        ("cat --max-tokens 100 --keyboard us", "cat --max-tokens 100 --keyboard us"),
    ],
)
def test_no_key_in_the_name_of_a_command(environ: dict[str, str], command: str, name: str) -> None:
    model, why = open_model(
        f"command:{command}", environ | {"GITHUB_PAT": "Zm9vYmFy-of-the-environment"}
    )
    assert model is not None
    assert model.name == f"command:{name}"
    assert why == f"command:{name}, as asked"


def test_a_version_after_an_at_belongs_to_the_name_of_a_model_of_anthropic(
    environ: dict[str, str],
) -> None:
    keys = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": "https://proxy.example"}
    model, _ = open_model("anthropic:claude-sonnet-4@20250514", environ | keys)
    assert model is not None
    assert model.name == "anthropic:claude-sonnet-4@20250514"


def test_a_revision_may_stand_before_the_url(environ: dict[str, str]) -> None:
    model, _ = open_model("openai:org/m@rev@http://h/v1", environ)
    assert model is not None
    assert (model.model, model.base_url) == ("org/m@rev", "http://h/v1")  # type: ignore[attr-defined]
    with pytest.raises(Misconfigured, match="names no model"):
        open_model("openai:@http://h/v1", environ)
