"""The notebook: read what a person has made of it, and let the model write it anew when it is due.

No trial waits for it, and no run ends for it: where the model does not answer, the old one stays.
"""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path

from agent.campaign.events import Asking
from agent.campaign.files import NOTEBOOK, Unwritable, write_atomically
from agent.campaign.notebook import MOST_CHARACTERS, NotebookAnswered, NotebookRead, is_due
from agent.git.command import inherited_environment
from agent.models.cassette import NotRecorded
from agent.models.catalog import load_catalog
from agent.models.secrets import scrub, secret_values
from agent.models.types import Cancelled, Misconfigured, Unavailable
from agent.proposers.base import Proposal, ReplyUnusable
from agent.proposers.choose import writer_of
from agent.proposers.llm import LLMProposer
from agent.proposers.notebook import fitted, notebook_in
from agent.steps.cards import look_up
from agent.steps.runtime import Runtime
from trainer.source import plain
from trainer.untrusted import one_line

_MOST_BYTES = 4 * MOST_CHARACTERS
"""No character of UTF-8 has more than four."""


class _Unreadable(ValueError):
    """The file cannot be used; the message says why."""


def keep_notebook(runtime: Runtime) -> None:
    """Read the notebook, then have it written anew if that is due."""
    if not read_notebook(runtime):
        return  # what stands there must not be written over
    state, writer = runtime.campaign.state, writer_of(runtime.proposer)
    if writer is None:
        return
    if not is_due([trial.kept for trial in state.real[state.notebook.asked_at :]]):
        return
    runtime.display.message("the model is asked to write the notebook anew")
    before, answer = state.notebook, _ask(runtime, writer)
    if answer.text and _is_edited(runtime, before.in_file):
        answer = answer.model_copy(update={"text": "", "reason": "it was edited meanwhile"})
    runtime.campaign.record(answer)
    if answer.text:
        _write(runtime)
    else:
        why = f"not written anew, and stays as it was: {one_line(answer.reason)}"
        runtime.display.message(f"the notebook is {why}")


def read_notebook(runtime: Runtime) -> bool:
    """Read the file again, and record what a person has changed; False if it cannot be used."""
    if not runtime.settings.notebook:
        return False
    path, book = _path(runtime), runtime.campaign.state.notebook
    try:
        text = _text_of(path)
    except _Unreadable as fault:
        _say_once(runtime, f"{path} {fault}; going on with the last good version")
        return False
    if text != book.in_file:
        runtime.campaign.record(NotebookRead(text=text))
        if text != book.text:
            runtime.display.message(f"{path} was edited: the next prompts hold it as it is now")
    elif text != book.text:  # a kill came between journal and file
        _write(runtime)
    return True


def _path(runtime: Runtime) -> Path:
    return runtime.campaign.folder / NOTEBOOK


def _text_of(path: Path) -> str:
    """What the file holds, without secrets; "" if it is not there.

    Raises:
        _Unreadable: it cannot be read, or is too long.
    """
    try:
        if path.exists() and not path.is_file():
            raise _Unreadable("is no file")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _Unreadable(f"cannot be read: {error.strerror}") from None
    try:
        text = plain(data[:_MOST_BYTES].decode("utf-8-sig")).strip()
    except UnicodeDecodeError as error:
        if len(data) <= _MOST_BYTES:
            raise _Unreadable(f"is not UTF-8 text from byte {error.start} on") from None
        text = ""
    if len(data) > _MOST_BYTES or len(text) > MOST_CHARACTERS:
        most = f"{MOST_CHARACTERS:,}"
        raise _Unreadable(f"is longer than the {most} characters that a prompt has room for")
    return scrub(text, secret_values(inherited_environment()))


def _is_edited(runtime: Runtime, known: str) -> bool:
    try:
        return _text_of(_path(runtime)) != known
    except _Unreadable:
        return True


def _write(runtime: Runtime) -> None:
    """Bring the notebook of the journal into its file."""
    path, text = _path(runtime), runtime.campaign.state.notebook.text
    try:
        write_atomically(path, f"{text}\n".encode() if text else b"")
    except Unwritable as error:
        return _say_once(runtime, str(error))
    runtime.campaign.record(NotebookRead(text=text))
    runtime.display.message(f"the notebook was written anew: {path}, which you may edit")


def _say_once(runtime: Runtime, words: str) -> None:
    if words not in runtime.said:
        runtime.said.add(words)
        runtime.display.message(words)


def _ask(runtime: Runtime, writer: LLMProposer) -> NotebookAnswered:
    """Ask once, and say what came of it."""
    number = len(runtime.campaign.state.trials)

    def asking(tokens: dict[str, int], dollars: float | None) -> None:
        runtime.campaign.record(Asking(trial=number, usage=tokens, cost_usd=dollars))

    try:
        context = replace(runtime.context(number), asking=asking, cards=lambda: look_up(runtime))
        proposal = writer.write_notebook(context)
        text, reason = notebook_in(proposal.reply), "the reply does not have its three headings"
    except ReplyUnusable as unusable:
        proposal, text, reason = unusable.proposal, "", str(unusable)
    except Unavailable as outage:
        return _without_answer(runtime, outage)
    except NotRecorded:
        return NotebookAnswered(reason="it was not asked for when this was recorded")
    except Misconfigured as mistake:
        return NotebookAnswered(reason=str(mistake))
    except Cancelled:
        runtime.stop_if_asked()
        return NotebookAnswered(reason="cancelled", again=True)
    _store(runtime, number, proposal)
    if len(fitted(text)) < len(text):
        runtime.display.message(f"the notebook is cut to {len(fitted(text)):,} characters")
    return NotebookAnswered(
        text=fitted(text),
        reason="" if text else reason,
        model=proposal.model,
        usage=proposal.usage,
        cost_usd=proposal.cost_usd,
    )


def _without_answer(runtime: Runtime, outage: Unavailable) -> NotebookAnswered:
    """What a lost reply may have cost."""
    is_paid, name = outage.cause == "paid", str(runtime.campaign.state.settings.get("llm", ""))
    return NotebookAnswered(
        reason=str(outage),
        again=outage.cause in ("outage", "nowhere"),  # the rest may fail at this request
        usage=asdict(outage.usage) if outage.usage is not None and not is_paid else None,
        cost_usd=load_catalog(os.environ).cost(outage.usage, name),
        lost=is_paid,
    )


def _store(runtime: Runtime, number: int, proposal: Proposal) -> None:
    """Keep what was asked and answered, in the folder of the trial that comes next."""
    runtime.campaign.write(number, "notebook-prompt.md", proposal.prompt)
    runtime.campaign.write(number, "notebook-reply.md", proposal.reply)
