"""Valid replies, damaged at random: refused with a reason, or applied as they are written."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replies import CATEGORY, FILES, PARENT, REPLIES

from agent.campaign.records import Trial
from agent.edits.blocks import EditError, parse
from agent.edits.checks import Rejected
from agent.steps import propose
from agent.thoughts import without_thoughts

EXAMPLES = [500, pytest.param(2000, marks=pytest.mark.slow)]
OPEN, DIVIDER, CLOSE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
VALID = [reply for reply, outcome in REPLIES.values() if not isinstance(outcome, str)]
VALID_FILES = [
    reply for reply, outcome in FILES.values() if not isinstance(outcome, str) and OPEN not in reply
]
JUNK = [
    OPEN, DIVIDER, CLOSE, "```", "```python", "~~~", "...", "# ... existing code ...",
    "# rest unchanged", "", " ", "category: schedule", "category: optimizer", "hypothesis: luck",
    "trainer/judge.py",
    "WARMUP = 0.9", "    return 0", "\t\treturn", "\x00", "\ufeff", "\xa0", "“x”", "x\ry", "\u2028",
    "&lt;", "{", "'''", "<think>", "</think>", "**", ".", "</edit>", "\u200b", "``",
    " trainer/train.py",
]  # fmt: skip

Mutate = Callable[[list[str]], list[str]]


@st.composite
def mutations(draw: st.DrawFn) -> Mutate:
    """One damage to the lines of a reply; positions are shares, so that they fit any reply."""
    kind = draw(st.integers(0, 10))
    a, b = draw(st.floats(0, 0.999)), draw(st.floats(0, 0.999))
    junk = draw(st.sampled_from(JUNK))
    count = draw(st.integers(1, 3))

    def mutate(lines: list[str]) -> list[str]:
        if not lines:
            return [junk]
        i, j = int(a * len(lines)), int(b * len(lines))
        line = lines[i]
        column = int(b * (len(line) + 1))
        changed = list(lines)
        if kind == 0:
            del changed[i : i + count]
        elif kind == 1:
            changed[i], changed[j] = changed[j], changed[i]
        elif kind == 2:
            changed[j:j] = lines[i : i + count]
        elif kind == 3:
            changed[i] = line[:column]
        elif kind == 4:
            changed[i] = "    " * count + line
        elif kind == 5:
            changed[i] = line.removeprefix("    " * count)
        elif kind == 6:
            del changed[i:]
        elif kind == 7:
            changed.insert(i, junk)
        elif kind == 8:
            changed[i] = line[:column] + junk + line[column:]
        elif kind == 9:
            changed[i : i + 2] = ["".join(lines[i : i + 2])]
        else:
            changed[i : i + count] = [text + "\r" for text in lines[i : i + count]]
        return changed

    return mutate


def damaged(replies: Sequence[str]) -> st.SearchStrategy[str]:
    def apply(reply: str, damages: list[Mutate]) -> str:
        lines = reply.split("\n")
        for damage in damages:
            lines = damage(lines)
        return "\n".join(lines)

    return st.builds(apply, st.sampled_from(replies), st.lists(mutations(), min_size=1, max_size=4))


# --- what was written in a reply, found out in another way than the program does ---


def marker(line: str) -> str:
    """The marker that a line is, with or without what may be glued to it; else the line."""
    bare = " ".join(line.replace("\ufeff", "").replace("\u200b", "").split()).lstrip("*`~_")
    glued = ("*", "`", "~", "_", ".", ":", ",", ";", "</edit>", "</think>", "<think>")
    while any(bare.endswith(one) for one in glued):
        bare = next(bare.removesuffix(one) for one in glued if bare.endswith(one))
    for path in (" trainer/train.py", " train.py", " `trainer/train.py"):
        bare = bare.removesuffix(path) if bare.startswith("<") else bare
    indented = line.replace("\ufeff", "").replace("\u200b", "")[:1].isspace()
    for whole in (OPEN, DIVIDER, CLOSE):
        if bare.replace(" ", "", 1) == whole.replace(" ", "") and not (indented and whole != CLOSE):
            return whole
    return line


def sections(reply: str) -> list[list[tuple[list[str], list[str]]]]:
    """Of each block: its search and replacement, by every way of dividing it."""
    found, body = [], None
    for line in reply.replace("\r\n", "\n").split("\n"):
        if marker(line) == OPEN:
            body = []
        elif marker(line) == CLOSE and body is not None:
            exact = [i for i, inside in enumerate(body) if inside.rstrip() == DIVIDER]
            found_at = exact or [i for i, inside in enumerate(body) if marker(inside) == DIVIDER]
            ways = [(body[:i], body[i + 1 :]) for i in found_at]
            bare = [(a[1:-1], b[1:-1]) for a, b in ways]  # for fences around either side
            quoted = [(a[1:-1], b) for a, b in ways if not b or not b[0].strip().startswith("`")]
            found.append(ways + bare + quoted)
            body = None
        elif body is not None:
            body.append(line)
    return found


def margin(lines: Sequence[str]) -> str:
    """White space that all lines with text begin with."""
    inked = [line for line in lines if line.strip()]
    blank = [line[: len(line) - len(line.lstrip(" \t"))] for line in inked]
    same = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(min(blank), max(blank), strict=False)
    )
    return "".join(a for a, _ in same)


def shifted(lines: Sequence[str], old: str, new: str) -> list[str]:
    """All lines with text moved as ``old`` was to become ``new``; the others empty."""
    more, less = new[: max(0, len(new) - len(old))], max(0, len(old) - len(new))
    assert not any(line[:less].strip() for line in lines), "white space alone is taken off"
    return [more + line[less:] if line.strip() else "" for line in lines]


def places(search: list[str], replace: list[str]) -> Iterator[tuple[int, int, list[str]]]:
    """Where lines that are ``search`` up to one shift stand, and what would stand there instead."""
    parent = PARENT.split("\n")
    if not any(line.strip() for line in search):
        return
    for start in range(len(parent) - len(search) + 1):
        found = parent[start : start + len(search)]
        if found == search:
            yield start, start + len(search), replace
        elif [x[len(margin(found)) :] if x.strip() else "" for x in found] == [
            x[len(margin(search)) :] if x.strip() else "" for x in search
        ]:
            with contextlib.suppress(AssertionError):
                moved = shifted(replace, margin(search), margin(found))
                yield start, start + len(search), moved


def written(reply: str) -> Iterator[list[str]]:
    """Every source that the blocks of a reply could be meant to make."""
    options = [[place for way in ways for place in places(*way)] for ways in sections(reply)]
    for chosen in itertools.islice(itertools.product(*options), 5000):
        result = PARENT.split("\n")
        for start, end, lines in sorted(chosen, key=lambda place: place[:2], reverse=True):
            result[start:end] = lines
        yield result


def source_of(reply: str, envelope: str) -> str | None:
    """What is made of a reply on its way to a training, None if it is turned down."""
    trial = Trial(1, category=CATEGORY, reply=reply, envelope=envelope)
    try:
        return propose.read_edit(trial, PARENT, max_seq_len=128)[1]
    except (EditError, Rejected) as refusal:
        assert str(refusal)
    try:
        return parse(reply, "file" if envelope == "file" else "edits").apply(PARENT)
    except EditError:
        return None


def check_blocks(reply: str, result: str) -> None:
    new, old = result.split("\n"), PARENT.split("\n")
    searched = {line.strip() for ways in sections(reply) for s, _ in ways for line in s}
    replaced = {line.strip() for ways in sections(reply) for _, r in ways for line in r}
    removed = Counter(map(str.strip, old)) - Counter(map(str.strip, new))
    added = Counter(map(str.strip, new)) - Counter(map(str.strip, old))
    assert removed.keys() <= searched, "only what was quoted goes"
    assert added.keys() <= replaced, "only what was written comes"
    assert new in written(reply), "and each at its place, the rest untouched"


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.process
def test_nothing_is_applied_that_a_damaged_reply_does_not_say(examples: int) -> None:
    applied = refused = 0

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(damaged(VALID))
    def each(reply: str) -> None:
        nonlocal applied, refused
        result = source_of(reply, "edits")
        if result is None:
            refused += 1
            return
        applied += 1
        check_blocks(without_thoughts(reply), result)

    each()
    assert applied + refused >= examples
    assert min(applied, refused) > examples // 10, "neither always nor never"


@pytest.mark.parametrize("examples", EXAMPLES)
def test_no_file_is_made_of_what_a_damaged_reply_does_not_say(examples: int) -> None:
    applied = refused = 0

    @settings(
        max_examples=examples // 4, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(damaged(VALID_FILES))
    def each(reply: str) -> None:
        nonlocal applied, refused
        result = source_of(reply, "file")
        if result is None:
            refused += 1
            return
        applied += 1
        text = reply.replace("\r\n", "\n")
        assert result.removesuffix("\n") in text, "one passage of the reply, to the letter"

    each()
    assert min(applied, refused) > examples // 40, "neither always nor never"
