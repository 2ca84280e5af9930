"""What is known about models: defaults, prices, limits and extra request fields.

It is read from ``models.toml`` beside this file. The user's own file overrides it; that is named by
``AUTORESEARCH_MODELS`` or is at ``~/.config/autoresearch/models.toml``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.models.types import Misconfigured, Usage

OWN_FILE = Path(__file__).with_name("models.toml")
_DATE = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2})$")
_NUMBER = (int, float)
_TYPES: dict[str, type | tuple[type, ...]] = {
    "input": _NUMBER,
    "output": _NUMBER,
    "cache_read": _NUMBER,
    "cache_write": _NUMBER,
    "prompt_limit": int,
    "max_tokens": int,
    "timeout": _NUMBER,
    "key_env": str,
    "envelope": str,
    "extra": dict,
}


@dataclass(frozen=True)
class Entry:
    """One model. Prices are US dollars per million tokens; None is unknown."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None
    prompt_limit: int | None = None
    """The prices are valid up to this many prompt tokens."""
    max_tokens: int | None = None
    """The most tokens that may be requested for a reply, reasoning included."""
    timeout: float = 600.0
    """Seconds without any data; for a command, the limit of its whole run."""
    key_env: str | None = None
    """The environment variable that holds the key."""
    envelope: str = "edits"
    """Format of a proposal: ``edits`` (SEARCH/REPLACE) or ``file`` (all of train.py)."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields added to the request without changes."""

    def limit(self, max_tokens: int) -> int:
        return min(max_tokens, self.max_tokens or max_tokens)

    def cost(self, usage: Usage) -> float | None:
        """US dollars, None if a price is not known."""
        if self.prompt_limit is not None and usage.prompt > self.prompt_limit:
            return None
        total = 0.0
        for tokens, price in (
            (usage.input, self.input),
            (usage.output, self.output),
            (usage.cache_read, self.cache_read),
            (usage.cache_write, self.cache_write),
        ):
            if tokens and price is None:
                return None
            total += tokens * (price or 0.0) / 1e6
        return total


@dataclass(frozen=True)
class Catalog:
    """All entries and defaults."""

    defaults: Mapping[str, str]
    """By service: the model that is used when none is named."""
    models: Mapping[str, Entry]
    """By spec."""

    def entry(self, name: str) -> Entry:
        """The entry of ``name``, a spec: looked up as it is, then without the date of a
        snapshot, then by its kind (the text before the colon)."""
        for known in (name, _DATE.sub("", name), name.partition(":")[0]):
            if known in self.models:
                return self.models[known]
        return Entry()

    def cost(self, usage: Usage | None, name: str) -> float | None:
        """US dollars, None if usage or price is not known."""
        return None if usage is None else self.entry(name).cost(usage)


def load_catalog(environ: Mapping[str, str]) -> Catalog:
    """Read both files.

    Raises:
        Misconfigured: the user's file cannot be read or has an unknown key or an invalid value.
    """
    tables = _read(OWN_FILE)
    named = environ.get("AUTORESEARCH_MODELS")
    config = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")) / ".config")
    path = Path(named or Path(config) / "autoresearch" / "models.toml").expanduser()
    if named or path.exists():
        own = _read(path)
        tables["defaults"] |= own.get("defaults", {})
        for name, table in own.get("models", {}).items():
            tables["models"][name] = tables["models"].get(name, {}) | table
    return Catalog(
        tables["defaults"], {name: Entry(**table) for name, table in tables["models"].items()}
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is not TOML: {error}") from None
    for name, table in tables.items():
        if name not in ("defaults", "models") or not isinstance(table, dict):
            raise Misconfigured(f'{path}: {name!r} is not a table [defaults] or [models."SPEC"]')
    for service, model in tables.get("defaults", {}).items():
        if not isinstance(model, str):
            raise Misconfigured(f"{path}: defaults.{service} must be a model's name")
    for name, table in tables.get("models", {}).items():
        for key, value in (table if isinstance(table, dict) else {"": None}).items():
            if key not in _TYPES:
                raise Misconfigured(
                    f"{path}: models.{name!r} has {key!r}; a model has {', '.join(_TYPES)}"
                )
            wrong = not isinstance(value, _TYPES[key]) or isinstance(value, bool)
            if wrong or (key == "envelope" and value not in ("edits", "file")):
                raise Misconfigured(f"{path}: models.{name!r}: {key} = {value!r} is no such value")
    return tables
