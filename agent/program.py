"""program.md, the research program: settings in its front matter, categories, prose, notes.

It is read again before every trial. The YAML front matter mirrors the command line; everything
after it is for the model that proposes edits.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent import front_matter
from agent.objective import Objective
from agent.settings import Frozen, Settings, complaint
from trainer.errors import UserError
from trainer.presets import Budget
from trainer.source import in_form_of, plain

MAX_CHARACTERS = 60_000
"""Of program.md, which stands whole in every prompt."""
LIMITS = ("trials", "hours", "max_cost", "max_tokens")
"""The settings that end a campaign: one that is written and not read must not go unnoticed. That
goes for the objective, too."""
KNOWN = re.compile(r"\{\{\s*known\s*\}\}", re.IGNORECASE)
"""In the prose, the place of what is known at the preset's scale."""
BUDGET = re.compile(r"\{\{\s*budget\s*\}\}", re.IGNORECASE)
"""In the prose, the place of what the budget is, and what pays under it."""
SPEED = "efficiency", "3fa7949b"
"""The category whose edits make steps faster, and the digest of what the shipped program.md says of
it. Under a budget of tokens it is not drawn; one that says something else is the user's, and is."""
_BUDGET_ONCE = re.compile(
    r"The budget is time, so speed is quality: a step that costs half as much is\s+worth as much as"
    r" an optimizer that needs half as many\."
)
"""What the shipped program.md said before it had a place for it; wrong under a budget of tokens."""
_NOTES_ONCE = re.compile(
    r"Write here whatever you want the next proposal to know: a hunch, a paper, something to leave"
    r"\s+alone\.\s+It is read before every trial\."
)
"""What stands below ``## Notes`` until somebody writes some."""
_CATEGORY = re.compile(r"[-*]\s+\*\*([^*]+)\*\*\s*:\s*(.*)")
_NAME = re.compile(r"(?!.{31})[a-z][a-z0-9]*([ -][a-z0-9]+)*")
_NAME_RULE = "a name is lower-case words of letters and digits, at most 30 characters"
_WRITE = "write a line '- **name**: what it covers' below '## Categories' for each"
_HEADING = re.compile(r"(##?)\s+(.*?)\s*#*\s*")


class ProgramError(UserError):
    """program.md cannot be used; the message names the file and the line."""

    def __init__(self, path: Path, line: int, message: str) -> None:
        super().__init__(f"{path}, line {line}: {message}" if line else f"{path}: {message}")
        self.path, self.line, self.message = path, line, message


class FrontMatter(Settings):
    """The settings that program.md gives, and its objective, which the command line has not."""

    objective: Objective = Objective()


class Category(Frozen):
    """A kind of edit."""

    name: str
    description: str


class Program(Frozen):
    """One version of program.md."""

    path: Path
    text: str
    """The whole file."""
    sha256: str
    """Of the file's bytes, 64 hex digits."""
    front_matter: FrontMatter
    categories: tuple[Category, ...]
    prose: str
    """What the model is told: the file without front matter and notes, categories included. A line
    ``{{ known }}`` stands for what is known at the preset's scale, ``{{ budget }}`` for what pays
    under the budget."""
    notes: str
    """The section ``## Notes``, by which the user steers; the next proposal gets it."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(category.name for category in self.categories)

    @property
    def described(self) -> Mapping[str, str]:
        """By category: a digest of its description."""
        told = {c.name: c.description.encode(errors="replace") for c in self.categories}
        return {n: hashlib.sha256(text).hexdigest()[:8] if text else "" for n, text in told.items()}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings in the front matter, by name; those not given are left out."""
        return self.front_matter.model_dump(exclude_unset=True, exclude={"objective"})

    @property
    def objective(self) -> Objective:
        return self.front_matter.objective

    def open_to(self, budget: Budget) -> Program:
        """This version with the categories in which something can be gained under a budget.

        Of tokens that is all but ``SPEED``, unless the objective puts a price on time.
        """
        name, digest = SPEED
        others = tuple(category for category in self.categories if category.name != name)
        is_shipped = self.described.get(name) == digest
        if not is_shipped or not others or budget.tokens is None or self.objective.time:
            return self
        line = rf"^[-*]\s+\*\*{name}\*\*\s*:.*(?:\n|\Z)(?:[ \t]+\S.*(?:\n|\Z))*"
        prose = re.sub(line, "", self.prose, count=1, flags=re.MULTILINE)
        return self.model_copy(update={"categories": others, "prose": prose})

    def filled(self, known: str, budget: str) -> str:
        """The prose with what stands in its places; nothing is left of a section that would be
        empty."""
        text = self.prose
        for place, words in ((KNOWN, known), (BUDGET, budget)):
            if not words:
                text = re.sub(
                    rf"^##\s.*\n\s*(?i:{place.pattern})\s*(?=^#|\Z)", "", text, flags=re.MULTILINE
                )
            text = words.join(place.split(text))
        return text.strip()

    def aimed_at(self, objective: Objective) -> Program:
        """This version with the objective of a trial that began before it was written."""
        front_matter = self.front_matter.model_copy(update={"objective": objective})
        return self.model_copy(update={"front_matter": front_matter})


def load_program(path: Path) -> Program:
    """Read program.md.

    Raises:
        ProgramError: it cannot be read or used.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        remedy = f"git checkout {path.name} brings it back, --program names another"
        raise ProgramError(path, 0, f"cannot be read: {error.strerror}; {remedy}") from None
    return _read(data, path)


@functools.lru_cache(maxsize=2)  # a trial reads it twice, and nearly always it is as it was
def _read(data: bytes, path: Path) -> Program:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProgramError(path, line, "is not UTF-8 text: save it as UTF-8") from None
    return parse_program(text, path).model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})


def reload_program(path: Path, last_good: Program) -> tuple[Program, str | None]:
    """Read program.md again; if it cannot be used, the last good version and what is wrong."""
    try:
        return load_program(path), None
    except ProgramError as error:
        return last_good, f"{error}; going on with the last good version"


def parse_program(text: str, path: Path = Path("program.md"), *, lenient: bool = False) -> Program:
    """Make a program from a file's text.

    Args:
        lenient: leave out settings that are not valid, for a text that an earlier version allowed.

    Raises:
        ProgramError: see the message.
    """
    if len(text) > MAX_CHARACTERS and not lenient:
        raise ProgramError(
            path,
            plain(text).count("\n", 0, MAX_CHARACTERS) + 1,
            f"a prompt has room for the {MAX_CHARACTERS:,} characters up to here, and the file has "
            f"{len(text):,}; shorten it",
        )
    lines, settings = plain(text).split("\n"), FrontMatter()
    try:
        settings = _take_front_matter(lines, path)
    except ProgramError:
        if not lenient:
            raise
    sections = _sections(lines)
    if "categories" not in sections:
        raise ProgramError(path, len(lines), f"there is no section '## Categories'; {_WRITE}")
    categories = _categories(lines, sections["categories"], path)
    notes = sections.get("notes", [])
    prose = [line for i, line in enumerate(lines) if i not in notes]
    return Program(
        path=path,
        text=text,
        sha256=hashlib.sha256(text.encode(errors="replace")).hexdigest(),
        front_matter=settings,
        categories=categories,
        prose=_BUDGET_ONCE.sub("{{ budget }}", "\n".join(prose).strip()),
        notes=_NOTES_ONCE.sub("", "\n".join(lines[i] for i in notes[1:])).strip(),
    )


def notes_of(text: str) -> str:
    """The notes in a program.md's text, as they stand there; "" without the section."""
    lines = plain(text).split("\n")
    return "\n".join(lines[i] for i in _sections(lines).get("notes", ())[1:]).strip()


def with_notes(text: str, notes: str, path: Path = Path("program.md")) -> str:
    """A program.md's text with other notes, with the line ends that it has.

    Raises:
        ProgramError: the file would then say something else besides, or could not be used.
    """
    lines, notes = plain(text).split("\n"), plain(notes).strip()
    section = _sections(lines).get("notes")
    if section is None:
        lines = [*"\n".join(lines).rstrip().split("\n"), "", "## Notes", ""]
        section = [len(lines) - 2, len(lines) - 1]
    own = ["", *notes.split("\n"), ""] if notes else [""]
    made = "\n".join([*lines[: section[0] + 1], *own, *lines[section[-1] + 1 :]])
    now = parse_program(made, path)
    if notes_of(made) != notes or _without_notes(now) != _without_notes(parse_program(text, path)):
        raise ProgramError(
            path,
            0,
            "not written: a heading with # or ##, or ``` without its end, would make something "
            "else of these notes or of what comes after them",
        )
    return in_form_of(text, made)


def _without_notes(program: Program) -> dict[str, Any]:
    """What notes do not change. The prose ends where they begin, so its last lines may be blank."""
    told = program.model_dump(include={"front_matter", "categories", "prose"})
    return {**told, "prose": " ".join(program.prose.split())}


def _take_front_matter(lines: list[str], path: Path) -> FrontMatter:
    """Read the front matter, and blank its lines."""
    known = FrontMatter.model_fields
    where: front_matter.Lines = {}
    try:
        found = front_matter.find(lines, known)
        inside, first = "\n".join(lines[found.start + 1 : found.stop - 1]), found.start + 2
        lines[found.start : found.stop] = [""] * len(found)
        given, where = front_matter.read(inside, first) if found else ({}, where)
        for name in (name for name in where if name[0] in (*LIMITS, "objective")):
            if _has_value(given, name):
                continue
            raise front_matter.Misread(
                where[name],
                f"{'.'.join(name)} has no value, so no limit: write "
                f"'{name[-1].partition(':')[0]}: VALUE', with a blank after the colon, or drop it",
            )
        front_matter.refuse_strays(lines, known, LIMITS, top=not found)
        return FrontMatter.model_validate(given, strict=False)
    except front_matter.Misread as error:
        raise ProgramError(path, error.line, error.message) from None
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        names = tuple(str(part) for part in wrong["loc"])
        numbers = [where[names[:n]] for n in range(len(names) + 1) if names[:n] in where]
        raise ProgramError(path, max(numbers, default=0), _complaint(wrong, names)) from None


def _has_value(given: Any, name: Sequence[str]) -> bool:
    """Whether a name is among what is given; below a list it is refused for another reason."""
    for part in name:
        if isinstance(given, Mapping) and part not in given:
            return False
        given = given[part] if isinstance(given, Mapping) else given
    return True


def _complaint(error: ErrorDetails, where: Sequence[str]) -> str:
    name = ".".join(where[:2])
    if error["type"] != "extra_forbidden":
        return complaint(error, name)
    known = Objective.model_fields if len(where) > 1 else FrontMatter.model_fields
    near = difflib.get_close_matches(where[-1].lower().replace("-", "_"), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"unknown setting {name}; {hint}"


def _sections(lines: list[str]) -> dict[str, list[int]]:
    """Line indices of each ``##`` section, its heading first; the first of a name counts."""
    sections: dict[str, list[int]] = {}
    current: list[int] = []
    fenced = False
    for i, line in enumerate(lines):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and (head := _HEADING.fullmatch(line)):
            current = []
            sections.setdefault(head[2].lower() if head[1] == "##" else "", current)
        current.append(i)
    return sections


def _categories(lines: list[str], section: list[int], path: Path) -> tuple[Category, ...]:
    found: dict[str, str] = {}
    last = ""
    for i in section[1:]:
        line = lines[i].rstrip()
        if match := _CATEGORY.match(line):
            last = match[1].strip()
            if not _NAME.fullmatch(last):
                raise ProgramError(path, i + 1, f"category {last!r}: {_NAME_RULE}")
            if last in ("null", "baseline"):
                raise ProgramError(path, i + 1, f"category {last}: the log uses this name itself")
            if last in found:
                raise ProgramError(path, i + 1, f"category {last} is listed twice")
            found[last] = match[2].strip()
        elif re.match(r"[-*+]\s", line):
            raise ProgramError(path, i + 1, "a category is written '- **name**: what it covers'")
        elif last and line.startswith(" ") and line.strip():
            found[last] = f"{found[last]} {line.strip()}"
        elif not line.strip():
            last = ""
    if not found:
        raise ProgramError(path, section[0] + 1, f"the section lists no category; {_WRITE}")
    return tuple(Category(name=name, description=text) for name, text in found.items())
