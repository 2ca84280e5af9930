"""edits/facts.py: size in statements, numbers or structure, and what is logged as the loss."""

from __future__ import annotations

import pytest

from agent.edits.facts import edit_facts

PARENT = '''"""A file."""
RATE = 0.1  # a rate
NAME = "relu"

def train(session):
    """Train."""
    total = 0.0
    for x in session.rows():
        y = x + 1
        total += y
    session.log(0, loss=total)
    return total
'''


def changed(old: str, new: str) -> str:
    assert old in PARENT
    return PARENT.replace(old, new)


@pytest.mark.parametrize(
    ("candidate", "size"),
    [
        (changed("    session.log(0, loss=total)\n", ""), -1),
        (changed("  # a rate", ""), 0),
        (changed('    """Train."""\n', ""), 0),
        (changed("        y = x + 1\n        total += y\n", "        total += x + 1\n"), -1),
        (changed('RATE = 0.1  # a rate\nNAME = "relu"', 'RATE, NAME = 0.1, "relu"'), 0),
        (changed("        y = x + 1\n        total += y", "        y = x + 1; total += y"), 0),
        (changed("    total = 0.0\n", "    total = 0.0\n    extra = 1\n"), 1),
    ],
)
def test_size_is_counted_in_statements_that_are_not_merely_put_together(
    candidate: str, size: int
) -> None:
    assert edit_facts(PARENT, candidate).size_delta == size


def test_only_numbers_of_the_module_make_an_edit_of_numbers() -> None:
    assert edit_facts(PARENT, changed("RATE = 0.1", "RATE = -2")).sets_numbers
    assert edit_facts(PARENT, changed("RATE = 0.1", "RATE = 1e-4")).sets_numbers
    assert not edit_facts(PARENT, changed('"relu"', '"gelu"')).sets_numbers
    assert not edit_facts(PARENT, changed("x + 1", "x + 2")).sets_numbers
    assert not edit_facts(PARENT, changed("RATE = 0.1", "RATE = True")).sets_numbers
    both = changed("RATE = 0.1", "RATE = 0.2").replace("x + 1", "x - 1")
    assert not edit_facts(PARENT, both).sets_numbers


@pytest.mark.parametrize(
    "new",
    [
        "    session.log(0, loss=total / 2)",
        "    session.log = print\n    session.log(0, loss=total)",
        "    total = dropout(total)\n    session.log(0, loss=total)",
        "    mixture = 3\n    session.log(0, loss=total)",
    ],
)
def test_an_edit_of_what_is_logged_or_read_hides_the_loss(new: str) -> None:
    assert edit_facts(PARENT, changed("    session.log(0, loss=total)", new)).hides_loss


def test_others_do_not() -> None:
    assert not edit_facts(PARENT, changed("x + 1", "x + 2")).hides_loss
    assert not edit_facts(PARENT, changed("RATE = 0.1", "RATE = 0.2")).hides_loss
