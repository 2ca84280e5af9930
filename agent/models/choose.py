"""Open the model that a spec, as given to ``--llm``, names."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from agent.models.catalog import Catalog, load_catalog
from agent.models.secrets import redact, secret_values
from agent.models.types import Misconfigured, Model

KNOWN = (
    "auto, none, anthropic:MODEL, openai:MODEL, openai:MODEL@URL, command:CMD, local, "
    "cassette:FILE (replays) or cassette:FILE+SPEC (records)"
)
PLUG_IN = """\
to plug one in, set ANTHROPIC_API_KEY or OPENAI_API_KEY, or start Ollama; or say which:
  --llm openai:MODEL@http://localhost:8000/v1    any server that speaks Chat Completions
  --llm "command:claude -p"                      any program: prompt on stdin, reply on stdout
  --llm local                                    SmolLM2-135M on this machine: weak, and free
  --llm cassette:FILE                            replies that were recorded"""

ANTHROPIC_URL = "https://api.anthropic.com"
OPENAI_URL = "https://api.openai.com/v1"
OLLAMA_ADDRESS = "localhost:11434"
PROBE_SECONDS = 1.0
OWN_SERVER_KEY = "AUTORESEARCH_API_KEY"
"""Variable with the key for a server named in a spec; a vendor's key is sent to the vendor only."""

_RECORDING = re.compile(r"(.+?)\+((?:anthropic|openai|command):.*|auto|local)", re.DOTALL)


def open_model(spec: str, environ: Mapping[str, str]) -> tuple[Model | None, str]:
    """The model, None if none is available, and a text that says which model it is and why.

    Nothing is sent to a model here. If no key is set, ``auto`` checks whether Ollama answers;
    ``local`` fetches its weights if they are missing.

    Raises:
        Misconfigured: not a spec, a key is missing, or the user's models.toml has a mistake.
    """
    catalog = load_catalog(environ)
    kind, _, rest = spec.strip().partition(":")
    shown = redact(spec, _hidden(environ, catalog))
    if spec.strip() == "none":
        return None, f"none, as asked\n{PLUG_IN}"
    if spec.strip() == "auto":
        return _auto(environ, catalog)
    if spec.strip() == "local":
        from agent.models.local.client import LocalModel

        local = LocalModel(environ=environ, entry=catalog.entry("local"))
        return local, "local, as asked: SmolLM2-135M, which is weak and sets constants only"
    if kind not in ("anthropic", "openai", "command", "cassette"):
        raise Misconfigured(f"there is no model {shown!r}; give {KNOWN}")
    if not rest.strip():
        example = catalog.defaults.get(kind, "")
        raise Misconfigured(
            f"{shown!r} is not complete; give {KNOWN}"
            + (f", for example {kind}:{example}" if example else "")
        )
    if kind == "cassette":
        return _cassette(rest, environ)
    if kind == "command":
        # Imported when used: each SDK takes about a second to import.
        from agent.models.command.client import CommandModel

        command = CommandModel(
            rest,
            environ=environ,
            entry=catalog.entry(f"command:{rest}"),
            hidden=_hidden(environ, catalog),
        )
        return command, f"{command.name}, as asked"
    model = _anthropic(rest, environ, catalog) if kind == "anthropic" else None
    model = model or _openai(rest, environ, catalog)
    return model, f"{model.name}, as asked"


def _auto(environ: Mapping[str, str], catalog: Catalog) -> tuple[Model | None, str]:
    if environ.get("ANTHROPIC_API_KEY"):
        model = _anthropic(catalog.defaults["anthropic"], environ, catalog)
        return model, f"{model.name}, because ANTHROPIC_API_KEY is set"
    if environ.get("OPENAI_API_KEY"):
        model = _openai(catalog.defaults["openai"], environ, catalog)
        return model, f"{model.name}, because OPENAI_API_KEY is set"
    url = _plain("OLLAMA_HOST", _ollama_url(environ))
    names = _ollama_models(url)
    if names:
        wanted = catalog.defaults.get("ollama", "")
        chosen = wanted if wanted in names else names[0]
        model = _openai(f"{chosen}@{url}/v1", environ, catalog)
        others = f", one of {len(names)} models there" if len(names) > 1 else ""
        return model, f"{model.name}, because Ollama answers at {url}{others}"
    ollama = f"no Ollama at {url}" if names is None else f"Ollama at {url} has no model yet"
    return None, f"none: no ANTHROPIC_API_KEY or OPENAI_API_KEY is set, {ollama}\n{PLUG_IN}"


def _anthropic(model: str, environ: Mapping[str, str], catalog: Catalog) -> Model:
    from agent.models.anthropic import AnthropicModel

    if "://" in model:
        raise Misconfigured("anthropic: takes a model's name and no URL; set ANTHROPIC_BASE_URL")
    key = _key("ANTHROPIC_API_KEY", f"anthropic:{model}", environ)
    return AnthropicModel(
        model,
        api_key=key,
        base_url=_plain("ANTHROPIC_BASE_URL", environ.get("ANTHROPIC_BASE_URL") or ANTHROPIC_URL),
        entry=catalog.entry(f"anthropic:{model}"),
        hidden=(key, *_hidden(environ, catalog)),
    )


def _openai(rest: str, environ: Mapping[str, str], catalog: Catalog) -> Model:
    from agent.models.openai import OpenAIModel

    model, at, url = rest.partition("@")
    if at:
        url = _server(url)
    entry = catalog.entry(f"openai:{model}@{url}" if at else f"openai:{model}")
    if entry.key_env:
        key_from = entry.key_env
    elif at:
        key_from = OWN_SERVER_KEY
    else:
        key_from = "OPENAI_API_KEY"
    if key_from == OWN_SERVER_KEY and not environ.get(key_from):
        # The user's own server may need no key, but the SDK requires one.
        key, hidden = "none", _hidden(environ, catalog)
    else:
        key = _key(key_from, f"openai:{rest}", environ)
        hidden = (key, *_hidden(environ, catalog))
    return OpenAIModel(
        model,
        api_key=key,
        base_url=url or _plain("OPENAI_BASE_URL", environ.get("OPENAI_BASE_URL") or OPENAI_URL),
        own_server=bool(at),
        key_from=key_from,
        entry=entry,
        hidden=hidden,
    )


def _key(name: str, spec: str, environ: Mapping[str, str]) -> str:
    key = environ.get(name, "").strip()
    if not key:
        raise Misconfigured(f"{spec} needs a key in the environment: export {name}=...")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise Misconfigured(f"{name} holds a character that no key has; export it again")
    return key


def _hidden(environ: Mapping[str, str], catalog: Catalog) -> tuple[str, ...]:
    """Values that must not be shown, including those of variables that a models.toml names."""
    return secret_values(environ, {e.key_env for e in catalog.models.values() if e.key_env})


def _server(url: str) -> str:
    """The base URL of a spec, with the usual path ``/v1`` if it has none."""
    url = _plain("what follows @ in --llm openai:MODEL@URL", url).rstrip("/")
    return url + ("/v1" if urlsplit(url).path == "" else "")


def _plain(where: str, url: str) -> str:
    """Check that ``url`` holds no key, since messages and journals show it; returns ``url``.

    Raises:
        Misconfigured: it has a user, password, query or fragment, or is no URL.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    # Checked first, and in the raw text, so that no other message quotes a key.
    if re.search(r"[?#@]", url):
        raise Misconfigured(
            f"{where} must hold no password, no ?query and no #fragment; put the key into "
            f"{OWN_SERVER_KEY}, or for the vendors into ANTHROPIC_API_KEY or OPENAI_API_KEY"
        )
    if not host or parts.scheme not in ("http", "https"):
        raise Misconfigured(f"{where} must be a URL, http://... or https://...")
    return url


def _cassette(rest: str, environ: Mapping[str, str]) -> tuple[Model, str]:
    from agent.models.cassette import Player, Recorder

    match = _RECORDING.fullmatch(rest)
    if match is None:
        player = Player(Path(rest).expanduser())
        return player, f"{player.name}, replayed"
    model, why = open_model(match[2], environ)
    if model is None:
        raise Misconfigured(f"there is nothing to record: {why}")
    return Recorder(Path(match[1]).expanduser(), model), f"{why}; recorded to {match[1]}"


def _ollama_url(environ: Mapping[str, str]) -> str:
    """The URL that Ollama's own client would use."""
    address = environ.get("OLLAMA_HOST", "").strip() or OLLAMA_ADDRESS
    scheme, separator, host = address.rpartition("://")
    host = host.rstrip("/")
    if ":" not in host:
        host += ":11434"
    # 0.0.0.0 is an address for a server to bind to, not one to connect to.
    return f"{scheme if separator else 'http'}://{host.replace('0.0.0.0', '127.0.0.1', 1)}"


def _ollama_models(url: str) -> list[str] | None:
    """Names of Ollama's models, last changed first; None if no Ollama answers at ``url``."""
    # Without a proxy, because the server is on the user's own machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/api/tags", timeout=PROBE_SECONDS) as answer:
            listed = json.load(answer)["models"]
            names = [str(model["name"]) for model in listed]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return [name for name in names if "embed" not in name]
