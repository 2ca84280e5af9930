"""Where people would start: what paid early in published campaigns, as logits of the categories.

    python -m benchmarks.prior --start

Of each campaign's first ``EARLY`` trials, the share of all that was gained then that each category
brought; the mean over campaigns, so that each counts the same. Logits are the logarithms of those
shares over an even one, limited, and shrunk where few trials are known: what nobody tried stays
even. ``agent.steps.lend.START`` holds them.
"""

from __future__ import annotations

import math
from collections import Counter

from benchmarks.prior.published import CATEGORIES, Row, read

EARLY = 40
DOUBT = 20.0
"""Shrink a category's logit as if so many trials of an average one had been seen, too."""
LIMIT = 3.0
"""No category begins beyond this many even shares, nor below one by so many."""


def shares(rows: list[Row]) -> dict[str, float]:
    """By category: the mean over campaigns of its share of their early gains."""
    gains: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.status == "keep" and row.gain is not None and row.gain > 0:
            own = gains.setdefault(row.campaign, dict.fromkeys(CATEGORIES, 0.0))
            own[row.category] += row.gain
    each = [
        {name: gain / sum(own.values()) for name, gain in own.items()} for own in gains.values()
    ]
    return {name: sum(own[name] for own in each) / len(each) for name in CATEGORIES}


def start() -> dict[str, float]:
    """The logits, to two digits after the point."""
    early = [row for row in read() if row.category and row.n <= EARLY and row.status != "skip"]
    tried = Counter(row.category for row in early)
    found = {}
    for name, share in shares(early).items():
        even = min(LIMIT, max(1 / LIMIT, share * len(CATEGORIES)))
        found[name] = round(tried[name] / (tried[name] + DOUBT) * math.log(even), 2)
    return found
