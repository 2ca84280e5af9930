"""A sign and the evidence beside it go from the reply to the journal, git, ``show`` and the next
prompt; measurements are stood in for, git is real."""

from __future__ import annotations

import re
from typing import Any

import pytest
from project import as_json, trailers
from replies import block
from staged import audits, play

from agent import loop
from agent.campaign.commits import commit_candidate
from agent.campaign.events import RunBegun
from agent.campaign.journal import read_events
from agent.campaign.state import fold
from agent.models.types import Prompt, Reply, Usage
from agent.proposers.llm import LLMProposer
from agent.report.details import prompts, prompts_text, show_json, show_text
from agent.steps.runtime import Runtime

PLACE = "    session.ready()\n"
SIGN = "the curves cross only in the last tenth"
LOSSES = {"losses": (3.0,) * 20, "steps": 200, "tokens": 1000}
OWN = {"losses": (2.95,) * 20, "steps": 100, "tokens": 1000}


class Signing:
    """A model that says what would show it wrong."""

    name = "fake:m"

    def __init__(self) -> None:
        self.asked: list[Prompt] = []

    def complete(self, prompt: Prompt, **_: Any) -> Reply:
        self.asked.append(prompt)
        category = re.findall(r"\*\*(\w+)\*\*: ", prompt.parts[-1].text)[0]
        number = len(self.asked)
        edit = block(PLACE, f"{PLACE}    kind = {number}\n    del kind\n")
        head = f"category: {category}\nhypothesis: it may help\nsign: {SIGN}\n"
        return Reply(head + edit, "end", Usage(input=400, output=9, cache_read=600), "fake")


def test_from_the_reply_to_all_who_are_told(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One campaign for all of it, since git takes seconds."""
    model = signed(runtime, monkeypatch)
    goes_into_git_and_the_next_prompt(runtime, model)
    tokens_are_shown_by_part(runtime, model)


def signed(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Signing:
    """A campaign that has kept a trial in three heats, and was asked for another one."""
    model = Signing()
    runtime.proposer = LLMProposer(model)
    runtime.campaign.record(RunBegun(settings={"llm": model.name}))
    better = ({"val_bpb": 1.7} | LOSSES, {"val_bpb": 1.66} | OWN)
    first = {"val_bpb": 1.5, "losses": (8.765,) * 20, "steps": 7531, "tokens": 9999}
    play(monkeypatch, first, *[better] * 3, (1.5, 1.9))
    audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    loop.one_trial(runtime)
    loop.one_trial(runtime)
    return model


def goes_into_git_and_the_next_prompt(runtime: Runtime, model: Signing) -> None:
    state, repo = runtime.campaign.state, runtime.campaign.repo
    trial = state.trials[1]
    assert (trial.verdict, trial.sign) == ("keep", SIGN)
    assert fold(read_events(runtime.campaign.journal.path)) == state

    assert trial.difference is not None and trial.noise is not None
    assert trial.difference[0] == pytest.approx(0.04)
    assert trial.difference[1] < trial.noise < 0.03
    later = model.asked[1].text
    assert later.count(f"  wrong if: {SIGN}\n  curve: {'+0.05 ' * 9}+0.05\n  pace: 0.50 ") == 1
    assert f"KEPT, +0.04, standard error {trial.difference[1]:.2g}, 3 heats, noise of one " in later
    assert "wrong if: the" not in model.asked[0].text
    before, after = (asked.parts[1].text.partition("<train.py>")[0] for asked in model.asked)
    assert "7531" in before and re.search(r"\b100\b", after)
    assert not re.search("7531|9,999|8[.]7[67]", after), "nothing is left of the champion of before"

    message = repo.commit_for(trial.commit).message
    body = " ".join(message.partition("\n\nTrial: 1\n")[0].split())
    assert body.endswith(f" it may help It would be wrong if this showed: {SIGN}")
    assert trailers(message)["Hypothesis"] == "it may help"
    source = repo.read_file(trial.candidate)
    assert commit_candidate(repo, trial, source) == trial.candidate, "git may have pruned it"


def tokens_are_shown_by_part(runtime: Runtime, model: Signing) -> None:
    state, folder = runtime.campaign.state, runtime.campaign.folder
    trial = state.trials[1]
    sizes = trial.prompt_tokens
    assert list(sizes) == ["rules", "train.py", "history", "focus"]
    assert sum(sizes.values()) == pytest.approx(1000, abs=3), "as many as the server has counted"
    parts = {part.name: len(part.text) for part in model.asked[0].parts}
    assert sizes["rules"] / sizes["train.py"] == pytest.approx(
        parts["rules"] / parts["train.py"], rel=0.05
    )
    words = f"about {sum(sizes.values()):,} tokens: rules {sizes['rules']}, train.py "
    assert f"prompt     {words}" in show_text(state, 1, folder)
    assert f"wrong if   {SIGN}" in show_text(state, 1, folder)
    assert show_json(state, 1)["prompt_tokens"] == sizes
    shown = as_json(runtime.campaign.repo.root, "show", "1", "--prompt", "--tag", "t")
    assert shown["prompts"] == {"prompt.md": model.asked[0].text}
    assert shown["prompt_tokens"] == sizes and shown["sign"] == SIGN
    told = prompts_text(trial, prompts(folder, 1))
    assert told.startswith(words)
    assert model.asked[0].text.rstrip() in told, "all of it, however long"
    assert prompts_text(state.trials[0], {}).startswith("no model was asked\n\nno prompt is stored")
