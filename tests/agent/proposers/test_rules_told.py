"""The rules that a model is told are those of the code: their numbers are, and they hold."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import pytest
from prompt_trials import PROMPTS

from agent import judge
from agent.edits.blocks import parse
from agent.edits.facts import edit_facts
from agent.judge import Judge, Noise, Rule, least_gain
from agent.objective import Objective
from agent.program import load_program
from agent.proposers import llm
from agent.proposers.base import Context
from agent.proposers.judging import Judging
from agent.proposers.llm import LLMProposer
from trainer.presets import parse_budget

SHIPPED = load_program(PROMPTS.parent / "program.md")
SURE = Noise(0.01, 1e7)
"""A noise that is known."""


def told(unasked: LLMProposer, context: Context, rule: Rule) -> str:
    return unasked.prompt(replace(context, rule=rule, ties=0.0123)).system.text


def test_the_numbers_are_the_codes(unasked: LLMProposer, context: Context) -> None:
    for rule in ("confirm", "strict"):
        text = told(unasked, context, rule)
        for words in (
            f"worse by more than {-judge.PASS_SCORE} times the noise",
            f"{100 - 100 * judge.PASS_SHARE:.0f} % of edits that change nothing",
            f"At least {judge.LEAST_HEATS} heats keep, at most {judge.MAX_HEATS[rule]} are run",
            f"about {least_gain(rule, judge.LEAST_HEATS):.2g} times that noise after",
            f"{least_gain(rule, judge.MAX_HEATS[rule]):.2g} times after {judge.MAX_HEATS[rule]}",
            "what is left of 0.0123 bits per byte",
            f"It is decided after all {judge.MAX_HEATS[rule]} heats",
            f"costs {NormalDist().inv_cdf(0.9) / judge.MAX_HEATS[rule] ** 0.5:.2g} times the noise",
            f"as fast within {100 * judge.SAME_SPEED:g} %",
        ):
            assert text.count(words) == 1, words
    greedy = told(unasked, context, "greedy")
    assert "One heat decides" in greedy and "near-tie is kept" not in greedy
    assert "sigma" not in text + greedy


def test_none_of_them_is_typed(
    unasked: LLMProposer, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other constants there are other numbers."""
    other = Judging("confirm", 0.5, fewest=3, behind=0.7, ends_at_first=0.11, same_speed=0.09)
    monkeypatch.setattr(llm, "Judging", lambda rule, ties: other)
    keeping = (
        told(unasked, context, "confirm")
        .partition("# How keeping works")[2]
        .partition("# The contract")[0]
    )
    for words in ("than 0.7 times", "11 %", "At least 3", "of 0.5 bits", "within 9 %"):
        assert words in keeping
    for stale in ("0.25", "40 %", "0.02", "within 3 %", "At least 2"):
        assert stale not in keeping


OF = {
    "heats follow": ("Heats with fresh seeds follow", "the heats ran out"),
    "one heat": ("One heat decides",),
    "turns": ("side by side in short turns", "a slow machine is no excuse"),
    "as many tokens": ("on as many tokens under one seed",),
    "ties": ("A near-tie", "Of what near-ties may cost"),
    "a time": ("the time to val_bpb", "half the time pays", "its clock stops"),
    "a number of tokens": ("the number of tokens to val_bpb", "half the tokens pays"),
}


@pytest.mark.parametrize(
    ("rule", "budget", "target", "said"),
    [
        ("confirm", "20s", None, {"heats follow", "turns", "ties"}),
        ("strict", "9tok", None, {"heats follow", "as many tokens", "ties"}),
        ("greedy", "20s", 1.2, {"one heat", "turns", "a time"}),
        ("greedy", "9tok", 1.2, {"one heat", "as many tokens", "a number of tokens"}),
    ],
)
def test_the_rules_are_those_of_rule_budget_and_objective(
    unasked: LLMProposer,
    context: Context,
    rule: Rule,
    budget: str,
    target: float | None,
    said: set[str],
) -> None:
    """The shipped program.md, which stands below them, does not say otherwise."""
    spent = replace(context.history[-1], tie_cost=0.001)
    asked = replace(
        context,
        rule=rule,
        ties=0.0123,
        budget=parse_budget(budget),
        program=SHIPPED.aimed_at(Objective(target=target)),
        history=[*context.history, spent],
    )
    text = unasked.prompt(asked).text
    assert {name: [text.count(words) for words in OF[name]] for name in OF} == {
        name: [int(name in said)] * len(OF[name]) for name in OF
    }
    for words in ("in turns", "A tie is kept"):
        assert words not in text


@pytest.mark.parametrize("rule", ["confirm", "strict"])
def test_what_is_said_of_heats_is_what_the_judge_does(rule: Rule) -> None:
    says, scale = Judge(rule, SURE), SURE.scale
    last = judge.MAX_HEATS[rule]
    for heats in (judge.LEAST_HEATS, last):
        enough = least_gain(rule, heats) * scale
        assert says.verdict([1.01 * enough] * heats) == "keep"
        assert says.verdict([0.99 * enough] * heats) == ("heat" if heats < last else "revert")
    behind = judge.PASS_SCORE * scale
    assert says.verdict([1.05 * behind]) == "revert" and says.verdict([0.95 * behind]) == "heat"
    assert says.verdict([1.05 * behind], size_delta=-1) == "heat", "it may be a near-tie"
    assert says.verdict([1.0]) == "heat", "the first heat shows no gain"


def test_what_is_said_of_near_ties_is_what_the_judge_does() -> None:
    level = [0.001] * judge.MAX_HEATS["confirm"]
    cost = Judge("confirm", SURE).tie_cost(level)
    for left, shorter, verdict in (
        (1.01 * cost, -1, "keep"),
        (0.99 * cost, -1, "revert"),
        (1.01 * cost, 0, "revert"),
    ):
        assert Judge("confirm", SURE, left).verdict(level, size_delta=shorter) == verdict
    assert cost >= SURE.scale / judge.MAX_HEATS["confirm"] ** 0.5


@pytest.mark.parametrize(
    ("candidate", "fewer"),
    [
        ("a = 1\nb = 2\n", 1),
        ('"""Text."""\na = 1\nb = 2\nc = 3\n', 0),
        ("a = 1\nb = 2  # two\n\n\nc = 3\n", 0),
        ("a, b, c = 1, 2, 3\n", 0),
        ("a = 1; b = 2\n", 1),
    ],
)
def test_size_is_counted_as_it_is_said(candidate: str, fewer: int) -> None:
    assert edit_facts("a = 1\nb = 2\nc = 3\n", candidate).size_delta == -fewer


FIELDS = "title: t\ncategory: schedule\nhypothesis: it helps\n"
REPLY = FIELDS + "{}<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n"
SIGNS = {
    "": "",
    "sign: the curve stays behind\n": "the curve stays behind",
    "**Sign:** no crossing,\n at any share\n": "no crossing, at any share",
    "3. sign: two \x1b[2J\n\nprose\n": "two \ufffd[2J",
    "sign:\n": "",
    f"sign: {'long ' * 100}\n": f"{'long ' * 58}long…",
}


@pytest.mark.parametrize("line", SIGNS)
def test_a_sign_is_read_where_there_is_one(line: str) -> None:
    for reply, envelope in (
        (REPLY.format(line), "edits"),
        (f"{FIELDS}{line}```python\nb\n```\n", "file"),
    ):
        edit = parse(reply, "file" if envelope == "file" else "edits")
        assert (edit.sign, edit.hypothesis, edit.title) == (SIGNS[line], "it helps", "t")


def test_the_reply_is_asked_for_a_sign_in_both_formats(
    unasked: LLMProposer, context: Context
) -> None:
    for envelopes in ({}, {"none": "file"}):
        text = unasked.prompt(replace(context, envelopes=envelopes)).system.text
        example = text.partition("# The reply")[2]
        assert example.count("\nsign: ") == 1
        assert example.index("\nhypothesis: ") < example.index("\nsign: ")
