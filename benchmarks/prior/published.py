"""Published campaigns as numbers: which kind of edit each trial was, by rule, and what it gained.

    python -m benchmarks.prior.published LOGS.tsv [--judged ROWS.txt]

LOGS.tsv is a table of public logs of the ancestor's kind, with the columns campaign, n, status,
val_bpb and description; it is not part of this repository. What is written, published.csv, has no
words in it: a number for each campaign, n, category, status, gain (best val_bpb so far minus this
one; empty where nothing was trained) and, where a reader (a language model) judged the row, the
category that it gave. ROWS.txt holds those: a row of the table (0 the first) and a category, one
pair a line.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parent / "published.csv"
CATEGORIES = (
    "architecture", "optimizer", "schedule", "hyperparameters", "initialisation",
    "regularisation", "dataset", "preprocessing", "efficiency", "simplification",
)  # fmt: skip

_SETTLED = re.compile(
    r"\b(?:restore|apply|use|keep|combine)?\s*(?:all\s+)?(?:current\s+|the\s+)*(?:proven|known)\s+"
    r"best\s+(?:settings?|config\w*|hyperparameters)\s*(?:\([^()]*\)?)?[:,\s]*"
    r"(?:(?:fixed )?[\w -]+=[^,]+?(?:,\s*|\s+(?=and|plus|but)))*(?:and|plus|but|with)?\s*",
    re.IGNORECASE,
)
_BESIDE = re.compile(
    r"[,;]?\s+(?:combined with (?:keeping|all|the|current|proven)"
    r"|with (?:all|the|current|proven|optimi[sz]ed|fixed)|while keeping|alongside the|on top of)\b",
    re.IGNORECASE,
)
_PURPOSE = re.compile(r"\s(?:to|for|so that|instead of|because|which)\s", re.IGNORECASE)

_SPECIAL = (
    ("schedule", r"momentum (?:warm|ramp|schedul)|(?:weight decay|wd) (?:floor|(?:cosine )?schedul)"
     r"|schedul\w* (?:the )?(?:weight decay|momentum|batch)|batch.size (?:warm|schedul|ramp)"
     r"|(?:start|ramp)\w* muon mom|cooldown|warm-?down|warndown|anneal|curriculum"),
    ("initialisation", r"initiali[sz]|init_weights|init(?:ial)? (?:value|std|scale|weight)"
     r"|\binit\b|zero[- ]init"),
    ("regularisation", r"label.smooth|z-?loss|drop(?:out|path)|layerdrop|stochastic depth"
     r"|soft-?cap|focal|auxiliary loss|entropy (?:penalty|bonus)|clip(?:ping)?\b|max_norm"
     r"|clip norm|weight noise|gradient noise"),
    ("optimizer", r"\b(?:ema|average|averaging) of (?:the )?(?:model|weights|param)|\bswa\b"
     r"|ns_steps|newton.?schulz|nesterov|adam\w* eps|epsilon for|beta_?[12]|adam.?betas?|\bbetas\b"
     r"|lookahead|lion\b|adafactor|sophia|second.moment"),
    ("efficiency", r"checkpointing|compile|fused|kernel|bf16|fp8|tf32|prefetch|pinned|num_workers"),
    ("preprocessing", r"vocab|tokeni[sz]er|packing|max_seq_len|sequence length (?:of|from|to)"),
    ("dataset", r"dataset|data mix|shard"),
)  # fmt: skip
_GENERAL = (
    ("schedule", r"warm-?up|final_lr|lr_frac|cosine|lr decay|decay schedule|schedule"),
    ("hyperparameters", r"\w*_lr\b|[\w ]+ lr mult|learning.rate|batch.?size|\blrs?\b"),
    ("regularisation", r"weight.?decay|\bwd\b|regulari[sz]|logit"),
    ("optimizer", r"momentum|muon|adam\w*|optimizer|param(?:eter)? groups?"),
    ("architecture", r"depth|aspect_ratio|n_embd|head|window|mlp|activation|relu|gelu|swi?glu|silu"
     r"|attention|rotary|rope|layers?\b|residual|lambda|\bgate|value.embed|\bnorm|qk|kv|width"
     r"|channels|hidden|skip|bias|temperature|softmax|expert|embedding"),
    ("simplification", r"simplif|remove|delete|unused|clean"),
    ("efficiency", r"speed|throughput|memory"),
)  # fmt: skip


def _earliest(words: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    """The category whose pattern is met first; the order of the rules decides ties."""
    met = [(found.start(), i) for i, (_, p) in enumerate(rules) if (found := re.search(p, words))]
    return rules[min(met)[1]][0] if met else None


def classify(description: str) -> str | None:
    """The category of an edit, by what is said of it; None if the words fit none.

    What is only recited (settings that were best before) and what it is for are left out first.
    Of several edits at once the one named first counts.
    """
    words = re.sub(r"\s\[.*$|^FAILED TO APPLY:", "", description).strip().lower()
    if re.search(r"logging|ema (?:beta|smooth)|smooth_train_loss|train loss|^baseline", words):
        return None  # changes nothing that is trained
    change = _BESIDE.split(_SETTLED.sub(" ", words).strip())[0] or words
    if re.search(r"hardware detection|_hp_defaults\b(?!\[)", change):
        return "simplification"
    clause = _PURPOSE.split(change)[0]
    for text in (clause, change, words):
        if found := _earliest(text, _SPECIAL) or _earliest(text, _GENERAL):
            return found
    return None


@dataclass(frozen=True)
class Row:
    """A trial of a published campaign, without its words."""

    campaign: int
    n: int
    category: str
    """Empty for the baseline, for what was skipped, and where the rule finds none."""
    status: str
    gain: float | None
    judged: str = ""


def derive(logs: Path, judged: dict[int, str]) -> list[Row]:
    """The rows of the table of logs as numbers, campaigns in the order of the table."""
    with logs.open(newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    numbers = {name: i for i, name in enumerate(dict.fromkeys(row["campaign"] for row in table))}
    best: dict[str, float] = {}
    rows = []
    for i, row in enumerate(table):
        name, status, bpb = row["campaign"], row["status"], float(row["val_bpb"] or 0)
        is_trained = status in ("keep", "discard", "baseline") and bpb > 0
        gain = best.get(name, math.nan) - bpb if is_trained else math.nan
        if is_trained and status in ("keep", "baseline"):
            best[name] = min(best.get(name, math.inf), bpb)
        kind = classify(row["description"]) if status not in ("skip", "baseline") else None
        told = None if math.isnan(gain) else round(gain, 6)
        rows.append(Row(numbers[name], int(row["n"]), kind or "", status, told, judged.get(i, "")))
    return rows


def write(rows: list[Row], path: Path = TABLE) -> None:
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("campaign", "n", "category", "status", "gain", "judged"))
        for row in rows:
            gain = "" if row.gain is None else f"{row.gain:g}"
            out.writerow((row.campaign, row.n, row.category, row.status, gain, row.judged))


def read(path: Path = TABLE) -> list[Row]:
    with path.open(newline="") as file:
        return [
            Row(
                int(row["campaign"]), int(row["n"]), row["category"], row["status"],
                float(row["gain"]) if row["gain"] else None, row["judged"],
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def agreement(rows: list[Row]) -> tuple[int, int]:
    """How many of the rows that the reader judged are in the same category by rule; of how many."""
    judged = [row for row in rows if row.judged]
    return sum(row.judged == row.category for row in judged), len(judged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("logs", type=Path, help="the table of public logs")
    parser.add_argument("--judged", type=Path, help="what a reader said of some rows")
    args = parser.parse_args()
    judged = {}
    if args.judged:
        judged = {int(i): kind for i, kind in map(str.split, args.judged.read_text().splitlines())}
    rows = derive(args.logs, judged)
    write(rows)
    same, of = agreement(rows)
    print(f"{len(rows)} rows; the rule agrees with the reader on {same} of {of}")


if __name__ == "__main__":
    main()
