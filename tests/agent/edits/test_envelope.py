"""The envelope a model is asked for: blocks, or the whole file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.edits.blocks import parse
from agent.models.catalog import load_catalog
from agent.models.types import Misconfigured, Prompt
from agent.program import load_program
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer

ROOT = Path(__file__).parents[3]
SPEC = "openai:weak@http://localhost:1/v1"


def prompt(
    tmp_path: Path, *, known: str = "", found: str = "", feedback: bool = False, tape: bool = False
) -> Prompt:
    own = tmp_path / "models.toml"
    own.write_text(f'[models."{SPEC}"]\n' + (f'envelope = "{known}"\n' if known else ""))
    program = load_program(ROOT / "program.md")
    context = Context(
        trial=4,
        category=program.names[0],
        source="WIDTH = 64\n",
        program=program,
        history=(),
        prior=dict.fromkeys(program.names, 0.1),
        noise={"numbers": 0.001, "structure": 0.004},
        seed=0,
        facts={},
        feedback=("not found",) if feedback else (),
        turned_down=("a reply",) if feedback else (),
        envelopes={SPEC: found} if found else {},
    )
    catalog = load_catalog({"HOME": str(tmp_path), "AUTORESEARCH_MODELS": str(own)})
    model = SimpleNamespace(
        **({"name": "cassette:x", "recorded": SPEC} if tape else {"name": SPEC})
    )
    return LLMProposer(model, ROOT / "prompts", catalog=catalog).prompt(context)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", [{}, {"known": "edits"}, {"known": "file", "found": "edits"}])
def test_blocks(tmp_path: Path, how: dict[str, str]) -> None:
    asked = prompt(tmp_path, **how)
    assert "<<<<<<< SEARCH" in asked.parts[0].text
    assert "whole" not in asked.parts[-1].text
    assert asked.parts[-1].text.endswith("Reply with the lines and the blocks.\n")


@pytest.mark.parametrize(
    "how", [{"known": "file"}, {"found": "file"}, {"known": "file", "tape": 1}]
)
def test_whole_file(tmp_path: Path, how: dict[str, Any]) -> None:
    asked = prompt(tmp_path, **how)
    assert "SEARCH" not in asked.text and "block" not in asked.parts[0].text
    assert "whole of train.py in one code fence" in asked.parts[-1].text
    example = asked.parts[0].text.partition("# The reply")[2]
    assert parse(example, "file").file is not None, "what is shown is what is read"


@pytest.mark.parametrize(("found", "words"), [("", "all blocks again"), ("file", "whole file aga")])
def test_mending_starts_from_the_champion(tmp_path: Path, found: str, words: str) -> None:
    focus = prompt(tmp_path, found=found, feedback=True).parts[-1].text
    assert words in focus
    assert "train.py stands as it is shown above" in focus


def test_no_such_envelope(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="envelope = 'files'"):
        prompt(tmp_path, known="files")


def test_the_reply_that_the_docs_show_applies() -> None:
    """Tools that tidy a merge take its markers for a conflict's."""
    docs = (ROOT / "docs/using.md").read_text()
    reply = docs.partition("A reply is\n\n```\n")[2].partition("```")[0]
    source = (ROOT / "trainer/train.py").read_text()
    assert "WARMDOWN_SHARE = 0.8 " in parse(reply).apply(source)
