"""The settings at the top of program.md: where they stand, and what they say.

Every value is read as the text that it looks like, as on the command line: ``010`` is no octal
number, ``1:30`` no 90 and ``no`` no false. Settings that stand where they would not be read are
refused, so that no limit fails to hold without a word.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Collection, Sequence
from typing import Any

import yaml

DEEPEST = 10
_FENCE = re.compile(r"\s*---+\s*(ya?ml\s*)?(#.*)?", re.IGNORECASE)
_END = re.compile(r"\s*(---+\s*\w*|\.\.\.)\s*(#.*)?")
_LINE = re.compile(
    r"(?i)(?:[\W_]|(?:\d{1,3}|[A-Z])[.)]\s|x\])*"  # of lists, quotes, emphasis and check boxes
    r"(?:(?:settings?|limits?|set|use)\b\W*)?([A-Z][\w-]*)(.*?)[:=](.*)"
)
_NO_COLON = re.compile(r"\W*([A-Za-z][A-Za-z_-]*)\W+\d[\w.,:]*[\s|]*")
_VALUE = re.compile(r"[^\w:=]*\d[\d.,:_]*(?: \d{3})*(?:e\d+|[hkM])?(?!\w)", re.IGNORECASE)
_SMALL_WORDS = re.compile(
    r"(?i:\W|\b(?:h|hours?|trials?|US|USD|dollars?|tokens?|s|at|the|very|most|max|maximum|in|all|total"
    r"|per|each|a|whole|night|day|run|campaign|for|of|this|or|less|only|no|not|more|than|that"
    r"|(?:max_cost|max_tokens|hours|trials)\W*\d\S*)\b)*"
)
"""What may stand beside a limit and its value, without making prose of them."""
_NOTHING = ("", "~", "null", "Null", "NULL")

Lines = dict[tuple[str, ...], int]
"""Number of the line in which each name stands."""


class Misread(ValueError):
    """The settings cannot be read; with the number of the line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


def find(lines: Sequence[str], known: Collection[str]) -> range:
    """Indices of the lines of the front matter, both its fences included; empty if there is none.

    Blank lines, comments and headings may stand above it. Below a heading, ``---`` is a horizontal
    rule, unless a setting follows.

    Raises:
        Misread: it is not closed.
    """
    shown = _without_comments(lines)
    top = _first_text(shown, 0)
    if top == len(lines) or not _FENCE.fullmatch(shown[top]):
        return range(0)
    first = _LINE.match("".join(shown[_first_text(shown, top + 1) :][:1])[:200])
    below_heading = any(shown[:top])
    if top and not (first and (not below_heading or _is_known(first[1], known))):
        return range(0)
    ends = (i for i in range(top + 1, len(lines)) if _END.fullmatch(shown[i]))
    if (end := next(ends, None)) is None:
        raise Misread(top + 1, "the front matter that '---' opens is not closed: end it with '---'")
    return range(top, end + 1)


def refuse_strays(
    lines: Sequence[str], known: Collection[str], limits: Collection[str], top: bool
) -> None:
    """Refuse a setting outside the front matter, of which ``lines`` has nothing, valid or not.

    What is written like one counts as a setting in the first line of text if ``top``, and between
    two lines ``---`` with nothing else between them. Elsewhere only one of the ``limits`` does, at
    the start of a line and with a value of its kind, or few words; any other is taken for prose.

    Args:
        top: whether there is no front matter.

    Raises:
        Misread: there is one.
    """
    texts = [line.partition("#")[0].rstrip()[:200] for line in _without_comments(lines)]
    rules = [i for i, text in enumerate(texts) if _END.fullmatch(text)]
    may = [not text or (_LINE.match(text) and "**" not in text) for text in texts]  # else: prose
    pairs = [range(a + 1, b) for a, b in itertools.pairwise(rules)]
    fenced = {i for pair in pairs if all(may[pair.start : pair.stop]) for i in pair}
    language = ""
    for i, text in enumerate(texts):
        if text.lstrip().startswith(("```", "~~~")):
            language = "" if language else text.strip("`~ ").lower() or "yaml"
            continue
        names = limits if language in ("", "yaml", "yml", "toml", "json") else ()
        names = known if top or i in fenced else names
        if _sets(text, names, top, i in fenced):
            raise Misread(
                i + 1,
                f"{lines[i].strip()[:60]!r} is not read here: settings stand at the top of the "
                "file, one 'name: value' a line, between two lines '---'; in the text, write a "
                "sentence",
            )
        top = top and not re.search(r"[^\W_]", text)


def _sets(text: str, names: Collection[str], top: bool, fenced: bool) -> bool:
    """Whether a line says what one of the settings shall be."""
    if row := (top or re.search("_|--", text)) and _NO_COLON.fullmatch(text):
        return _is_known(row[1], names)
    if not (line := _LINE.match(text)):
        return False
    name, more, value = line.groups()
    number = _VALUE.match(value)
    if _is_known(re.sub(r"\W+$", "", name + more), names):
        more = ""
    elif not (number and _is_known(name, names)):
        return False
    if fenced or (number and re.search("[_-]", name)):
        return True
    if number:
        return all(map(_SMALL_WORDS.fullmatch, (more, value[number.end() :])))
    return len(value.split()) <= 3 and (name.islower() or bool(re.search(r"\d", value)))


def _without_comments(lines: Sequence[str]) -> list[str]:
    """The lines, stripped of what HTML comments hide."""
    *closed, last = "\n".join(lines).split("-->")
    shown = ""
    for text in closed:
        before, opened, hidden = text.partition("<!--")
        shown += before + ("\n" * hidden.count("\n") if opened else "-->")
    return [line.rstrip() for line in (shown + last).split("\n")]


def _first_text(shown: Sequence[str], start: int) -> int:
    """Index of the first line that is neither blank nor a heading; the length without one."""
    texts = (i for i in range(start, len(shown)) if shown[i] and shown[i].lstrip()[:1] != "#")
    return next(texts, len(shown))


def _is_known(name: str, known: Collection[str]) -> bool:
    name = name.lower().replace("-", "_").replace(" ", "_")
    near = len(name) <= 20 and difflib.get_close_matches(name, known, n=1, cutoff=0.86)
    return name in known or bool(near)


def read(text: str, first: int) -> tuple[dict[str, Any], Lines]:
    """The settings that are given a value, and the line of each that is named.

    Args:
        first: number of the text's first line in its file.

    Raises:
        Misread: it is no YAML, uses more of YAML than names and values, or sets a name twice.
    """
    lines: Lines = {}
    text = text.replace("\t", " ")  # which YAML refuses after a colon
    try:
        _refuse_features(text, first)
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        in_block = str(getattr(error, "context", "")).startswith("while parsing a block")
        begun = None if in_block else getattr(error, "context_mark", None)
        mark = begun or getattr(error, "problem_mark", None)
        at = mark.line if mark else text.count("\n", 0, getattr(error, "position", 0))
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise Misread(
            first + at,
            f"not YAML: {problem}; write 'name: value' lines, not indented, and put a value with "
            "': ' or ' #' in it in quotes",
        ) from None
    if node is not None and not isinstance(node, yaml.MappingNode):
        raise Misread(first, "the front matter is not a list of 'name: value' lines")
    return (_value(node, (), lines, first) if node else {}), lines


def _refuse_features(text: str, first: int) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        fancy = isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None)
        if fancy or getattr(event, "tag", None) or depth > DEEPEST:
            raise Misread(
                first + (event.start_mark.line if event.start_mark else 0),
                "anchors (&), aliases (*), tags (!) and deep nesting are not read here; write the "
                "value itself, in quotes if it begins with one of these signs",
            )


def _value(node: yaml.Node, path: tuple[str, ...], lines: Lines, first: int) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, path, lines, first) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        return None if node.style is None and node.value in _NOTHING else node.value
    found: dict[str, Any] = {}
    for key, value in node.value:
        line = first + key.start_mark.line
        if not isinstance(key, yaml.ScalarNode):
            raise Misread(line, "the front matter is not a list of 'name: value' lines")
        name = (*path, str(key.value))
        if name in lines:
            raise Misread(line, f"{'.'.join(name)} is set twice")
        lines[name] = line
        found[name[-1]] = _value(value, name, lines, first)
    return {name: value for name, value in found.items() if value is not None}
