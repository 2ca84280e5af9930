"""Reads what a profiled training says of itself, which is untrusted."""

from __future__ import annotations

from typing import Any

from trainer.results import Profile, WeightGroup
from trainer.untrusted import finite, one_line, whole

PHASES = ("data", "forward", "head", "backward", "optimizer")
MOST_ROWS, NAME_LENGTH = 24, 40


def read_profile(found: object) -> Profile:
    """The profile that a training reports; what is not of its form is left out."""
    told = found if isinstance(found, dict) else {}
    phases = {
        name: seconds for name, seconds in _numbers(told.get("phases")).items() if seconds > 0
    }
    phases = {name: phases[name] for name in PHASES if name in phases}
    whole_step = sum(phases.values())
    parts = _numbers(told.get("parts")) if whole_step else {}
    groups = sorted(map(_group, _rows(told.get("groups"))), key=lambda group: -group.params)
    pairs = (row for row in _rows(told.get("rates")) if isinstance(row, list) and len(row) == 2)
    known = ((finite(share), finite(value)) for share, value in pairs)
    rates = tuple((a, b) for a, b in known if a is not None and b is not None)
    return Profile(
        status="ok",
        steps=whole(told.get("steps")),
        seconds=finite(told.get("seconds")),
        phases={name: seconds / whole_step for name, seconds in phases.items()},
        parts={name: seconds / whole_step for name, seconds in parts.items()},
        has_head=told.get("has_head") is True,
        groups=tuple(groups),
        rate=_name(told.get("rate")),
        rates=rates,
    )


def _name(found: object) -> str:
    return one_line(found, NAME_LENGTH) if isinstance(found, str) else ""


def _rows(found: object) -> list[Any]:
    return found[:MOST_ROWS] if isinstance(found, list) else []


def _numbers(found: object) -> dict[str, float]:
    pairs = list(found.items())[:MOST_ROWS] if isinstance(found, dict) else []
    return {_name(name): known for name, value in pairs if (known := finite(value)) is not None}


def _group(found: object) -> WeightGroup:
    told = found if isinstance(found, dict) else {}
    norms = (finite(told.get(name)) for name in ("weight", "gradient", "change"))
    return WeightGroup(
        _name(told.get("name")), _name(told.get("rule")), whole(told.get("params")), *norms
    )
