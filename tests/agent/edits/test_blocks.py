"""edits.py and constants.py: what is applied is what was written, or nothing is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import SOURCE

from agent.edits.blocks import Block, Edit, EditError, parse, render


def reply(*blocks: str, head: str = "category: optimizer\nhypothesis: it helps\n") -> str:
    return head + "\n".join(blocks)


def block(search: str, replace: str) -> str:
    return f"<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n"


LR_BLOCK = block("BETAS = (0.9, 0.95)\n", "BETAS = (0.8, 0.95)\n")


def refused(text: str, *parts: str, source: str = SOURCE) -> None:
    with pytest.raises(EditError) as caught:
        parse(text).apply(source)
    for part in parts:
        assert part in str(caught.value)


# --- what is applied --------------------------------------------------------------------------


def test_a_reply_with_prose_fences_and_windows_line_ends() -> None:
    text = (
        "Here is my plan.\n\n**Category:** `Optimizer`\n**Hypothesis:** beta1 is too high\n"
        "for so few steps\n\ntrainer/train.py\n```python\n" + LR_BLOCK + "```\nDone.\n"
    ).replace("\n", "\r\n")
    edit = parse(text)
    assert edit.category == "optimizer"
    assert edit.hypothesis == "beta1 is too high for so few steps"
    assert edit.title == edit.hypothesis
    assert edit.apply(SOURCE) == SOURCE.replace("(0.9,", "(0.8,")


def test_title_is_the_hypothesis_cut_at_a_word() -> None:
    head = "category: schedule\nhypothesis: " + "longer warm-down " * 20 + "\n"
    title = parse(reply(LR_BLOCK, head=head)).title
    assert len(title) <= 60 and title.startswith("longer warm-down") and title[-2] in "rn"
    assert parse(reply(LR_BLOCK, head=head + "title: short\n")).title == "short"


def test_control_characters_never_reach_title_or_hypothesis() -> None:
    edit = parse(reply(LR_BLOCK, head="category: schedule\nhypothesis: a \x1b[31mred\x07 one\n"))
    assert edit.hypothesis == "a \ufffd[31mred\ufffd one"


def test_empty_replacement_deletes_and_a_blank_line_is_not_empty() -> None:
    edit = parse(reply(block("BETAS = (0.9, 0.95)\nSTEPS = 10  # range 1..12\n", "")))
    assert edit.apply(SOURCE) == SOURCE.replace(
        "BETAS = (0.9, 0.95)\nSTEPS = 10  # range 1..12\n", ""
    )
    edit = parse(reply(block("BETAS = (0.9, 0.95)\n", "\n")))
    assert edit.apply(SOURCE) == SOURCE.replace("BETAS = (0.9, 0.95)\n", "\n")


def test_several_blocks_refer_to_the_file_as_shown() -> None:
    edit = parse(
        reply(
            block("        return y\n", "        return 2 * y\n"),
            block("BETAS = (0.9, 0.95)\n", "BETAS = (0.8, 0.95)\nA = 1\nB = 2\n"),
        )
    )
    expected = SOURCE.replace("return y", "return 2 * y")
    assert edit.apply(SOURCE) == expected.replace(
        "BETAS = (0.9, 0.95)\n", "BETAS = (0.8, 0.95)\nA = 1\nB = 2\n"
    )


def test_lines_are_matched_whole() -> None:
    refused(reply(block("R = 0.02\n", "R = 0.03\n")), "block 1", "not in the file")
    refused(reply(block("LR = 0.02\n", "LR = 0.03\n")), "   11 | LR = 0.02  # peak")


def test_a_source_without_final_newline_and_with_windows_line_ends() -> None:
    edit = parse(reply(block("b = 2\n", "b = 3\n")))
    assert edit.apply("a = 1\nb = 2") == "a = 1\nb = 3"
    assert edit.apply("a = 1\r\nb = 2\r\n") == "a = 1\r\nb = 3\r\n"


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("y = self.a(x)\n\nif y is None:\n    return x\n", "y = self.a(x)\n\nif 1:\n    pass\n"),
        (
            "            y = self.a(x)\n            \n            if y is None:\n"
            "                return x\n",
            "            y = self.a(x)\n\n            if 1:\n                pass\n",
        ),
    ],
)
def test_uniformly_reindented(search: str, replace: str) -> None:
    result = parse(reply(block(search, replace))).apply(SOURCE)
    assert result == SOURCE.replace(
        "if y is None:\n            return x", "if 1:\n            pass"
    )


def test_not_uniformly_reindented_is_refused() -> None:
    search = "y = self.a(x)\n\nif y is None:\n        return x\n"
    refused(reply(block(search, "pass\n")), "not in the file", "line")


def test_a_replacement_that_cannot_be_shifted_alike_is_refused() -> None:
    search = "                return y\n"
    refused(reply(block(search, "    z = 1\n" + search)), "cannot be shifted", "z = 1")


def test_a_bare_divider_in_the_replacement_or_in_the_file_survives() -> None:
    heading = "Training file.\n\nHeading\n=======\n"
    new = heading.replace("Heading", "Other text")
    source = SOURCE.replace('"""Training file.', '"""\nTraining file.')
    assert parse(reply(block(heading, new))).apply(source) == source.replace(heading, new)
    only_new = reply(block("import torch\n", '"""\nTitle\n=======\n"""\nimport torch\n'))
    assert parse(only_new).apply(SOURCE) == SOURCE.replace(
        "import torch\n", '"""\nTitle\n=======\n"""\nimport torch\n'
    )
    assert parse(reply(block(heading, ""))).apply(source) == source.replace(heading, "")


@pytest.mark.parametrize("glued", ["```", "", "<|im_end|>", " ```"])
def test_the_longest_search_text_found_decides_whatever_is_glued_to_its_divider(glued: str) -> None:
    source = "DOC = '''\nTitle\n=======\n'''\nB = 2\nC = 3\n"
    search, new = "Title\n=======\n'''\nB = 2\n", "Title\n=======\n'''\nB = 5\n"
    text = f"<<<<<<< SEARCH\n{search}======={glued}\n{new}>>>>>>> REPLACE\n"
    assert parse(reply(text)).apply(source) == source.replace(search, new)


def test_a_fence_inside_the_block_is_taken_off_only_if_it_is_not_in_the_file() -> None:
    fenced = block("```python\nimport torch\n```\n", "```python\nimport math\n```\n")
    assert parse(reply(fenced)).apply(SOURCE) == SOURCE.replace("import torch", "import math")
    source = 'X = """\n```python\nimport torch\n```\n"""\n'
    assert "```python\nimport math\n```\n" in parse(reply(fenced)).apply(source)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["category"]),
        ("I would rather not.", ["category"]),
        ("category: optimizer\n" + LR_BLOCK, ["hypothesis"]),
        ("hypothesis: x\n" + LR_BLOCK, ["category"]),
        ("category:\nhypothesis: x\n" + LR_BLOCK, ["category"]),
        (reply(), ["no block"]),
        (reply("```python\nLR = 0.03\n```\n"), ["no block"]),
        (reply(LR_BLOCK, "category: schedule\n"), ["two categories"]),
        (reply(LR_BLOCK[:-20]), ["block 1", "cut off"]),
        (reply(LR_BLOCK, "<<<<<<< SEARCH\nLR = 1\n"), ["block 2", "cut off"]),
        (reply(LR_BLOCK, "<<<<<<< SEARCH\nLR = 1\n=======\nLR"), ["block 2", "cut off"]),
        (reply(LR_BLOCK, "<<<<<<<"), ["marker"]),
        (reply("<<<<<<< SEARCH\nx\n=======\ny\n" + LR_BLOCK), ["block 1", "not closed"]),
        (reply("<<<<<<< SEARCH\nx\n>>>>>>> REPLACE\n"), ["block 1", "no '======='"]),
        (reply("<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n"), ["marker", "<<<<<< SEARCH"]),
        (reply("<<<<<<< SEARCH data.py\nx\n=======\ny\n>>>>>>> REPLACE\n"), ["marker"]),
        (reply("x\n=======\ny\n>>>>>>> REPLACE\n"), ["marker"]),
        (
            reply(LR_BLOCK.strip() + block("STEPS = 10\n", "STEPS = 11\n")),
            ["block 1", "is not read as one (new line 2, '>>>>>>> REPLACE<<<<<<< SEARCH')"],
        ),
        (
            reply(LR_BLOCK.strip() + " " + block("STEPS = 10\n", "STEPS = 11\n")),
            ["block 1", "new line 2", "alone on its line"],
        ),
        (
            reply(LR_BLOCK.replace(">" * 7, ">" * 6) + "\nAnd:\n>>>>>>> REPLACE\n"),
            ["block 1", "(new line 2, '>>>>>> REPLACE')", "exactly seven signs"],
        ),
        (reply(block("import torch\n", "x = 1 >>>>>>> REPLACE\n")), ["new line 1"]),
        (reply(block("", "x = 1\n")), ["block 1", "empty search"]),
        (reply(block("\n", "x = 1\n")), ["block 1", "empty search"]),
        (reply(block("x = 1\n", "x = 1\n")), ["block 1", "changes nothing"]),
        (reply(block("return x\n", "return y\n")), ["2 times", "25", "29"]),
        (reply(block("no such thing at all, really\n", "y\n")), ["block 1", "not in the file"]),
        (reply(LR_BLOCK, LR_BLOCK), ["blocks 1 and 2 overlap", "line 12"]),
        (reply(block("a = 1\n" * 100, "y\n")), ["more lines than the file"]),
    ],
)
def test_refused(text: str, parts: list[str]) -> None:
    refused(text, *parts)


@pytest.mark.parametrize(
    "line",
    [
        "...",
        "    ...  # as it was",
        "# ... existing code ...",
        "    # … rest of the method",
        "# rest of the code is unchanged",
        "# (existing imports)",
        "# other methods remain the same ...",
        "# rest unchanged",
        "    # the rest is as before",
        "# everything else stays the same",
        "# keep the existing code",
        "# (unchanged)",
        "... existing code ...",
        "    ... rest of the method",
        "// ... existing code ...",
    ],
)
def test_elisions_are_refused(line: str) -> None:
    refused(reply(block("import torch\n", f"import torch\n{line}\n")), "block 1", "elides")
    refused(reply(block(f"import torch\n{line}\n", "import math\n")), "block 1", "elides")


@pytest.mark.parametrize(
    "line",
    [
        "x = y[..., 0]",
        "# warm up, then hold the rest of the budget",
        "# other code paths take bf16",
        "# the existing schedule is linear",
        'print("...")',
        "# weights, biases, ...",
        "# the rest is cooled down linearly",
        "# previous steps are averaged",
        "# everything else is bf16",
        "# unchanged weights are not averaged",
    ],
)
def test_honest_lines_are_no_elision(line: str) -> None:
    edit = parse(reply(block("import torch\n", f"import torch\n{line}\n")))
    assert line in edit.apply(SOURCE)


@pytest.mark.parametrize(
    "line",
    [
        "trainer/session.py",
        "**`trainer/scoring/scorer.py`**",
        "### File: agent/loop.py",
        "./../other/train.py",
        "```python trainer/data/store.py",
        "```python:pyproject.toml",
        "```presets.toml",
    ],
)
def test_a_block_that_names_another_file_is_refused(line: str) -> None:
    refused(reply(f"{line}\n{LR_BLOCK}"), "only trainer/train.py")


@pytest.mark.parametrize(
    "line",
    [
        "train.py",
        "File: `trainer/train.py`",
        "./trainer/train.py\n```python",
        "```python trainer/train.py",
        "In train.py we lower beta1, as session.py suggests:",
        "torch.compile",
        "e.g. this:",
    ],
)
def test_a_block_that_names_train_py_or_no_file_is_fine(line: str) -> None:
    assert parse(reply(f"{line}\n{LR_BLOCK}")).apply(SOURCE) != SOURCE


def test_all_or_nothing_and_the_nearest_lines_are_quoted() -> None:
    wrong = "        y = self.a(x)\n\n        if y is not None:\n            return x\n"
    refused(
        reply(LR_BLOCK, block(wrong, "pass\n")),
        "block 2",
        "line 24 differs",
        "   24 |         if y is None:",
    )


def test_a_garbled_line_gets_the_line_it_resembles() -> None:
    refused(reply(block("ACTIVATION = 'relu2'\n", "x\n")), '17 | ACTIVATION = "relu2"')


def test_no_reply_keeps_the_patterns_busy() -> None:
    """Each of these took hours by a pattern that goes back and back."""
    long = 200_000
    for line in ("# rest " * long, "```" + "a" * long + " b c", "a." * long, "- " * long):
        with pytest.raises(EditError):
            parse(reply(f"{line}\n{LR_BLOCK}", block("import torch\n", f"{line}\n"))).apply("")


# --- properties -------------------------------------------------------------------------------

LINE = st.text(
    alphabet=st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=20
).filter(lambda line: line.rstrip() not in ("<<<<<<< SEARCH", ">>>>>>> REPLACE"))
TEXT = st.lists(LINE, max_size=6).map(lambda lines: "".join(f"{line}\n" for line in lines))
WORDS = st.lists(st.text(alphabet="abcxyz0.5", min_size=1, max_size=8), min_size=1, max_size=8)


@given(
    WORDS,
    st.none() | WORDS,
    st.lists(st.tuples(TEXT.filter(str.strip), TEXT).filter(lambda b: b[0] != b[1]), min_size=1),
)
def test_parse_reads_back_what_render_writes(
    hypothesis: list[str], title: list[str] | None, pairs: list[tuple[str, str]]
) -> None:
    blocks = tuple(Block(*pair) for pair in pairs)
    if any(_ambiguous(block) for block in blocks):
        return
    text = render("schedule", " ".join(hypothesis), blocks, title=title and " ".join(title))
    edit = parse(text)
    assert edit.blocks == blocks
    assert edit.hypothesis == " ".join(hypothesis)
    assert edit.title[:40] == " ".join(title or hypothesis)[:40]
    assert parse(text.replace("\n", "\r\n")) == edit


def _ambiguous(block: Block) -> bool:
    text = block.search + block.replace
    return any(sign in text for sign in ("=======", "```", "~~~", "..", "…")) or any(
        word in text for word in ("rest", "existing", "other", "remain", "previous")
    )


def test_render_refuses_what_parse_would_misread() -> None:
    with pytest.raises(ValueError, match="REPLACE"):
        render("schedule", "x", [Block("a\n", ">>>>>>> REPLACE\n")])


@given(st.text())
def test_any_text_is_an_edit_or_an_edit_error(text: str) -> None:
    for reply_text in (text, reply(text), reply(LR_BLOCK, text), reply(block(text, "x\n"))):
        try:
            parse(reply_text).apply(SOURCE)
        except EditError:
            continue


def test_an_edit_is_a_value() -> None:
    assert isinstance(parse(reply(LR_BLOCK)), Edit)
    assert hash(parse(reply(LR_BLOCK))) == hash(parse(reply(LR_BLOCK)))


def test_a_fence_that_is_opened_in_a_replacement_and_not_closed_is_not_taken_for_text() -> None:
    reply = (
        "category: schedule\nhypothesis: h\n<<<<<<< SEARCH\n```python\nWARMDOWN = 0.3\n```\n"
        "=======\n```python\nWARMDOWN = 0.5\n>>>>>>> REPLACE\n"
    )
    with pytest.raises(EditError, match="search text is not in the file"):
        parse(reply).apply("WARMDOWN = 0.3\n")
