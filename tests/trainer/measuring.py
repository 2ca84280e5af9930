"""What the tests of whole measurements share."""

from typing import Any

from trainer import measure as measurements
from trainer.measure import LABORATORY, Measurement
from trainer.presets import Budget
from trainer.sandbox import confine as sandbox


def measure(source: str, budget: str | Budget = "40000tok", **settings: Any) -> Measurement:
    return measurements.measure(source, budget=budget, preset="cpu", device="cpu", **settings)


def below_server() -> int:
    return sandbox.usage(LABORATORY.server().pid).processes
