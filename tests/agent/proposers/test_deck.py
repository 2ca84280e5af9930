"""The deck: recipes that apply, train and never come back."""

from __future__ import annotations

import functools
import re
from collections import Counter

import pytest
from simulated import (
    BY_NAME,
    PLAIN,
    PROGRAM,
    RECIPES,
    SOURCE,
    TRAINED_BY_DEFAULT,
    Campaign,
    values,
)

from agent.edits import blocks, changes, checks
from agent.proposers.base import NothingToPropose
from agent.proposers.deck import Deck, Recipe, trial_record
from trainer import measure

STARTS = {"train": SOURCE, "plain": PLAIN}
SOURCED = re.compile(r"arXiv:\d{4}\.\d{4,5}|[A-Za-z][\w-]*/[A-Za-z][\w.-]+")
CASES = [
    pytest.param(recipe, start, id=f"{recipe.name}, {name}")
    for recipe in RECIPES
    for name, start in STARTS.items()
    if recipe.applies(start)
]
SLOW_CASES = [case for case in CASES if case.id not in {f"{n}, train" for n in TRAINED_BY_DEFAULT}]


def test_there_are_recipes_for_every_category() -> None:
    offered = Counter(recipe.edit.category for recipe in RECIPES if recipe.applies(SOURCE))
    assert set(offered) == set(PROGRAM.names) and min(offered.values()) >= 4
    assert offered.total() >= 50
    assert len({recipe.edit.title for recipe in RECIPES}) == len(RECIPES)


def test_there_are_recipes_for_the_plain_start() -> None:
    offered = [recipe for recipe in RECIPES if recipe.applies(PLAIN)]
    assert {recipe.edit.category for recipe in offered} == set(PROGRAM.names)
    of_its_own = {recipe.name for recipe in RECIPES if recipe.name.endswith("-plain")}
    assert len(of_its_own) >= 12
    assert of_its_own <= {recipe.name for recipe in offered}
    assert not [name for name in of_its_own if BY_NAME[name].applies(SOURCE)]
    assert all(recipe.applies(SOURCE) for recipe in RECIPES if recipe.name not in of_its_own)


@pytest.mark.parametrize(("recipe", "start"), CASES)
def test_a_recipe_is_a_reply(recipe: Recipe, start: str) -> None:
    edit = blocks.parse(recipe.reply)
    assert recipe.name.startswith(f"{edit.category}-")
    assert edit.hypothesis.endswith(".")
    assert SOURCED.search(edit.hypothesis), "no paper and no public code is named"
    assert "\ntitle: " in recipe.reply
    assert blocks.render(edit.category, edit.hypothesis, edit.blocks, title=edit.title) == (
        recipe.reply
    )
    assert max(map(len, edit.apply(start).splitlines())) <= 100


@pytest.mark.parametrize(("recipe", "start"), CASES)
def test_a_recipe_changes_what_its_category_says(recipe: Recipe, start: str) -> None:
    candidate = recipe.edit.apply(start)
    old, new = values(start), values(candidate)
    moved = [name for name in old if name in new and old[name] != new[name]]
    if len(moved) == 1:
        assert any(change.startswith("code:") for change in changes.hunks(start, candidate)), (
            "a single constant is the tuner's"
        )
    if recipe.edit.category == "simplification":
        assert len(candidate.splitlines()) < len(start.splitlines())
    elif recipe.edit.category != "efficiency":
        assert recipe.edit.category in checks.sections_touched(start, candidate)


def train_two_steps(candidate: str) -> None:
    """Whether it honours the contract."""
    result = measure.check(candidate, preset="cpu")
    assert result.ok, f"{result.status}: {result.reason}\n{result.detail}"


@pytest.mark.parametrize("name", TRAINED_BY_DEFAULT)
@pytest.mark.process
def test_a_recipe_trains_two_steps(name: str) -> None:
    train_two_steps(BY_NAME[name].edit.apply(SOURCE))


@functools.cache
def score(source: str) -> float | None:
    """After a training long enough for what a recipe does at the end of the budget."""
    measured = measure.measure(source, budget="40000tok", preset="cpu")
    assert measured.status == "ok", f"{measured.status}: {measured.reason}"
    return measured.val_bpb


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "start"), SLOW_CASES)
def test_every_other_recipe_passes_the_checks_and_changes_the_score(
    recipe: Recipe, start: str
) -> None:
    candidate = recipe.edit.apply(start)
    checks.check(start, candidate, max_seq_len=1024)
    train_two_steps(candidate)
    assert score(candidate) != score(start) or recipe.edit.category == "efficiency"


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


def titles_of(category: str, source: str = SOURCE) -> set[str]:
    offered = (r for r in RECIPES if r.edit.category == category and r.applies(source))
    return {recipe.edit.title for recipe in offered}


@pytest.mark.parametrize("start", STARTS)
def test_all_recipes_that_apply_are_offered_while_nothing_is_kept(start: str) -> None:
    campaign = Campaign(STARTS[start])
    for category in PROGRAM.names:
        assert set(use_up(campaign, category)) == titles_of(category, STARTS[start])
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
    changed = campaign.source
    titles = use_up(campaign, "architecture")
    assert set(titles) == titles_of("architecture", changed) < titles_of("architecture")
    assert recipe.edit.title not in titles


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
