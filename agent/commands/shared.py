"""What all commands share: the app, their common options, how they open and print."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.campaign import reading
from agent.campaign.files import folder_of, is_paused
from agent.campaign.live import read_live
from agent.campaign.openings import known_openings
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.report import columns, summary
from agent.report.view import View, view
from trainer.errors import UserError

PROGRAM = "autoresearch"
"""The console script, whose arguments a shell can complete; of ``python -m agent`` it cannot."""
app = typer.Typer(
    add_completion=Path(sys.argv[0]).stem == PROGRAM,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def tags(incomplete: str) -> list[str]:
    """The campaigns that begin so, which a shell offers."""
    try:
        known = reading.tags(Repo.open(Path.cwd()))
    except (UserError, OSError):
        return []
    return [tag for tag in known if tag.startswith(incomplete)]


Tag = Annotated[
    str,
    typer.Option(help="The campaign; default: the one last active.", autocompletion=tags),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, max=512, help="Measure in so many workers of this machine; default: as the last run."
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(help="Measure on this Ray cluster, an address or auto; default: as the last run."),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]


def _tell_version(asked: bool) -> None:
    if asked:
        try:
            print(f"{PROGRAM} {metadata.version(PROGRAM)}")
        except metadata.PackageNotFoundError:
            print(f"{PROGRAM}, not installed: run from its folder")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print it.", callback=_tell_version, is_eager=True),
    ] = False,
) -> None:
    """A research loop whose keeps reproduce; start with: run."""


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
    paused = is_paused(folder_of(repo, tag))
    return summary.status_json(state, tag, pid, _prior(state), paused=paused)


def view_of(repo: Repo, tag: str, state: State) -> View:
    """A campaign as people look at it, with what its run does now."""
    pid = reading.run_of(state, reading.running(repo, tag))
    live = read_live(folder_of(repo, tag)) if pid is not None else None
    paused = is_paused(folder_of(repo, tag))
    return view(state, tag, _prior(state), pid=pid, paused=paused, live=live, now=time.time())


def _prior(state: State) -> dict[str, float]:
    """Empty while a run makes ready for its first trial, and has read no program.md yet."""
    return reading.next_shares_of(state) if state.program_text else {}


def put(value: Any, text: str, as_json: bool) -> None:
    print(json.dumps(value) if as_json else text)


def put_lines(value: Any, lines: Iterable[Text], as_json: bool) -> None:
    """The same of lines that fit, which come in colour where there is colour."""
    if as_json:
        print(json.dumps(value))
    else:
        columns.put_lines(lines)
