"""Programs that edit files, as models: what they are told, and what becomes of their edits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from clients import KEY, bare_environ
from prompt_trials import PROMPTS, SOURCE

from agent.edits import blocks
from agent.models.choose import open_model
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer, ReplyUnusable

EDITED = SOURCE.replace("WARMDOWN = 0.3", "WARMDOWN = 0.5")
NEW = "sed -i 's/WARMDOWN = 0.3/WARMDOWN = 0.5/' train.py"
FIELDS = "printf 'title: a\\ncategory: schedule\\nhypothesis: b\\n'"


def proposer(spec: str, home: Path) -> LLMProposer:
    model, _ = open_model(spec, bare_environ(home))
    assert model is not None
    return LLMProposer(model, PROMPTS)


def program(does: str, home: Path) -> str:
    path = home / "program.sh"
    path.write_text(f"{does}\n")
    return f"command:sh {path}"


@pytest.mark.parametrize("name", ["openai:m", "command:agent"])
def test_only_a_program_is_told_of_its_folder(name: str, context: Context) -> None:
    model = SimpleNamespace(name=name)
    prompt = LLMProposer(model, PROMPTS).prompt(context)  # type: ignore[arg-type]
    told = name == "command:agent"
    again = replace(context, feedback=("no",), turned_down=("x",))
    for text in (prompt.system.text, prompt.parts[-1].text):
        assert ("in your folder" in text or "folder of your own" in text) == told
    asked = LLMProposer(model, PROMPTS).prompt(again).parts[-1].text  # type: ignore[arg-type]
    assert ("Make the whole edit again" in asked) == told
    assert bool(prompt.files) == told
    if told:
        history = [part.text for part in prompt.parts if part.name.startswith(("history", "trial"))]
        assert prompt.files["train.py"] == context.source
        assert prompt.files["program.md"] in prompt.system.text
        assert prompt.files["history.md"] == "".join(history)
        assert prompt.files["AGENTS.md"] == prompt.system.text


@pytest.mark.process
@pytest.mark.parametrize("envelope", ["edits", "file"])
def test_an_edited_file_is_a_reply_that_a_recording_repeats(
    envelope: str, context: Context, tmp_path: Path
) -> None:
    spec, cassette = program(f"{NEW}; {FIELDS}", tmp_path), tmp_path / "tape.jsonl"
    recorder = proposer(f"cassette:{cassette}+{spec}", tmp_path)
    context = replace(context, envelopes={spec: envelope, f"cassette:{cassette}": envelope})
    proposal = recorder.propose(context)
    edit = blocks.parse(proposal.reply, proposal.envelope)
    assert proposal.envelope == envelope
    assert (edit.title, edit.category, edit.hypothesis) == ("a", "schedule", "b")
    assert edit.apply(SOURCE) == EDITED
    player = proposer(f"cassette:{cassette}", tmp_path)
    assert player.propose(context) == proposal, "the prompt, too"


@pytest.mark.process
def test_what_it_did_wrong_is_the_reason(context: Context, tmp_path: Path) -> None:
    asked = proposer(program(f"rm train.py; {FIELDS}", tmp_path), tmp_path)
    with pytest.raises(ReplyUnusable, match=r"^train.py in your folder .* it is gone$") as caught:
        asked.propose(context)
    assert caught.value.proposal.reply.startswith("title: a\n"), "what it printed is kept"


@pytest.mark.process
def test_keys_are_in_no_file(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", KEY)
    source = f"{SOURCE}LEAKED = '{KEY}'\n"
    asked = proposer(program(f"grep -rl {KEY} .; {NEW}", tmp_path), tmp_path)
    proposal = asked.propose(replace(context, source=source))
    assert KEY not in proposal.prompt
    assert "it printed: nothing" in proposal.reply
    edited = blocks.parse(proposal.reply).apply(source)
    assert edited == f"{EDITED}LEAKED = '{KEY}'\n", "of the file itself nothing is lost"
