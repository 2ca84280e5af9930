"""The deck: recipes that apply, train and never come back."""

from __future__ import annotations

from typing import Any

import pytest
from simulated import (
    BY_NAME,
    PROGRAM,
    RECIPES,
    SOURCE,
    TRAINED_BY_DEFAULT,
    Campaign,
    values,
)

from agent.edits import blocks, checks
from agent.edits.facts import credited
from agent.proposers.base import NothingToPropose
from agent.proposers.deck import Deck, trial_record
from trainer import measure


def test_there_are_recipes_for_most_categories() -> None:
    categories = {recipe.edit.category for recipe in RECIPES}
    assert len(RECIPES) >= 16
    assert len(categories) >= 8
    assert categories <= set(PROGRAM.names)
    assert len({recipe.edit.title for recipe in RECIPES}) == len(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_is_a_reply_that_passes_the_checks(recipe: Any) -> None:
    edit = blocks.parse(recipe.reply)
    assert recipe.name.startswith(f"{edit.category}-")
    assert edit.hypothesis.endswith(".")
    assert "\ntitle: " in recipe.reply
    assert blocks.render(edit.category, edit.hypothesis, edit.blocks, title=edit.title) == (
        recipe.reply
    )
    candidate = edit.apply(SOURCE)
    checks.check(SOURCE, candidate, max_seq_len=1024)
    counted = credited("any", edit.category, SOURCE, candidate, PROGRAM.names)
    assert counted == edit.category, "it changes the sections of another category only"
    assert max(map(len, candidate.splitlines())) <= 100


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_changes_what_its_category_says(recipe: Any) -> None:
    candidate = recipe.edit.apply(SOURCE)
    old, new = values(SOURCE), values(candidate)
    assert not [name for name in old if name in new and old[name] != new[name]], "numbers only"
    if recipe.edit.category == "simplification":
        assert len(candidate.splitlines()) < len(SOURCE.splitlines())
    elif recipe.edit.category != "efficiency":
        assert recipe.edit.category in checks.sections_touched(SOURCE, candidate)


def train_two_steps(name: str) -> None:
    candidate = BY_NAME[name].edit.apply(SOURCE)
    result = measure.check(candidate, preset="cpu")
    assert result.ok, f"{result.status}: {result.reason}\n{result.detail}"


@pytest.mark.parametrize("name", TRAINED_BY_DEFAULT)
@pytest.mark.process
def test_a_recipe_trains_two_steps(name: str) -> None:
    train_two_steps(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(BY_NAME) - set(TRAINED_BY_DEFAULT)))
def test_every_other_recipe_trains_two_steps(name: str) -> None:
    train_two_steps(name)


# --- the deck ---


def use_up(campaign: Campaign, category: str) -> list[str]:
    """Titles of what the deck offers for a category while all of it is reverted."""
    titles: list[str] = []
    while Deck().covers(campaign.context(category)):
        proposal, _ = campaign.ask(Deck(), category)
        edit = blocks.parse(proposal.reply)
        assert (proposal.proposer, edit.category) == ("deck", category)
        assert edit.title not in titles, "offered twice"
        titles.append(edit.title)
        campaign.conclude(category, proposal, -1.0, keep=False)
    return titles


def titles_of(category: str) -> set[str]:
    return {recipe.edit.title for recipe in RECIPES if recipe.edit.category == category}


def test_all_recipes_are_offered_while_nothing_is_kept() -> None:
    campaign = Campaign()
    for category in PROGRAM.names:
        assert set(use_up(campaign, category)) == titles_of(category)
        with pytest.raises(NothingToPropose):
            Deck().propose(campaign.context(category))


def test_what_was_offered_does_not_come_back_on_a_later_champion() -> None:
    campaign, offered = Campaign(), set()
    for keep, gain in ((False, -1.0), (False, None), (True, 3.0)):
        proposal, _ = campaign.ask(Deck(), "schedule")
        offered.add(blocks.parse(proposal.reply).title)
        campaign.conclude("schedule", proposal, gain, keep)
    reverted = [r for r in RECIPES if r.edit.title in offered and r.applies(campaign.source)]
    assert reverted, "none of them could have come back"
    assert not offered & set(use_up(campaign, "schedule"))


def test_the_order_of_the_deck_is_drawn_from_the_seed() -> None:
    orders = [use_up(Campaign(seed=seed), "architecture") for seed in (0, 0, 1, 2, 3)]
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) > 1


def test_the_deck_passes_over_what_does_not_apply() -> None:
    recipe = BY_NAME["architecture-parallel-blocks"]
    campaign = Campaign(recipe.edit.apply(SOURCE))
    titles = use_up(campaign, "architecture")
    assert set(titles) == titles_of("architecture") - {recipe.edit.title}


def test_a_recipe_that_is_turned_down_gives_way_to_the_next() -> None:
    campaign, deck = Campaign(), Deck()
    count = len(titles_of("dataset"))
    first = deck.propose(campaign.context("dataset")).reply
    second = deck.propose(campaign.context("dataset", feedback=("it fails",))).reply
    assert first != second
    campaign.reject("dataset", "deck", 1)
    assert deck.propose(campaign.context("dataset")).reply == second
    campaign.reject("dataset", "deck", count - 1)
    assert not deck.covers(campaign.context("dataset"))
    assert deck.covers(campaign.context("schedule"))
    # On another champion they may pass.
    kept, _ = campaign.ask(deck, "schedule")
    campaign.conclude("schedule", kept, 3.0, keep=True)
    assert deck.covers(campaign.context("dataset"))


def test_the_record_tells_what_a_model_would_be_told() -> None:
    campaign = Campaign()
    proposal, _ = campaign.ask(Deck(), "optimizer")
    campaign.conclude("optimizer", proposal, 1.5, keep=False)
    text = trial_record(campaign.context("schedule", feedback=("it does not compile",)))
    title = blocks.parse(proposal.reply).title
    for part in ("Trial 2", "schedule", "the starting point", title, "+0.0060", "0.100"):
        assert part in text
    for part in (
        "champion val_bpb: 1.3000",
        "0.0010 for numbers, 0.0040 for structure",
        "it does not compile",
    ):
        assert part in text
    assert Deck().propose(campaign.context("schedule")).prompt == trial_record(
        campaign.context("schedule")
    )
