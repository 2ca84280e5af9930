"""Open the model that a spec, as given to ``--llm``, names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from agent.models import route
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
  --llm "command:claude -p --permission-mode acceptEdits"    a coding agent, or any program
  --llm local                                    SmolLM2-135M on this machine: weak, and free
  --llm cassette:FILE                            replies that were recorded"""

ADDRESSES = {"anthropic": "https://api.anthropic.com", "openai": "https://api.openai.com/v1"}
"""Of the vendors, in the order in which ``auto`` looks for their keys."""
OLLAMA_ADDRESS = "localhost:11434"
PROBE_SECONDS = 1.0
OWN_SERVER_KEY = "AUTORESEARCH_API_KEY"
"""Variable with the key for a server named in a spec; a vendor's key is sent to the vendor only."""

_URL = re.compile(r"https?://(?:\[[\da-f:.]+\]|[^\s/:]+)(?::\d+)?(?:/\S*)?", re.IGNORECASE)
_RECORDING = re.compile(r"(.+?)\+((?:anthropic|openai|command):.*|auto|local)", re.DOTALL)


def open_model(spec: str, environ: Mapping[str, str]) -> tuple[Model | None, str]:
    """The model, None if none is available, and a text that says which model it is and why.

    Nothing is sent to a model here. If no key is set, ``auto`` checks whether Ollama answers;
    ``local`` fetches its weights if they are missing.

    Raises:
        Misconfigured: not a spec, a key is missing, or the user's models.toml has a mistake.
    """
    opener = _Opener(environ, load_catalog(environ))
    spec = spec.strip()
    if spec == "none":
        return None, f"none, as asked\n{PLUG_IN}"
    if spec == "auto":
        return opener.auto()
    if spec == "local":
        why = "local, as asked: SmolLM2-135M, which is weak and sets constants only"
        return opener.local(), why
    kind, _, rest = spec.partition(":")
    shown = redact(spec, opener.hidden)
    if kind not in ("anthropic", "openai", "command", "cassette"):
        raise Misconfigured(f"there is no model {shown!r}; give {KNOWN}")
    if not rest.strip():
        example = opener.catalog.defaults.get(kind, "")
        raise Misconfigured(
            f"{shown!r} is not complete; give {KNOWN}"
            + (f", for example {kind}:{example}" if example else "")
        )
    if kind == "cassette":
        return _cassette(rest, environ)
    model = opener.command(rest) if kind == "command" else opener.hosted(kind, rest)
    return model, f"{model.name}, as asked"


@dataclass(frozen=True)
class _Opener:
    """Opens a model of each kind. Clients are imported when used: an SDK takes about a second."""

    environ: Mapping[str, str]
    catalog: Catalog

    @cached_property
    def hidden(self) -> tuple[str, ...]:
        """Values that must not be shown, including those of variables that a models.toml names."""
        return secret_values(self.environ, self.catalog.key_variables)

    def auto(self) -> tuple[Model | None, str]:
        for service in ADDRESSES:
            key = f"{service.upper()}_API_KEY"
            if self.environ.get(key):
                model = self.hosted(service, self.catalog.defaults[service])
                return model, f"{model.name}, because {key} is set"
        url = _plain("OLLAMA_HOST", _ollama_url(self.environ))
        names = _ollama_models(url)
        if names:
            wanted = self.catalog.defaults.get("ollama", "")
            model = self.hosted("openai", f"{wanted if wanted in names else names[0]}@{url}/v1")
            others = f", one of {len(names)} models there" if len(names) > 1 else ""
            return model, f"{model.name}, because Ollama answers at {url}{others}"
        ollama = f"no Ollama at {url}" if names is None else f"Ollama at {url} has no model yet"
        return None, f"none: no ANTHROPIC_API_KEY or OPENAI_API_KEY is set, {ollama}\n{PLUG_IN}"

    def local(self) -> Model:
        from agent.models.local.client import LocalModel

        return LocalModel(environ=self.environ, entry=self.catalog.entry("local"))

    def command(self, command: str) -> Model:
        from agent.models.command.client import CommandModel

        entry = self.catalog.entry(f"command:{command}")
        return CommandModel(command, environ=self.environ, entry=entry, hidden=self.hidden)

    def hosted(self, service: str, rest: str) -> Model:
        """A model at a vendor's own address, or for ``openai`` at any address after an @."""
        vendor = service.upper()
        # In names of anthropic's models, as some proxies have them, a version follows an @.
        model, at, address = rest, "", ""
        if service == "openai" and "@" in rest:  # a revision may stand before the URL
            model, at, address = re.split(r"(@)(?=[^@]*$|[^@]*://)", rest, maxsplit=1)
            if not model.strip():
                raise Misconfigured(f"openai:@{redact(address, self.hidden)} names no model")
        if service == "anthropic" and "://" in rest:
            raise Misconfigured(
                "anthropic: takes a model's name and no URL; set ANTHROPIC_BASE_URL"
            )
        if at:
            url = _server(address)
        else:
            url = _plain(
                f"{vendor}_BASE_URL", self.environ.get(f"{vendor}_BASE_URL") or ADDRESSES[service]
            )
        route.options(url)  # what is wrong with it is told at the start
        name = f"{service}:{model}@{url}" if at else f"{service}:{model}"
        entry = self.catalog.entry(name)
        key_from = entry.key_env or (OWN_SERVER_KEY if at else f"{vendor}_API_KEY")
        given = self._access(key_from, name)
        given |= {"name": name, "model": model, "base_url": url, "entry": entry}
        if service == "anthropic":
            from agent.models.anthropic import AnthropicModel

            return AnthropicModel(**given)
        from agent.models.openai import OpenAIModel

        return OpenAIModel(own_server=bool(at), **given)

    def _access(self, variable: str, name: str) -> dict[str, Any]:
        """The key, where it comes from, and what is never shown."""
        key = self.environ.get(variable, "").strip()
        if not key and variable == OWN_SERVER_KEY:
            # The user's own server may need no key, but the SDK requires one.
            return {"api_key": "none", "key_from": variable, "hidden": self.hidden}
        if not key:
            raise Misconfigured(f"{name} needs a key in the environment: export {variable}=...")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise Misconfigured(f"{variable} holds a character that no key has; export it again")
        return {"api_key": key, "key_from": variable, "hidden": (key, *self.hidden)}


def _server(url: str) -> str:
    """The base URL of a spec, with the usual path ``/v1`` if it has none."""
    url = _plain("what follows @ in --llm openai:MODEL@URL", url).rstrip("/")
    return url if "/" in url.partition("://")[2] else f"{url}/v1"


def _plain(where: str, url: str) -> str:
    """Check that ``url`` holds no key, since messages and journals show it; returns ``url``.

    Raises:
        Misconfigured: it has a user, password, query or fragment, or is no URL.
    """
    # Checked first, and in the raw text, so that no other message quotes a key.
    if re.search(r"[?#@]", url):
        raise Misconfigured(
            f"{where} must hold no password, no ?query and no #fragment; put the key into "
            f"{OWN_SERVER_KEY}, or for the vendors into ANTHROPIC_API_KEY or OPENAI_API_KEY"
        )
    try:
        is_url = bool(_URL.fullmatch(url)) and urlsplit(url).port != 0
    except ValueError:  # of a port or an address that there cannot be
        is_url = False
    if not is_url:
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
    address = (environ.get("OLLAMA_HOST", "").strip() or OLLAMA_ADDRESS).rstrip("/")
    url = address if "://" in address else f"http://{address}"
    port = "" if ":" in url.partition("://")[2] else ":11434"
    # 0.0.0.0 is an address for a server to bind to, not one to connect to.
    return url.replace("0.0.0.0", "127.0.0.1", 1) + port


def _ollama_models(url: str) -> list[str] | None:
    """Names of Ollama's models, last changed first; None if no Ollama answers at ``url``."""
    try:
        told = httpx2.get(f"{url}/api/tags", timeout=PROBE_SECONDS, **route.options(url))
        names = [str(model["name"]) for model in told.json()["models"]]
    except (httpx2.HTTPError, httpx2.InvalidURL, route.SOCKSError, ValueError, KeyError, TypeError):
        return None
    return [name for name in names if "embed" not in name]
