"""progress.png as a card to share: what stands below the chart, and that it has room."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

from events import Story, campaign, sha
from matplotlib.transforms import Bbox

from agent.campaign.state import State
from agent.report.plots import _card, _figure

GAIN = {"mean": 0.012, "low": 0.004, "high": 0.02}


def card(state: State) -> dict[str, Bbox]:
    """Each text, and where it stands, in pixels."""
    with TemporaryDirectory() as folder, _figure(Path(folder) / "card.png") as figure:
        _card(figure, state)
        return {text.get_text(): text.get_window_extent() for text in figure.texts}


def verify(story: Story, gain: dict[str, float]) -> None:
    champion = story.state.champion
    assert champion is not None
    found = {"gain": gain, "claimed_gain": gain, "seeds": 5, "trial": champion.trial, "each": []}
    found |= {"commits": {"champion": champion.commit}, "objective": {}, "summed": []}
    story.add("verified", found=found)


def test_it_says_what_was_kept_whether_it_is_verified_and_how_to_repeat_it() -> None:
    story = campaign()
    told = card(story.state)
    assert "+0.0130  longer warm-down, the last 60 % of the budget" in told
    assert "not verified yet" in told and "python -m agent verify --tag t" in told
    command = "python -m agent run --preset cpu --budget 20s --data apidocs --llm none --trials 5"
    assert f"repeat it at commit {sha('base')[:7]}: {command}" in told
    verify(story, GAIN)
    told = card(story.state)
    assert "verified +0.0120 (+0.0040 to +0.0200)" in told and "over 5 fresh seeds" in told
    assert "not verified yet" not in told
    story.trial("schedule", "more", [(1.28, 1.27)], "keep", "kept", gain=0.02, gain_half=0.004)
    assert any("the champion is another now" in one for one in card(story.state))


def test_the_three_largest_keeps_are_named() -> None:
    story = Story()
    story.baseline()
    assert "nothing is kept yet" in card(story.state)
    for n in (2, 5, 1, 4, 3):
        story.trial(
            "schedule", f"title {n}", [(1.3, 1.2)], "keep", "kept", gain=n / 100, gain_half=0.001
        )
    told = [one for one in card(story.state) if "title" in one]
    assert told == ["+0.0500  title 5", "+0.0400  title 4", "+0.0300  title 3"]
    assert "the 3 largest of 5 keeps, as claimed" in card(story.state)


def test_nothing_overlaps_or_leaves_the_picture() -> None:
    story = Story(llm="openai:" + "m" * 300)
    story.baseline()
    gain = {"gain": 0.1, "gain_half": 0.01}
    for title in ("W" * 300, "学习率" * 100, r"$\frac{1}$ " + "word " * 60):
        story.trial("schedule", title, [(1.3, 1.2)], "keep", "kept", title, **gain)
    verify(story, {"mean": -0.0123, "low": -0.0234, "high": 0.0012})
    story.trial("schedule", "one more", [(1.3, 1.2)], "keep", "kept", gain=0.01, gain_half=0.001)
    boxes = list(card(story.state).values())
    assert len(boxes) == 8
    assert all(box.x0 >= 0 and box.x1 <= 2400 and box.y0 >= 0 for box in boxes)
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other), (one, other)
