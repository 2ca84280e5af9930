"""The same proposals judged by an earlier version of the loop and by today's: what a verdict costs.

    python -m benchmarks.proposals --json                     what is recorded (nothing is measured)
    python -m benchmarks.proposals --full [--before REVISION] three campaigns of twelve trials, each
                                                              of 200,000 tokens a training

The proposals are written anew after those of a strong model's campaign (``model``) and start from
the shipped train.py. The campaigns are those of REVISION, of today, and of today with three ideas a
reply. Under a token budget a training repeats, so that keeps and trainings do not depend on pace;
hours do, and the campaigns do not run side by side: compare those of one machine with care.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.keep import make
from benchmarks.machine import RESULTS, ROOT, keep, stamp
from benchmarks.proposals import model

BEFORE = "61faf17"
"""The revision before the loop told models of evidence, drew several categories, or asked for
several ideas."""
BUDGET, SEED, IDEAS = "200000tok", 1, 3
CHARACTERS_PER_TOKEN = 3


def campaign(name: str, tree: Path, folder: Path, ideas: int) -> dict[str, Any]:
    """Run the proposals through the loop of ``tree``; what its journal says of them.

    Raises:
        SystemExit: the loop failed; it has said why.
    """
    make(folder, constants={}, front_matter=f"nulls: 0\n{f'ideas: {ideas}' * (ideas > 1)}")
    asks = shlex.join([sys.executable, "-S", "-E", model.__file__])
    command = [
        *(sys.executable, "-m", "agent", "run", "--tag", "p", "--proposer", "llm"),
        *("--llm", f"command:{asks}", "--trials", str(len(model.PROPOSALS))),
        *("--budget", BUDGET, "--seed", str(SEED), "--preset", "cpu"),
    ]
    if "sequential:" in (tree / "agent/settings.py").read_text():  # what came before always is
        command.append("--sequential")
    environ = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=folder, env=environ, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: {' '.join(command)} ended with {done.returncode}")
    return {"name": name, **told(folder / "campaigns/p")}


def told(folder: Path) -> dict[str, Any]:
    """What came of the proposals, and what each verdict took, from a campaign's journal."""
    events = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    verdicts = [e for e in events if e["event"] == "verdict" and e["trial"] > 0]
    trainings = [
        one
        for e in events
        for one in [e.get("training"), *e.get("trainings", ())]
        if one and one["trial"] > 0
    ]
    fresh = [one for one in trainings if not one["reused"]]
    first = next(e["time"] for e in events if e["event"] == "trial" and e["trial"] > 0)
    prompts = [path.stat().st_size for path in folder.glob("trials/*/prompt*.md")]
    count = len(verdicts)
    return {
        "verdicts": count,
        "kept": [e["trial"] for e in verdicts if e["verdict"] == "keep"],
        "rejected": [e["trial"] for e in verdicts if e["verdict"] == "rejected"],
        "trainings_a_verdict": round(len(fresh) / count, 2),
        "reused_a_verdict": round((len(trainings) - len(fresh)) / count, 2),
        "verdicts_an_hour": round(3600 * count / (verdicts[-1]["time"] - first), 1),
        "calls": sum(e["event"] == "asking" for e in events),
        "prompt_tokens": round(sum(prompts) / CHARACTERS_PER_TOKEN),
    }


def full(before: str) -> dict[str, Any]:
    """All campaigns, one after the other; each is kept as soon as it is over."""
    path = RESULTS / "proposals.json"
    result = stamp("python -m benchmarks.proposals --full") | {"before": before, "budget": BUDGET}
    known = json.loads(path.read_text()) if path.exists() else {}
    done = known.get("campaigns", []) if known.get("before") == before else []
    with tempfile.TemporaryDirectory() as temporary:
        old = Path(temporary) / "before"
        git = ["git", "-C", str(ROOT)]
        subprocess.run([*git, "worktree", "add", "-q", "--detach", old, before], check=True)
        try:
            for name, tree, ideas in (
                ("before", old, 1),
                ("today", ROOT, 1),
                (f"today, {IDEAS} ideas a reply", ROOT, IDEAS),
            ):
                if name not in [each["name"] for each in done]:
                    folder = Path(temporary) / f"campaign-{len(done)}"
                    done.append(campaign(name, tree, folder, ideas))
                    keep("proposals", result | {"campaigns": done})
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", old], check=True)
    return result | {"campaigns": done}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="of what is recorded, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    parser.add_argument("--before", default=BEFORE, help="the earlier revision")
    args = parser.parse_args()
    if args.full:
        result = full(args.before)
    else:
        if not (path := RESULTS / "proposals.json").exists():
            raise SystemExit(
                "error: nothing is recorded yet: python -m benchmarks.proposals --full"
            )
        result = json.loads(path.read_text()) | {"measured_now": False}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
