"""Simulated campaigns with and without memory, over a few made-up edits."""

from __future__ import annotations

import random

import pytest

from benchmarks.search import memory
from benchmarks.search.memory import HEATS, ROWS, Campaign, Edit, World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Small gains, many of which are kept and many nearly."""
    monkeypatch.setattr(memory, "DRAWS", 10)
    monkeypatch.setattr(memory, "STUCK", 4)
    dice = random.Random(1)
    recipes = [Edit(f"r{n}", f"r{n}", dice.gauss(0.012, 0.006), True) for n in range(20)]
    values = [Edit(f"c{n}", f"C{n // 2}", dice.gauss(0.0, 0.01), False) for n in range(10)]
    return World((*recipes, *values), 0.02, 0.0)


def test_without_memory_each_edit_is_tried_once(world: World) -> None:
    game = Campaign(world, 0, ()).play()
    assert set(game.tried) == {"untried"} and game.tried["untried"] == len(world.edits)
    assert game.worth == Campaign(world, 0, ()).play().worth, "the same again"
    assert set(game.worth) == set(HEATS)


@pytest.mark.parametrize("row", [name for name in ROWS if name != "none"])
def test_each_mechanism_is_tried_where_it_is_there(world: World, row: str) -> None:
    games = [Campaign(world, seed, ROWS[row]).play() for seed in range(12)]
    tried = {how for game in games for how in game.tried}
    assert tried == {"untried", *ROWS[row]}


def test_a_file_has_a_constant_on_one_value_and_is_worth_its_gains(world: World) -> None:
    game = Campaign(world, 0, ())
    file = game._with(frozenset(["r1", "c2"]), ["c3"])
    assert file == {"r1", "c3"}
    assert game._of(file) == pytest.approx(sum(e.gain for e in world.edits if e.name in file))
    beside = Campaign(World(world.edits, 0.02, 0.1), 0, ())
    assert beside._of(file) == pytest.approx(game._of(file) + beside._interaction("r1", "c3"))
