"""What all commands share: the app, their common options, how they open and print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.campaign import reading
from agent.campaign.openings import known_openings
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.report import summary
from trainer.errors import UserError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

Tag = Annotated[str, typer.Option(help="The campaign; default: the one last active.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]


def open_campaign(tag: str) -> tuple[Repo, str, State]:
    """A campaign to look at, with the openings that only notes tell of."""
    repo = Repo.open(Path.cwd())
    tag = tag or reading.last_active(repo)
    state = reading.load(repo, tag)
    if state.left_out:
        print(f"note: {state.left_out}", file=sys.stderr)
    try:
        state.openings, _ = known_openings(repo, tag, state)
    except UserError as error:
        print(f"note: {error}", file=sys.stderr)
    return repo, tag, state


def status_of(repo: Repo, tag: str, state: State) -> dict[str, Any]:
    pid = reading.run_of(state, reading.running(repo, tag))
    return summary.status_json(state, tag, pid, reading.prior_of(state).probabilities())


def put(value: Any, text: str, as_json: bool) -> None:
    print(json.dumps(value) if as_json else text)
