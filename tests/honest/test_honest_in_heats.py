"""Honest training files in heats: none is taken for one that computes in another's turn."""

from pathlib import Path
from typing import Any

import pytest

from trainer.measure import heat
from trainer.sandbox.cgroup import Cgroup

FILES = sorted(p for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_"))
SOME = tuple(p for p in FILES if p.stem in ("prefetch", "own_loader", "lazy_imports"))
"""With threads, files and imports of their own."""
CPU: dict[str, Any] = {"preset": "cpu", "device": "cpu"}
CHAMPION = Path(__file__).parent / "attention.py"
"""The tiny file only looks up: many an honest model answers more than a few times slower."""
BESIDE = 6
PARTS = [tuple(FILES[k : k + BESIDE]) for k in range(0, len(FILES), BESIDE)]


@pytest.mark.parametrize(
    "files",
    [SOME, *(pytest.param(part, marks=pytest.mark.slow) for part in PARTS)],
    ids=lambda files: "-".join(path.stem for path in files),
)
@pytest.mark.parametrize("stopped_by", ["any", pytest.param("signals", marks=pytest.mark.slow)])
def test_is_believed(
    files: tuple[Path, ...], stopped_by: str, tiny_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stopped_by == "signals":
        monkeypatch.setattr(Cgroup, "freeze", lambda group, deadline: set())
    paths = [CHAMPION, *files]
    sources = [tiny_source + path.read_text() for path in paths]
    for name, measured in zip(
        [path.stem for path in paths], heat(sources, budget="3s", **CPU), strict=True
    ):
        assert measured.status == "ok", (name, measured.reason + measured.detail)
        assert measured.how == "side by side" and measured.steps > 0
