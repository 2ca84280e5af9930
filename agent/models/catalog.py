"""What is known about models: defaults, prices, limits and extra request fields.

It is read from ``models.toml`` beside this file. The user's own file overrides it; that is named by
``AUTORESEARCH_MODELS`` or is at ``~/.config/autoresearch/models.toml``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.models.types import Misconfigured, Usage

OWN_FILE = Path(__file__).with_name("models.toml")
_DATE = re.compile(r"-(?:\d{8}|\d{4}-\d{2}-\d{2})$")
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
# Refused here, since a journal takes no other cost, and finds that only when the reply is paid for.
_Price = Annotated[float, Field(ge=0, allow_inf_nan=False)] | None


class Entry(BaseModel):
    """One model. Prices are US dollars per million tokens; None is unknown."""

    model_config = _STRICT

    input: _Price = None
    output: _Price = None
    cache_read: _Price = None
    cache_write: _Price = None
    prompt_limit: int | None = None
    """The prices are valid up to this many prompt tokens."""
    max_tokens: int | None = None
    """The most tokens that may be requested for a reply, reasoning included."""
    timeout: float = 600.0
    """Seconds without any data; for a command, the limit of its whole run."""
    key_env: str | None = None
    """The environment variable that holds the key."""
    envelope: Literal["edits", "file"] = "edits"
    """Format of a proposal: ``edits`` (SEARCH/REPLACE) or ``file`` (all of train.py)."""
    extra: Mapping[str, Any] = {}
    """Fields added to the request without changes."""

    def limit(self, max_tokens: int) -> int:
        return min(max_tokens, self.max_tokens or max_tokens)

    def cost(self, usage: Usage) -> float | None:
        """US dollars, None if a price is not known."""
        if self.prompt_limit is not None and usage.prompt > self.prompt_limit:
            return None
        kinds = ("input", "output", "cache_read", "cache_write")
        priced = [(getattr(usage, kind), getattr(self, kind)) for kind in kinds]
        if any(tokens and price is None for tokens, price in priced):
            return None
        return float(sum(tokens * (price or 0.0) for tokens, price in priced) / 1e6)


class Catalog(BaseModel):
    """All entries and defaults."""

    model_config = _STRICT

    defaults: Mapping[str, str] = {}
    """By service: the model that is used when none is named."""
    models: Mapping[str, Entry] = {}
    """By spec."""

    @property
    def key_variables(self) -> frozenset[str]:
        """The environment variables that entries name for their keys."""
        return frozenset(entry.key_env for entry in self.models.values() if entry.key_env)

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
    """Read both files; the user's goes over ours key by key.

    Raises:
        Misconfigured: the user's file cannot be read or has an unknown key or an invalid value.
    """
    ours = _read(OWN_FILE)
    named = environ.get("AUTORESEARCH_MODELS")
    config = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")) / ".config")
    path = Path(named or Path(config) / "autoresearch" / "models.toml").expanduser()
    if not named and not path.exists():
        return ours
    own = _read(path)
    models = {
        name: ours.models.get(name, Entry()).model_copy(update=entry.model_dump(exclude_unset=True))
        for name, entry in own.models.items()
    }
    return Catalog(defaults={**ours.defaults, **own.defaults}, models={**ours.models, **models})


def _read(path: Path) -> Catalog:
    try:
        return Catalog(**tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":  # its value may be a key
            known = Entry if first["loc"][0] == "models" else Catalog
            raise Misconfigured(
                f"{path}: {where} is not known; there are {', '.join(known.model_fields)}"
            ) from None
        raise Misconfigured(f"{path}: {where} = {first['input']!r}: {first['msg']}") from None
