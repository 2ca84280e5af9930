"""What the tests of whole measurements share."""

from typing import Any

from trainer import measure as measurements
from trainer.measure import MACHINE, Measurement
from trainer.presets import Budget
from trainer.sandbox import tree


def measure(source: str, budget: str | Budget = "40000tok", **settings: Any) -> Measurement:
    return measurements.measure(source, budget=budget, preset="cpu", device="cpu", **settings)


def below_server() -> int:
    return tree.usage(MACHINE.server().pid).processes
