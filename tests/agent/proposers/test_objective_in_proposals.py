"""What an objective changes in what is proposed, and in what a model is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulated import PROGRAM, SOURCE, Campaign

from agent.campaign.records import Trial
from agent.edits.checks import check
from agent.edits.constants import constants
from agent.models.choose import open_model
from agent.objective import Objective
from agent.program import Program
from agent.proposers.axes import tunable
from agent.proposers.base import Context
from agent.proposers.deck import TARGET, Deck, recipes
from agent.proposers.llm import LLMProposer
from agent.proposers.tuner import Tuner, measured


def aimed(objective: Objective) -> Program:
    front = PROGRAM.front_matter.model_copy(update={"objective": objective})
    return PROGRAM.model_copy(update={"front_matter": front})


def context(objective: Objective, val_bpb: float, category: str = "schedule") -> Context:
    found = Campaign().context(category, program=aimed(objective))
    return replace(found, history=[replace(trial, val_bpb=val_bpb) for trial in found.history])


def offered(given: Context) -> set[str]:
    return {recipe.name for recipe in Deck()._left(given)} & {r.name for r in recipes(TARGET)}


@pytest.mark.parametrize(
    ("objective", "val_bpb", "count"),
    [
        (Objective(), 1.2, 0),
        (Objective(memory_limit=4.0), 1.2, 0),
        (Objective(target=1.3), 1.31, 0),
        (Objective(target=1.3), 1.3, len(recipes(TARGET))),
    ],
)
def test_recipes_that_end_early_are_for_a_champion_at_the_target(
    objective: Objective, val_bpb: float, count: int
) -> None:
    assert len(offered(context(objective, val_bpb))) == count
    assert not offered(context(objective, val_bpb, "optimizer"))


@pytest.mark.parametrize("recipe", recipes(TARGET), ids=lambda recipe: recipe.name)
def test_they_apply_and_leave_a_share_that_the_tuner_can_move(recipe: object) -> None:
    edit = recipe.edit  # type: ignore[attr-defined]
    source = edit.apply(SOURCE)
    check(SOURCE, source, max_seq_len=4096, tried=set())
    (axis,) = [axis for axis in tunable(source, "schedule") if axis.name == "END_SHARE"]
    assert axis.champion < 1 and axis.others[-1] == 1 and min(axis.others) == 0.05
    assert all(len(line) <= 100 for line in source.splitlines())
    assert {c.name for c in constants(source)} - {c.name for c in constants(SOURCE)} == {
        "END_SHARE"
    }


def test_a_recipe_that_lost_by_another_objective_is_offered_again() -> None:
    recipe = recipes()[0]
    given = context(Objective(time=0.1), 1.2, recipe.edit.category)
    past = Trial(1, title=recipe.edit.title, category=recipe.edit.category, verdict="revert")

    def offers(trial: Trial) -> bool:
        return recipe in Deck()._left(replace(given, history=[*given.history, trial]))

    assert offers(past)
    assert not offers(replace(past, objective={"time": 0.1}))
    assert not offers(replace(past, verdict="keep")), "it is in the champion"
    assert not offers(replace(past, status="crashed")), "it does not run, whatever counts"
    assert offers(replace(past, status="oversize", objective={"time": 0.1, "memory_limit": 1.0}))


def test_the_tuner_learns_from_gains_by_the_objective_in_force() -> None:
    campaign = Campaign()
    proposal, _ = campaign.ask(Tuner(), "schedule")
    campaign.conclude("schedule", proposal, 1.0, keep=False)
    by_score = campaign.context("schedule")
    assert len(measured(by_score)) == 1
    assert measured(replace(by_score, program=aimed(Objective(memory_limit=1.0))))
    assert not measured(replace(by_score, program=aimed(Objective(target=1.3))))
    heavy = [replace(t, status="oversize") if t.trial else t for t in by_score.history]
    (point,) = measured(replace(by_score, history=heavy))
    assert point.error is None, "it counts as failed, however well it scored"


def test_a_model_is_told_which_gains_are_by_another_objective() -> None:
    model, _ = open_model("command:true", {})
    assert model is not None
    campaign = Campaign()
    proposal, _ = campaign.ask(Tuner(), "schedule")
    campaign.conclude("schedule", proposal, 1.0, keep=True)
    given = campaign.context("schedule")

    def told(objective: Objective) -> str:
        asked = LLMProposer(model).prompt(replace(given, program=aimed(objective)))
        return "".join(part.text for part in asked.parts)

    assert told(Objective(target=1.3)).count("by another objective") == 1
    assert "by another objective" not in told(Objective()) + told(Objective(memory_limit=4.0))


def test_a_model_is_told_what_counts(tmp_path: Path) -> None:
    model, _ = open_model("command:true", {})
    assert model is not None
    rules = {
        words: LLMProposer(model).prompt(context(objective, 1.2)).parts[0].text
        for words, objective in {
            "": Objective(),
            "the time to val_bpb 1.3": Objective(target=1.3),
            "at most 4 GB": Objective(memory_limit=4.0),
            "0.01 for each minute": Objective(time=0.01),
        }.items()
    }
    assert all(words in rules[words] and rules[words] != rules[""] for words in rules if words)
    assert "objective" not in rules[""].partition("<program.md>")[0]
