"""The templates of prompts, which are the user's to edit, and what is known at each scale."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from prompt_trials import PROGRAM, PROMPTS, part

from agent.models.types import Misconfigured
from agent.program import load_program, parse_program
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer
from trainer.presets import load_presets


@pytest.mark.parametrize("preset", load_presets())
def test_what_is_known_is_that_of_the_preset(
    unasked: LLMProposer, context: Context, preset: str
) -> None:
    text = PROGRAM.replace(
        "## Notes", "## What is known\n\n{{ known }}\nAnd I know more.\n\n## Notes"
    )
    told = part(
        unasked.prompt(replace(context, program=parse_program(text), preset=preset)), "rules"
    )
    known = (PROMPTS / f"known/{preset}.md.j2").read_text().rpartition("#}\n")[2]
    last = known.strip().splitlines()[-1]
    assert "{{" not in told and "{%" not in told
    assert preset == "laptop" or f"{last}\nAnd I know more." in told
    assert ("0.9979" in told) == (preset == "h100"), "the record of another scale misleads"


def test_a_program_that_says_itself_what_is_known_is_told_as_it_is(
    unasked: LLMProposer, context: Context
) -> None:
    """Also one from before the presets had texts."""
    text = PROGRAM.replace("## Notes", "## What is known at this scale\n\n- Mine.\n\n## Notes")
    told = part(
        unasked.prompt(replace(context, program=parse_program(text), preset="h100")), "rules"
    )
    assert "## What is known at this scale\n\n- Mine." in told
    assert "0.9979" not in told


def test_the_shipped_program_has_a_place_for_what_is_known(
    unasked: LLMProposer, context: Context
) -> None:
    shipped = load_program(PROMPTS.parent / "program.md")
    told = part(unasked.prompt(replace(context, program=shipped, preset="h100")), "rules")
    assert "## What is known at this scale\n\n- The record at this scale" in told


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("focus", "{{ categry }}", "'categry' is undefined"),
        ("focus", "one\n{% if %}", "focus.md.j2, line 2"),
        ("rules", None, "rules.md.j2"),
    ],
)
def test_broken_templates_are_named(
    context: Context, tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    for path in PROMPTS.glob("*.j2"):
        (tmp_path / path.name).write_text(path.read_text())
    target = tmp_path / f"{name}.md.j2"
    target.unlink()
    if text is not None:
        target.write_text(text)
    broken = LLMProposer(SimpleNamespace(name="none"), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(Misconfigured, match=said):
        broken.prompt(context)


def test_a_source_with_template_marks_is_not_rendered(
    unasked: LLMProposer, context: Context
) -> None:
    source = "X = '{{ 1 + 1 }} {% raw %}'\n"
    prompt = unasked.prompt(replace(context, source=source))
    assert source.strip() in part(prompt, "train.py")
