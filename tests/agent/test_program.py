"""program.py: what a human writes is read, and what cannot be is named by its line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.program import (
    Program,
    ProgramError,
    load_program,
    parse_program,
    reload_program,
)

ROOT = Path(__file__).parents[2]

GOOD = """---
budget: 20s
keep: strict
hours: 8
isolation: off
objective: {memory: 0.5}
---

# Title

Prose.

## Categories

Some words first.

- **schedule**: what changes
  with progress
- **data mix**: sources

## Known

```
## Notes
- not this one
```
More prose.

## Notes

Try a longer warm-down.
"""


def broken(text: str) -> tuple[int, str]:
    with pytest.raises(ProgramError) as caught:
        parse_program(text, Path("x.md"))
    assert str(caught.value) == f"x.md, line {caught.value.line}: {caught.value.message}"
    return caught.value.line, caught.value.message


def test_a_program() -> None:
    program = parse_program(GOOD)
    assert program.settings == {
        "budget": "20s",
        "keep": "strict",
        "hours": 8,
        "isolation": "off",
    }
    assert program.names == ("schedule", "data mix")
    assert program.categories[0].description == "what changes with progress"
    assert program.notes == "Try a longer warm-down."
    assert program.prose.startswith("# Title") and program.prose.endswith("More prose.")
    assert program.text == GOOD
    assert program.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()


@pytest.mark.parametrize("share", [0, 0.05, 0.5])
def test_the_share_of_null_trials(share: float) -> None:
    program = parse_program(GOOD.replace("hours: 8", f"nulls: {share}"))
    assert program.settings["nulls"] == share


def test_settings_categories_and_notes_are_all_that_is_needed() -> None:
    program = parse_program("## Categories\n* **a**: b")
    assert (program.settings, program.names, program.notes) == ({}, ("a",), "")


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "program.md"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    program = load_program(path)
    assert program.names == ("schedule", "data mix")
    assert program.notes == "Try a longer warm-down."
    assert program.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("old", "new", "line", "parts"),
    [
        ("keep: strict", "kep: strict", 3, ["unknown setting kep", "did you mean keep?"]),
        ("keep: strict", "max-cost: 3", 3, ["did you mean max_cost?"]),
        ("keep: strict", "zzz: 3", 3, ["unknown setting zzz", "there are budget, preset"]),
        ("keep: strict", "keep: lucky", 3, ["keep:", "'confirm', 'strict' or 'greedy'", "'lucky'"]),
        ("budget: 20s", "budget: 5x", 2, ["budget '5x'", "20s"]),
        ("budget: 20s", "budget: 300", 2, ["budget '300'"]),
        ("budget: 20s", "preset: h200", 2, ["there are: auto, cpu", "'h200'"]),
        ("budget: 20s", "data: wikitext", 2, ["data:", "'wikitext'"]),
        ("hours: 8", "hours: 0", 4, ["hours:", "greater than 0"]),
        ("hours: 8", "trials: 2.5", 4, ["trials:", "2.5"]),
        ("hours: 8", "trials: five", 4, ["trials:", "'five'"]),
        ("hours: 8", "nulls: 0.6", 4, ["nulls:", "less than or equal to 0.5", "0.6"]),
        ("hours: 8", "nulls: -0.1", 4, ["nulls:", "greater than or equal to 0", "-0.1"]),
        ("hours: 8", "keep: strict", 4, ["keep is set twice"]),
        ("hours: 8", "hours: [", 4, ["not YAML"]),
        ("hours: 8", "nonsense", 4, ["not YAML"]),
        ("memory: 0.5", "memroy: 0.5", 6, ["objective.memroy", "did you mean memory?"]),
        ("memory: 0.5", "memory: -1", 6, ["objective.memory:", "-1"]),
        ("memory: 0.5", "memory: inf", 6, ["objective.memory:", "finite"]),
        ("memory: 0.5", "memory: true", 6, ["objective.memory:", "number", "'true'"]),
        ("hours: 8", "seed: 2026-02-31", 4, ["seed:", "not '2026-02-31'"]),
        ("- **data mix**: sources", "- data mix: sources", 19, ["'- **name**: what it covers'"]),
        ("- **data mix**: sources", "- **schedule**: x", 19, ["schedule is listed twice"]),
        ("- **data mix**: sources", "- **Data, mix**: x", 19, ["'Data, mix'", "lower-case"]),
        (
            "- **data mix**: sources",
            "- **null**: x",
            19,
            ["category null", "uses this name itself"],
        ),
        ("- **data mix**: sources", "- **baseline**: x", 19, ["category baseline", "this name"]),
        ("## Categories", "## Kinds", 32, ["no section '## Categories'"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    old: str, new: str, line: int, parts: list[str]
) -> None:
    assert GOOD.count(old) == 1
    found, message = broken(GOOD.replace(old, new))
    assert found == line
    for part in parts:
        assert part in message


def test_front_matter_that_is_not_closed_or_not_a_mapping() -> None:
    assert broken("---\nbudget: 20s\n")[0] == 1
    assert broken("---\n- budget\n---\n## Categories\n- **a**: b\n")[0] == 2
    line, message = broken("## Categories\nnothing\n")
    assert line == 1 and message.startswith("the section lists no category; write a line '- **")
    assert parse_program("---\n---\n## Categories\n- **a**: b\n").settings == {}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="No such file"):
        load_program(tmp_path / "missing.md")
    with pytest.raises(ProgramError, match="cannot be read"):
        load_program(tmp_path)
    path = tmp_path / "latin.md"
    path.write_bytes(b"## Categories\n\n- **a**: caf\xe9\n")
    with pytest.raises(ProgramError, match="line 3: is not UTF-8"):
        load_program(path)


def test_a_broken_edit_keeps_the_last_good_version(tmp_path: Path) -> None:
    path = tmp_path / "program.md"
    path.write_text(GOOD)
    good = load_program(path)
    assert reload_program(path, good) == (good, None)

    path.write_text(GOOD.replace("keep: strict", "keep: maybe"))
    program, complaint = reload_program(path, good)
    assert program is good
    assert complaint and "line 3" in complaint and "last good version" in complaint

    path.unlink()
    assert reload_program(path, good)[0] is good

    path.write_text(GOOD.replace("longer", "shorter"))
    program, complaint = reload_program(path, good)
    assert complaint is None and program.notes == "Try a shorter warm-down."
    assert program.prose == good.prose, "notes change without changing what stands before them"


def test_a_program_is_a_value() -> None:
    program = parse_program(GOOD)
    assert program == parse_program(GOOD)
    with pytest.raises(ValueError):
        program.notes = "x"  # type: ignore[misc]
    assert isinstance(program, Program)


def test_the_program_that_ships() -> None:
    program = load_program(ROOT / "program.md")
    assert program.names == (
        "architecture",
        "optimizer",
        "schedule",
        "hyperparameters",
        "initialisation",
        "regularisation",
        "dataset",
        "preprocessing",
        "efficiency",
        "simplification",
    )
    assert program.settings == {}
    assert all(category.description for category in program.categories)
    assert program.notes == "", "nobody has written any yet"


def test_every_setting_that_the_shipped_program_offers_is_one(tmp_path: Path) -> None:
    """Taking the '#' away from each commented setting gives a program that is read."""
    text = (ROOT / "program.md").read_text()
    head, rest = text.split("\n---\n", 1)
    offered = [line[2:] for line in head.split("\n") if line.startswith("# ") and ": " in line]
    program = parse_program("\n".join(["---", *offered, "---", rest]))
    assert set(program.settings) == {
        "budget",
        "preset",
        "data",
        "keep",
        "ideas",
        "heat",
        "sequential",
        "nulls",
        "proposer",
        "llm",
        "trials",
        "hours",
        "max_cost",
        "max_tokens",
        "notebook",
        "seed",
        "isolation",
    }


def test_what_an_earlier_version_allowed_is_still_a_program() -> None:
    text = "---\nhours: 1000000\n---\n## Categories\n- **optimizer**: rules\n"
    with pytest.raises(ProgramError, match="line 2: hours"):
        parse_program(text)
    program = parse_program(text, lenient=True)
    assert program.names == ("optimizer",) and program.settings == {}
