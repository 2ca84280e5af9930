"""The notebook in a run: written by a model, edited by a person, and never in the way.

The model is a server on loopback or a recording; trainings are stood in for.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from model_server import EDIT, Answer, Failure, Server
from replies import book
from staged import answer

from agent import loop
from agent.campaign import notebook as notebooks
from agent.campaign.events import Asking, NotebookAnswered, NotebookRead, RunBegun
from agent.campaign.files import NOTEBOOK
from agent.campaign.journal import read_events
from agent.campaign.notebook import CHARACTERS, MOST_CHARACTERS
from agent.campaign.state import fold
from agent.campaign.store import Campaign
from agent.models.choose import open_model
from agent.models.http import SDKModel
from agent.models.types import Prompt
from agent.models.types import Reply as ModelReply
from agent.proposers.choose import make, writer_of
from agent.proposers.llm import LLMProposer
from agent.proposers.local import LocalProposer
from agent.steps import notebook
from agent.steps.notebook import keep_notebook, read_notebook
from agent.steps.runtime import Runtime, Stopped

KEY = "sk-secret-0123456789abcdef"
MODEL = "anthropic:claude-sonnet-5-5"
PLACE = "    session.ready()\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def due(runtime: Runtime, server: Server, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A campaign with a real client of the server, in which the notebook is always due."""
    monkeypatch.setattr(SDKModel, "max_retries", 0)
    monkeypatch.setattr(notebooks, "TRIALS", 0)
    answer(monkeypatch, lambda source, seed: 1.5)
    environ = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.url}
    model, _ = open_model(MODEL, {**os.environ, **environ})
    assert model is not None
    runtime.proposer = make("hybrid", LLMProposer(model), 0)
    runtime.campaign.record(RunBegun(settings={"llm": model.name}))
    loop.baseline(runtime)
    return runtime


def path_of(runtime: Runtime) -> Path:
    return runtime.campaign.folder / NOTEBOOK


def happened(runtime: Runtime, kind: type[Any]) -> list[Any]:
    return [e for e in read_events(runtime.campaign.journal.path) if isinstance(e, kind)]


def shown(tmp_path: Path) -> str:
    return " ".join((tmp_path / "out.txt").read_text().split())


def reopened(runtime: Runtime) -> Runtime:
    """As after a kill."""
    runtime.campaign.close()
    campaign = Campaign(runtime.campaign.repo, "t")
    campaign.reconcile()
    campaign.record(RunBegun(settings={"llm": MODEL}))
    return dataclasses.replace(runtime, campaign=campaign)


# --- by the model


def test_what_the_model_wrote_is_in_journal_file_prompts_and_cost(
    due: Runtime, server: Server
) -> None:
    server.script = [Answer(f"Here it is.\n{book('steps count')}", input=1000, output=50)]
    keep_notebook(due)
    assert path_of(due).read_text() == book("steps count") + "\n"
    (asked,), (told,) = happened(due, Asking), happened(due, NotebookAnswered)
    assert asked.n < told.n and told.text == book("steps count")
    state = due.campaign.state
    assert (state.tokens, state.asking) == (1050, False)
    assert state.cost == told.cost_usd and told.cost_usd > 0
    assert "steps count" in due.context(1).notebook.text
    stored = due.campaign.folder / "trials/1"
    assert "no edit is wanted" in (stored / "notebook-prompt.md").read_text()
    assert "Here it is." in (stored / "notebook-reply.md").read_text()
    read_notebook(due)
    assert len(happened(due, NotebookRead)) == 1, "its own file is no edit of a person"
    assert fold(read_events(due.campaign.journal.path)) == state


def test_it_is_asked_for_when_a_category_is_drawn_and_not_before_it_is_due(
    due: Runtime, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebooks, "TRIALS", 15)
    loop.draw(due)
    assert not server.posts
    loop.conclude(due, "revert", "not better, reverted", status="unjudged")
    monkeypatch.setattr(notebooks, "TRIALS", 1)
    server.script = [Answer(book("one"))]
    at_limit = due.settings.model_copy(update={"max_tokens": 0})
    with pytest.raises(Stopped):
        loop.draw(dataclasses.replace(due, settings=at_limit))
    assert not server.posts
    loop.draw(due)
    assert len(server.posts) == 1
    assert "one" in due.campaign.state.notebook.text


def test_a_long_one_is_cut_and_that_is_said(due: Runtime, server: Server, tmp_path: Path) -> None:
    long = book("A sentence of some words. " * 20)
    long += "\n" + "It has nothing left to give. " * 200
    server.script = [Answer(long)]
    keep_notebook(due)
    text = path_of(due).read_text().strip()
    assert CHARACTERS - 30 < len(text) <= CHARACTERS and text.endswith("left to give.")
    assert "the notebook is cut to 2," in shown(tmp_path)


FAULTS: list[tuple[Any, str, bool, bool]] = [
    # what comes, what is said of it, whether it costs anything, whether it is asked for again
    (Answer(book("two"), stop="length"), "cut off at its limit", True, False),
    (Answer(book("two"), stop="refusal", why="no"), "declined to answer", True, False),
    (Answer(""), "is empty", True, False),
    (Answer(EDIT), "does not have its three headings", True, False),
    (Answer(f"{book('two')} more words", stop="cut"), "", True, False),
    (Failure(529), "529", False, True),
    (Failure(429, "Rate limit reached"), "Rate limit", False, True),
    (Failure(401, "Incorrect API key", "authentication_error"), "key", False, False),
]


def test_what_is_no_notebook_leaves_the_old_one_and_ends_nothing(
    due: Runtime, server: Server, tmp_path: Path
) -> None:
    server.script = [Answer(book("one")), *(step for step, *_ in FAULTS)]
    keep_notebook(due)
    state = due.campaign.state
    for number, (step, said, cost, again) in enumerate(FAULTS, start=2):
        paid = state.tokens
        keep_notebook(due)
        told = happened(due, NotebookAnswered)[-1]
        assert (said in told.reason, told.again) == (True, again), step
        assert (state.tokens > paid, state.asking) == (cost, False), step
        assert path_of(due).read_text().strip() == state.notebook.text == book("one"), step
        assert len(server.posts) == number, "no wait, no second request"
    assert (state.waiting, state.outages, due.in_vain) == ("", 0, {})
    stays = "the notebook is not written anew, and stays as it was:"
    assert shown(tmp_path).count(stays) == len(FAULTS)


def test_a_stop_ends_the_run_in_order_and_it_is_asked_for_again(
    due: Runtime, server: Server
) -> None:
    server.script = [Answer(book("one"), pause=0.5)]

    def stop() -> None:
        server.asked.wait(20)
        due.stop.set()

    threading.Thread(target=stop, daemon=True).start()
    writer = writer_of(due.proposer)
    assert writer is not None
    writer.cancel = due.stop
    with pytest.raises(Stopped):
        keep_notebook(due)
    assert not happened(due, NotebookAnswered)
    due.stop.clear()
    server.script = [Answer(book("two"))]
    resumed = reopened(due)
    keep_notebook(resumed)
    assert path_of(resumed).read_text().strip() == book("two")
    assert resumed.campaign.state.capped == 1, "what was lost is counted"
    resumed.campaign.close()


# --- kills


class Killed(BaseException):
    """A kill."""


@pytest.mark.parametrize(
    ("moment", "asked"),
    [("asking", 2), ("answered", 2), ("in the journal", 1), ("in the file", 1)],
)
def test_a_kill_loses_nothing_and_does_nothing_twice(
    due: Runtime, server: Server, monkeypatch: pytest.MonkeyPatch, moment: str, asked: int
) -> None:
    server.script = [Answer(book("one")), Answer(book("two")), Answer(book("three"))]
    keep_notebook(due)
    record, written = Campaign.record, notebook.write_atomically

    def die(*args: Any) -> None:
        raise Killed

    def die_in_record(campaign: Campaign, event: Any) -> None:
        if moment == "answered" and isinstance(event, NotebookAnswered):
            raise Killed
        if moment == "in the file" and isinstance(event, NotebookRead):
            raise Killed
        record(campaign, event)
        if moment == "asking" and isinstance(event, Asking):
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Campaign, "record", die_in_record)
        if moment == "in the journal":
            patched.setattr(notebook, "write_atomically", die)
        with pytest.raises(Killed):
            keep_notebook(due)
    assert notebook.write_atomically is written
    resumed = reopened(due)
    monkeypatch.setattr(notebooks, "TRIALS", 1 if asked == 1 else 0)
    keep_notebook(resumed)
    state = resumed.campaign.state
    last = {"asking": "two", "answered": "three"}.get(moment, "two")
    assert path_of(resumed).read_text().strip() == state.notebook.text == book(last)
    assert state.notebook.in_file == state.notebook.text
    assert state.capped == (1 if asked == 2 else 0)
    told = happened(resumed, NotebookAnswered)
    assert [e.text for e in told] == [book("one"), book(last)]
    resumed.campaign.close()


# --- by a person


def test_a_persons_edit_goes_into_the_next_prompts_and_the_journal(
    due: Runtime, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "correct horse battery")
    server.script = [Answer(book("one"))]
    keep_notebook(due)
    path = path_of(due)
    text = book("one, and mine: correct horse battery").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    for _ in range(2):
        assert read_notebook(due)
    mine = book("one, and mine: [key]")
    assert due.context(1).notebook.text == mine
    assert [e.text for e in happened(due, NotebookRead)] == [book("one"), mine]
    assert shown(tmp_path).count("was edited") == 1
    server.script = [Answer(book("two"))]
    keep_notebook(due)
    asked = server.posts[-1].body["messages"][-1]["content"][-1]["text"]
    assert "A person has edited it" in asked and "\n+one, and mine: [key]" in asked


def test_a_deleted_file_is_an_empty_notebook(due: Runtime, server: Server) -> None:
    server.script = [Answer(book("one"))]
    keep_notebook(due)
    path_of(due).unlink()
    assert read_notebook(due)
    assert due.campaign.state.notebook.text == ""
    assert not path_of(due).exists()


def test_one_that_was_there_before_the_model_wrote_any_is_heeded(due: Runtime) -> None:
    path_of(due).write_text("mine\n")
    assert read_notebook(due)
    assert due.context(1).notebook.text == "mine"


def test_one_that_cannot_be_used_is_told_once_and_never_written_over(
    due: Runtime, server: Server, tmp_path: Path
) -> None:
    server.script = [Answer(book("one"))]
    keep_notebook(due)
    path = path_of(due)
    for content, why in (
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"x" * (MOST_CHARACTERS + 1), "is longer than the 6,000 characters"),
        ("\u20ac".encode() * 9000, ""),
    ):
        path.write_bytes(content)
        keep_notebook(due)
        keep_notebook(due)
        assert path.read_bytes() == content
        assert not why or shown(tmp_path).count(why) == 1
    path.unlink()
    path.mkdir()
    keep_notebook(due)
    assert path.is_dir() and "is no file" in shown(tmp_path)
    assert due.context(1).notebook.text == book("one"), "the last good one"
    assert len(server.posts) == 1


def test_an_edit_while_the_model_writes_stays(
    due: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_of(due.proposer)
    assert writer is not None
    asked = writer.model.complete

    def complete(prompt: Prompt, **how: Any) -> ModelReply:
        path_of(due).write_text("mine")
        return dataclasses.replace(asked(prompt, **how), text=book("one"))

    monkeypatch.setattr(writer.model, "complete", complete)
    keep_notebook(due)
    assert path_of(due).read_text() == "mine"
    (told,) = happened(due, NotebookAnswered)
    assert (told.text, told.reason) == ("", "it was edited meanwhile") and told.cost_usd
    read_notebook(due)
    assert due.context(1).notebook.text == "mine"


# --- where there is none


def test_where_there_is_no_model_for_it_nothing_is_asked(due: Runtime, server: Server) -> None:
    model = writer_of(due.proposer).model
    for proposer in (
        make("deck", None, 0),
        make("tuner", None, 0),
        make("hybrid", None, 0),
        make("hybrid", LocalProposer(model), 0),
        LocalProposer(model),
    ):
        due.proposer = proposer
        keep_notebook(due)
    assert not server.posts


def test_switched_off_it_is_neither_asked_for_nor_told(due: Runtime, server: Server) -> None:
    server.script = [Answer(book("one"))]
    keep_notebook(due)
    path = due.program.path
    path.write_text(path.read_text().replace("---\n", "---\nnotebook: false\n", 1))
    due.read_program()
    keep_notebook(due)
    assert len(server.posts) == 1
    assert due.context(1).notebook.text == ""


# --- near misses
