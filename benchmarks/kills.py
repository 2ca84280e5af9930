"""kill -9 at random: does a campaign that was killed end as one that was not?

    python -m benchmarks.kills --json     10 kills of one campaign (under 4 minutes)
    python -m benchmarks.kills --full     200 kills over 20 campaigns; goes on where it stopped,
                                          from what is kept in results/

Each campaign (``kills_campaign``) is run once undisturbed, and once killed: its parent, its process
group, all its processes at once, or a child, at moments by lot (``kills_launcher``), then gone on
with until it ends. A loss is whatever differs then in trials, trees, verdicts, scores or the prior,
and whatever is left of it: processes, temporary files, locks. Losses are published with the kills.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import kills_campaign, kills_compare
from benchmarks.machine import RESULTS, keep, stamp

TRIALS = 3
KILLS = 10
"""Of one campaign."""
CAMPAIGNS = 20


def one_campaign(seed: int, kills: int = KILLS) -> dict[str, Any]:
    """Run a campaign undisturbed, then killed; both have the seed, and so do the kills."""
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder, shared = Path(name), Path(name) / "shared"
        calm = kills_campaign.make(folder / "calm", shared, TRIALS, seed)
        killed = kills_campaign.make(folder / "killed", shared, TRIALS, seed)
        status, output = kills_campaign.run(calm)
        if status != 0:
            raise SystemExit(f"error: the undisturbed campaign of seed {seed} failed:\n{output}")
        dice = random.Random(seed)
        losses = kills_campaign.run_and_kill(killed, kills, calm.events(), dice)
        if not losses:
            before, after = map(kills_compare.outcome, (calm, killed))
            losses = [*kills_compare.differences(before, after), *kills_compare.left(killed)]
        return {"seed": seed, "kills": kills_campaign.kills_of(killed), "losses": losses}


def summary(campaigns: list[dict[str, Any]]) -> dict[str, Any]:
    victims = [kill["victim"] for campaign in campaigns for kill in campaign["kills"]]
    return {
        "campaigns": len(campaigns),
        "kills": len(victims),
        "victims": {victim: victims.count(victim) for victim in sorted({*victims})},
        "campaigns_with_losses": sum(bool(campaign["losses"]) for campaign in campaigns),
    }


def full() -> dict[str, Any]:
    """The campaigns that are not in results/ yet, each kept as soon as it is over."""
    path = RESULTS / "kills.json"
    done = json.loads(path.read_text())["each"] if path.exists() else []
    if len(done) >= CAMPAIGNS:  # a whole result: begin another
        done = []
    result = stamp("python -m benchmarks.kills --full")
    while len(done) < CAMPAIGNS:
        done.append(one_campaign(len(done)))
        keep("kills", result | summary(done) | {"each": done})
        print(f"campaign {len(done)} of {CAMPAIGNS}", file=sys.stderr)
    return result | summary(done) | {"each": done}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="the short mode, one JSON line")
    parser.add_argument("--full", action="store_true", help="the evidence, kept in results/")
    args = parser.parse_args()
    if args.full:
        result = full()
    else:
        campaigns = [one_campaign(0)]
        result = stamp("python -m benchmarks.kills --json") | summary(campaigns)
        result["each"] = campaigns
    print(json.dumps(result))
    sys.exit(1 if result["campaigns_with_losses"] else 0)


if __name__ == "__main__":
    main()
