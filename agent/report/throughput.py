"""How many experiments an hour a campaign makes, and where the device's time goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.campaign.device_time import device_time
from agent.campaign.state import State
from agent.report.text import clock

TOLD, CAUSES = 0.01, 2
"""The screen tells so many causes, of those that took at least this share of the runs' time."""


def throughput(state: State) -> dict[str, Any]:
    """What ``status --json`` prints of it; up to the journal's last event, None for what is not
    known. An experiment is a trial that was trained, the baseline and null trials apart."""
    found = device_time(state.clock)
    rate = found.an_hour(state.counts["keep"] + state.counts["revert"])
    share = found.busy_share
    return {
        "experiments_an_hour": None if rate is None else round(rate, 2),
        "device_busy_share": None if share is None else round(share, 4),
        "running_seconds": round(found.running, 3),
        "device_seconds": round(found.busy, 3),
        "lost_seconds": dict(found.lost),
        "drafting_hidden_seconds": round(found.hidden, 3),
    }


def device_words(found: Mapping[str, Any]) -> str:
    """A line of the screen, with the causes that cost most; "" before the first run."""
    share, rate = found["device_busy_share"], found["experiments_an_hour"]
    if share is None or rate is None:
        return ""
    least = max(TOLD * found["running_seconds"], 0.5)
    lost = [(s, name) for name, s in found["lost_seconds"].items() if name != "stopped"]
    most = [f"{name} {clock(s)}" for s, name in sorted(lost, reverse=True)[:CAUSES] if s >= least]
    told = f"{rate:.3g} an hour, device busy {100 * share:.0f} %"
    if (hidden := found["drafting_hidden_seconds"]) >= least:
        told += f", drafting hidden {clock(hidden)}"
    return f"{told}, lost: {', '.join(most)}" if most else told
