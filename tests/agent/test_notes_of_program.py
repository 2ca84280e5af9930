"""Other notes in program.md, and nothing else of it."""

from __future__ import annotations

import pytest

from agent.program import ProgramError, notes_of, parse_program, with_notes

HEAD = "---\ntrials: 5\n---\n# A program\n\n## Categories\n\n- **schedule**: rates\n"
TEXTS = {
    "last": HEAD + "\n## Notes\n\nold hunch\n",
    "in the middle": HEAD + "\n## Notes\n\nold hunch\n\n## More\n\nprose\n",
    "empty": HEAD + "\n## Notes\n",
    "no section": HEAD,
    "no line feed at the end": HEAD + "\n## Notes\nold",
    "two of them": HEAD + "\n## Notes\n\nold\n\n## Notes\n\nnever read\n",
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("notes", ["new hunch\n\n- two\n", "", "```\n# code\n```"])
def test_notes_are_replaced_and_nothing_else(name: str, notes: str, end: str, mark: str) -> None:
    text = mark + TEXTS[name].replace("\n", end)
    made = with_notes(text, notes)
    was, now = parse_program(text), parse_program(made)
    assert now.notes == notes_of(made) == notes.strip()
    assert (now.settings, now.categories) == (was.settings, was.categories)
    assert now.prose.split() == was.prose.split()
    assert made.startswith(text[: text.index("## Notes")] if "## Notes" in text else text.rstrip())
    assert made.startswith(mark) and (end == "\n" or "\n" not in made.replace("\r\n", ""))
    assert with_notes(made, notes) == made


@pytest.mark.parametrize(
    "notes", ["## Categories\n\n- **mine**: x", "# Another", "```\nopen", "a\r# b"]
)
def test_notes_that_would_be_something_else_are_refused(notes: str) -> None:
    with pytest.raises(ProgramError, match="not written"):
        with_notes(TEXTS["in the middle"], notes)


def test_notes_cannot_hold_what_looks_like_a_limit_that_nobody_reads() -> None:
    with pytest.raises(ProgramError, match="max_cost"):
        with_notes(TEXTS["last"], "---\nmax_cost: 5\n---")
