"""Formats of the journal: what earlier versions wrote becomes what this one reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMAT = 2
"""Of the journals that this version writes. It reads earlier ones, by ``_MIGRATIONS``, and refuses
newer ones. A field or an event more is no new format."""

_PARTS = {"campaign": "settings", "run": "settings", "training": "training", "audit": "audit"}
"""By event: its field, whose parts were fields of the event in format 1."""
_NO_PARTS = {"n", "time", "event", "format", "pid", "given"}


def _from_1(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    name = stored.get("event")
    around = _PARTS.get(name) if isinstance(name, str) else None
    if name == "verdict" and stored.get("status") == "abandoned" and stored.get("gain") is None:
        return {**stored, "status": "unjudged"}  # so called before heats
    if around is None or around in stored:
        return stored
    return {**stored, around: {k: v for k, v in stored.items() if k not in _NO_PARTS}}


_MIGRATIONS = {1: _from_1}
"""By format: what makes of a stored event one of the next format."""


def upgraded(stored: Mapping[str, Any], form: int) -> Mapping[str, Any]:
    """A stored event of an earlier format as this version would have written it."""
    for before in range(form, FORMAT):
        stored = _MIGRATIONS[before](stored)
    return stored
