"""Keys and passwords: find them, and remove them from texts."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import quote as url_quote

from trainer.untrusted import printable

DETAIL_LENGTH = 400
_SHORTEST_SECRET = 8

_SECRET_NAME = re.compile(
    r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|(?:^|_)(?:PAT|PASS|PW|AUTH)|SSHPASS"
    r"|WEBHOOK(?:_URL)?)(?:_ID)?(?:_?\d+)?$|(?:^|_)API_?KEY_",
    re.IGNORECASE,
)
_LOOKS_SECRET = re.compile(r"\b(?:sk|pk|rk|key)-[\w*.-]{6,}|\bBearer\s+\S+", re.IGNORECASE)
_GIVEN_AS_SECRET = re.compile(
    r"((?:--?[\w-]*(?:key|token|secret|password|passwd)(?:\s+|=)"
    r"""|[\w-]*(?:key|token|secret|password)(?:=|["']?:\s?(?=["']?\S{8}))"""
    r"""|\bauthorization["']?:\s?["']?\w+\s)["']?)[^\s"'&]+|(\w://)[^\s/@"']+(?=@)""",
    re.IGNORECASE,
)
"""Matches the value of an option, a variable or a query field that is named like a secret, and the
credentials before the host of a URL."""
_IN_URL = re.compile(r"\w://[^\s/@:]*:([^\s/@]+)@")


def secret_values(environ: Mapping[str, str], names: Collection[str] = ()) -> tuple[str, ...]:
    """Values of an environment that must not be shown, longest first.

    Args:
        names: variables that hold a key, whatever they are called.
    """
    values = {v for name, v in environ.items() if name in names or _SECRET_NAME.search(name)}
    values |= {found[1] for value in environ.values() if (found := _IN_URL.search(value))}
    long = {value for value in values if len(value) >= _SHORTEST_SECRET}
    # As they stand in a JSON text and in a URL.
    long |= {json.dumps(value)[1:-1] for value in long} | {url_quote(v, safe="") for v in long}
    return tuple(sorted(long, key=len, reverse=True))


def scrub(text: str, hidden: Iterable[str]) -> str:
    """``text`` without the values ``hidden``."""
    for value in hidden:
        text = text.replace(value, "[key]")
    return text


def redact(text: str, hidden: Iterable[str]) -> str:
    """``text`` without the values ``hidden`` and whatever else looks like a key."""
    return _GIVEN_AS_SECRET.sub(r"\1\2[key]", _LOOKS_SECRET.sub("[key]", scrub(text, hidden)))


def quote(text: str, hidden: Iterable[str]) -> str:
    """An external error text on one line: bounded, printable, without anything like a key."""
    return " ".join(printable(redact(text, hidden), DETAIL_LENGTH).split())
