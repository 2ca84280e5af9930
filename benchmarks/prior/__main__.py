"""Is the prior worth having? Campaigns of many kinds, and what each rule gets out of them.

    python -m benchmarks.prior --json    100 campaigns a cell (under a minute)
    python -m benchmarks.prior --full    500 a cell; goes on where it stopped
    python -m benchmarks.prior --tune    the numbers of all arms, whole families left out
    python -m benchmarks.prior --train   the weights of the context, whole families left out
    python -m benchmarks.prior --replay  published campaigns, one left out at a time
    python -m benchmarks.prior --start   what a campaign's prior starts from
    python -m benchmarks.prior --held    what it costs that one win raises a category only so far

A cell is a family, a horizon (50, 100 or 300 trials) and a number of categories (6, 8 or 10). Each
arm was tuned, and the context's weights were trained, without the family that it is measured in,
and on other luck. Scores are 0 for uniform draws and 1 for an oracle that knows what each category
is worth at the time. With all categories equal only collapse counts: a probability above .9 at the
end of a campaign (above .9 at any trial is said, too). What comes out is in results/prior.json and
results/prior-cells.jsonl, what was tuned and trained in results/prior-tuning.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from benchmarks.machine import RESULTS, keep, stamp
from benchmarks.prior import figures, held, published, replay, start, tune
from benchmarks.prior.play import FAMILIES, HORIZONS, cells, is_recorded

CELLS = RESULTS / "prior-cells.jsonl"
SHORT, FULL = 100, 500
SHORT_SIZE = 8
"""The short mode has cells of this size only."""


def missing() -> list[str]:
    return [f"{family}: not recorded yet" for family in FAMILIES if not is_recorded(family)]


def full() -> dict[str, Any]:
    """All cells, each kept as soon as it is there."""
    done = {}
    if CELLS.exists():
        for line in CELLS.read_text().splitlines():
            entry = json.loads(line)
            done[entry["cell"]] = entry
    todo = cells()
    for at, cell in enumerate(todo):
        numbers = {name: tune.chosen(name, cell.family) for name in figures.KINDS}
        known = done.get(cell.name)
        if known is not None and known["numbers"] == numbers:
            continue
        began = time.monotonic()
        found = figures.in_cell(cell, FULL)
        done[cell.name] = {"cell": cell.name, "numbers": numbers, **found}
        text = "".join(json.dumps(entry) + "\n" for entry in done.values())
        CELLS.write_text(text)
        spent = time.monotonic() - began
        print(f"{at + 1} of {len(todo)}: {cell.name}, {spent:.0f} s", file=sys.stderr, flush=True)
    return told([done[cell.name] for cell in todo])


def short() -> dict[str, Any]:
    small = [c for c in cells() if c.categories == SHORT_SIZE and c.steps < HORIZONS[-1]]
    small += cells(("published",))
    return told([figures.in_cell(cell, SHORT) for cell in small])


def told(found: list[dict[str, Any]]) -> dict[str, Any]:
    for line in (*figures.lines(found), *missing()):
        print(line, file=sys.stderr)
    same, judged = published.agreement(published.read())
    return {
        "missing": missing(),
        **figures.summary(found),
        "rule_agrees_with_a_reader": {"same": same, "of": judged},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, what in (
        ("json", "the short mode, one JSON line"),
        ("full", "the evidence, kept in results/"),
        ("tune", "find the numbers of all arms"),
        ("train", "learn the weights of the context"),
        ("replay", "replay published campaigns, one left out"),
        ("held", "what the brake on one win costs"),
        ("start", "what a campaign's prior starts from, of published campaigns"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=what)
    args = parser.parse_args()
    if args.start:
        print(json.dumps(start.start()))
        return
    if args.held:
        result = {**stamp("python -m benchmarks.prior --held"), **held.figures()}
        keep("prior-held", result)
        print(json.dumps(result))
        return
    if args.tune or args.train:
        if args.tune:
            tune.tune()
        if args.train:
            tune.train_all()
        print(json.dumps(tune.trained("context", tune.ALL, tune.FILE)))
        return
    if args.replay:
        result = {**stamp("python -m benchmarks.prior --replay"), **replay.replayed()}
        keep("prior-replay", result)
        print(json.dumps(result))
        return
    command = f"python -m benchmarks.prior --{'full' if args.full else 'json'}"
    result = {**stamp(command), **(full() if args.full else short())}
    if args.full:
        keep("prior", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
