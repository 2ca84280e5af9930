"""Commands that show a campaign and change nothing: status, log, show, report."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.campaign import reading
from agent.campaign.files import folder_of
from agent.campaign.reading import CampaignError
from agent.commands.shared import Json, Tag, app, open_campaign, put, status_of
from agent.report import summary


@app.command()
def status(tag: Tag = "", as_json: Json = False) -> None:
    """Show the state of a campaign."""
    repo, tag, state = open_campaign(tag)
    found = status_of(repo, tag, state)
    put(found, summary.status_text(found), as_json)


@app.command()
def log(
    tag: Tag = "",
    graph: Annotated[bool, typer.Option("--graph", help="Kept and reverted as a graph.")] = False,
    as_json: Json = False,
) -> None:
    """Every trial of a campaign, oldest first."""
    _, _, state = open_campaign(tag)
    text = summary.log_graph(state) if graph else summary.log_text(state)
    put(summary.log_json(state), text, as_json)


@app.command()
def show(
    trial: int,
    tag: Tag = "",
    prompt: Annotated[
        bool, typer.Option("--prompt", help="All of its prompts, and their tokens by part.")
    ] = False,
    as_json: Json = False,
) -> None:
    """One trial: prompt, reply, edit, trainings, verdict."""
    repo, tag, state = open_campaign(tag)
    if not 0 <= trial < len(state.trials):
        raise CampaignError(
            f"campaign {tag} has no trial {trial}; its last is {len(state.trials) - 1}"
        )
    folder, found = folder_of(repo, tag), summary.show_json(state, trial)
    if prompt:
        asked = summary.prompts(folder, trial)
        text = summary.prompts_text(state.trials[trial], asked)
        return put({**found, "prompts": asked}, text, as_json)
    put(found, summary.show_text(state, trial, folder), as_json)


@app.command()
def report(
    tag: Tag = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print as Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Write progress.png and report.html into the campaign's folder."""
    from agent.report import html  # only here: other commands need no jinja2

    repo, tag, state = open_campaign(tag)
    prior = reading.prior_of(state).probabilities()
    if markdown:
        text = html.markdown(state, prior)
        put({"tag": tag, "markdown": text}, text, as_json)
        return
    paths = [str(path) for path in html.write_report(folder_of(repo, tag), state, prior)]
    put({"tag": tag, "files": paths}, "\n".join(paths), as_json)
