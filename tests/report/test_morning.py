"""``status``: one screen, whatever there is to say."""

from __future__ import annotations

import pytest
from events import PRIOR, Story, campaign

from agent.report import morning
from agent.report.columns import plain
from agent.report.summary import status_json
from agent.report.view import view


def screen(story: Story, columns: int = 80, **status: object) -> list[str]:
    found = status_json(story.state, "t", None, PRIOR) | status
    lines = morning.lines(view(story.state, "t", PRIOR), found, columns)
    assert max(line.cell_len for line in lines) <= columns
    return plain(lines).splitlines()


def crowded() -> Story:
    """Long words about everything, at once."""
    story = Story(llm=f"openai:{'m' * 200}", **{"keep": "strict"})
    story.baseline()
    text = "a long title of many words that say what was tried and why " * 4
    for n in range(12):
        gains = {"gain": 0.01 + n / 1000, "gain_half": 0.004}
        story.trial("schedule", f"{n} {text}", [(1.3, 1.29)], "keep", "kept", **gains)
    for n in range(5):
        gain = {"gain": 0.004 + n / 1000, "gain_half": 0.009}
        story.trial("optimizer", f"near {n} {text}", [(1.3, 1.296)], **gain)
    story.null([(1.3, 1.29)], verdict="keep")
    number = story.draw("dataset")
    story.add(
        "proposed", trial=number, proposer="llm", reply="x", model="m", cost_usd=None,
        usage={"input": 10, "output": 2, "cache_read": 5}, ideas=["a", "b"],
        exhausted=dict.fromkeys(PRIOR, text),
    )  # fmt: skip
    story.add("notebook", text="x", model="m", usage={"input": 1}, cost_usd=0.0)
    return story


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_it_is_one_screen(columns: int) -> None:
    assert len(screen(crowded(), columns)) <= morning.HEIGHT
    assert len(screen(campaign())) <= 24
    assert len(screen(Story())) <= 24


def test_what_a_person_asks_in_the_morning_is_there() -> None:
    lines = screen(crowded(), 100, exhausted={"optimizer": "all of it was tried"})
    text = "\n".join(lines)
    assert "not verified yet: python -m agent verify --tag t" in text
    assert text.count("near ") >= 3 and "near 0" not in text and "near 4" in text, "the strongest"
    assert "trial 12" in text and "and 7 more: python -m agent log" in text
    assert "nothing left in optimizer, it is said: all of it was tried" in text
    assert "not reported" in text and "$0" not in text, "which is not the same"
    assert "1 of 1 null kept" in text
    assert any(line.startswith("next      ") for line in lines)
    assert "--keep strict" in text


def test_a_command_is_not_broken() -> None:
    for columns in (60, 80):
        lines = screen(campaign(), columns)
        assert "python -m agent verify --tag t" in [line[-30:] for line in lines]
        assert any(line.strip() == "python -m agent verify --tag t" for line in lines)


def test_nothing_is_claimed_of_a_campaign_that_has_kept_nothing() -> None:
    story = Story()
    assert "not measured yet" in "\n".join(screen(story))
    story.baseline()
    text = "\n".join(screen(story))
    assert "nothing is kept yet beyond the baseline" in text
    assert "baseline 1.3000 val_bpb, which is the champion" in text
    assert "claimed" not in text and "adopt" not in text
