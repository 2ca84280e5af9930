"""How long a provider asks to wait: in the headers of its answer, or in its words."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 30 * 86_400.0
"""Seconds; what is further off is not a time at which an error ends."""
_EPOCH = re.compile(r"\b(\d{10})(?:\d{3})?\b")
_SPAN = re.compile(
    r"(?:again|retry|wait|resets?)\W+(?:[a-z]+\W+){0,3}?"
    r"((?:\d+(?:\.\d+)?\s*(?:ms|d(?:ays?)?|h(?:ours?)?|m(?:in\w*)?|s(?:ec\w*)?)(?![a-z])\W*"
    r"(?:and\W+)?)+)|retry.?after\W+(\d+(?:\.\d+)?)\b",
    re.I,
)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def in_headers(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from ``retry-after-ms`` or ``retry-after`` (seconds or a date)."""
    for header, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(header, "")
        if re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
            return float(value) / scale
    try:
        return max(
            0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        return None


def in_words(words: str) -> float | None:
    """For how long, where the words say it with a number: a Unix time, or a span of time."""
    for epoch in _EPOCH.findall(words):
        if 0 < (seconds := float(epoch) - time.time()) < LONGEST_WAIT:
            return seconds
    if (span := _SPAN.search(words)) is None:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|[dhms])", span[1] or f"{span[2]}s", re.I)
    return min(LONGEST_WAIT, sum(float(n) * _UNITS[unit.lower()] for n, unit in parts))
