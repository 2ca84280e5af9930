import struct
from pathlib import Path

import numpy as np
import pytest
from events import Story, campaign
from matplotlib.image import imread

from agent.campaign.state import State
from agent.report.plots import DPI, progress_png, scale


def drawn(path: Path, state: State) -> np.ndarray:
    progress_png(path, state)
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (12 * DPI, 6 * DPI)
    return imread(path)[:, :, :3]


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels have about this colour."""
    return int((np.abs(picture - np.array(colour) / 255).max(axis=2) < 0.1).sum())


GREEN, RED, AMBER = (26, 152, 80), (211, 105, 99), (225, 174, 75)


def test_kept_failed_and_rejected_are_on_the_picture(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "progress.png", campaign().state)
    story = Story()
    story.baseline()
    bare = drawn(tmp_path / "bare.png", story.state)
    assert near(picture, GREEN) > near(bare, GREEN) > 200
    assert near(picture, RED) > 100
    assert near(picture, AMBER) > 100
    assert near(bare, RED) == near(bare, AMBER) == 0
    assert list(tmp_path.glob(".*")) == []


def test_an_empty_campaign_has_a_picture(tmp_path: Path) -> None:
    picture = drawn(tmp_path / "progress.png", Story().state)
    assert 0 < (picture < 0.9).any(axis=2).sum() < 100_000


@pytest.mark.filterwarnings("error")
def test_titles_are_not_mathematics_and_may_lack_a_glyph(tmp_path: Path) -> None:
    story = Story()
    story.baseline()
    story.trial(
        "schedule",
        r"$\frac{1} 学习率 $",
        [1.2, 1.2],
        verdict="keep",
        val_bpb=1.2,
        val_bpb_half=0.01,
    )
    drawn(tmp_path / "progress.png", story.state)


def outliers(*scores: float) -> State:
    story = Story()
    story.baseline(1.30)
    for score in scores:
        story.trial("schedule", "x", [score], val_bpb=score, val_bpb_half=0.01)
    return story.state


@pytest.mark.parametrize(
    ("scores", "highest"),
    [
        ([1.301, 1.305, 1.32, 1.302], 1.32),
        ([2.1], 1.311),
        ([1.301, 1.305, 2.1, 1.302, 9.0], 1.311),
        ([1.32, 1.33, 1.34, 5.0], 1.34),
    ],
)
def test_the_scale_passes_over_disasters(scores: list[float], highest: float) -> None:
    low, high = scale(outliers(*scores).trials)
    assert low == pytest.approx(1.30 - 0.011)
    assert high == pytest.approx(highest)


def test_the_scale_holds_every_champion_and_every_better_score() -> None:
    story = campaign()
    story.trial("schedule", "x", [1.15], val_bpb=1.15)
    trials = [trial for trial in story.state.trials if trial.val_bpb is not None]
    assert scale(trials) == pytest.approx((1.15, 1.311))
