"""Do keeps hold? What campaigns claim beside what is verified on text and seeds of its own.

    python -m benchmarks.keep --json    the recorded campaigns (seconds; nothing is measured)
    python -m benchmarks.keep --full    two campaigns of 40 trials at 4 s, then their verification
                                        (about two hours); goes on where it was interrupted

Both campaigns begin with the shipped train.py with six constants set off, so that there is
something to find, and have one seed: they differ in the keep rule, ``confirm`` and ``greedy``.
Deck and tuner propose; there is no model. A rule is honest if what it claims is at most 1.2 times
the upper end of the verified interval.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.edits.blocks import Edit
from agent.edits.constants import set_constants
from benchmarks.machine import RESULTS, ROOT, keep, stamp
from trainer.data.prepare import cache_dir

RULES = ("confirm", "greedy")
TRIALS, BUDGET, SEED, SEEDS = 40, "4s", 1, 5
OFF: dict[str, Any] = {
    "MATRIX_LR": 0.004,
    "EMBEDDING_LR": 0.05,
    "HEAD_LR": 0.001,
    "WARMDOWN_SHARE": 0.05,
    "MUON_MOMENTUM": 0.8,
    "EMBEDDING_SCALE": 0.0,
}
"""Constants of the shipped file, set off; no preset sets them."""
LARGEST_CLAIM = 1.2
"""Of the upper end of the verified interval."""


def make(folder: Path, constants: dict[str, Any] | None = None, front_matter: str = "") -> None:
    """A user's repository with the file that is set off, unless it is there.

    Args:
        constants: of the shipped file, with other values; ``OFF`` if left out.
        front_matter: lines of program.md's settings.
    """
    if (folder / ".git").exists():
        return
    source = (ROOT / "trainer" / "train.py").read_text()
    blocks = set_constants(source, OFF if constants is None else constants)
    program = (ROOT / "program.md").read_text().replace("---\n", f"---\n{front_matter}\n", 1)
    files = {
        "trainer/train.py": Edit("", "", "", blocks).apply(source) if blocks else source,
        "program.md": program if front_matter else (ROOT / "program.md").read_text(),
        ".gitignore": "campaigns/\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for args in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        ("-c", "user.name=A User", "-c", "user.email=a@example.org", "commit", "-qm", "set off"),
    ):
        subprocess.run(["git", "-C", str(folder), *args], check=True)


def agent(folder: Path, *args: str) -> Any:
    """What ``python -m agent ... --json`` prints.

    Raises:
        SystemExit: it failed; it has said why.
    """
    command = [sys.executable, "-m", "agent", *args, "--json"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environ, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: {' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout)


def campaign(folder: Path, rule: str) -> dict[str, Any]:
    """Run a campaign to its end, then verify it, each keep in turn."""
    status = agent(
        folder,
        *("run", "--tag", rule, "--keep", rule, "--trials", str(TRIALS), "--budget", BUDGET),
        *("--seed", str(SEED), "--llm", "none", "--preset", "cpu", "--sequential"),
    )
    trials = [
        {name: trial[name] for name in ("trial", "category", "hypothesis", "verdict", "gain")}
        for trial in agent(folder, "log", "--tag", rule)
    ]
    verified = agent(folder, "verify", "--tag", rule, "--seeds", str(SEEDS), "--each")
    return {"rule": rule, "status": status, "verified": verified, "trials": trials}


def summary(campaigns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By rule: what was claimed, what is verified, and the null trials beside both."""
    found = {}
    for each in campaigns:
        verified, claimed = each["verified"], each["verified"]["claimed_gain"]
        gain = verified["gain"]
        found[each["rule"]] = {
            "trials": each["status"]["trials"],
            "kept": each["status"]["kept"],
            "claimed": claimed,
            "verified": gain,
            "claim_holds": claimed["mean"] <= LARGEST_CLAIM * gain["high"] if gain else None,
            "keeps_not_verified": [
                one["trial"] for one in verified.get("each", ()) if one["gain"]["mean"] <= 0
            ],
            "nulls": each["status"]["nulls"],
            "nulls_kept": each["status"]["nulls_kept"],
            "openings": verified["opened"],
        }
    return found


def full(folder: Path) -> dict[str, Any]:
    """Both campaigns; each is kept in results/ as soon as it is verified."""
    path = RESULTS / "keep.json"
    done = json.loads(path.read_text())["campaigns"] if path.exists() else []
    result = stamp("python -m benchmarks.keep --full") | {
        "set_off": OFF,
        "trials": TRIALS,
        "budget": BUDGET,
        "seed": SEED,
    }
    make(folder)
    for rule in RULES:
        if rule not in [each["rule"] for each in done]:
            done.append(campaign(folder, rule))
            keep("keep", result | {"rules": summary(done), "campaigns": done})
    return result | {"rules": summary(done)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="of what is recorded, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument(
        "--folder",
        type=Path,
        default=cache_dir() / "benchmarks" / "keep",
        help="where the campaigns are, to be gone on with",
    )
    args = parser.parse_args()
    if args.full:
        result = full(args.folder)
    else:
        if not (path := RESULTS / "keep.json").exists():
            raise SystemExit("error: nothing is recorded yet: python -m benchmarks.keep --full")
        recorded = json.loads(path.read_text())
        result = {name: recorded[name] for name in recorded if name != "campaigns"}
        result |= {"measured_now": False, "rules": summary(recorded["campaigns"])}
    print(json.dumps(result))
    sys.exit(1 if result["rules"].get("confirm", {}).get("claim_holds") is False else 0)


if __name__ == "__main__":
    main()
