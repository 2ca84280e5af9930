"""Makes the record of a campaign that ``python -m agent watch --demo`` plays.

    python -m benchmarks.record campaigns/TAG --what "WHAT IT IS" [--to FILE]

Reads the campaign's folder, its journal and the diffs of its trials, and writes one small file;
without --to, the one that is shipped. Nothing is added or changed, except that numbers of curves
are rounded. What no view shows is left out: replies, prompts, sources, fingerprints, traces.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.campaign.events import FORMAT
from agent.campaign.files import JOURNAL
from agent.campaign.journal import read_events
from agent.report.recorded import SHIPPED
from benchmarks.machine import ROOT

LEFT_OUT = {
    "start_source", "source", "base", "fingerprint", "weights_sha256", "hunks", "prompt_tokens",
    "turned_down",
}  # fmt: skip
DIGITS = 5
MOST_DIFF = 20_000
"""Bytes of a diff; a longer one is left out."""


def record(folder: Path, what: str) -> bytes:
    """The record of the campaign in ``folder``.

    Raises:
        UserError: its journal cannot be read. ValueError: it holds no trial.
    """
    happened = read_events(folder / JOURNAL)
    if not any(event.event == "verdict" for event in happened):
        raise ValueError(f"{folder / JOURNAL} holds no finished trial")
    date = datetime.fromtimestamp(happened[0].time, UTC).strftime("%Y-%m-%d")
    about = {"format": FORMAT, "tag": folder.resolve().name, "date": date, "what": what}
    lines = [about, *(_trimmed(event.model_dump(mode="json")) for event in happened)]
    lines += _diffs(folder)
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    return gzip.compress(text.encode("ascii"), 9, mtime=0)


def _diffs(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("trials/*/diff.patch"), key=lambda path: int(path.parent.name)):
        text = path.read_text(encoding="utf-8", errors="replace")
        if len(text) <= MOST_DIFF:
            yield {"trial": int(path.parent.name), "diff": text}


def _trimmed(value: Any, name: str = "") -> Any:
    """A field of an event without what no view shows; a reply becomes empty."""
    if name == "reply":
        return ""
    if name == "losses":
        return [None if loss is None else round(loss, DIGITS) for loss in value]
    if isinstance(value, Mapping):
        left_out = LEFT_OUT | ({"data"} if value.get("event") == "proposed" else set())
        return {key: _trimmed(inner, key) for key, inner in value.items() if key not in left_out}
    if isinstance(value, list | tuple):
        return [_trimmed(one) for one in value]
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="campaigns/TAG")
    parser.add_argument("--what", required=True, help="which campaign it is, in a few words")
    parser.add_argument("--to", type=Path, default=ROOT / "agent" / "report" / SHIPPED)
    options = parser.parse_args()
    made = record(options.folder, options.what)
    options.to.write_bytes(made)
    print(f"{options.to}: {len(made):,} bytes")


if __name__ == "__main__":
    main()
