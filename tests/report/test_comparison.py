"""``list`` and ``compare``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from events import PRIOR, Story, campaign

from agent.report.columns import plain
from agent.report.comparison import compare_lines, differing, entry, list_lines
from agent.report.view import view


def told(story: Story, tag: str, **of: Any) -> dict[str, Any]:
    return entry(view(story.state, tag, PRIOR), story.state) | of


def three() -> list[dict[str, Any]]:
    strict = Story(keep="strict", llm="openai:m")
    strict.baseline()
    verified = {"mean": 0.012, "low": 0.004, "high": 0.02}
    old = {"verified": verified, "verified_trial": 1, "verified_is_of_champion": False}
    return [
        told(campaign(), "night"),
        told(strict, "[bold]x\u4e2d" + 30 * "y", cost_usd=None),
        told(campaign(), "later", **old),
    ]


def test_an_entry_is_json_and_says_what_is_not_known() -> None:
    night, strict, _ = three()
    assert json.loads(json.dumps(night)) == night
    assert night["claimed"] == pytest.approx({"mean": 0.013, "low": 0.005, "high": 0.021})
    assert night["verified"] is strict["claimed"] is strict["cost_usd"] is None
    assert night["device_seconds"] > 0 and "pid" not in night["settings"]


@pytest.mark.parametrize("columns", [80, 100])
def test_the_list_has_a_line_each_and_whole_tags(columns: int) -> None:
    broken = {"tag": "broken", "error": "journal.jsonl line 3 is not an event: restore the file"}
    lines = list(list_lines([*three(), broken], columns))
    assert max(line.cell_len for line in lines) <= columns
    text = plain(lines).splitlines()
    assert len(text) == 6 and text[5].startswith("broken  journal.jsonl line 3")
    assert text[1].split() == [
        "night",
        "stopped",
        "5",
        "1",
        "+0.0130",
        "not",
        "yet",
        "0:09",
        "$0.00",
    ]
    assert text[2] == three()[1]["tag"], "whole, to be typed again"
    assert text[3].startswith("  ") and "not reported" in text[3]
    assert "+0.0120 before" in text[4], "verified, but of an earlier champion"
    assert "start one" in plain(list_lines([], columns))


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_campaigns_stand_beside_each_other_with_the_settings_that_differ(columns: int) -> None:
    found = three()
    assert set(differing(found)) == {"keep", "llm"}
    lines = list(compare_lines(found, columns))
    assert max(line.cell_len for line in lines) <= columns
    text = plain(lines)
    for words in (
        "night",
        "later",
        "confirm",
        "strict",
        "+0.0130 ± 0.0080",
        "not yet",
        "of trial 1",
    ):
        assert words in text
    assert "budget" not in text and "gains of the same thing" not in text
    found[1]["settings"]["budget"] = "60s"
    assert "not the same: budget; gains are not gains of the same thing" in plain(
        compare_lines(found, 100)
    )
