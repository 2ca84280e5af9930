"""Commands that show campaigns and change nothing: status, log, show, list, compare, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from agent.campaign import reading
from agent.campaign.files import folder_of
from agent.campaign.following import Following
from agent.campaign.reading import CampaignError
from agent.campaign.records import Trial, Verdict
from agent.commands.shared import (
    Json,
    Tag,
    app,
    open_campaign,
    put,
    put_lines,
    status_of,
    tags,
    view_of,
)
from agent.git.repo import Repo
from agent.report import columns, comparison, details, morning, trials
from agent.report.verification import opening_words
from trainer.errors import UserError

FOLLOW_SECONDS = 1.0
INTERRUPTED = 130


@app.command()
def status(tag: Tag = "", as_json: Json = False) -> None:
    """Show the state of a campaign, on one screen."""
    repo, tag, state = open_campaign(tag)
    found, shown = status_of(repo, tag, state), view_of(repo, tag, state)
    put_lines(found, morning.lines(shown, found, columns.width()), as_json)


@app.command()
def log(
    tag: Tag = "",
    graph: Annotated[bool, typer.Option("--graph", help="Kept and reverted as a graph.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each new trial, till the run ends.")
    ] = False,
    category: Annotated[str, typer.Option(help="Only trials of this one.")] = "",
    verdict: Annotated[Verdict | None, typer.Option(help="Only trials that ended so.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="For a spreadsheet.")] = False,
    as_json: Json = False,
) -> None:
    """Every trial of a campaign, oldest first."""
    if graph + as_csv + as_json > 1 or (follow and (as_csv or as_json)):
        raise UserError("--graph, --csv and --json exclude each other, and --follow the last two")
    repo, tag, state = open_campaign(tag)
    known = {name for trial in state.trials for name in (trial.category, *trial.categories)}
    if category and category not in known:
        there = ", ".join(sorted(filter(None, known)))
        raise CampaignError(f"campaign {tag} has no category {category}; there are: {there}")
    chosen = trials.select(state.finished, category, verdict or "")
    if as_csv:
        print(trials.log_csv(chosen), end="")
        return
    draw = trials.graph_lines if graph else trials.log_lines

    def drawn() -> Iterator[Text]:
        yield from draw(chosen, columns.width())
        if follow:
            yield from _new(
                repo,
                tag,
                len(state.finished),
                lambda new: draw(trials.select(new, category, verdict or ""), columns.width()),
            )

    def lines() -> Iterator[Text]:
        is_empty = True
        for line in drawn():
            is_empty = False
            yield line
        if is_empty:
            yield Text(trials.NONE_SUCH if category or verdict else trials.NOTHING)
        elif graph:
            yield from columns.hung("", trials.LEGEND, columns.width())
        yield from columns.hung("", opening_words(state.openings), columns.width())

    put_lines(trials.log_json(chosen, state.openings), lines(), as_json)


def _new(
    repo: Repo, tag: str, told: int, draw: Callable[[Sequence[Trial]], Iterator[Text]]
) -> Iterator[Text]:
    """The trials after the first ``told``, as they finish, until nothing writes the journal."""
    following = Following(repo, tag)
    try:
        while True:
            is_over = reading.running(repo, tag) is None  # before the last look, not after it
            for _ in following.news():
                pass
            finished = following.state.finished
            yield from draw(finished[told:])
            told = max(told, len(finished))
            if is_over:
                return
            time.sleep(FOLLOW_SECONDS)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


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
            f"campaign {tag} has no trial {trial}; "
            + (f"its last is {len(state.trials) - 1}" if state.trials else trials.NOTHING)
        )
    folder, found = folder_of(repo, tag), details.show_json(state, trial)
    if prompt:
        asked = details.prompts(folder, trial)
        text = details.prompts_text(state.trials[trial], asked)
        return put({**found, "prompts": asked}, text, as_json)
    put_lines(found, details.show_lines(state, trial, folder), as_json)


@app.command("list")
def list_campaigns(as_json: Json = False) -> None:
    """All campaigns of this repository, the one last active first."""
    repo, found = Repo.open(Path.cwd()), []
    for tag in reading.tags(repo):
        try:
            found.append(_entry(repo, tag))
        except UserError as error:  # a damaged one hides no other
            found.append({"tag": tag, "error": str(error)})
    put_lines(found, comparison.list_lines(found, columns.width()), as_json)


@app.command()
def compare(
    campaigns: Annotated[list[str], typer.Argument(help="Their tags.", autocompletion=tags)],
    as_json: Json = False,
) -> None:
    """Campaigns side by side: trials, keeps, gains, device time, cost, settings that differ."""
    repo = Repo.open(Path.cwd())
    found = [_entry(repo, tag) for tag in campaigns]
    value = {"campaigns": found, "differ": comparison.differing(found)}
    put_lines(value, comparison.compare_lines(found, columns.width()), as_json)


def _entry(repo: Repo, tag: str) -> dict[str, Any]:
    state = reading.load(repo, tag)
    return comparison.entry(view_of(repo, tag, state), state)


@app.command()
def report(
    tag: Tag = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print as Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Write progress.png and report.html into the campaign's folder."""
    from agent.report.markdown import markdown as in_markdown
    from agent.report.page import build  # only here: other commands need no jinja2

    repo, tag, state = open_campaign(tag)
    prior = reading.next_shares_of(state)
    if markdown:
        text = in_markdown(state, prior)
        put({"tag": tag, "markdown": text}, text, as_json)
        return
    paths = [str(path) for path in build.write_report(folder_of(repo, tag), state, prior)]
    put({"tag": tag, "files": paths}, "\n".join(paths), as_json)
