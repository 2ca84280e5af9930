"""What the journal's events say of heats: pairs, differences, kinds of edit, seeds."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from events import Story, sha

from agent.campaign.events import OfTrial, SetsFields, TrainingOver, read_event
from agent.campaign.evidence import noise_guess
from agent.campaign.records import Training, Trial
from agent.campaign.state import State
from trainer.errors import UserError
from trainer.presets import find_preset


@pytest.fixture
def story() -> Story:
    """A baseline, and a trial whose candidate waits for its first heat."""
    story = Story()
    story.baseline(1.30)
    story.candidate(story.draw("schedule"), "x")
    return story


def trial(story: Story) -> Trial:
    return story.state.trials[1]


def test_a_heat_is_a_pair_and_its_difference(story: Story) -> None:
    story.heat(1, 1.30, 1.28)
    story.heat(1, 1.31, 1.32)
    heats = trial(story).heats
    assert [(h.number, h.champion.role, h.candidate.role) for h in heats] == [
        (0, "champion", "candidate"),
        (1, "champion", "candidate"),
    ]
    assert [h.champion.seed == h.candidate.seed for h in heats] == [True, True]
    assert trial(story).differences == pytest.approx((0.02, -0.01))
    assert trial(story).scores == (1.28, 1.32)


def test_without_both_scores_there_is_no_difference(story: Story) -> None:
    story.heat(1, 1.30, 1.29)
    story.heat(1, 1.30, 0.80, counted=False, quarantined=True)
    story.heat(1, None, 1.29, champion={"status": "killed", "reason": ""})
    story.heat(1, None, None, reason="crash: x")
    assert [heat.difference is None for heat in trial(story).heats] == [False, True, True, True]
    assert trial(story).differences == pytest.approx((0.01,))
    assert trial(story).scores == (1.29, 1.29), "without the quarantined one"


def test_what_leaks_may_be_worth_is_charged_to_the_candidate(story: Story) -> None:
    story.heat(1, 1.30, 1.28, leak_bound_bpb=0.003)
    assert trial(story).differences == pytest.approx((0.017,))
    audit = {"ok": True, "status": "ok", "trainings": 1}
    for commit, bound in ((sha("another"), 0.5), (sha("candidate 1"), 0.004)):
        story.add("audit", trial=1, commit=commit, leak_bound_bpb=bound, **audit)
    assert trial(story).differences == pytest.approx((0.013,))
    assert trial(story).scores == (1.28,), "what was scored is what was scored"
    assert trial(story).is_audited
    story.heat(1, 1.30, 1.28)
    assert not trial(story).is_audited, "it was trained since"


def test_a_mended_candidate_inherits_no_heat(story: Story) -> None:
    story.heat(1, None, None, reason="crash: x")
    story.add("repair", trial=1, reason="the training failed")
    assert trial(story).wants_proposal
    story.add("candidate", trial=1, candidate=sha("mended"), source_sha256=sha("its source"))
    assert not trial(story).wants_proposal
    assert trial(story).heats == []
    assert trial(story).tried == (sha("its source"), sha("source 1"))
    assert len(trial(story).trainings) == 2, "though they are remembered"


def test_kinds_of_edit() -> None:
    for sets_numbers, kind in ((True, "numbers"), (False, "structure")):
        story = Story()
        story.baseline(1.30)
        story.candidate(story.draw("schedule"), "x", sets_numbers=sets_numbers)
        assert trial(story).kind == kind, "known before any heat"


def test_a_proof_has_the_champions_own_seed_and_leaves_none_to_a_heat(story: Story) -> None:
    story.add("heat_started", trial=1, heat=0, seeds=[1, 1], new_seeds=0, proof=True)
    assert story.state.trials[1].open_seeds == ()


def test_a_mended_candidate_may_be_proven_again(story: Story) -> None:
    story.add("proof", trial=1, proof="other")
    story.heat(1, None, None, reason="crash: x")
    story.add("repair", trial=1, reason="the training failed")
    story.add("candidate", trial=1, candidate=sha("mended"))
    assert trial(story).proof == ""


def test_scores_of_an_old_open_trial_are_not_mixed_with_those_of_heats(story: Story) -> None:
    run = {"trial": 1, "role": "candidate", "commit": sha("candidate 1"), "seed": 8}
    story.add("training", **run, status="ok", val_bpb=1.20)
    assert trial(story).scores == (1.20,)
    story.heat(1, 1.30, 1.28)
    assert trial(story).scores == (1.28,)


def test_a_heat_that_a_kill_cut_off_keeps_its_seeds(story: Story) -> None:
    """It is begun again with them; no seed is handed out twice, or lost."""
    assert (story.state.trials[1].open_seeds, story.state.seeds_used) == ((), 1)
    begun = {"trial": 1, "heat": 0, "seeds": [2, 2]}
    story.add("heat_started", **begun, new_seeds=1)
    assert (story.state.trials[1].open_seeds, story.state.seeds_used) == ((2, 2), 2)
    story.add("heat_started", **begun, new_seeds=0)
    assert (story.state.trials[1].open_seeds, story.state.seeds_used) == ((2, 2), 2)
    story.heat(1, 1.30, 1.28)
    assert (story.state.trials[1].open_seeds, story.state.seeds_used) == ((), 2)


def test_a_champions_training_that_was_used_again_is_one_training(story: Story) -> None:
    story.heat(1, 1.31, 1.28)
    story.heat(1, 1.31, 1.29, champion={"reused": True})
    runs = story.state.runs_of(story.state.trials[0])
    assert [run.val_bpb for run in runs] == [1.30, 1.31]
    assert len(trial(story).differences) == 2


def test_what_a_proof_found_stays_with_the_trial(story: Story) -> None:
    story.add("proof", trial=1, proof="other")
    assert trial(story).proof == "other"
    story.heat(1, 1.30, 1.30, proof="same")
    assert trial(story).proof == "same"
    story.heat(1, 1.30, 1.30)
    assert trial(story).proof == "same", "a heat without a proof takes none back"


def test_kept_ties_use_up_what_ties_may_cost(story: Story) -> None:
    story.heat(1, 1.30, 1.301)
    story.end(1, "keep", "kept: shorter", gain=-0.001, tie=True, tie_cost=0.004)
    story.trial("simplification", "y", [(1.3, 1.3)], verdict="keep", tie=True, tie_cost=0.002)
    story.null([(1.3, 1.3)], verdict="keep", tie=True, tie_cost=0.1)
    assert story.state.ties_cost == pytest.approx(0.006)


def test_fields_of_other_versions_are_left_out() -> None:
    stored: dict[str, Any] = {"trial": 1, "role": "candidate", "commit": "c", "seed": 1}
    stored |= {"status": "ok", "disturbance": 0.2, "of_the_future": 1, "losses": [3.5, None]}
    event = read_event({"event": "training", **stored})
    training = Training(1, "candidate", "c", 1, "ok", losses=(3.5, None))
    assert event == TrainingOver(training=training)


def test_the_guess_of_the_noise_is_for_the_campaigns_budget() -> None:
    preset = find_preset("cpu")
    for budget, factor in (("20s", 1.0), ("5s", 4**0.75), ("60s", 3**-0.75), ("200000tok", 1.0)):
        guess = noise_guess(State(settings={"budget": budget}), "numbers", preset)
        assert guess.scale == pytest.approx(factor * preset.noise_numbers)
    assert noise_guess(State(), "structure", preset).scale == preset.noise_structure


def test_what_an_event_sets_is_a_field_of_a_trial() -> None:
    """Such events are copied by name, so that the names must be the same."""
    of_trial = {field.name for field in fields(Trial)}
    models = SetsFields.__subclasses__()
    assert len(models) == 3
    for model in models:
        own = model.model_fields.keys() - OfTrial.model_fields.keys() - {"event", "slots"}
        assert own and own <= of_trial


def test_an_event_of_a_trial_that_never_began_is_named() -> None:
    story = Story()
    story.add("candidate", trial=0, candidate=sha("x"))
    with pytest.raises(UserError, match=r"event 3 of the journal, candidate, .*never began"):
        assert story.state


def test_descriptions_that_are_not_one_for_each_category_are_not_used() -> None:
    for described, known in ((("x", "y"), {"a": "x", "b": "y"}), (("x",), {"a": "", "b": ""})):
        trial = Trial(1, category="a", categories=("a", "b"), described=described)
        assert trial.known == known
