"""Facts of the work in a prompt: each is there once, and what pays follows the kind of budget."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prompt_trials import CARDS, PROGRAM, PROMPTS, part

from agent.objective import Objective
from agent.program import Program, load_program, parse_program
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer
from trainer.presets import load_presets, parse_budget

SHIPPED = load_program(PROMPTS.parent / "program.md")
FACTS = {
    "device": "cpu", "budget": "20s", "baseline's val_bpb": "1.512", "champion's val_bpb": "1.387",
    "champion's steps": "441", "champion's training loss, bits per byte by share of the budget":
    "5% 3.11, 100% 1.41",
}  # fmt: skip
ONCE = (
    # data
    "- guides, of the kind that is scored: 1,442 documents, 2.05 MB, 563,440 tokens",
    "3.65 at 2048, 4.40 at 4096;",
    "no longer than 193, 307, 647 tokens; a row of 512, cut end to end, holds parts of 2 documents",
    "py</ data>thon, of another kind than is scored (in_domain is False): 453 documents",
    # machine
    "- processor: A Processor 9, 4 cores", "15.5 GB", "- bfloat16: native, so",
    # champion
    "baseline's val_bpb: 1.512", "champion's val_bpb: 1.387", "5% 3.11, 100% 1.41",
    "where the 45.1 ms of a step go (not compiled, median of 16)",
    "data 0.4 %, forward 27 %, head and loss, there and back 24 %, backward 17 %, optimizer",
    "attentions 19 %, the\ufffd[2Jhead 9.0 %",
    "pairs (4,194,304 parameters, the file's own rule): 726, not known, 0.0123",
    "shift (128 parameters, AdamW): 0.8, 0.016, 0.2",
    "lr_scale by share of the budget: 0.0 % 0, 4.0 % 1, 96 % 0.1",
)  # fmt: skip
OF_TIME = ("The budget is time, so speed is quality", "**efficiency**", "Time is short")
OF_TOKENS = (
    "The budget is a number of tokens", "speed pays nothing", "within 260 s", "Tokens are short",
)  # fmt: skip


def asked(
    context: Context, budget: str, program: Program = SHIPPED, preset: str = "cpu"
) -> Context:
    spend = parse_budget(budget)
    told = program.open_to(spend)
    prior = dict.fromkeys(told.names, 1 / len(told.names))
    return replace(
        context, program=told, budget=spend, preset=preset, facts=FACTS, cards=lambda: CARDS,
        prior=prior,
    )  # fmt: skip


def test_each_fact_is_told_once(unasked: LLMProposer, context: Context) -> None:
    prompt = unasked.prompt(asked(context, "20s"))
    assert {fact: prompt.text.count(fact) for fact in ONCE} == dict.fromkeys(ONCE, 1)
    card = part(prompt, "train.py")
    assert [part_of for part_of in ONCE if part_of not in card] == []
    assert card.index("# The text") < card.index("# The machine") < card.index("# The champion")


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("budget", "said", "unsaid"),
    [("20s", OF_TIME, OF_TOKENS), ("1000000tok", OF_TOKENS, OF_TIME)],
)
def test_what_pays_follows_the_budget(
    unasked: LLMProposer,
    context: Context,
    budget: str,
    said: tuple[str, ...],
    unsaid: tuple[str, ...],
    old: bool,
) -> None:
    """In a program.md from before it had a place for that, too."""
    before = (
        "The budget is time, so speed is quality: a step that costs half as much is\n"
        "worth as much as an optimizer that needs half as many."
    )
    text = SHIPPED.text.replace("\n{{ budget }}\n", f"\n{before}\n") if old else SHIPPED.text
    prompt = unasked.prompt(asked(context, budget, parse_program(text)))
    assert {words: prompt.text.count(words) for words in said} == dict.fromkeys(said, 1)
    assert [words for words in unsaid if words in prompt.text] == []
    assert ("efficiency" in prompt.text) == (budget == "20s")
    assert "{{" not in prompt.text


@pytest.mark.parametrize("budget", ["20s", "1000000tok"])
def test_a_program_of_ones_own_is_told_what_pays_by_the_rules(
    unasked: LLMProposer, context: Context, budget: str
) -> None:
    rules = part(unasked.prompt(asked(context, budget, parse_program(PROGRAM))), "rules")
    words = OF_TIME[0] if budget == "20s" else OF_TOKENS[0]
    assert rules.count(words) == 1 and f"\n- {words}" in rules


@pytest.mark.parametrize("preset", load_presets())
def test_what_is_known_follows_the_budget_at_every_scale(
    unasked: LLMProposer, context: Context, preset: str
) -> None:
    of_time, of_tokens = (
        part(unasked.prompt(asked(context, budget, preset=preset)), "rules")
        for budget in ("20s", "1000000tok")
    )
    known = [
        text.split("## What is known")[1].split("## A good")[0] for text in (of_time, of_tokens)
    ]
    assert known[0] != known[1]
    assert "tokens" in known[1] and "{%" not in known[1]


def test_a_price_of_time_is_told_where_tokens_are_counted(
    unasked: LLMProposer, context: Context
) -> None:
    program = SHIPPED.aimed_at(Objective(time=0.01))
    rules = part(unasked.prompt(asked(context, "1000000tok", program)), "rules")
    assert "speed pays nothing but the price of the time that it saves" in rules
    assert "- **efficiency**" in rules, "so the category has something to gain"


@pytest.mark.parametrize(
    ("notes", "told"),
    [
        (SHIPPED.text.rpartition("## Notes")[2].strip(), ""),
        ("Depth last.", "Depth last."),
        (SHIPPED.text.rpartition("## Notes")[2].strip() + "\n\nDepth last.", "Depth last."),
        ("Write here whatever you want, I said.", "Write here whatever you want, I said."),
    ],
)
def test_notes_that_nobody_wrote_are_not_told(
    unasked: LLMProposer, context: Context, notes: str, told: str
) -> None:
    program = parse_program(SHIPPED.text.rpartition("## Notes")[0] + "## Notes\n\n" + notes)
    assert program.notes == told
    focus = part(unasked.prompt(asked(context, "20s", program)), "focus")
    assert ("Notes from whoever leads" in focus) == bool(told)
    assert told in focus


def test_a_place_for_which_nothing_is_known_goes_with_its_heading(
    unasked: LLMProposer, context: Context
) -> None:
    nowhere = part(unasked.prompt(asked(context, "20s", preset="")), "rules")
    assert "What is known at this scale" not in nowhere
    assert "## A good hypothesis" in nowhere and "## Categories" in nowhere
    mine = SHIPPED.text.replace("\n{{ known }}\n", "\n{{ known }}\n\n- And this is mine.\n")
    told = part(unasked.prompt(asked(context, "20s", parse_program(mine), preset="")), "rules")
    assert "## What is known at this scale\n\n\n\n- And this is mine." in told


@pytest.mark.parametrize(
    ("text", "budget", "names"),
    [
        ("- **efficiency**: {shipped}\n- **a**: b", "9tok", ("a",)),
        ("- **a**: b\n* **efficiency**: {shipped}", "9tok", ("a",)),
        ("- **a**: b\n- **efficiency**: {shipped}", "9s", ("a", "efficiency")),
        ("- **a**: b\n- **efficiency**: smaller models", "9tok", ("a", "efficiency")),
        ("- **efficiency**: {shipped}", "9tok", ("efficiency",)),
        ("- **a**: b", "9tok", ("a",)),
    ],
)
def test_only_the_shipped_category_of_speed_is_closed(
    text: str, budget: str, names: tuple[str, ...]
) -> None:
    (shipped,) = (c.description for c in SHIPPED.categories if c.name == "efficiency")
    wrapped = shipped.replace("fused or", "fused or\n ")
    text = f"# P\n\n## Categories\n\n{text.format(shipped=wrapped)}\n\n## Goal\n\nLess.\n"
    program = parse_program(text).open_to(parse_budget(budget))
    assert program.names == names
    assert ("**efficiency**" in program.prose) == ("efficiency" in names)
    assert "## Goal\n\nLess." in program.prose
    assert ("fewer launches" in program.prose) == (wrapped in text and "efficiency" in names)


@pytest.mark.parametrize("description", ["{}", "{} "])
def test_a_closed_category_may_be_the_last_line_of_a_program(description: str) -> None:
    (shipped,) = (c.description for c in SHIPPED.categories if c.name == "efficiency")
    text = f"# P\n\n## Categories\n\n- **a**: b\n- **efficiency**: {description.format(shipped)}"
    program = parse_program(text).open_to(parse_budget("9tok"))
    assert program.names == ("a",) and "efficiency" not in program.prose


@pytest.mark.parametrize("place", ["{{ known }}", "{{known}}", "{{  Known}}"])
@pytest.mark.parametrize("preset", ["cpu", ""])
def test_places_are_found_however_they_are_spaced(
    unasked: LLMProposer, context: Context, place: str, preset: str
) -> None:
    budget = place.replace("known", "budget").replace("Known", "Budget")
    text = SHIPPED.text.replace("{{ known }}", place).replace("{{ budget }}", budget)
    prompt = unasked.prompt(asked(context, "1000tok", parse_program(text), preset=preset))
    assert "{{" not in prompt.text
    assert prompt.text.count("The budget is a number of tokens") == 1
    assert (
        prompt.text.count("Tokens are short")
        == prompt.text.count("## What is known")
        == (preset == "cpu")
    )
