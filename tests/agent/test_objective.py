"""The cost of a training, as a pure function, and the words that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from agent.objective import BY_SCORE, EDGE, GB, Objective, of_cost
from agent.program import ProgramError, parse_program

CATEGORIES = "\n# p\n\n## Categories\n- **a**: b\n"


@dataclass(frozen=True)
class Took:
    peak_memory_mb: float = 2 * GB
    train_seconds: float = 30.0
    spent: float = 1.0


TARGET = Objective(target=1.3, doubling=0.06)


@pytest.mark.parametrize(
    ("objective", "bpb", "took", "cost"),
    [
        (Objective(), 1.2345678901234567, Took(), 1.2345678901234567),
        (Objective(memory=0.001), 1.2, Took(), 1.202),
        (Objective(time=0.02), 1.2, Took(), 1.21),
        (Objective(memory_limit=1.0), 1.2, Took(), 1.2),
        # At the target only time counts, and a doubling always as much.
        (TARGET, 1.3, Took(), 1.3),
        (TARGET, 1.1, Took(), 1.3),
        (TARGET, 1.1, Took(spent=0.5), 1.24),
        (TARGET, 1.3, Took(spent=0.25), 1.18),
        (TARGET, 1.3, Took(spent=1.01), 1.3),
        # Above it the score counts, and the time that was saved is used up by what is missing.
        (TARGET, 1.35, Took(), 1.35),
        (TARGET, 1.31, Took(spent=0.5), 1.31),
        (TARGET, 1.3013, Took(spent=0.5), 1.3013 - 0.06 * 0.8),
        (TARGET, 1.40, Took(spent=0.5), 1.40),
        (TARGET, 3.0, Took(spent=0.0), 3.0),
        (Objective(target=1.3, doubling=0.06, time=0.02), 1.1, Took(spent=0.5), 1.25),
    ],
)
def test_costs(objective: Objective, bpb: float, took: Took, cost: float) -> None:
    assert objective.cost(bpb, took) == pytest.approx(cost, abs=1e-12)


def test_the_default_cost_is_the_score_to_the_last_bit() -> None:
    for bpb in (1.2345678901234567, 0.1 + 0.2, 5e-324):
        assert BY_SCORE.cost(bpb, Took(peak_memory_mb=1e6, train_seconds=1e6, spent=0.1)) == bpb
    assert BY_SCORE.recorded() == {} and BY_SCORE.words() == "val_bpb"


@pytest.mark.parametrize("doubling", [0.001, 0.06, 1.0, 100.0])
@pytest.mark.parametrize("slope", [0.0066, 0.01, 0.06, 1.0])
def test_to_end_ever_sooner_without_the_target_never_pays(doubling: float, slope: float) -> None:
    """However flat the course, and to return at once, with a score as of no training, least."""
    objective = Objective(target=1.3, doubling=doubling)
    for first in (1.3, 1.3 + 2 * EDGE, 1.33):
        costs = [objective.cost(first + slope * n, Took(spent=2.0**-n)) for n in range(12)]
        assert costs == sorted(costs)


@pytest.mark.parametrize("spent", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_a_lower_score_never_costs_more(spent: float) -> None:
    costs = [TARGET.cost(1.28 + 0.0005 * n, Took(spent=spent)) for n in range(100)]
    assert costs == sorted(costs)


def test_the_edge_of_the_target_is_no_cliff() -> None:
    took = Took(spent=0.5)
    near = [TARGET.cost(1.3 + miss, took) for miss in (-1e-6, 0.0, 1e-6)]
    assert max(near) - min(near) < 2e-5


def test_a_doubling_is_worth_a_share_of_the_target_by_default() -> None:
    assert Objective(target=1.3).worth == pytest.approx(1.3 * 0.0474, abs=1e-3)
    recorded = Objective(target=1.3, memory_limit=4.0).recorded()
    assert recorded == {"target": 1.3, "memory_limit": 4.0, "doubling": Objective(target=1.3).worth}
    assert Objective.of(recorded | {"of a newer version": 1}).recorded() == recorded
    assert of_cost(recorded).keys() == {"target", "doubling"}


@pytest.mark.parametrize(
    ("champions", "ceiling"),
    [([], 4.0), ([3.0], 4.0), ([5.0], 5.05), ([5.0, 4.6], 4.646), ([5.0, 3.0], 4.0)],
)
def test_memory_that_a_candidate_may_take(champions: list[float], ceiling: float) -> None:
    found = Objective(memory_limit=4.0).ceiling_mb(peak * GB for peak in champions)
    assert found == pytest.approx(ceiling * GB)
    assert Objective().ceiling_mb([5e9]) is None


def test_words() -> None:
    both = Objective(target=1.3, doubling=0.06, memory_limit=4.0)
    assert both.words() == "time to val_bpb 1.3, a doubling of it costs 0.06, at most 4 GB"
    assert both.over(4.3 * GB) == "takes 4.3 GB, above the objective's 4 GB"
    assert both.over(4.0 * GB) == BY_SCORE.over(1e9) == ""
    reach = {
        (1.29, 1.31): "reaches 1.3 in 14.2 s, the champion does not yet",
        (1.29, 1.29): "reaches 1.3 in 14.2 s, champion in 17.5 s",
        (1.31, 1.29): "does not reach 1.3 yet, champion in 17.5 s",
        (1.31, 1.31): "does not reach 1.3 yet, nor does the champion",
    }
    for (candidate, champion), words in reach.items():
        assert both.reach((candidate, "14.2 s"), (champion, "17.5 s")) == words
    assert BY_SCORE.reach((1.0, ""), (1.0, "")) == ""


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("val_bpb", {}),
        ("{memory: 0.001, time: 0}", {"memory": 0.001}),
        ("{memory_limit: 4 GB}", {"memory_limit": 4.0}),
        ("{memory_limit: 0.5gb}", {"memory_limit": 0.5}),
        ("{memory_limit: 512 MB}", {"memory_limit": 0.5}),
        ("{memory_limit: 1536MiB}", {"memory_limit": 1.5}),
        ("{}", {}),
        ("{memory_limit: 4}", {"memory_limit": 4.0}),
        ("{target: 1.30, doubling: 0.05}", {"target": 1.3, "doubling": 0.05}),
        ("\n  target: 1.3\n  memory: 0.1", Objective(target=1.3, memory=0.1).recorded()),
    ],
)
def test_forms_in_program_md(written: str, means: dict[str, Any]) -> None:
    program = parse_program(f"---\nkeep: strict\nobjective: {written}\n---\n{CATEGORIES}")
    assert program.objective.recorded() == means
    assert "objective" not in program.settings


@pytest.mark.parametrize(
    ("written", "line", "words"),
    [
        ("val_bbp", 3, ["objective", "val_bpb", "memory_limit"]),
        ("5", 3, ["objective", "val_bpb"]),
        ("{memory_limit: lots}", 3, ["objective.memory_limit", "number", "'lots'"]),
        ("{memory_limit: 4 TB}", 3, ["objective.memory_limit", "'4 TB'"]),
        ("{memory_limit: -1}", 3, ["objective.memory_limit", "greater than 0"]),
        ("\n  target: 1.3\n  memory_limt: 4", 5, ["did you mean memory_limit?"]),
        ("{target: 0}", 3, ["objective.target"]),
        ("{doubling: 0.05}", 3, ["give target"]),
    ],
)
def test_what_is_refused(written: str, line: int, words: list[str]) -> None:
    with pytest.raises(ProgramError) as refused:
        parse_program(f"---\nkeep: strict\nobjective: {written}\n---\n{CATEGORIES}")
    assert refused.value.line == line
    assert all(word in refused.value.message for word in words), refused.value.message
