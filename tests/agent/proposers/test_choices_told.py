"""What a model may choose is in its prompt once: categories, follow-ups, several ideas, an end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prompt_trials import part

from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer

OTHER = "- **architecture**: shapes and layers"


@pytest.mark.parametrize(
    ("fields", "there", "missing"),
    [
        ({}, ["Propose one edit in the category **schedule**: learning rates over time"],
         [OTHER, "Or, if", "follow up", "Propose up to"]),
        ({"drawn": ("schedule",)}, ["Propose one edit in the category **schedule**"], ["Or, if"]),
        ({"drawn": ("schedule", "architecture")}, ["in the category **schedule**: learn", OTHER],
         ["- **schedule**"]),
        ({"drawn": ("architecture", "schedule")}, ["in the category **schedule**: learn", OTHER],
         ["- **schedule**"]),  # it took the second, which is to be mended
        ({"follow_ups": 1}, ["`follow-up: trial N, same`", "1 of these is left"], []),
        ({"follow_ups": 2}, ["2 of these are left"], []),
        ({"ideas": 3, "drawn": ("schedule", "architecture")},
         ["Propose up to 3 edits", "its own lines and its own blocks", "Each is in the cat", OTHER],
         ["Propose one edit"]),
        ({"ideas": 2, "envelopes": {"none": "file"}}, ["with its own lines and its own file"], []),
    ],
)  # fmt: skip
def test_what_is_left_to_choose(
    unasked: LLMProposer, context: Context, fields: dict[str, Any], there: list[str],
    missing: list[str],
) -> None:  # fmt: skip
    prompt = unasked.prompt(replace(context, **fields))
    focus = part(prompt, "focus")
    assert [focus.count(text) for text in there] == [1] * len(there)
    assert not [text for text in missing if text in focus]
    before = unasked.prompt(replace(context, envelopes=fields.get("envelopes", {})))
    assert prompt.parts[:-1] == before.parts[:-1], "only what comes last changes"


def test_that_a_category_may_be_said_to_have_nothing_left(
    unasked: LLMProposer, context: Context
) -> None:
    assert part(unasked.prompt(context), "rules").count("`exhausted: NAME: the reason`") == 1
