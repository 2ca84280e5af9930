"""Markers as models write them: taken if they can be nothing else, else named as they stand."""

from __future__ import annotations

import pytest
from replies import CATEGORY, DOWN, GOOD, HEAD, LONGER, PARENT, after, block

from agent.edits.blocks import Block, EditError, parse, render

OPEN, DIVIDER, CLOSE = "<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE"
GLUED = [
    "```",
    ".",
    "</edit>",
    "**",
    " ```",
    "\u200b",
    "\xa0",
    "</search_replace>",
    ":",
    "~~~",
    "`.",
    "<|im_end|>",
    "<|eot_id|>",
    "</s>",
    "<｜end▁of▁sentence｜>",
    " trainer/train.py",
    " `train.py`:",
]
TAKEN = [
    *[(marker, marker + glued) for marker in (OPEN, DIVIDER, CLOSE) for glued in GLUED],
    *[(marker, f"**{marker}**") for marker in (OPEN, DIVIDER, CLOSE)],
    *[(marker, f"\u200b{marker}") for marker in (OPEN, DIVIDER, CLOSE)],
    *[(marker, f"```{marker}") for marker in (OPEN, DIVIDER, CLOSE)],
    (OPEN, OPEN + " train.py:"), (CLOSE, CLOSE + " train.py ```<|im_end|>"),
    (OPEN, "＜＜＜＜＜＜＜ SEARCH"), (DIVIDER, "＝＝＝＝＝＝＝"), (CLOSE, "＞＞＞＞＞＞＞ REPLACE"),
    (OPEN, "<<<<<<<\xa0SEARCH"), (CLOSE, ">>>>>>>REPLACE"), (CLOSE, ">>>>>>>  REPLACE"),
    (CLOSE, "    >>>>>>> REPLACE"), (CLOSE, "\t>>>>>>> REPLACE```"),
]  # fmt: skip
REFUSED = [
    *[(OPEN, form, f"line 4 of the reply, {form!r}") for form in (
        "<<<<<< SEARCH", "<<<<<<<< SEARCH", "<<<<<<< ORIGINAL", "<<<<<<< search",
        "  <<<<<<< SEARCH", "- <<<<<<< SEARCH", "1. <<<<<<< SEARCH", "> <<<<<<< SEARCH",
        "<<<<<<< SEARCH agent/judge.py", "<<<<<<< SEARCH: the old lines", "＜＜＜＜＜＜ SEARCH",
    )],
    *[(CLOSE, form, f"{form!r}, is not read as a closing marker: write '>>>>>>>") for form in (
        ">>>>>> REPLACE", ">>>>>>>> REPLACE", ">>>>>>> UPDATED", ">>>>>>> replace", "REPLACE",
        "x = 1 >>>>>>> REPLACE", ">>>>>>> REPLACE with these", ">>>>>>>", ">> REPLACE",
        "- >>>>>>> REPLACE", "＞＞＞＞＞ REPLACE", ">>>>>>> REPLACE)", '>>>>>>> REPLACE"}',
        ">>>>>>> REPLACE # end", ">>>>>>> REPLACE```python", ">>>>>>> REPLACE agent/judge.py",
    )],
    *[(DIVIDER, form, f"and {form!r} is not read as one: write '======='") for form in (
        "======", "========", "  =======", "======= REPLACE", "-------", "x = 1 =======",
    )],
]  # fmt: skip


@pytest.mark.parametrize(("marker", "form"), TAKEN)
def test_a_marker_with_something_glued_to_it_is_that_marker(marker: str, form: str) -> None:
    assert parse(GOOD.replace(marker, form)).apply(PARENT) == after((LONGER,))
    if marker != DIVIDER:
        with pytest.raises(ValueError, match="is '<<<<<<< SEARCH' or"):
            render(CATEGORY, "x", [Block("a\n", f"{form}\n")])


@pytest.mark.parametrize(("marker", "form", "said"), REFUSED)
def test_what_is_no_marker_is_named_as_it_stands(marker: str, form: str, said: str) -> None:
    for text in (GOOD, GOOD + block("import torch\n", "import math\n")):
        with pytest.raises(EditError) as caught:
            parse(text.replace(marker, form, 1))
        complaint = str(caught.value)
        assert said in complaint and "cut off" not in complaint
        if marker == CLOSE:
            assert complaint.startswith("block 1 is not closed: line 8 of the reply, ")


@pytest.mark.parametrize(
    "line", ["x = a >> REPLACE", "print(1 << SEARCH)", ">>> x", "# ====", "=" * 40, "a == b", "->"]
)
def test_code_is_never_a_marker(line: str) -> None:
    pair = (DOWN, f"{LONGER[1]}{line}\n")
    assert parse(HEAD + block(*pair)).apply(PARENT) == after((pair,))
    assert parse(HEAD + block(*pair[::-1])).apply(after((pair,))) == PARENT
