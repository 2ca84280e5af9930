"""Keys: to whom they are sent, and that they are nowhere else."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from clients import BOTH, KEY, Open, ask
from model_server import Answer, Failure, Server, Step

from agent.models.choose import open_model
from agent.models.secrets import quote, scrub, secret_values
from agent.models.types import Misconfigured, ModelError


def test_a_vendor_s_key_is_not_sent_to_others(environ: dict[str, str]) -> None:
    with Server() as server:
        model, _ = open_model(f"openai:m@{server.url}", environ | {"OPENAI_API_KEY": KEY})
        assert model is not None
        ask(model)
        assert KEY not in str(server.posts[0])


def test_key_env_names_another_key(environ: dict[str, str], tmp_path: Path) -> None:
    with Server() as server:
        own = tmp_path / "mine.toml"
        own.write_text(f'[models."openai:m@{server.url}/v1"]\nkey_env = "ROUTER"\n')
        environ["AUTORESEARCH_MODELS"] = str(own)
        with pytest.raises(Misconfigured, match="export ROUTER="):
            open_model(f"openai:m@{server.url}", environ)
        model, _ = open_model(f"openai:m@{server.url}", environ | {"ROUTER": KEY})
        assert model is not None
        ask(model)
        assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"


@BOTH
def test_keys_are_nowhere(
    opened: Open,
    waits: list[float],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    faults: list[Step] = [
        Failure(401, f"Incorrect API key provided: {KEY}", "authentication_error"),
        Failure(400, f"header Authorization: Bearer {KEY}", "invalid_request_error"),
        Failure(529, f"request with {KEY} failed"),
        Failure(200, body=f"event: a\ndata: {KEY}\n\n".encode()),
        Answer(in_stream={"type": "api_error", "message": f"key {KEY}"}),
        Answer(stop="refusal", why=f"who sends {KEY}"),
        Answer(stop="cut"),
        Answer(text=f"a reply with {KEY}", model=f"model {KEY}"),
        Answer(stop=f"error {KEY}"),
        Failure(404, f"no model {KEY}"),
        Failure(405, body=f"<html>{KEY}</html>".encode(), content_type="text/html"),
        Failure(400, f"maximum context length is 99 tokens, not those of {KEY}"),
        Failure(400, f"System role not supported by {KEY}"),
        Failure(200, body=f'{{"error": "Unexpected endpoint /{KEY}"}}'.encode()),
    ]
    shown = []
    for fault in faults:
        with Server(fault) as server:
            model = opened(kind, server)
            try:
                shown.append(repr(ask(model)))
            except ModelError as error:
                assert error.__context__ is None, "the SDK's error holds the request's headers"
                shown += [str(error), repr(error), repr(vars(error))]
                shown += traceback.format_exception(error)
        shown += [repr(model), model.name]
        assert KEY in str(server.posts[0].headers), "the key was really used"
    shown += [caplog.text, *map(str, capfd.readouterr())]
    assert KEY not in "\n".join(shown)


@pytest.mark.parametrize("kind", ["anthropic", "openai"])
def test_a_key_in_a_refusal_is_hidden_whatever_it_looks_like(
    environ: dict[str, str], kind: str
) -> None:
    key = "0123456789abcdef-no-prefix"
    with Server(Answer(stop="refusal", why=f"who sends {key}")) as server:
        own = {f"{kind.upper()}_API_KEY": key, f"{kind.upper()}_BASE_URL": server.url}
        model, _ = open_model(f"{kind}:m", environ | own)
        assert model is not None
        assert ask(model).detail == "who sends [key]"


@pytest.mark.parametrize(
    "name",
    [
        "GITHUB_PAT",
        "DB_PASS",
        "AWS_ACCESS_KEY_ID",
        "MY_KEY_2",
        "API_TOKEN2",
        "apikey",
        "API_KEY_PROD",
        "SSHPASS",
        "X_AUTH",
        "PW",
        "SLACK_WEBHOOK",
        "HOOK_WEBHOOK_URL",
    ],
)
def test_names_of_keys(name: str) -> None:
    assert secret_values({name: "0123456789abcdef"}) == ("0123456789abcdef",)


@pytest.mark.parametrize(
    "name", ["PATH", "COMPAT", "BYPASS", "KEYBOARD", "PWD", "PASSWORD_STORE_DIR"]
)
def test_names_of_others(name: str) -> None:
    assert secret_values({name: "0123456789abcdef"}) == ()


def test_passwords_and_keys_in_other_forms() -> None:
    hidden = secret_values({"DB_URL": "postgres://ada:swordfish-1@db/x", "KEY": 'a/b"c=12345'})
    told = 'refused swordfish-1, a%2Fb%22c%3D12345 and "a/b\\"c=12345"'
    assert scrub(told, hidden) == 'refused [key], [key] and "[key]"'


@pytest.mark.parametrize(
    "told",
    ["x-api-key: swordfish-1", "Authorization: Basic swordfish-1", '{"api-key":"swordfish-1"}',
     "Incorrect API key: swordfish-1"],
)  # fmt: skip
def test_what_is_called_a_key_is_hidden(told: str) -> None:
    assert "swordfish" not in quote(told, ())


def test_words_about_keys_are_shown() -> None:
    for told in ("Incorrect API key provided", "max_tokens: 32000000", "key: x", "a monkey: so"):
        assert quote(told, ()) == told


@pytest.mark.process
def test_a_key_that_models_toml_names_is_hidden_from_a_command(
    environ: dict[str, str], tmp_path: Path
) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('[models."openai:m@http://h/v1"]\nkey_env = "ROUTER"\n')
    environ |= {"AUTORESEARCH_MODELS": str(own), "ROUTER": "0123456789abcdef"}
    model, _ = open_model("command:sh -c 'echo $ROUTER'", environ)
    assert model is not None
    assert ask(model).text == "[key]\n"


@pytest.mark.parametrize("key", ["sk-smart…quotes", "sk-two words", "sk-new\nline"])
def test_what_is_no_key_is_not_sent(environ: dict[str, str], key: str) -> None:
    with pytest.raises(Misconfigured, match="OPENAI_API_KEY") as caught:
        open_model("openai:m", environ | {"OPENAI_API_KEY": key})
    assert key not in str(caught.value)
