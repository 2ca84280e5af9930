"""Under a token budget the champion's training with a seed is done once, where it repeats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from staged import digest, play

from agent import loop
from agent.forecast import PARTS
from agent.steps.heat import repeats_exactly
from agent.steps.runtime import Runtime

LOSSES = tuple(3.0 - 0.05 * part for part in range(PARTS))
CHAMPION = {"val_bpb": 1.5, "losses": LOSSES, "answer_seconds": 0.4}
WORSE = 1.8


@pytest.fixture
def counting(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A campaign that counts tokens, and the baseline that it trained with seed 1."""
    runtime.settings = runtime.settings.model_copy(update={"budget": "200000tok", "nulls": 0.0})
    play(monkeypatch, CHAMPION)
    loop.baseline(runtime)
    return runtime


def test_the_second_training_proves_that_it_repeats_and_the_third_is_saved(
    counting: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repeats_exactly(counting.campaign.state) is None
    played = play(monkeypatch, (CHAMPION, WORSE), WORSE)
    loop.one_trial(counting)
    assert repeats_exactly(counting.campaign.state) is True
    loop.one_trial(counting)
    assert played.seeds == [[1, 1], [1]]
    for trial in counting.campaign.state.trials[1:]:
        assert trial.differences == pytest.approx((-0.3,))
    heat = counting.campaign.state.trials[2].heats[0]
    assert heat.champion.reused and heat.champion.weights_sha256 == digest(1)
    assert len(counting.campaign.state.runs_of(counting.champion)) == 2, "not counted twice"


def test_the_watch_compares_with_the_training_that_is_used_again(
    counting: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(monkeypatch, (CHAMPION, WORSE), WORSE)
    loop.one_trial(counting)
    loop.one_trial(counting)
    watch = played.options[1]["watch"]
    assert watch(0, LOSSES[:5], ()) is None
    for _ in range(2):  # the heat may be void, and done again
        assert watch(0, LOSSES[:2], ()) is None
        assert "hopeless" in watch(0, [loss + 0.9 for loss in LOSSES[:8]], ())


def test_answers_are_held_to_those_of_the_training_that_is_used_again(
    counting: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(monkeypatch, (CHAMPION, WORSE), WORSE)
    loop.one_trial(counting)
    loop.one_trial(counting)
    assert "champion_seconds" not in played.options[0]  # measured beside it
    assert played.options[1]["champion_seconds"] == 0.4


def test_what_does_not_repeat_gets_fresh_seeds(
    counting: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {**CHAMPION, "weights_sha256": digest(77)}
    played = play(monkeypatch, (other, WORSE), (CHAMPION, WORSE))
    loop.one_trial(counting)
    assert repeats_exactly(counting.campaign.state) is False
    loop.one_trial(counting)
    assert len(played.seeds[1]) == 2 and played.seeds[1][0] != 1


def test_what_was_found_with_a_seed_is_not_tested_with_it(
    counting: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory tries what was ahead: with the same luck of the champion it would be so again."""
    usual = counting.proposer.propose
    made = iter([{}, {"how": "combine", "of": [1]}])
    again = lambda context: replace(usual(context), data=next(made))  # noqa: E731
    monkeypatch.setattr(counting.proposer, "propose", again)
    played = play(monkeypatch, (CHAMPION, WORSE), (CHAMPION, WORSE))
    loop.one_trial(counting)
    loop.one_trial(counting)
    assert played.seeds[0] == [1, 1] and 1 not in played.seeds[1]


def test_on_another_machine_the_champion_is_trained_again(
    counting: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: dict[str, Any] = {"fingerprint": {"processor": "new"}}
    candidate = {"val_bpb": WORSE, **here}
    played = play(monkeypatch, (CHAMPION, WORSE), candidate, ({**CHAMPION, **here}, {**candidate}))
    loop.one_trial(counting)
    loop.one_trial(counting)
    assert played.seeds == [[1, 1], [1], [1, 1]], "as one work: alone it might go elsewhere"
    assert not counting.campaign.state.trials[2].heats[0].champion.reused


def test_a_budget_of_seconds_never_reuses(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.settings = runtime.settings.model_copy(update={"nulls": 0.0})
    played = play(monkeypatch, 1.5, (1.5, 1.9), (1.5, 1.9), (1.5, 1.9))
    loop.baseline(runtime)
    for _ in range(3):
        loop.one_trial(runtime)
    assert len({seeds[0] for seeds in played.seeds}) == 4
