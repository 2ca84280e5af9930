"""The projection that terminal, page and JSON read."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from events import PRIOR, Story, campaign

from agent.report.view import View, projection, view

GAIN = {"mean": 0.012, "low": 0.004, "high": 0.02}


def seen(story: Story, **how: object) -> View:
    return view(story.state, "t", PRIOR, **how)  # type: ignore[arg-type]


def verify(story: Story, gain: dict[str, float], **fields: object) -> None:
    champion = story.state.champion
    assert champion is not None
    found = {
        "gain": gain,
        "claimed_gain": gain,
        "seeds": 5,
        "trial": champion.trial,
        "commits": {"champion": champion.commit},
        "objective": {},
        "summed": [],
        "each": [],
        **fields,
    }
    story.add("verified", found=found)


def commands(found: View) -> list[str]:
    return [one.command.split()[3] for one in found.next if one.command]


def test_a_campaign_with_a_keep_says_what_it_found_and_that_it_is_not_verified():
    found = seen(campaign())
    assert (found.run.trials, found.run.kept, found.run.reverted, found.run.rejected) == (
        5,
        1,
        3,
        1,
    )
    assert found.found.verified is None
    assert found.found.verified_words == "not verified yet: python -m agent verify --tag t"
    (keep,) = found.found.keeps
    assert keep.sentence == (
        "trial 1 (schedule) longer warm-down, the last 60 % of the budget: "
        "better by +0.0130 (+0.0050 to +0.0210)"
    )
    assert (found.belief.nulls, found.belief.nulls_kept) == (1, 0)
    assert found.run.state == "stopped"
    assert commands(found) == ["verify", "run"]
    assert [row.trial for row in found.rows] == list(range(7))
    assert found.rows[1].cost is not None and found.rows[3].cost is None
    assert json.dumps(asdict(found))


@pytest.mark.parametrize(
    ("gain", "told"), [(GAIN, ["adopt", "run"]), (GAIN | {"low": -0.004}, ["run"])]
)
def test_what_is_verified_decides_what_to_do_next(gain, told):
    story = campaign()
    verify(story, gain, each=[{"trial": 1, "gain": gain}])
    found = seen(story)
    assert found.found.verified is not None and found.found.verified.is_of_champion
    assert found.found.by_kind == {"structure": 0.012} and found.found.by_kind_is_verified
    assert "verified +0.0120" in found.found.keeps[0].sentence
    assert commands(found) == told


@pytest.mark.parametrize(
    ("proposer", "hunks", "kind"),
    [
        ("tuner", ("number:1", "code:2"), "numbers"),  # a choice is a word
        ("llm", ("number:1", "number:2"), "numbers"),
        ("llm", ("number:1", "code:2"), "structure"),
        ("deck", ("code:1",), "structure"),
    ],
)
def test_constants_and_choices_count_as_numbers_even_where_sizes_change(proposer, hunks, kind):
    story = campaign()
    trial = replace(story.state.trials[1], proposer=proposer, hunks=hunks)
    assert projection._kind(trial) == kind


def test_what_was_verified_of_an_earlier_champion_is_not_said_of_this_one():
    story = campaign()
    verify(story, GAIN, each=[{"trial": 1, "gain": GAIN}])
    story.trial("optimizer", "more", [(1.29, 1.28)], verdict="keep", gain_half=0.004)
    found = seen(story)
    assert found.found.verified is not None and not found.found.verified.is_of_champion
    assert "another now" in found.found.verified_words
    assert not found.found.by_kind_is_verified and commands(found)[0] == "verify"


def test_near_misses_are_the_three_strongest_that_measured_better():
    story = campaign()
    for gain in (0.001, 0.004, -0.002, 0.003, 0.002):
        half = {"gain": gain, "gain_half": 0.006}
        story.trial("optimizer", f"worth {gain}", [(1.28, 1.279)], **half)
    titles = [miss.title for miss in seen(story).found.near_misses]
    assert titles == ["worth 0.004", "worth 0.003", "worth 0.002"]


def test_a_price_that_was_not_reported_is_not_nothing():
    story = campaign()
    assert seen(story).cost.words == "no model was paid"
    usage = {"input": 100, "output": 20}
    story.draw("optimizer")
    story.add("proposed", trial=7, proposer="llm", reply="", model="m", usage=usage)
    assert seen(story).cost.words == "not reported, 120 tokens"


def test_time_left_is_the_sooner_of_trials_and_hours():
    story = campaign()
    story.add("run", pid=1, keep="confirm", trials=8, hours=2.0)
    story.end(story.draw("optimizer"), "rejected", "no")
    began = story.state.run_began
    assert seen(story, pid=1, now=began).pace.left == 2 * 60
    assert seen(story, pid=1, now=began + 7170).pace.left == 30
    assert seen(story, now=began).pace.left is None


def test_trials_side_by_side_take_less_time_each():
    story = campaign()
    alone = seen(story).pace.seconds
    numbers = [story.draw("optimizer") for _ in range(12)]
    for number in numbers:
        story.candidate(number, f"at {number}")
        story.heat(number, 1.28, 1.29)
    for number in numbers:
        story.end(number, "revert", "worse")
    assert alone == 60.0
    assert seen(story).pace.seconds < alone / 6


@pytest.mark.parametrize(
    ("pid", "paused", "state"),
    [(None, True, "stopped"), (1, False, "running"), (1, True, "paused")],
)
def test_the_state_of_the_run(pid, paused, state):
    assert seen(campaign(), pid=pid, paused=paused).run.state == state


def test_a_campaign_that_has_only_begun():
    found = view(Story().state, "t", {})
    assert found.found.baseline is None and found.rows == () and found.prior == ()
    assert found.found.verified_words == "nothing is measured yet"


def test_texts_are_one_printable_line():
    story = campaign()
    story.trial("optimizer", "a\x1b[31mb\n\u202ec", [(1.29, 1.28)], verdict="keep", gain_half=0.004)
    found = seen(story)
    for text in (found.found.keeps[-1].sentence, found.rows[-1].title):
        assert text.isprintable()
