"""Each mechanism of memory: from which history which idea follows, and to which file it leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from prompt_trials import BASELINE, trial

from agent.campaign.records import Trial
from agent.campaign.repeats import lost_before
from agent.edits import blocks
from agent.edits.changes import hunks
from agent.proposers.base import Context, NothingToPropose
from agent.proposers.memory.combine import combine
from agent.proposers.memory.comebacks import comebacks
from agent.proposers.memory.proposer import Memory

SOURCE = """\
# === architecture ===
WIDTH = 64  # range 16..256

# === optimizer ===
RATE = 0.01  # range 1e-4..1 log

# === schedule ===
A = 0
SPACE_AFTER_A = 0
B = 0
SPACE_AFTER_B = 0
C = 0
SPACE_AFTER_C = 0
"""


def with_(*names: str, source: str = SOURCE) -> str:
    """The file with these lines set, as their edits leave it; what is longer is dropped first."""
    for name in names:
        source = source.replace(f"\n{name} = 0\n", f"\n{name} = 1\nLONGER_{name} = 1\n")
    return source


def reply(name: str, category: str = "schedule") -> str:
    edit = [blocks.Block(f"{name} = 0\n", f"{name} = 1\nLONGER_{name} = 1\n")]
    return blocks.render(category, f"{name} may pay.", edit, title=f"set {name}")


def tried(number: int, name: str, gain: float = 0.004, **fields: Any) -> Trial:
    """Reverted, with its gain in heats of a standard error of 0.003."""
    usual = {
        "gain": gain, "gain_half": 0.006, "difference": (gain, 0.003), "title": f"set {name}",
        "hunks": hunks(SOURCE, with_(name)), "reply": reply(name), "candidate": f"c{number}",
        "commit": f"c{number}",
    }  # fmt: skip
    return trial(number, **(usual | fields))


def kept(number: int, name: str, **fields: Any) -> Trial:
    return tried(number, name, **({"verdict": "keep", "gain": 0.02} | fields))


def of(how: str, *numbers: int) -> dict[str, Any]:
    return {"how": how, "of": [*numbers]}


def told(context: Context, trials: Sequence[Trial], *champion: str) -> Context:
    """After these trials, with these lines of the champion set."""
    history = (BASELINE, *trials)
    return replace(context, source=with_(*champion), history=history, trial=len(history))


@pytest.mark.parametrize(
    ("trials", "champion", "numbers"),
    [
        ([tried(1, "A")], "", []),  # the champion is the same
        ([tried(1, "A"), kept(2, "B")], "B", [1]),
        ([kept(1, "B"), tried(2, "A")], "B", []),
        ([tried(1, "A"), tried(2, "C", 0.005), kept(3, "B")], "B", [2, 1]),
        ([tried(1, "A", 0.001), kept(2, "B")], "B", []),  # level
        ([tried(1, "A", -0.02), kept(2, "B")], "B", []),  # lost
        ([tried(1, "A", status="crashed"), kept(2, "B")], "B", []),
        ([tried(1, "A", objective={"memory": 1.0}), kept(2, "B")], "B", []),
        ([tried(1, "A"), kept(2, "B")], "AB", []),  # it does not fit any more
        ([tried(1, "A"), kept(2, "B"), tried(3, "A", -0.001, data=of("comeback", 1))], "B", []),
        ([tried(1, "A"), kept(2, "B"), tried(3, "A", data=of("comeback", 1))], "B", []),
        ([tried(1, "A"), kept(2, "B"), tried(3, "A"), kept(4, "C")], "BC", [3]),
        ([tried(1, "A"), kept(2, "B", data=of("combine", 1, 9))], "B", []),  # a part of it
        (  # it would be refused
            [tried(1, "A"), kept(2, "B"), tried(3, "A", -0.02, title="the same"), kept(4, "C")],
            "BC",
            [],
        ),
    ],
)
def test_what_nearly_paid_comes_back_once_a_champion(
    trials: list[Trial], champion: str, numbers: list[int], context: Context
) -> None:
    found = comebacks(told(context, trials, *champion))
    assert [idea.of for idea in found] == [(number,) for number in numbers]
    for idea in found:
        name = trials[idea.of[0] - 1].title[-1]
        assert idea.source == with_(*champion, name)
        assert idea.hypothesis.startswith(f"Trial {idea.of[0]} again")
        assert "has changed since (trial" in idea.hypothesis


@pytest.mark.parametrize(
    ("trials", "champion", "pairs"),
    [
        ([tried(1, "A")], "", []),
        ([tried(1, "A"), tried(2, "B")], "", [(1, 2)]),
        ([tried(1, "A"), tried(2, "B"), tried(3, "C", 0.005)], "", [(1, 3)]),  # each in one pair
        ([tried(1, "A", 0.0005), tried(2, "B")], "", []),  # nothing in itself
        ([tried(1, "A", 0.002), tried(2, "B", 0.002)], "", []),  # not enough together
        ([tried(1, "A"), tried(2, "B"), kept(3, "C")], "C", []),  # of another champion
        ([tried(1, "A"), kept(2, "C"), tried(3, "B")], "C", []),
        ([tried(1, "A"), tried(2, "B"), tried(3, "AB", data=of("combine", 1, 2))], "", []),
        ([tried(1, "A"), tried(2, "B", -0.02)], "", []),
        ([tried(1, "A"), tried(2, "B"), tried(3, "B", -0.02, title="the same")], "", []),
    ],
)
def test_two_that_nearly_paid_are_combined(
    trials: list[Trial], champion: str, pairs: list[tuple[int, int]], context: Context
) -> None:
    found = combine(told(context, trials, *champion))
    assert [idea.of for idea in found] == pairs
    for idea in found:
        names = [trials[number - 1].title[-1] for number in idea.of]
        assert idea.source == with_(*names)
        assert idea.hypothesis.startswith(f"Trials {idea.of[0]} and {idea.of[1]} at once")


# --- the proposer ---


def test_memory_writes_replies_that_a_new_one_writes_again(context: Context) -> None:
    now = told(context, [tried(1, "A"), kept(2, "B")], "B")
    proposal = Memory().propose(now)
    assert proposal == Memory().propose(now)
    edit = blocks.parse(proposal.reply)
    assert edit.apply(now.source) == with_("A", "B") and edit.title == "set A"
    assert proposal.data == of("comeback", 1) and proposal.proposer == "memory"
    assert lost_before(hunks(now.source, with_("A", "B")), now.history) is None, "not refused"
    assert not Memory().covers(replace(now, category="architecture"))
    with pytest.raises(NothingToPropose):
        Memory().propose(replace(now, category="architecture"))


def test_what_was_turned_down_on_this_champion_is_not_offered_again(context: Context) -> None:
    memory, now = Memory(), told(context, [tried(1, "A"), tried(2, "C", 0.005), kept(3, "B")], "B")
    first = memory.propose(now)
    assert first.data == of("comeback", 2)
    assert memory.propose(replace(now, turned_down=(first.reply,))).data == of("comeback", 1)
    gone = trial(4, verdict="rejected", status="", turned_down=(first.reply,), trainings=())
    later = told(context, [*now.history[1:], gone], "B")
    assert memory.propose(later).data == of("comeback", 1)
    moved = told(context, [*later.history[1:], kept(5, "x")], "B")
    assert memory.propose(moved).data == of("comeback", 2), "the champion is another one"


def test_an_edit_that_was_a_whole_file_comes_back_as_what_it_changed(context: Context) -> None:
    whole = f"category: schedule\nhypothesis: more\n\n```python\n{with_('A')}```\n"
    past = tried(1, "A", reply=whole, envelope="file", parent="start")
    now = replace(told(context, [past, kept(2, "B")], "B"), sources=lambda commit: SOURCE)
    assert blocks.parse(Memory().propose(now).reply).apply(now.source) == with_("A", "B")
