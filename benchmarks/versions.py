"""trainer/train.py beside the train.py of another revision: what a rewrite gained and cost.

    python -m benchmarks.versions REVISION --json    two seeds of 150,000 tokens, a heat of 3 s
    python -m benchmarks.versions REVISION --full    eight seeds of 1,500,000 tokens, five heats of
                                                     20 s; goes on where it was interrupted

At equal tokens a busy machine does not enter the scores; the seeds are paired. Tokens a second are
those of heats, in which the two take turns. Positive differences and ratios above 1 are gains.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any

from benchmarks.machine import RESULTS, ROOT, keep, stamp
from trainer.data.prepare import DataError
from trainer.measure import heat, measure
from trainer.results import Measurement
from trainer.sandbox.confine import SandboxError

SIZES = {"short": (2, "150000tok", 1, "3s"), "full": (8, "1500000tok", 5, "20s")}
"""Seeds and their budget, heats and theirs."""


class Failed(Exception):
    """A training that gave no number; the message says which and why."""


def source_at(revision: str) -> str:
    """The text of train.py at a revision.

    Raises:
        Failed: there is none.
    """
    command = ["git", "show", f"{revision}:trainer/train.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{revision}: {done.stderr.strip()}")
    return done.stdout


def scored(measured: Measurement, who: str) -> float:
    if measured.val_bpb is None:
        raise Failed(f"{who}: {measured.status}: {measured.reason}")
    return measured.val_bpb


def at_equal_tokens(sources: Mapping[str, str], seed: int, budget: str) -> dict[str, Any]:
    """val_bpb of each with one seed, and the difference."""
    order = list(sources) if seed % 2 == 0 else list(reversed(sources))
    found = {
        who: round(scored(measure(sources[who], budget=budget, seed=seed, preset="cpu"), who), 5)
        for who in order
    }
    return {"seed": seed, **found, "difference": round(found["before"] - found["now"], 5)}


def in_turns(sources: Mapping[str, str], seed: int, budget: str) -> dict[str, Any]:
    """Tokens a second and val_bpb of each in one heat."""
    measured = heat(list(sources.values()), budget=budget, seed=seed, preset="cpu")
    scores = {who: round(scored(each, who), 5) for who, each in zip(sources, measured, strict=True)}
    pace = dict(zip(sources, (each.tokens / each.train_seconds for each in measured), strict=True))
    return {
        "seed": seed,
        **scores,
        "difference": round(scores["before"] - scores["now"], 5),
        "tokens_per_second": {who: round(each) for who, each in pace.items()},
        "ratio": round(pace["now"] / pace["before"], 4),
        "how": measured[0].how,
    }


def figures(tokens: Sequence[Mapping[str, Any]], heats: Sequence[Mapping[str, Any]]) -> Any:
    found: dict[str, Any] = {}
    for name, readings in (("equal tokens", tokens), ("equal seconds, in turns", heats)):
        if differences := [each["difference"] for each in readings]:
            error = stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else None
            found[name] = {
                "n": len(differences),
                "mean difference": round(mean(differences), 5),
                "standard error": None if error is None else round(error, 5),
            }
    if ratios := [each["ratio"] for each in heats]:
        found["tokens a second, ratio"] = {
            "n": len(ratios),
            "median": round(median(ratios), 3),
            "lowest": round(min(ratios), 3),
            "highest": round(max(ratios), 3),
        }
    return found


def run(revision: str, size: str) -> dict[str, Any]:
    """Take the readings that are not there yet; keep each one of the full mode."""
    sources = {"before": source_at(revision), "now": (ROOT / "trainer" / "train.py").read_text()}
    code = {who: hashlib.sha256(text.encode()).hexdigest()[:16] for who, text in sources.items()}
    full = size == "full"
    option = "--full" if full else "--json"
    result = stamp(f"python -m benchmarks.versions {revision} {option}") | {"code": code}
    kept: dict[str, Any] = {}
    path = RESULTS / "versions.json"
    if full and path.exists():
        kept = json.loads(path.read_text())
    same = kept.get("code") == code and kept.get("machine") == result["machine"]
    tokens, heats = (kept["tokens"], kept["heats"]) if same else ([], [])
    seeds, token_budget, rounds, time_budget = SIZES[size]

    def note() -> dict[str, Any]:
        whole = result | {"figures": figures(tokens, heats), "tokens": tokens, "heats": heats}
        if full:
            keep("versions", whole)
        return whole

    for seed in range(len(tokens), seeds):
        print(f"{token_budget}, seed {seed} of {seeds}", file=sys.stderr)
        tokens.append(at_equal_tokens(sources, seed, token_budget))
        note()
    for seed in range(len(heats), rounds):
        print(f"heat of {time_budget}, seed {seed} of {rounds}", file=sys.stderr)
        heats.append(in_turns(sources, seed, time_budget))
        note()
    return note()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", help="of git, whose train.py is the one before")
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    args = parser.parse_args()
    try:
        result = run(args.revision, "full" if args.full else "short")
    except (DataError, SandboxError, Failed) as error:
        raise SystemExit(f"error: {error}") from None
    print(json.dumps({k: v for k, v in result.items() if k not in ("tokens", "heats")}))


if __name__ == "__main__":
    main()
