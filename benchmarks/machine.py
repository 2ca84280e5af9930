"""Where and when a benchmark ran, and where its results are kept."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainer.fingerprint import instructions, processor

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent


def stamp(command: str) -> dict[str, Any]:
    return {
        "command": command,
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "instructions": instructions(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def keep(name: str, result: dict[str, Any]) -> Path:
    """Write ``results/<name>.json``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    written = path.with_suffix(".tmp")
    written.write_text(json.dumps(result, indent=1) + "\n")
    written.replace(path)  # at once: a kill in between leaves what there was
    return path
