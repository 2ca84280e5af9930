"""Fixtures for tests of what a model is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prompt_trials import HISTORY, NOISE, PROGRAM, PROMPTS, SOURCE

from agent.program import Program, parse_program
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer


@pytest.fixture
def program() -> Program:
    return parse_program(PROGRAM)


@pytest.fixture
def context(program: Program) -> Context:
    return Context(
        trial=7,
        category="schedule",
        source=SOURCE,
        program=program,
        history=HISTORY,
        prior={"architecture": 0.4, "schedule": 0.6},
        noise=NOISE,
        seed=0,
        facts={"device": "cpu", "budget": "20s"},
    )


@pytest.fixture
def unasked() -> LLMProposer:
    """For looking at prompts only."""
    return LLMProposer(SimpleNamespace(name="none"), PROMPTS)  # type: ignore[arg-type]
