"""What is counted on with each verdict is what all trials give, whenever it is asked."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from events import Story

from agent.campaign.compared import finding
from agent.campaign.events import Transferred, read_event
from agent.campaign.evidence import courses, effect_of, level_of, noise_of
from agent.campaign.findings import Transfer
from agent.campaign.records import Trial
from agent.campaign.repeats import Lost, lost_in, tried_in
from agent.campaign.state import State, fold
from trainer.presets import find_preset

CPU = find_preset("cpu")


def story() -> Story:
    """Trials of all kinds of ends."""
    dice, story = random.Random(5), Story()
    story.baseline(1.30)
    for n in range(10):
        end = dice.choice(["keep", "revert", "null", "rejected", "abandoned"])
        if end == "null":
            story.null([(1.30, 1.30 + dice.gauss(0, 0.01))])
        elif end == "rejected":
            story.rejected("schedule", "no block")
        elif end == "abandoned":
            story.abandoned("schedule", f"edit {n}", -0.02, 0.01)
        else:
            number = story.draw("schedule")
            story.candidate(number, f"edit {n}", sets_numbers=bool(n % 2))
            for _ in range(dice.randint(1, 3)):
                story.heat(number, 1.30, 1.30 + dice.gauss(0, 0.01))
            story.end(number, end, "so", level=0.02)
    return story


def answers(state: State) -> list[object]:
    kinds = ("numbers", "structure")
    return [
        state.finished,
        state.real,
        state.kept,
        state.nulls,
        state.champion,
        state.counts,
        state.ties_cost,
        level_of(state, "confirm"),
        [level_of(state, "confirm", trial.trial) for trial in state.open_trials],
        [noise_of(state, kind, CPU) for kind in kinds],
        [effect_of(state, trial, CPU) for trial in state.trials],
        courses(state, CPU),
        tried_in(state, state.objective),
    ]


def test_asked_after_every_event_it_is_as_if_asked_at_the_end() -> None:
    happened, state = [read_event(event) for event in story().events], State()
    for number, event in enumerate(happened, 1):
        fold([event], state)
        if state.trials:
            found = answers(state)
            assert number % 5 or found == answers(fold(happened[:number]))
    ends = Counter(trial.outcome for trial in state.trials)
    assert min(ends[one] for one in ("kept", "null", "rejected", "reverted", "failed")) > 0


def test_a_list_that_somebody_has_stays_as_it_is() -> None:
    happened, state = [read_event(event) for event in story().events], State()
    fold(happened[:-1], state)
    before, count = state.finished, len(state.finished)
    fold(happened[-1:], state)
    assert len(before) == count < len(state.finished)


def test_what_is_found_out_of_a_trial_after_its_verdict_is_seen() -> None:
    state = story().state
    champion = state.champion
    assert champion is not None and champion in state.finished
    found = Transfer(champion.trial, champion.commit, "budget 4x", "transfers", 0.1, 0.0, 0.2, 3)
    fold([Transferred(transfer=found)], state)
    assert [t.transfers for t in (state.kept[-1], state.finished[champion.trial])] == [(found,)] * 2
    assert state.champion == state.trials[champion.trial] != champion


def test_other_trials_are_counted_anew() -> None:
    state = story().state
    assert state.counts["keep"] and level_of(state, "confirm")
    state.trials, state.ended = state.trials[:1], [0]
    assert state.counts == {"keep": 0, "revert": 0, "rejected": 0} and len(state.kept) == 1


# --- which edits are not tried again ---


def trial(number: int, hunks: Sequence[str], status: str, gain: float) -> Trial:
    return Trial(
        number, verdict="revert", status=status, hunks=tuple(hunks), gain=gain, gain_half=0.01
    )


def forbids(past: Trial, changes: Sequence[str]) -> bool:
    """The rule in the words of ``repeats``."""
    failed, lost = past.status not in ("ok", "abandoned"), finding(past) == "lost"
    own, new = Counter(past.hunks), Counter(changes)
    has_code = any(hunk.startswith("code:") for hunk in own)
    return ((failed or lost) and own == new) or (lost and has_code and own <= new)


def test_the_latest_trial_that_forbids_an_edit_is_found() -> None:
    dice, names = random.Random(3), ["code:1", "code:2", "number:1", "number:2"]
    some = [s for n in (1, 2, 3) for s in itertools.combinations_with_replacement(names, n)]
    trials = [
        trial(n, dice.choice(some), dice.choice(["ok", "crashed"]), dice.choice([-0.1, 0.0]))
        for n in range(40)
    ]
    for count in range(0, 40, 3):
        known = Lost(trials[:count])
        for changes in some:
            found = [past for past in trials[:count] if forbids(past, changes)]
            assert known.before(changes) == (found[-1] if found else None)


def test_a_campaign_remembers_by_objective() -> None:
    story = Story()
    story.baseline(1.30)
    number = story.draw("schedule")
    story.candidate(number, "an edit", hunks=["code:1"])
    story.heat(number, 1.30, 1.50)
    story.end(number, "revert", "worse", gain=-0.2, gain_half=0.01)
    state = story.state
    assert lost_in(state, {}).before(["code:1"]) is state.trials[1]
    assert lost_in(state, {"time": 0.1}).before(["code:1"]) is None


@pytest.mark.parametrize("asks", [level_of, lambda state, rule: state.counts])
def test_asking_changes_nothing(asks: object) -> None:
    state = story().state
    assert callable(asks)
    assert [asks(state, "confirm") for _ in range(3)] == 3 * [asks(story().state, "confirm")]
