"""What the stronger audit before a keep takes at each preset, and what it then charges.

    python -m benchmarks.charge --json   one line (about two minutes)
    python -m benchmarks.charge --full   kept in results/

Measured at the cpu preset: train.py is trained for the preset's budget and audited. For the other
presets it is arithmetic, with the scorer's own statistics and what ``Place`` assumes of a machine.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, keep, stamp
from trainer.data.prepare import prepare
from trainer.measure import AUDIT_SHARE, audit, measure
from trainer.presets import Preset, find_preset
from trainer.scoring.parent import NOISE_SHARE
from trainer.scoring.prefixes import LEAST_CUTS, PARTS
from trainer.scoring.statistics import poisson_upper

MEAN_LENGTH = (PARTS + 1) / (2 * PARTS)
"""Of what a cut is asked with, as a share of a window."""


@dataclass(frozen=True)
class Place:
    """A preset's text, model and machine."""

    val_bpb: float
    bytes_per_token: float
    seconds_a_window: float
    """Of a forward pass over a whole window, without copying its logits."""


def unseen_positions(cuts: int, population: int) -> float:
    """Positions with a leak that so many cuts may all have missed, at 95 % confidence."""
    return poisson_upper(0) / -math.log1p(-cuts / population)


def calculated(preset: Preset, place: Place, tail: float) -> dict[str, Any]:
    """Cuts, seconds and charge at a preset.

    Args:
        tail: mean loss of the positions where a leak would pay most, over the mean of all.
    """
    population = int(preset.val_bytes / place.bytes_per_token)
    worth = tail * place.val_bpb / population  # bits per byte, of one such position
    most = NOISE_SHARE * preset.noise_numbers / worth
    enough = population * -math.expm1(-poisson_upper(0) / most)
    each = MEAN_LENGTH * place.seconds_a_window
    affordable = AUDIT_SHARE * (preset.budget.seconds or 0.0) / each
    cuts = int(min(population, max(LEAST_CUTS, min(enough, affordable))))
    return {
        "assumed": asdict(place),
        "population": population,
        "cuts": cuts,
        "seconds": round(cuts * each, 1),
        "charge_bpb": round(worth * unseen_positions(cuts, population), 6),
        "tenth_of_the_noise_bpb": NOISE_SHARE * preset.noise_numbers,
    }


def measured(preset: Preset, source: str) -> dict[str, Any]:
    """The same, of a real training and audit on this machine."""
    where = {"preset": preset.name, "device": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        training = measure(source, weights_to=weights, **where)
        assert training.val_bpb is not None, training.reason
        found = audit(source, weights, training.val_bpb, **where)
        assert found.ok, found.reason
    text = prepare(vocab_size=int(preset.constants["VOCAB_SIZE"]), val_bytes=preset.val_bytes).val
    population = text.n_tokens - text.n_docs
    worth = found.leak_bound_bpb / unseen_positions(found.cuts, population)
    return {
        "val_bpb": training.val_bpb,
        "population": population,
        "cuts": found.cuts,
        "seconds": round(found.seconds, 1),
        "charge_bpb": round(found.leak_bound_bpb, 6),
        "tenth_of_the_noise_bpb": NOISE_SHARE * preset.noise_numbers,
        "tail_over_mean": round(worth * population / training.val_bpb, 2),
    }


def run(source: str) -> dict[str, Any]:
    """All presets."""
    cpu = measured(find_preset("cpu"), source)
    text = prepare(vocab_size=4096, val_bytes=find_preset("cpu").val_bytes).val
    places = {
        # Its model computes eight times as much a token as cpu's, its processor is four times as
        # fast as the two cores, which take 1.6 ms a window.
        "laptop": Place(cpu["val_bpb"], text.bytes_per_token, 3.2e-3),
        # 22 million weights of products at 4e13 FLOP/s, a quarter of a large consumer card's peak.
        "gpu": Place(1.05, text.bytes_per_token, 2 * 22e6 * 1024 / 4e13 + 2e-3 / 16),
        # 50 million parameters at 2e14 FLOP/s, a fifth of the peak, and 2 ms of launching kernels
        # for each batch of 8.
        "h100": Place(0.998, text.bytes_per_token, 2 * 50e6 * 2048 / 2e14 + 2e-3 / 8),
    }
    tail = float(cpu["tail_over_mean"])
    calculations = {
        name: calculated(find_preset(name), place, tail) for name, place in places.items()
    }
    return {"cpu, measured": cpu, **calculations}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line")
    parser.add_argument("--full", action="store_true", help="keep the results")
    args = parser.parse_args()
    result = stamp("python -m benchmarks.charge --full") if args.full else {}
    result |= run((ROOT / "trainer" / "train.py").read_text())
    print(json.dumps(result, indent=None if args.json else 1))
    if args.full:
        keep("charge", result)


if __name__ == "__main__":
    main()
