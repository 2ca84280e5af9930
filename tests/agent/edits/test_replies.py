"""Each reply of the tables comes to its outcome, by itself and through the whole loop."""

from __future__ import annotations

import pytest
from replies import CATEGORY, FILES, PARENT, REPLIES, Outcome, after

from agent.campaign.records import Trial
from agent.edits.blocks import EditError
from agent.edits.checks import Rejected
from agent.steps import propose

CASES = [("edits", name) for name in REPLIES] + [("file", name) for name in FILES]


def outcome_of(reply: str, envelope: str) -> str:
    """The source that would be trained, or the reason why there is none."""
    trial = Trial(1, category=CATEGORY, reply=reply, envelope=envelope)
    try:
        return propose.read_edit(trial, PARENT, max_seq_len=128)[1]
    except (EditError, Rejected) as refusal:
        return f"refused: {refusal}"


@pytest.mark.parametrize(("envelope", "name"), CASES)
def test_reply(envelope: str, name: str) -> None:
    reply, expected = (FILES if envelope == "file" else REPLIES)[name]
    found = outcome_of(reply, envelope)
    if isinstance(expected, str):
        assert found.startswith(f"refused: {expected}"), found[:500]
    else:
        assert found == after(expected), found[:500]


def test_there_are_enough_of_either_kind() -> None:
    outcomes: list[Outcome] = [outcome for _, outcome in (REPLIES | FILES).values()]
    refused = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(outcomes) >= 60
    assert len(refused) >= 30
    assert len(outcomes) - len(refused) >= 20
