"""Deck, tuner and hybrid on the shipped train.py; the recipes are really trained."""

from __future__ import annotations

import functools
import itertools
import math
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent import checks, edits
from agent import program as programs
from agent.constants import Range, constants, set_constants
from agent.propose.base import Context, NothingToPropose, Proposal, Proposer
from agent.propose.choose import ProposerError, make
from agent.propose.deck import Deck, recipes, trial_record
from agent.propose.hybrid import Hybrid
from agent.propose.tuner import FAILED, Tuner, measured
from agent.state import fold
from trainer import measure

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "trainer" / "train.py").read_text()
PROGRAM = programs.load(ROOT / "program.md")
SIGMA = 0.004
RECIPES = recipes()
BY_NAME = {recipe.name: recipe for recipe in RECIPES}
TRAINED_BY_DEFAULT = (
    "architecture-bigram-embedding",
    "preprocessing-aligned-windows",
    "schedule-short-windows-first",
    "simplification-no-value-embeddings",
)

TUNED = sorted({c.section for c in constants(SOURCE) if c.domain is not None})

NUMBERS = '''"""Numbers only."""
# === hyperparameters ===
A = 0.6  # a rate; range 0.01..3 log
B = 0.01  # another; range 0.0005..0.1 log
C = 0.5  # a share; range 0..1
D = 8  # rows; choice 4 8 16 32
E = 3  # layers; range 1..8 int
F = "relu"  # a word; choice relu gelu silu
# === other ===
G = 0.5  # range 0..1
H = 1
'''
WHOLE_NUMBERS = """# === hyperparameters ===
A = 2  # range 1..4 int
B = 8  # choice 4 8 16 32
C = "relu"  # choice relu gelu silu
D = 3  # range 1..100 log int
"""


@dataclass
class Campaign:
    """A campaign whose verdicts are the test's: the journal's events, and what they fold to."""

    source: str = SOURCE
    seed: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._trial("baseline", "preset", "", "the starting point", "keep", None)

    def context(self, category: str, **changes: Any) -> Context:
        history = tuple(fold(self.events).finished)
        return replace(
            Context(
                trial=len(history),
                category=category,
                source=self.source,
                program=PROGRAM,
                history=history,
                prior={name: 1 / len(PROGRAM.names) for name in PROGRAM.names},
                sigma=SIGMA,
                seed=self.seed,
                facts={"device": "cpu", "champion val_bpb": "1.3000"},
            ),
            **changes,
        )

    def ask(self, proposer: Proposer, category: str) -> tuple[Proposal, str]:
        """A proposal and the candidate's source."""
        proposal = proposer.propose(self.context(category))
        return proposal, edits.parse(proposal.reply).apply(self.source)

    def conclude(self, category: str, proposal: Proposal, gain: float | None, keep: bool) -> None:
        """``gain`` in sigma, None for a crash."""
        edit = edits.parse(proposal.reply)
        if keep:
            self.source = edit.apply(self.source)
        verdict = "keep" if keep else "revert"
        self._trial(category, proposal.proposer, proposal.reply, edit.title, verdict, gain)

    def reject(self, category: str, proposer: str, times: int) -> None:
        number = self._begin(category)
        for _ in range(times):
            self.events.append(
                {"event": "proposed", "trial": number, "proposer": proposer, "reply": "x"}
            )
            self.events.append({"event": "turned_down", "trial": number, "reason": "it fails"})
        self.events.append({"event": "verdict", "trial": number, "verdict": "rejected"})

    def _begin(self, category: str) -> int:
        number = len(fold(self.events).trials)
        self.events.append({"event": "trial", "trial": number, "category": category, "time": 0.0})
        return number

    def _trial(
        self,
        category: str,
        proposer: str,
        reply: str,
        title: str,
        verdict: str,
        gain: float | None,
    ) -> None:
        number = self._begin(category)
        self.events += [
            {"event": "proposed", "trial": number, "proposer": proposer, "reply": reply},
            {"event": "candidate", "trial": number, "title": title},
            {
                "event": "verdict",
                "trial": number,
                "verdict": verdict,
                "status": "crashed" if gain is None and number else "ok",
                "gain": None if gain is None else gain * SIGMA,
            },
        ]


@functools.cache
def values(source: str) -> dict[str, Any]:
    return {constant.name: constant.value for constant in constants(source)}


# --- the recipes ---


def test_there_are_recipes_for_most_categories() -> None:
    categories = {recipe.edit.category for recipe in RECIPES}
    assert len(RECIPES) >= 16
    assert len(categories) >= 8
    assert categories <= set(PROGRAM.names)
    assert len({recipe.edit.title for recipe in RECIPES}) == len(RECIPES)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_is_a_reply_that_passes_the_checks(recipe: Any) -> None:
    edit = edits.parse(recipe.reply)
    assert recipe.name.startswith(f"{edit.category}-")
    assert edit.hypothesis.endswith(".")
    assert "\ntitle: " in recipe.reply
    assert edits.render(edit.category, edit.hypothesis, edit.blocks, title=edit.title) == (
        recipe.reply
    )
    candidate = edit.apply(SOURCE)
    checks.check(edit, SOURCE, candidate, categories=PROGRAM.names, max_seq_len=1024)
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
        edit = edits.parse(proposal.reply)
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
        offered.add(edits.parse(proposal.reply).title)
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
    title = edits.parse(proposal.reply).title
    for part in ("Trial 2", "schedule", "the starting point", title, "+0.0060", "0.100"):
        assert part in text
    for part in ("champion val_bpb: 1.3000", "sigma 0.0040", "it does not compile"):
        assert part in text
    assert Deck().propose(campaign.context("schedule")).prompt == trial_record(
        campaign.context("schedule")
    )


# --- the tuner ---


@dataclass(frozen=True)
class Asked:
    """One ask of the tuner: the champion it was asked on, and the candidate."""

    champion: str
    candidate: str

    @property
    def changed(self) -> dict[str, Any]:
        old, new = values(self.champion), values(self.candidate)
        return {name: new[name] for name in old if old[name] != new[name]}


def asks(campaign: Campaign, category: str, count: int, *, seed: int = 0) -> list[Asked]:
    """Up to ``count`` asks, a new tuner each, with verdicts drawn at random."""
    dice, asked = random.Random(seed), []
    while len(asked) < count and Tuner().covers(campaign.context(category)):
        proposal, candidate = campaign.ask(Tuner(), category)
        assert proposal.proposer == "tuner"
        asked.append(Asked(campaign.source, candidate))
        gain = dice.choice([None, *(dice.gauss(-1, 2) for _ in range(9))])
        campaign.conclude(category, proposal, gain, keep=gain is not None and gain > 2)
    return asked


def assert_only_few_constants_of(category: str, asked: list[Asked]) -> None:
    """Each candidate differs from its champion in one to three constants, within their domains."""
    for ask in asked:
        own = {c.name: c for c in constants(ask.champion) if c.section == category and c.domain}
        assert 1 <= len(ask.changed) <= 3
        for name, value in ask.changed.items():
            domain = own[name].domain
            if isinstance(domain, Range):
                assert domain.low <= value <= domain.high
                assert isinstance(value, int) or not domain.integer
            else:
                assert domain is not None
                assert value in domain.options
        pairs = zip(ask.champion.split("\n"), ask.candidate.split("\n"), strict=True)
        lines = {number for number, (old, new) in enumerate(pairs, 1) if old != new}
        assert lines == {own[name].line for name in ask.changed}


@pytest.mark.parametrize("category", TUNED)
def test_the_tuner_changes_few_constants_of_the_section_within_their_domains(
    category: str,
) -> None:
    asked = asks(Campaign(seed=1), category, 10)
    assert_only_few_constants_of(category, asked)
    assert len(asked) >= 5


@pytest.mark.parametrize("source", [NUMBERS, WHOLE_NUMBERS], ids=["real", "whole"])
def test_the_tuner_never_repeats_itself(source: str) -> None:
    asked = asks(Campaign(source, seed=1), "hyperparameters", 60)
    assert_only_few_constants_of("hyperparameters", asked)
    assert any(a.champion != b.champion for a, b in itertools.pairwise(asked)), "none was kept"
    points = [source, *(ask.candidate for ask in asked)]
    assert len({tuple(values(point).items()) for point in points}) == 61


def test_each_constant_is_varied_alone_first() -> None:
    first = [ask.changed for ask in asks(Campaign(NUMBERS), "hyperparameters", 6)]
    assert all(len(changed) == 1 for changed in first)
    assert {name for changed in first for name in changed} == set("ABCDEF")


def test_first_steps_are_near_the_champion() -> None:
    for seed in range(20):
        (ask,) = asks(Campaign(NUMBERS, seed=seed), "hyperparameters", 1)
        for name, value in ask.changed.items():
            if name in LOG_RANGES:
                low, high = LOG_RANGES[name]
                step = abs(math.log(value / values(NUMBERS)[name])) / math.log(high / low)
                assert 0.02 <= step <= 0.161
            elif name in "DE":
                assert value in {"D": (4, 16), "E": (2, 4)}[name]


def test_the_reply_says_what_and_why() -> None:
    campaign = Campaign("# === schedule ===\nX = 0.5  # of the budget; range 0..1\n")
    edit = edits.parse(campaign.ask(Tuner(), "schedule")[0].reply)
    assert edit.category == "schedule"
    assert edit.title.startswith("X 0.5 → 0.")
    assert "of the budget" in edit.hypothesis
    assert "point:" not in edit.hypothesis + edit.title


def test_a_section_of_choices_is_used_up() -> None:
    campaign = Campaign("# === schedule ===\nX = 1  # choice 1 2\nY = 'a'  # choice a b c\n")
    found = [tuple(values(a.candidate).values()) for a in asks(campaign, "schedule", 50)]
    assert len(found) == len(set(found)) == 5
    with pytest.raises(NothingToPropose):
        Tuner().propose(campaign.context("schedule"))


def test_choices_that_are_always_turned_down_are_used_up_too() -> None:
    campaign = Campaign("# === schedule ===\nX = 1  # choice 1 2 3\n")
    assert Tuner().covers(campaign.context("schedule"))
    campaign.reject("schedule", "tuner", 2)
    assert not Tuner().covers(campaign.context("schedule"))


def test_only_constants_with_a_domain_are_tuned() -> None:
    source = "# === schedule ===\nX = 1  # a number\n# === other ===\nY = 1.0  # range 0..2\n"
    campaign = Campaign(source)
    assert not Tuner().covers(campaign.context("schedule"))
    assert not Tuner().covers(campaign.context("simplification"))
    assert Tuner().covers(campaign.context("other"))
    with pytest.raises(NothingToPropose):
        Tuner().propose(campaign.context("schedule"))


def test_another_attempt_is_another_point() -> None:
    campaign = Campaign(NUMBERS)
    contexts = [campaign.context("hyperparameters", feedback=("no",) * n) for n in range(3)]
    assert len({Tuner().propose(context).reply for context in contexts}) == 3


def test_other_seeds_give_other_points() -> None:
    contexts = [Campaign(NUMBERS, seed=seed).context("hyperparameters") for seed in range(8)]
    assert len({Tuner().propose(context).reply for context in contexts}) > 4


def test_a_resumed_campaign_asks_for_the_same_points() -> None:
    """All that is left after a kill is the journal: the first part of its events."""
    whole = Campaign(NUMBERS, seed=5)
    expected = asks(whole, "hyperparameters", 25, seed=2)
    for begun in (3, 12, 24):
        ends = [i for i, e in enumerate(whole.events) if e["event"] == "verdict"]
        resumed = Campaign(expected[begun].champion, seed=5)
        resumed.events = whole.events[: ends[begun] + 1]
        assert resumed.ask(Tuner(), "hyperparameters")[1] == expected[begun].candidate


def test_domains_that_were_edited_do_not_stop_the_tuner() -> None:
    campaign = Campaign(NUMBERS)
    asks(campaign, "hyperparameters", 20)
    edited = (
        campaign.source.replace("choice relu gelu silu", "choice relu elu")
        .replace("range 0.01..3 log", "range 0.001..1")
        .replace("choice 4 8 16 32", "choice 8 64")
        .replace("# layers; range 1..8 int", "# layers")
    )
    assert edited != campaign.source
    campaign.source = edited
    asked = asks(campaign, "hyperparameters", 20)
    assert len(asked) == 20
    for ask in asked:
        assert "E" not in ask.changed
        assert ask.changed.get("D", 8) in (8, 64)
        assert ask.changed.get("F", "elu") in ("relu", "elu")


def test_a_champion_outside_its_domain_is_brought_back() -> None:
    source = (
        "# === schedule ===\nX = 9.0  # range 0..1\nY = 0.0  # range 0.1..1 log\n"
        "Z = 5  # choice 1 2\nW = 3  # choice 7\n"
    )
    for ask in asks(Campaign(source), "schedule", 12):
        assert 0 <= ask.changed.get("X", 0) <= 1
        assert 0.1 <= ask.changed.get("Y", 0.1) <= 1
        assert ask.changed.get("Z", 1) in (1, 2)
        assert ask.changed.get("W", 7) == 7


def test_gains_are_counted_from_what_was_kept_since() -> None:
    source = "# === schedule ===\nX = 0.5  # range 0..1\n"
    campaign = Campaign(source)
    points = []
    for gain, keep in ((-1.0, False), (3.0, True), (None, False), (-2.0, False)):
        proposal, candidate = campaign.ask(Tuner(), "schedule")
        points.append(values(candidate)["X"])
        campaign.conclude("schedule", proposal, gain, keep)
    found = [(m.point["X"], pytest.approx(m.gain)) for m in measured(campaign.context("schedule"))]
    assert found == [
        (points[3], -2.0),
        (points[2], FAILED),
        (points[1], 0.0),  # the champion now
        (0.5, -3.0),  # the champion before
        (points[0], -4.0),
    ]


LOG_RANGES = {"A": (0.01, 3.0), "B": (0.0005, 0.1)}
OPTIMUM = {"A": 0.25, "B": 0.75, "C": 0.7, "D": 2 / 3, "E": 4 / 7}
"""Places on each constant's own scale, in [0, 1]."""


def loss(source: str) -> float:
    """Sigma above the optimum, a quadratic."""
    v = values(source)
    place = {n: math.log(v[n] / a) / math.log(b / a) for n, (a, b) in LOG_RANGES.items()}
    place |= {"C": v["C"], "D": (4, 8, 16, 32).index(v["D"]) / 3, "E": (v["E"] - 1) / 7}
    return 60 * sum((place[name] - best) ** 2 for name, best in OPTIMUM.items())


def by_chance(dice: random.Random) -> dict[str, Any]:
    point: dict[str, Any] = {n: a * (b / a) ** dice.random() for n, (a, b) in LOG_RANGES.items()}
    return point | {
        "C": dice.random(),
        "D": dice.choice((4, 8, 16, 32)),
        "E": dice.randint(1, 8),
        "F": dice.choice(("relu", "gelu", "silu")),
    }


def champion_after(trials: int, seed: int, *, tuned: bool) -> float:
    """Loss of the champion after a campaign with noise, kept on a screening and a confirmation."""
    dice, campaign = random.Random(seed), Campaign(NUMBERS, seed=seed)
    for _ in range(trials):
        if tuned:
            proposal = Tuner().propose(campaign.context("hyperparameters"))
        else:
            blocks = set_constants(campaign.source, by_chance(dice))
            proposal = Proposal("chance", edits.render("hyperparameters", "chance.", blocks))
        candidate = edits.parse(proposal.reply).apply(campaign.source)
        gain = loss(campaign.source) - loss(candidate)
        screened, confirmed = gain + dice.gauss(0, 1), gain + dice.gauss(0, 0.6)
        keep = screened > 0 and confirmed > 1
        campaign.conclude("hyperparameters", proposal, confirmed if keep else screened, keep)
    return loss(campaign.source)


def test_the_tuner_beats_random_search() -> None:
    tuned = statistics.mean(champion_after(25, seed, tuned=True) for seed in range(6))
    chance = statistics.mean(champion_after(25, seed, tuned=False) for seed in range(6))
    assert tuned < 0.6 * chance
    assert tuned < 0.3 * loss(NUMBERS)


def test_optuna_is_loaded_when_needed_only_and_says_nothing() -> None:
    script = (
        "import sys, agent.propose.choose; assert 'optuna' not in sys.modules\n"
        "sys.path.insert(0, 'tests/agent'); import test_propose as t\n"
        "t.asks(t.Campaign(t.NUMBERS), 'hyperparameters', 10); assert 'optuna' in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- hybrid and choose ---


@dataclass
class Only:
    """A proposer of certain categories, as a model's would be."""

    categories: tuple[str, ...]
    name: str = "llm"
    attempts: int = 7

    def covers(self, context: Context) -> bool:
        return context.category in self.categories

    def propose(self, context: Context) -> Proposal:
        if not self.covers(context):
            raise NothingToPropose(context.category)
        return Proposal(self.name, "")


def test_hybrid_covers_what_either_does() -> None:
    hybrid = Hybrid(numbers=Only(("a", "b"), "tuner"), structure=Only(("b", "c")), seed=0)
    campaign = Campaign()
    covered = [name for name in "abcd" if hybrid.covers(campaign.context(name))]
    assert covered == ["a", "b", "c"]
    assert hybrid.attempts == 7
    assert hybrid.propose(campaign.context("a")).proposer == "tuner"
    assert hybrid.propose(campaign.context("c")).proposer == "llm"
    with pytest.raises(NothingToPropose):
        hybrid.propose(campaign.context("d"))


def test_hybrid_shares_what_both_cover() -> None:
    campaign = Campaign()

    def proposers(seed: int) -> list[str]:
        hybrid = Hybrid(numbers=Only(("a",), "tuner"), structure=Only(("a",)), seed=seed)
        return [hybrid.propose(campaign.context("a", trial=n)).proposer for n in range(100)]

    assert 30 <= proposers(0).count("llm") <= 70
    assert proposers(0) == proposers(0) != proposers(1)


def test_hybrid_without_a_model_is_deck_and_tuner() -> None:
    hybrid, campaign = make("hybrid", None, 4), Campaign()
    assert hybrid.name == "hybrid"
    assert all(hybrid.covers(campaign.context(name)) for name in PROGRAM.names)
    context = campaign.context("simplification")
    assert all(hybrid.propose(replace(context, trial=n)).proposer == "deck" for n in range(10))
    schedule = campaign.context("schedule")
    names = {hybrid.propose(replace(schedule, trial=n)).proposer for n in range(20)}
    assert names == {"deck", "tuner"}


def test_make_makes_what_was_asked_for() -> None:
    model = Only(("schedule",))
    assert make("llm", model, 0) is model
    assert [make(name, None, 0).name for name in ("deck", "tuner")] == ["deck", "tuner"]
    names = {
        make("hybrid", model, 0).propose(Campaign().context("schedule", trial=n)).proposer
        for n in range(20)
    }
    assert names == {"llm", "tuner"}


def test_make_says_what_is_wrong() -> None:
    with pytest.raises(ProposerError, match=r"ANTHROPIC_API_KEY.*--llm"):
        make("llm", None, 0)
    with pytest.raises(ProposerError, match="choose llm, deck, tuner or hybrid"):
        make("dice", None, 0)
