"""Reasoning between marks is taken out of a reply; an answer that quotes the marks is not."""

from __future__ import annotations

import pytest
from model_server import EDIT

from agent.edits.blocks import parse
from agent.thoughts import without_thoughts

DRAFT = "maybe\n<<<<<<< SEARCH\ncategory: data\n```\n"
MARKS = [
    ("<think>", "</think>"),
    ("<THINK>", "</THINK>"),
    ("<thinking>", "</thinking>"),
    ('<thinking effort="high">', "</thinking>"),
    ("<thought>", "</thought>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<reason>", "</reason>"),
    ("<reflection>", "</reflection>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    (
        "<|start|>assistant<|channel|>analysis<|message|>",
        "<|channel|>final <|constrain|>x<|message|>",
    ),
    ("<longcat_think>", "</longcat_think>"),
    ("<reasoning_process>", "</reasoning_process>"),
    ("<antThinking>", "</antThinking>"),
    ("<scratch_pad>", "</scratch_pad>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<thinking>", "</ thinking>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ('<details type="reasoning" done="true">', "</details>"),
    ("<unused94>thought", "<unused95>"),
    ("<|reasoning|>", "<|/reasoning|>"),
    ("<|thought|>", "<|/thought|>"),
    ("<|think_start|>", "<|think_end|>"),
    ("[REASONING]", "[/REASONING]"),
    (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|message|>",
    ),
    ("Thinking...\n", "\n...done thinking.\n"),
    ("Here is my thought process:", "\nHere is my response:"),
    ("Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"),
]
IDS = [opening.strip() for opening, _ in MARKS]


@pytest.mark.parametrize(("opening", "closing"), MARKS, ids=IDS)
def test_reasoning_before_the_answer_is_taken_out(opening: str, closing: str) -> None:
    assert without_thoughts(f"{opening}{DRAFT}{closing}{EDIT}") == EDIT
    assert without_thoughts(f"\ufeff\n {opening}\n{DRAFT}\n{closing}\n\n{EDIT}") == EDIT
    assert without_thoughts(f"{opening}{DRAFT}{closing}") == ""


@pytest.mark.parametrize(("opening", "closing"), MARKS, ids=IDS)
def test_reasoning_that_was_cut_off_is_no_answer(opening: str, closing: str) -> None:
    text = f"{opening}{DRAFT}\n{EDIT[:-20]}"
    assert without_thoughts(text) == (text if opening[0].isalpha() else "")


LONG = EDIT.replace("category", "and so on\ncategory").replace("noise\n", "noise\nand so on\n")


@pytest.mark.parametrize(
    "text",
    [
        f"<thinking>{DRAFT}</think>{EDIT}",
        f"<think>{DRAFT}</reasoning>\n{EDIT}",
        f"<|think|>{DRAFT}<|end|><|begin|>assistant<|content|>{EDIT}<|end|>",
        f"<|im_think|>{DRAFT}<|im_end|>\n<|im_start|>assistant\n{EDIT}<|im_end|>",
        f"<think>{DRAFT}<answer>\n{EDIT}</answer>",
        f"<think>{DRAFT}<answer>\n{EDIT}",
        f"<think>{DRAFT}\n{LONG}",
        f"[THINK]{EDIT}no, rather\n\n{LONG}```\n",
    ],
)
def test_reasoning_that_another_mark_or_none_ends(text: str) -> None:
    expected = LONG if LONG in text else EDIT
    assert (
        without_thoughts(text).removesuffix("```\n").removesuffix("<|im_end|>").strip()
        == expected.strip()
    )


@pytest.mark.parametrize("closing", ["</think>", "</seed:think>", "[/THINK]", "◁/think▷"])
@pytest.mark.parametrize("draft", ["so", DRAFT, EDIT])
def test_the_opening_mark_may_be_part_of_the_prompt(closing: str, draft: str) -> None:
    assert without_thoughts(f"{draft}{closing}\n{EDIT}") == EDIT


@pytest.mark.parametrize(("opening", "closing"), MARKS, ids=IDS)
def test_an_answer_that_quotes_marks_is_left_alone(opening: str, closing: str) -> None:
    code = f'# {opening} and {closing}\nTAGS = ("{opening}", "{closing}")\n{closing}\n'
    answer = EDIT.replace(">>>>>>> REPLACE", f"{code}>>>>>>> REPLACE")
    assert without_thoughts(answer) == answer
    assert without_thoughts(f"<think>so</think>{answer}") == answer
    in_words = EDIT.replace("noise", f"noise, {closing} too")
    assert without_thoughts(in_words) == in_words


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"<think>a</think>\n<think>b</think>\n{EDIT}", EDIT),
        (f"<think>a</think><answer>\n{EDIT}</answer>", EDIT.rstrip()),
        (f"<think>it ends with </think> here</think>{EDIT}", EDIT),
        (
            f"<|channel|>analysis<|message|>a<|end|><|channel|>final<|message|>{EDIT}<|return|>",
            EDIT,
        ),
        (f"analysisWe need to edit.assistantfinal{EDIT}", EDIT),
        (f"Analysis of the schedule.\n\n{EDIT}", f"Analysis of the schedule.\n\n{EDIT}"),
        (f"<think/>\n{EDIT}", EDIT),
        (f"Thinking...\n{EDIT}", f"Thinking...\n{EDIT}"),
        (f"<analysis>\n{EDIT}</analysis>", f"<analysis>\n{EDIT}</analysis>"),
        (f"<analysis>\n{DRAFT}</analysis>\n{EDIT}", EDIT),
        ("", ""),
    ],
)
def test_other_forms(text: str, left: str) -> None:
    assert without_thoughts(text).strip() == left.strip()


def test_replies_of_programs_are_read_without_it_as_well() -> None:
    assert parse(f"[THINK]{DRAFT}[/THINK]{EDIT}") == parse(EDIT)
