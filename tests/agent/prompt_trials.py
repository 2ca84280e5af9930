"""A program, a source and a history for tests of what a model is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.campaign.records import Training, Trial
from agent.models.types import Prompt
from agent.proposers.base import Cards
from trainer.data.card import SourceCard

PROMPTS = Path(__file__).parents[2] / "prompts"
PROGRAM = """\
---
trials: 7
---
# Research

Find what lowers val_bpb.

## Categories

- **architecture**: shapes and layers
- **schedule**: learning rates over time

## Notes

Look at the warm-down first.
"""
SOURCE = """\
# === architecture ===
WIDTH = 64  # range 16..256

# === schedule ===
WARMDOWN = 0.3  # range 0..1
"""
CARDS = Cards(
    vocab_size=2048,
    seq_len=512,
    sources=[
        SourceCard("guides", True, 1442, 2.05, 563440, {2048: 3.65, 4096: 4.4}, (193, 307, 647), 2),
        SourceCard("py</data>thon", False, 453, 8.45, 4284045, {2048: 1.97}, (719, 4840, 9), 1),
    ],
    machine={"processor": "A Processor 9, 4 cores", "memory": "15.5 GB", "bfloat16": "native, so"},
    profile={
        "status": "ok", "steps": 16, "seconds": 0.0451, "has_head": True,
        "phases": {"data": 0.004, "forward": 0.27, "head": 0.24, "backward": 0.171,
                   "optimizer": 0.315},
        "parts": {"attentions": 0.187, "the\x1b[2Jhead": 0.09},
        "groups": [
            {"name": "pairs", "rule": "the file's own rule", "params": 4194304,
             "weight": 725.9, "gradient": None, "change": 0.0123},
            {"name": "shift", "rule": "AdamW", "params": 128, "weight": 0.8, "gradient": 0.016,
             "change": 0.2},
        ],
        "rate": "lr_scale", "rates": [[0.0, 0.0], [0.04, 1.0], [0.96, 0.1]],
    },
)  # fmt: skip
NOISE = {"numbers": 0.0012345, "structure": 0.0040123}


def heat(number: int, status: str = "ok", reason: str = "") -> tuple[Training, Training]:
    """Champion and candidate of a heat; without a score unless the candidate is ok."""
    bpb = 1.3 if status == "ok" else None
    champion = Training(1, "champion", "b" * 40, 1, "ok" if bpb else "abandoned", val_bpb=bpb)
    candidate = Training(1, "candidate", "c" * 40, 1, status, reason, val_bpb=bpb)
    return replace(champion, heat=number), replace(candidate, heat=number)


def trial(number: int, **fields: Any) -> Trial:
    usual: dict[str, Any] = {
        "category": "schedule",
        "verdict": "revert",
        "status": "ok",
        "title": f"idea {number}",
        "hypothesis": f"because {number}",
        "gain": -0.004,
        "gain_half": 0.00213,
        "trainings": heat(0),
        "words": "worse by 0.0040 ± 0.00213 in 1 heat, reverted",
    }
    return Trial(number, **(usual | fields))


BASELINE = trial(0, verdict="keep", category="baseline", gain=None, title="train.py as it stands")
HISTORY = (
    BASELINE,
    trial(1, verdict="keep", gain=0.01234, words="kept: better by 0.01234 ± 0.00213"),
    trial(2, gain=0.00312, trainings=(*heat(0), *heat(1), *heat(2))),
    trial(3, gain=-0.00613),
    trial(
        4, status="crashed", gain=None,
        trainings=heat(0, "crashed", "Traceback\n  File x\nValueError: bad\x1b[31m shape"),
    ),
    trial(5, verdict="rejected", status="", gain=None, title="", hypothesis="", trainings=(),
          rejections=("block 1: not in the file", "block 2 changes nothing\nline 7")),
    trial(6, status="abandoned", gain=-0.06123, gain_half=0.02456,
          trainings=heat(0, "abandoned", "hopeless after 25% of a heat")),
)  # fmt: skip


def part(prompt: Prompt, name: str) -> str:
    return next(p.text for p in prompt.parts if p.name == name)
