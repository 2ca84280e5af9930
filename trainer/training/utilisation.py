"""Model FLOPs utilisation (MFU, arXiv:2204.02311): how much of a device a training used."""

from __future__ import annotations

import re

PEAK_FLOPS = {
    "A100": 312e12,
    "L4": 121e12,
    "L40S": 362e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "RTX 3090": 71e12,
    "RTX 4090": 165e12,
}
"""FLOP/s of dense bfloat16 products by words of the device's name, as its maker says."""


def utilisation(flops_per_token: float, tokens_per_second: float, device: str) -> float | None:
    """Share of the device's peak, None where the table does not know the device.

    Args:
        flops_per_token: of forward and backward, as the training reported them: products with
            weights alone, so the share is a lower bound, by some tenth at a context of 2,048.
        device: its name, as the driver tells it.
    """
    words = set(re.split(r"[\s-]+", device))
    known = [name for name in PEAK_FLOPS if words.issuperset(name.split())]
    if not known or "Laptop" in words or not flops_per_token > 0:
        return None
    return flops_per_token * tokens_per_second / PEAK_FLOPS[max(known, key=len)]
