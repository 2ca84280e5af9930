import struct
from pathlib import Path

import numpy as np
import pytest
from events import Story, campaign
from matplotlib.image import imread

from agent.campaign.state import State
from agent.report.plots import points_of, progress_png, scale


def drawn(path: Path, state: State) -> np.ndarray:
    progress_png(path, state)
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (2400, 1200)
    return imread(path)[:, :, :3]


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many pixels have about this colour."""
    return int((np.abs(picture - np.array(colour) / 255).max(axis=2) < 0.1).sum())


GREEN, RED, AMBER = (26, 152, 80), (211, 105, 99), (225, 174, 75)


@pytest.mark.process
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
        [(1.3, 1.2)],
        verdict="keep",
        gain_half=0.01,
    )
    drawn(tmp_path / "progress.png", story.state)


def outliers(*scores: float) -> State:
    story = Story()
    story.baseline(1.30)
    for score in scores:
        story.trial("schedule", "x", [(1.30, score)], gain_half=0.01)
    return story.state


@pytest.mark.parametrize(
    ("scores", "highest"),
    [
        ([1.301, 1.305, 1.32, 1.302], 1.32),
        ([2.1], 0.0),
        ([1.301, 1.305, 2.1, 1.302, 9.0], 1.305),
        ([1.32, 1.33, 1.34, 5.0], 1.34),
    ],
)
def test_the_scale_passes_over_disasters(scores: list[float], highest: float) -> None:
    """The scale reaches to ``highest``, or to the end of the baseline's interval."""
    shown = points_of(outliers(*scores))
    low, high = scale(shown)
    assert low == pytest.approx(1.30 - shown[0].bpb.half)
    assert high == pytest.approx(max(highest, 1.30 + shown[0].bpb.half))


def test_the_scale_holds_every_champion_and_every_better_score() -> None:
    story = campaign()
    story.trial("schedule", "x", [(1.30, 1.15)])
    shown = points_of(story.state)
    low, high = scale(shown)
    assert low == pytest.approx(1.28775 - 0.15), "the champion's, less what was gained on it"
    assert high >= max(point.bpb.mean + point.bpb.half for point in shown if point.trial.kept)


def test_a_slow_hour_does_not_bend_the_chart() -> None:
    """Every score of the second half is higher by 0.2; the differences are what they were."""
    halves = []
    for slower in (0.0, 0.2):
        story = Story()
        story.baseline(1.30)
        story.trial("schedule", "x", [(1.30, 1.28)], verdict="keep", gain=0.02)
        story.trial("optimizer", "y", [(1.28 + slower, 1.29 + slower)])
        halves.append([point.bpb.mean for point in points_of(story.state)])
    assert halves[0] == pytest.approx([1.30, 1.28, 1.29])
    assert halves[1] == pytest.approx(halves[0])


def test_an_abandoned_trial_is_drawn_where_it_was_forecast() -> None:
    drawn_ones = {point.x: point.bpb for point in points_of(campaign().state)}
    assert drawn_ones[6].mean == pytest.approx(1.28775 + 0.06)
    assert drawn_ones[6].half == 0.02


def test_trials_stand_in_the_order_of_their_verdicts() -> None:
    """Of two that were under way side by side the second ended first, and was kept."""
    story = Story()
    story.baseline(1.30)
    first, second = (story.draw("schedule") for _ in range(2))
    for number, score in ((second, 1.28), (first, 1.29)):
        story.candidate(number, f"at {number}")
        story.heat(number, 1.30, score)
        story.end(number, "keep" if number == second else "revert", "over", gain=1.30 - score)
    assert [(point.trial.trial, point.x) for point in points_of(story.state)] == [
        (0, 0), (second, 1), (first, 2),
    ]  # fmt: skip


def test_null_trials_are_not_drawn() -> None:
    story = Story()
    story.baseline()
    story.null([(1.30, 1.25)], verdict="keep")
    assert [point.x for point in points_of(story.state)] == [0]


@pytest.mark.process
@pytest.mark.parametrize("objective", [{"target": 1.28, "doubling": 0.06}, {"memory_limit": 1.0}])
def test_the_chart_shows_the_objective(tmp_path: Path, objective: dict[str, float]) -> None:
    """A line for target or limit, which the baseline here is above."""
    story, bare = Story(), Story()
    for one, how in ((story, {"objective": objective}), (bare, {})):
        number = one.draw("baseline", proposer="preset", **how)
        one.candidate(number, "b")
        one.train(number, 1.3)
        one.end(number, "keep", "the starting point", val_bpb=1.3)
    line = (217, 150, 26)
    picture, plain = drawn(tmp_path / "a.png", story.state), drawn(tmp_path / "b.png", bare.state)
    assert near(picture, line) > 1000 + near(plain, line)
    ring = (200, 68, 60)
    assert (near(picture, ring) > near(plain, ring)) == ("memory_limit" in objective)
