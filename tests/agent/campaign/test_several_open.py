"""Trials that are under way side by side, as the lanes of a run leave them in the journal."""

from __future__ import annotations

from pathlib import Path

import pytest
from events import Story, sha

from agent.campaign import snapshot
from agent.campaign.events import read_event
from agent.campaign.evidence import level_of
from agent.campaign.files import JOURNAL
from agent.campaign.journal import Journal
from agent.campaign.learning import rebuild_prior, teach_prior
from agent.campaign.lines import Reader
from agent.campaign.state import fold
from agent.judge import trial_level
from agent.prior import Prior

NAMES = ("architecture", "schedule")


@pytest.fixture
def story() -> Story:
    """Trials 1 and 2 have a candidate each, and a heat has begun for both."""
    story = Story()
    story.baseline(1.30)
    for title in ("first", "second"):
        number = story.draw("schedule", categories=NAMES, available=NAMES)
        story.candidate(number, title)
    story.add("heat_started", trial=1, heat=0, seeds=[2, 2], new_seeds=1)
    story.add("heat_started", trial=2, heat=0, seeds=[2, 2], new_seeds=0)
    return story


def test_events_change_the_trial_that_they_name(story: Story) -> None:
    assert [trial.title for trial in story.state.open_trials] == ["first", "second"]
    assert [trial.open_seeds for trial in story.state.open_trials] == [(2, 2), (2, 2)]
    story.heat(1, 1.30, 1.29)
    story.add("proof", trial=1, proof="other")
    story.add("audit", trial=1, commit=sha("candidate 1"), ok=True, status="ok", trainings=1)
    story.add("turned_down", trial=2, reason="no")
    first, second = story.state.open_trials
    assert (first.open_seeds, second.open_seeds) == ((), (2, 2))
    assert (len(first.heats), first.proof, len(first.audits)) == (1, "other", 1)
    assert (second.rejections, second.heats, second.proof) == (("no",), [], "")
    assert story.state.open_trial == first


def test_the_last_verdict_counts_not_the_highest_number(story: Story) -> None:
    for number in (2, 1):
        story.heat(number, 1.30, 1.29)
        story.end(number, "keep", "kept", reward=0.5)
    state = story.state
    assert [trial.trial for trial in state.finished] == [0, 2, 1] == state.ended
    assert state.champion is not None and state.champion.trial == 1
    assert state.open_trials == []


def test_a_verdict_leaves_the_reply_that_another_trial_waits_for(story: Story) -> None:
    story.draw("schedule")
    story.add("asking", trial=3, usage={"input": 10, "output": 5})
    story.heat(1, 1.30, 1.31)
    story.end(1, "revert", "worse")
    assert story.state.asking
    story.add("stop", reason="asked to stop")
    assert (story.state.capped, story.state.tokens) == (1, 15)


def test_the_prior_is_rebuilt_as_it_was_taught(story: Story) -> None:
    live = Prior(NAMES, seed=0)
    for number, reward in ((2, 0.9), (1, -0.4)):
        story.heat(number, 1.30, 1.29)
        story.end(number, "revert", "worse", reward=reward)
        teach_prior(live, story.state.trials[number])
    state = story.state
    rebuilt = rebuild_prior(NAMES, 0, state.in_order)
    assert rebuilt.probabilities() == live.probabilities()
    other = rebuild_prior(NAMES, 0, sorted(state.in_order, key=lambda trial: trial.trial))
    assert other.probabilities() != live.probabilities()


def test_each_has_a_level_of_its_own(story: Story) -> None:
    """Whatever is begun later, and as if those before it had been over."""
    first, second = (level_of(story.state, "confirm", number) for number in (1, 2))
    assert first == trial_level("confirm", [])
    assert second == trial_level("confirm", [(True, False)])
    story.heat(1, 1.30, 1.40)
    story.end(1, "revert", "worse", level=first)
    assert level_of(story.state, "confirm", 2) == first, "it has spent nothing after all"


def test_what_was_carried_over_is_judged_anew(story: Story) -> None:
    story.heat(1, 1.30, 1.29)
    story.heat(2, 1.30, 1.28)
    story.end(2, "keep", "kept")
    story.add("carried", trial=1, candidate=sha("merged"), parent=story.champion, title="first")
    (trial,) = story.state.open_trials
    assert (trial.heats, trial.differences, trial.scores) == ([], (), ())
    assert (trial.carried, trial.parent) == ((sha("candidate 1"),), sha("final 2"))
    assert not trial.wants_proposal and len(trial.trainings) == 2


def test_what_could_not_be_carried_over_teaches_nothing(story: Story) -> None:
    before = rebuild_prior(NAMES, 0, story.state.in_order).probabilities()
    story.end(1, "rejected", "rejected, as it could not be carried over")
    trial = story.state.finished[-1]
    assert trial.is_lost and trial.tried == () and not trial.holds_by({})
    assert rebuild_prior(NAMES, 0, story.state.in_order).probabilities() == before


def test_a_snapshot_holds_them(story: Story, tmp_path: Path) -> None:
    story.heat(2, 1.30, 1.29)
    story.end(2, "keep", "kept")
    journal = Journal(tmp_path / JOURNAL)
    for event in story.events:
        journal.append(read_event(event))  # type: ignore[arg-type]
    journal.close()
    state = fold(Reader(tmp_path / JOURNAL))
    snapshot.save(tmp_path / JOURNAL, state, journal.place)
    assert snapshot.restore(tmp_path / JOURNAL)[0] == state
    assert (state.ended, state.trials[1].open_seeds) == ([0, 2], (2, 2))
