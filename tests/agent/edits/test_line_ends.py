"""Edits of a train.py from another system: applied, and every other byte stays as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from replies import FILES, GOOD, LONGER, PARENT, WHOLE, fenced

from agent.edits import facts
from agent.edits.blocks import EditError, parse, render
from agent.edits.changes import fingerprint, hunks
from agent.edits.checks import check
from agent.edits.constants import constants, sections, set_constants

CRLF = PARENT.replace("\n", "\r\n")
FORMS = {
    "CRLF": CRLF,
    "BOM": "\ufeff" + PARENT,
    "CRLF and BOM": "\ufeff" + CRLF,
    "CR": PARENT.replace("\n", "\r"),
    "one line CRLF": PARENT.replace("\n", "\r\n", 1),
    "one line LF": CRLF.replace("\r\n", "\n", 1),
    "the edited line alone CRLF": PARENT.replace(LONGER[0], LONGER[0][:-1] + "\r\n"),
    "no line end at the end": CRLF.rstrip(),
    "form feeds": "\ufeff\f" + PARENT.replace("\n\n", "\n\f\r\n"),
}
WAYS: dict[str, Callable[[str], str]] = {
    "blocks": lambda source: parse(GOOD).apply(source),
    "blocks of CRLF": lambda source: parse(GOOD.replace("\n", "\r\n")).apply(source),
    "constant": lambda source: parse(
        render("schedule", "x", set_constants(source, {"WARMDOWN": 0.5}))
    ).apply(source),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("source", FORMS.values(), ids=FORMS)
def test_one_number_changes_and_no_other_byte(source: str, way: Callable[[str], str]) -> None:
    assert source.count("WARMDOWN = 0.3") == 1
    assert way(source) == source.replace("WARMDOWN = 0.3", "WARMDOWN = 0.5")


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_whole_file_gets_the_form_of_the_one_it_replaces(start: str) -> None:
    source = "\ufeff" + CRLF
    written = parse(fenced(start + WHOLE), "file").apply(source)
    assert written == source.replace("WARMDOWN = 0.3", "WARMDOWN = 0.5")
    with pytest.raises(EditError, match="changes nothing"):
        parse(FILES["file as it was"][0], "file").apply(source)


@pytest.mark.parametrize("source", FORMS.values(), ids=FORMS)
def test_what_is_found_out_about_an_edit_is_the_same(source: str) -> None:
    edit, after = parse(GOOD), parse(GOOD).apply(PARENT)
    assert constants(source) == constants(
        PARENT.replace("\n\n", "\n\f\n") if "\f" in source else PARENT
    )
    assert fingerprint(source) == fingerprint(PARENT)
    assert hunks(source, edit.apply(source)) == hunks(PARENT, after)
    assert facts.edit_facts(source, after) == facts.edit_facts(PARENT, after)
    assert check(source, edit.apply(source), max_seq_len=128) == fingerprint(after)
    assert set(sections(source)) == set(sections(PARENT))
