"""Constants of a training file: found with their domains, and set by edits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SOURCE

from agent.edits.blocks import Block, EditError, parse, render
from agent.edits.constants import Choice, Constant, Range, constants, format_literal, set_constants


def test_constants_have_value_section_comment_and_domain() -> None:
    found = {constant.name: constant for constant in constants(SOURCE)}
    assert list(found) == ["LR", "BETAS", "STEPS", "ACTIVATION"]
    assert found["LR"] == Constant(
        name="LR",
        value=0.02,
        line=11,
        section="optimizer",
        comment="peak learning rate; range 1e-4..1e-1 log",
        domain=Range(1e-4, 1e-1, log=True),
    )
    assert found["STEPS"].domain == Range(1, 12, integer=True)
    assert found["BETAS"].value == (0.9, 0.95) and found["BETAS"].domain is None
    assert found["ACTIVATION"].domain == Choice(("relu2", "gelu", "swiglu"))
    assert found["ACTIVATION"].section == "architecture"


@pytest.mark.parametrize(
    ("line", "domain"),
    [
        ("A = 0.0  # range 0..0.2", Range(0, 0.2)),
        ("A = 0  # range 0..0.2", Range(0, 0.2)),
        ("A = 4.0  # range -1.5e-3..8 int", Range(-0.0015, 8, integer=True)),
        ("A = 64  # width, range 16..512 log int", Range(16, 512, log=True, integer=True)),
        ("A = 512  # choice 257 512 1024", Choice((257, 512, 1024))),
        ("A = True  # choice True False", Choice((True, False))),
        ('A = "1"  # choice 1 2', Choice(("1", "2"))),
        ("A = 1  # range 0..1 log", None),
        ("A = 1  # range 2..1", None),
        ("A = 1.0  # range 0..1e999", None),
        ("A = 1e999  # range 0..1", None),
        ("A = 1.0  # choice 1.0 1e999", None),
        (f"A = 1{'0' * 400}  # choice 1 2", None),
        ("A = [1]  # choice [1] [2]", None),
        ("A = 1  # range of things", None),
        ('A = "# range 1..2"', None),
        ("A = 1", None),
    ],
)
def test_domains(line: str, domain: object) -> None:
    assert constants(line + "\n")[0].domain == domain


def test_the_last_module_level_assignment_counts() -> None:
    source = "A = 1\nB = 2\nC = D = 3\nA = 4\nB += 1\nif True:\n    A = 5\nE: int = 6\nF = [\n 1]\n"
    assert [(c.name, c.value, c.line) for c in constants(source)] == [("A", 4, 4), ("E", 6, 8)]


def apply_blocks(source: str, blocks: tuple[Block, ...]) -> str:
    return parse(render("optimizer", "numbers", blocks)).apply(source)


def test_set_constants_changes_only_the_literals() -> None:
    blocks = set_constants(SOURCE, {"LR": 0.0123456, "ACTIVATION": "gelu", "STEPS": 10})
    assert [block.search.count("\n") for block in blocks] == [1, 1]
    assert apply_blocks(SOURCE, blocks) == SOURCE.replace("0.02 ", "0.01235 ").replace(
        '"relu2"', '"gelu"'
    )
    assert set_constants(SOURCE, {"LR": 0.02}) == ()


def test_set_constants_widens_until_unique_and_merges_what_meets() -> None:
    source = "x = 0\nA = 1\nB = 1\ny = 0\nA = 1\nB = 1\n"
    result = apply_blocks(source, set_constants(source, {"A": 2, "B": 3}))
    assert result == "x = 0\nA = 1\nB = 1\ny = 0\nA = 2\nB = 3\n"


def test_set_constants_counts_bytes_and_characters_apart() -> None:
    source = 'NAME = "βeta"; LR = 0.1  # é\n'
    assert apply_blocks(source, set_constants(source, {"LR": 0.5})) == source.replace("0.1", "0.5")


def test_unknown_constants_and_values_are_refused() -> None:
    with pytest.raises(EditError, match="did you mean STEPS"):
        set_constants(SOURCE, {"STEP": 1})
    for value in (float("nan"), float("inf"), object()):
        with pytest.raises(EditError):
            set_constants(SOURCE, {"LR": value})


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [
        (3e-05, 0.1, "3e-5"),
        (0.1 + 0.2, 0.1, "0.3"),
        (1, 0.5, "1.0"),
        (12345678.0, 0.5, "1.235e7"),
        (100.0, 0.5, "100.0"),
        (64.0, 32, "64"),
        (0.05, 0, "0.05"),
        (True, False, "True"),
        (123456, 1, "123456"),
        ("it's", "", '"it\'s"'),
        ((1, "a"), (), "(1, 'a')"),
        (None, None, "None"),
    ],
)
def test_literals_are_short(value: object, like: object, text: str) -> None:
    assert format_literal(value, like=like) == text


@settings(max_examples=50)
@given(st.floats(1e-6, 1e6), st.integers(-(10**6), 10**6))
def test_set_values_are_read_back(rate: float, steps: int) -> None:
    values = {"LR": rate, "STEPS": steps}
    blocks = set_constants(SOURCE, values)
    result = apply_blocks(SOURCE, blocks) if blocks else SOURCE
    after = {constant.name: constant for constant in constants(result)}
    for name, value in values.items():
        assert after[name].value == pytest.approx(value, rel=1e-3)
        assert after[name].domain == next(c for c in constants(SOURCE) if c.name == name).domain
