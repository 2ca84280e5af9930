"""What each template of prompts/ makes of a campaign, beside a golden file that people have read.

After a change of a template, of a fact or of a scene write them anew, and read the diff:

    GOLDEN=write python -m pytest -n 0 -q tests/agent/proposers/test_golden.py

A template that no scene renders fails: give it a scene.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from events import Story
from prompt_trials import CARDS, NOISE, PROGRAM, PROMPTS, SOURCE

from agent.campaign.notebook import Notebook
from agent.campaign.records import Trial
from agent.models.types import Prompt, Reply
from agent.objective import Objective
from agent.program import parse_program
from agent.proposers.axes import tunable
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer
from agent.proposers.local import LocalProposer
from agent.proposers.prompts import Templates, trial_record
from trainer.presets import Budget, load_presets

GOLDEN = Path(__file__).parent / "golden"
TEMPLATES = sorted(p.relative_to(PROMPTS).as_posix()[:-6] for p in PROMPTS.rglob("*.md.j2"))
SHORT = 150
"""Tokens of a history that is too long for them."""
LEVEL = (3.0,) * 20
AHEAD = (*(3.02,) * 10, *(2.9876,) * 10)
BOOK = "## What was learnt\n\nLonger pays (trial 1)."
MODEL: Any = SimpleNamespace(name="none")
PROGRAM_MODEL: Any = SimpleNamespace(name="command:agent")


def story() -> Story:
    """A trial of each verdict."""
    told = Story()
    told.baseline()

    def judged(category: str, title: str, score: float, heats: int, **facts: Any) -> None:
        number = told.draw(category)
        own = {name: facts.pop(name) for name in ("hides_loss", "sign") if name in facts}
        told.candidate(number, title, f"Why {title} should help.", **own)
        for _ in range(heats):
            rival = {"losses": LEVEL, "steps": 400}
            told.heat(number, 1.3, score, champion=rival, losses=AHEAD, steps=300)
        told.end(number, facts.pop("verdict", "revert"), "words", noise=0.0041, **facts)

    kept = {"gain": 0.0071, "gain_half": 0.0042, "difference": (0.01049, 0.00213)}
    sign = "The curves do not cross."
    judged("schedule", "longer", 1.29, 3, verdict="keep", sign=sign, reward=0.2, **kept)
    near = {"gain": 0.0031, "gain_half": 0.0052, "difference": (0.0031, 0.0026)}
    judged("schedule", "shorter", 1.297, 6, hides_loss=True, **near)
    poor = {"gain": -0.0021, "gain_half": 0.0082, "difference": (-0.0021, 0.0041)}
    judged("architecture", "wider", 1.302, 1, **poor)
    lost = {"gain": -0.0251, "gain_half": 0.0082, "difference": (-0.0251, 0.0041)}
    judged("architecture", "narrower", 1.325, 1, **lost)
    tie = {"gain": -0.0001, "gain_half": 0.0082, "difference": (-0.0001, 0.0041)}
    judged("schedule", "less", 1.3001, 6, verdict="keep", tie=True, tie_cost=0.0053, **tie)
    told.trial("architecture", "heads of 32", [(None, None)], words="crashed, reverted")
    told.rejected("architecture", "SEARCH text is not in the file")
    told.abandoned("architecture", "twice as wide", -0.0600, 0.0200)
    return told


@functools.cache
def history() -> tuple[Trial, ...]:
    return tuple(story().state.real)


def context(**changes: Any) -> Context:
    text = PROGRAM.replace("## Notes", "## What is known\n\n{{ known }}\n\n## Notes")
    given = Context(
        trial=len(history()),
        category="schedule",
        source=SOURCE,
        program=parse_program(text),
        history=history(),
        prior={"architecture": 0.2, "schedule": 0.8},
        noise=NOISE,
        seed=0,
        facts={"device": "cpu", "preset": "cpu", "budget": "20s", "champion's steps": "431"},
        preset="cpu",
        ties=0.02,
    )
    return replace(given, **changes)


def asked(given: Context, history_tokens: int = 12_000) -> str:
    return LLMProposer(MODEL, history_tokens=history_tokens).prompt(given).text


def aimed(given: Context) -> Context:
    """The same campaign after an edit of the objective, and a model that is asked to mend a whole
    file."""
    front = given.program.front_matter.model_copy(update={"objective": Objective(target=1.25)})
    return replace(
        given,
        program=given.program.model_copy(update={"front_matter": front}),
        rule="greedy",
        envelopes={MODEL.name: "file"},
        feedback=("the training failed, crashed: ValueError: wide",),
        turned_down=("title: wide\nWIDTH = 1 << 20",),
    )


def noted(text: str, written: str) -> Context:
    """The same campaign with a notebook, as the model wrote it and as it is now."""
    book = Notebook(text=text, in_file=text, written=written)
    return context(notebook=book)


def for_the_notebook(given: Context) -> str:
    return LLMProposer(MODEL).notebook_prompt(given).text


def of_tokens(preset: str) -> Context:
    return context(preset=preset, budget=Budget(tokens=1_000_000))


class Weak:
    """A model that only takes what is first on offer."""

    name = "local"

    def complete(self, prompt: Prompt, **_: Any) -> Reply:
        return Reply("{}", "length", None, "weak")


def of_the_local_model() -> None:
    offer = {axis: [0.1, 0.5, 0.9] for axis in tunable(SOURCE, "schedule")}
    LocalProposer(Weak()).prompt(context(), offer)


SCENES: Mapping[str, Callable[[], object]] = {
    "a campaign, SEARCH and REPLACE": lambda: asked(context()),
    "its history does not fit": lambda: asked(context(), SHORT),
    "another objective, the greedy rule, a repair of a whole file": lambda: asked(aimed(context())),
    "a campaign that has just begun": lambda: asked(context(history=history()[:1])),
    "the tuner has a point": lambda: asked(
        context(history=history()[:1], point=("WARMDOWN 0.3 → 0.5", "It pays to go up."))
    ),
    "a notebook": lambda: asked(noted(BOOK, BOOK)),
    "a notebook that a person has edited": lambda: asked(noted(f"{BOOK} Or is it?", BOOK)),
    "the first notebook is asked for": lambda: for_the_notebook(context()),
    "the next one is asked for": lambda: for_the_notebook(noted(BOOK, BOOK)),
    "the next one after an edit": lambda: for_the_notebook(noted(f"{BOOK} Or is it?", BOOK)),
    **{f"preset {name}": functools.partial(lambda p: asked(context(preset=p)), name)
       for name in load_presets()},
    "a program that may edit files, asked for several": lambda: (
        LLMProposer(PROGRAM_MODEL).prompt(context(history=history()[:1], ideas=3)).text
    ),
    "facts of the work": lambda: asked(context(cards=lambda: CARDS)),
    **{f"preset {name}, tokens": functools.partial(lambda p: asked(of_tokens(p)), name)
       for name in load_presets()},
    "the local model": of_the_local_model,
    "the deck or the tuner": lambda: trial_record(context(feedback=("block 1: not in the file",))),
}  # fmt: skip


@pytest.fixture(scope="module")
def rendered() -> Mapping[str, str]:
    """By template: all different texts that the scenes make of it, each under its first scene."""
    found: dict[str, dict[str, str]] = {}
    render = Templates.render

    def noting(self: Templates, name: str, **values: Any) -> str:
        text = render(self, name, **values)
        if name != "rules" or not scene.startswith("preset"):  # those differ in what is known
            found.setdefault(name, {}).setdefault(text, scene)
        return text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Templates, "render", noting)
        for scene, play in SCENES.items():  # noqa: B007 (noting reads it)
            play()
    return {
        name: "\n".join(f"=== {scene} ===\n{text}" for text, scene in texts.items())
        for name, texts in found.items()
    }


@pytest.mark.parametrize("template", TEMPLATES)
def test_template(rendered: Mapping[str, str], template: str) -> None:
    assert template in rendered, f"no scene renders prompts/{template}.md.j2: give it one"
    path = GOLDEN / f"{template}.md"
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered[template], encoding="utf-8")
    assert path.read_text(encoding="utf-8") == rendered[template], __doc__


def test_nothing_is_told_in_a_unit_that_changes(rendered: Mapping[str, str]) -> None:
    assert not [name for name, text in rendered.items() if re.search("sigma|σ", text, re.I)]


def test_there_is_no_golden_file_without_a_template() -> None:
    there = {path.relative_to(GOLDEN).as_posix()[:-3] for path in GOLDEN.rglob("*.md")}
    assert there == set(TEMPLATES)


FACTS = {
    "the curve of a trial": r"curve: (-0\.02 ){5}(\+0\.012 ?){5}\n",
    "what it is a curve of": r"of the training losses as logged, .* by tenths of the budget",
    "difference, error, heats, noise": r"\+0\.01, standard error 0\.0021, 3 heats, noise of one ",
    "what is believed of a keep": r"\+0\.0071 corrected for its selection",
    "its hypothesis": r"hypothesis: Why longer should help\.",
    "the sign against it": r"wrong if: The curves do not cross\.",
    "losses that are not comparable": r"curve: not comparable",
    "where one was ended": r"ended early, lost, hopeless after 25% of a heat: forecast -0\.06",
    "its pace": r"pace: 0\.75 times the champion's steps",
    "that a sign is asked for": r"\nsign: what ",
    "what the first heat can tell": r"The first heat can only send an edit away",
    "lost is not inconclusive": r"`lost` if .* Else it is `inconclusive`",
    "how near a near-tie is": r"what is left of 0\.02 bits per byte",
    "what is left of that": r"Of what near-ties may cost, 0\.015 is left",
    "how size is counted": r"statements are counted as Python parses them",
    "what an inert deletion is": r"A deletion that is inert \(dead code, an unused constant\)",
}
OF_MANY = {"the curve of a trial": 4, "its pace": 5}
"""In how many trials it stands; all others stand in one place of a prompt."""


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_is_there_once(fact: str) -> None:
    found = re.findall(FACTS[fact], asked(context()))
    assert len(found) == OF_MANY.get(fact, 1)


def test_no_gain_by_another_objective_is_unmarked() -> None:
    """And what it has taught is not told at all."""
    text = asked(aimed(context()))
    told = [line for line in text.splitlines() if re.match(r"trial \d+, .*[+-]0\.\d", line)]
    assert len(told) == 6
    assert all("by another objective" in line for line in told)
    focus = text.partition("# Now")[2]
    assert "in all" not in focus and "near miss" not in focus
    assert "by another objective" not in asked(context())
