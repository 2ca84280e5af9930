"""Several ideas in one reply, and the lines by which a model steers."""

from __future__ import annotations

import pytest

from agent.edits import EditError, parse
from agent.edits.blocks import render
from agent.edits.ideas import fields, split
from agent.edits.locate import Block

FIRST = render("schedule", "it is too short", [Block("a = 1", "a = 2")], title="longer")
SECOND = render("optimizer", "it is too fast", [Block("b = 1", "b = 2"), Block("c = 1", "")])
FILE = "title: whole\ncategory: schedule\nhypothesis: why\n```python\nx = 1\ntitle: no field\n```\n"
HOSTILE = render("schedule", "why", [Block("x", "category: other\nhypothesis: not a field\ny")])


@pytest.mark.parametrize(
    ("reply", "ideas"),
    [
        (FIRST, ["longer"]),
        (FIRST + "\n" + SECOND, ["longer", "it is too fast"]),
        (f"Here they are.\n\n## Idea 1\n\n{FIRST}\n---\n\n**2.**\n\n{SECOND}\nThat is all.\n",
         ["longer", "it is too fast"]),
        (f"```\n{FIRST}```\n\n```\n{SECOND}```\n", ["longer", "it is too fast"]),
        ((FIRST + SECOND).replace("\n", "\r\n"), ["longer", "it is too fast"]),
        (HOSTILE + FIRST, ["why", "longer"]),
        (FIRST.replace("title: longer\n", "") + "title: named last\n", ["named last"]),
        (FIRST + SECOND + FIRST.replace("longer", "again"), ["longer", "it is too fast"]),
        (FIRST + FIRST, ["longer"]),
        (f"<think>\n{FIRST}\n{FIRST}</think>\n{SECOND}", ["it is too fast"]),
        (FIRST + SECOND + "exhausted: schedule: nothing is left\n", ["longer", "it is too fast"]),
        (f"{FIRST}sign: none\n\n{SECOND}sign: some\n", ["longer", "it is too fast"]),
        (SECOND + FIRST, ["it is too fast", "longer"]),
    ],
)  # fmt: skip
def test_each_idea_is_a_reply_of_its_own(reply: str, ideas: list[str]) -> None:
    assert [parse(one).title for one in split(reply)] == ideas


def test_one_idea_is_left_as_it_is() -> None:
    for reply in (FIRST, "no edit at all", "", FIRST.replace("\n", "\r\n")):
        assert split(reply) == [reply]


def test_one_edit_of_several_blocks_is_not_cut_in_two() -> None:
    """Half of it would be tried, and its verdict told of the whole."""
    head, first, second = SECOND.replace("hypothesis", "title: t\nhypothesis", 1).split("\n\n")
    between = ("sign: the loss rises", "follow-up: none", "exhausted: dataset: all", "In words:")
    for line in between:
        assert split(reply := f"{head}\n{first}\n{line}\n{second}") == [reply]
    late = f"{head.partition('hypothesis')[0]}\n{first}\nhypothesis: so\n{second}"
    assert split(late) == [late] and len(parse(late).blocks) == 2


def test_fields_between_two_ideas_go_to_the_one_that_they_are_of() -> None:
    one, two = split(f"{FIRST}sign: a\n\nfollow-up: trial 3, same\n{SECOND}sign: b\n")
    assert [fields(text).get("sign") for text in (one, two)] == ["a", "b"]
    assert [fields(text).get("follow-up") for text in (one, two)] == [None, "trial 3, same"]


def test_what_is_cut_off_spoils_only_itself() -> None:
    whole, cut = split(FIRST + SECOND.partition(">>>>>>>")[0])
    assert parse(whole).title == "longer"
    with pytest.raises(EditError, match="is cut off"):
        parse(cut)


def test_whole_files_are_told_apart_by_their_fences() -> None:
    found = split(FILE + FILE.replace("whole", "other").replace("= 1", "= 2"), "file")
    assert [parse(one, "file").title for one in found] == ["whole", "other"]
    assert parse(found[0], "file").file == "x = 1\ntitle: no field\n"


def test_fields_are_read_outside_of_blocks() -> None:
    steered = "follow-up: trial 12, same\nexhausted: dataset: one source\nexhausted: optimizer: x\n"
    reply = HOSTILE.replace("category: schedule", f"**Category:** `Schedule`\n{steered}", 1)
    assert fields(reply) == {
        "category": "Schedule",
        "follow-up": "trial 12, same",
        "exhausted": "dataset: one source",
        "hypothesis": "why",
    }
    assert parse(reply).hypothesis == "why"


def test_lines_that_steer_are_no_part_of_the_hypothesis() -> None:
    reply = FIRST.replace("it is too short\n", "it is too short\nexhausted: dataset: tried\n")
    assert parse(reply).hypothesis == "it is too short"
