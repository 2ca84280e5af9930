"""When the notebook is written anew, and what the journal keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from events import Story

from agent.campaign import snapshot
from agent.campaign.events import read_event
from agent.campaign.lines import Reader, write_line
from agent.campaign.notebook import KEEPS, TRIALS, is_due
from agent.campaign.state import State, fold

KEEP, NOT = True, False


@pytest.mark.parametrize(
    ("kept", "due"),
    [
        ([], False),  # never at the start
        ([KEEP] * (KEEPS - 1), False),
        ([KEEP] * KEEPS, True),
        ([NOT, KEEP] * (KEEPS - 1), False),
        ([NOT, KEEP] * KEEPS, True),
        ([KEEP, *[NOT] * 9] * KEEPS, True),
        ([NOT] * (TRIALS - 1), False),
        ([NOT] * TRIALS, True),
        ([KEEP, *[NOT] * (TRIALS - 1)], False),  # the dry trials begin anew with each keep
        ([*[NOT] * (TRIALS - 1), KEEP], False),
        ([KEEP, *[NOT] * TRIALS], True),
        ([NOT] * 3 * TRIALS, True),  # an outage may take longer than one round
    ],
)
def test_when_it_is_due(kept: list[bool], due: bool) -> None:
    assert is_due(kept) is due


ANSWER: dict[str, Any] = {"model": "m", "usage": {"input": 5, "output": 2}, "cost_usd": 0.5}


def story(*answers: dict[str, Any]) -> State:
    """A campaign of a baseline and a trial, and then these answers, each to an own request."""
    told = Story()
    told.baseline()
    told.trial("schedule", "longer", [(1.3, 1.31)])
    for answer in answers:
        told.add("asking", trial=2, usage={"input": 70, "output": 30}, cost_usd=2.0)
        told.add("notebook", **answer)
    return told.state


@pytest.mark.parametrize(
    ("answer", "cost", "tokens", "capped", "unanswered", "asked_at"),
    [
        (ANSWER | {"text": "new"}, 0.5, 7, 0, 0, 2),
        (ANSWER | {"reason": "empty"}, 0.5, 7, 0, 0, 2),  # paid for: not at once again
        ({"reason": "529", "again": True}, 0.0, 0, 0, 0, 1),
        ({"reason": "529", "again": True, "usage": {"input": 4}, "cost_usd": None}, 0, 4, 0, 1, 1),
        ({"reason": "cut", "lost": True}, 2.0, 100, 1, 0, 2),
        ({"reason": "no such model"}, 0.0, 0, 0, 0, 2),
    ],
)
def test_what_a_request_costs_and_when_the_next_one_is(
    answer: dict[str, Any], cost: float, tokens: int, capped: int, unanswered: int, asked_at: int
) -> None:
    state = story(answer)
    assert (state.cost, state.tokens, state.capped) == (cost, tokens, capped)
    assert (state.unanswered, state.asking) == (unanswered, False)
    assert state.notebook.asked_at == asked_at
    assert state.notebook.text == answer.get("text", "")
    assert (state.waiting, state.outages) == ("", 0), "nobody waits for it"


def test_a_price_that_is_not_known_stays_unknown() -> None:
    assert story(ANSWER | {"text": "new", "cost_usd": None}).cost is None


def test_a_request_that_a_kill_cut_off_is_counted_at_its_most() -> None:
    told = Story()
    told.baseline()
    told.add("asking", trial=1, usage={"input": 70, "output": 30}, cost_usd=2.0)
    told.add("run", pid=2, settings={})
    assert (told.state.cost, told.state.capped, told.state.notebook.asked_at) == (2.0, 1, 1)


def test_a_failed_request_leaves_the_text_and_a_persons_edit_goes_over_it(tmp_path: Path) -> None:
    told = Story()
    told.baseline()
    told.add("notebook", text="one", **ANSWER)
    told.add("notebook_read", text="one")
    told.add("notebook", reason="it is empty", **ANSWER)
    assert told.state.notebook.text == "one"
    told.add("notebook_read", text="one, says a person")
    told.add("notebook", text="two", **ANSWER)
    book = told.state.notebook
    assert (book.text, book.in_file, book.written) == ("two", "one, says a person", "two")

    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"".join(write_line(read_event(event)) for event in told.events))
    reader = Reader(journal)
    state = fold(reader)
    snapshot.save(journal, state, reader.place)
    restored, place = snapshot.restore(journal)
    assert place == reader.place, "the snapshot is used"
    assert restored == state and restored.notebook == book
