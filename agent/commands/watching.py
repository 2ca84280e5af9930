"""The command that watches a campaign which runs elsewhere, or plays one that was recorded."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, TextIO

import typer

from agent.campaign import reading
from agent.campaign.following import Following
from agent.commands.shared import Json, Tag, app, put, put_lines, status_of, view_of
from agent.git.repo import Repo
from agent.report import columns, morning
from agent.report.narrate import narrate
from agent.report.recorded import Recorded
from agent.report.terminal import make_display
from agent.steps.steer import Steering, answers

INTERRUPTED = 130
"""Exit status of what Ctrl-C ends."""


@app.command()
def watch(
    tag: Tag = "",
    demo: Annotated[
        bool, typer.Option("--demo", help="Play a recorded campaign; nothing is trained.")
    ] = False,
    web: Annotated[
        bool, typer.Option("--web", help="A page on this machine, from which to steer, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """See what a campaign does, as run shows it, until its run ends or Ctrl-C."""
    stream = sys.stderr if as_json else sys.stdout
    try:
        if web:
            return _serve(tag, demo, stream)
        if demo:
            with closing(Recorded()) as recorded, closing(make_display(stream)) as display:
                narrate(recorded, display)
            own = "that was a recorded campaign; one of your own: python -m agent run"
            return put({"tag": recorded.tag, "recorded": recorded.recorded}, own, as_json)
        repo = Repo.open(Path.cwd())
        following = Following(repo, tag or reading.last_active(repo))
        with closing(make_display(stream)) as display:
            narrate(following, display)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    state = reading.load(repo, following.tag)
    found, shown = status_of(repo, following.tag, state), view_of(repo, following.tag, state)
    put_lines(found, morning.lines(shown, found, columns.width()), as_json)


def _serve(tag: str, demo: bool, stream: TextIO) -> None:
    """Show the page until Ctrl-C."""
    from agent.report.page.server import serve  # only here: a server takes long to import

    def say(address: str) -> None:
        print(f"open {address}\nCtrl-C ends this page, and no run", file=stream, flush=True)

    if demo:
        with closing(Recorded()) as recorded:
            return serve(recorded, say)
    repo = Repo.open(Path.cwd())
    following = Following(repo, tag or reading.last_active(repo))
    program = repo.root / str(following.state.settings.get("program", "program.md"))
    steering = Steering(repo, following.tag, program)
    serve(following, say, answers(steering), steering.notes)
