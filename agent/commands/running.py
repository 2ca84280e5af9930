"""Commands that try edits: run, try, import; and stop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing, suppress
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

from agent.campaign import reading
from agent.campaign.files import folder_of
from agent.campaign.reading import CampaignError
from agent.campaign.state import State
from agent.campaign.submissions import submit
from agent.commands.shared import (
    Json,
    Ray,
    Tag,
    Workers,
    app,
    put,
    put_lines,
    status_of,
    tags,
    view_of,
)
from agent.executors.choose import address
from agent.git.repo import Repo
from agent.loop import run_campaign
from agent.report import columns, morning, summary, trials
from agent.report.display import Display
from agent.report.terminal import make_display
from agent.settings import CAMPAIGN, REMEMBERED, RUN, Settings, SettingsError, names
from agent.steps.import_commits import Imports, read_imports
from agent.steps.pause import pause_run
from agent.steps.start import new_tag, open_runtime
from agent.steps.stop import do_without_terminal, handled, stop_now, stop_run
from agent.steps.take import read_file


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` an option for each setting that has one, in place of its ``**given``.

    They take any text: the model of the settings says what is wrong with it, as everywhere.
    """
    own = signature(command, eval_str=True)
    kept = [one for one in own.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=_option(name))
        for name in names(CAMPAIGN, REMEMBERED, RUN)
    ]
    command.__dict__["__signature__"] = own.replace(parameters=kept + options)
    return command


def _option(name: str) -> Any:
    """The type of a setting's option, with its help, kind of value, bounds and default."""
    schema = Settings.model_json_schema()["properties"][name]
    value = schema.get("anyOf", [schema])[0]
    if value["type"] == "boolean":
        return Annotated[bool | None, typer.Option(help=schema["description"])]
    shown = "|".join(value.get("enum", [value["type"].upper()]))
    for bound, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<=")):
        shown += f" {sign}{value[bound]}" if bound in value else ""
    words = " ".join(schema["description"].split())
    if schema["default"] not in (None, ""):  # in words, since typer puts text in parentheses
        words = f"{words.removesuffix('.')}; default: {schema['default']}."
    return Annotated[str | None, typer.Option(help=words, metavar=shown, show_default=False)]


@app.command()
@takes_settings
def run(
    tag: Annotated[
        str,
        typer.Option(help="Start or resume this campaign; default: today.", autocompletion=tags),
    ] = "",
    program: Annotated[
        Path | None, typer.Option(help="The research program; default: program.md.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="Start a new campaign from this file; default: HEAD's trainer/train.py."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what run.log gets, on stderr.")
    ] = False,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Start or resume a campaign; run it until Ctrl-C, --trials or --hours."""
    repo = Repo.open(Path.cwd())
    tag = tag or new_tag(repo)
    path = program.resolve() if program else repo.root / "program.md"
    if program and not program.exists():
        raise SettingsError(f"--program {program}: there is no such file")
    stream = sys.stderr if as_json else sys.stdout
    with (
        handled(stop_now),
        closing(Display(stream) if verbose else make_display(stream)) as display,
        open_runtime(repo, tag, given, path, display, verbose, start) as runtime,
    ):
        reason = run_campaign(runtime)
    do_without_terminal()
    state = reading.load(repo, tag)
    found, shown = status_of(repo, tag, state), view_of(repo, tag, state)
    look = f"look: git log autoresearch/{tag}    go on: python -m agent run --tag {tag}"
    screen = morning.lines(shown, found, columns.width())
    put_lines(found, [Text(f"stopped: {reason}"), *screen, Text(look)], as_json)


@app.command("try")
def try_file(
    file: Path,
    hypothesis: Annotated[str, typer.Option(help="Why it should be better.")] = "",
    tag: Tag = "",
    workers: Workers = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Make your own edit of train.py a trial: the next one of the run under way, else here."""
    repo, tag, state = _open_or_new(tag)
    one = read_file(file, hypothesis, summary.preset_of(state).max_seq_len)
    _hand_in(repo, tag, Imports([one]), _where(state, workers, ray), as_json)


@app.command("import")
def import_commits(
    what: Annotated[str, typer.Argument(help="A branch, commit, range or ancestor's results.tsv.")],
    tag: Tag = "",
    workers: Workers = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Make trials of what others have committed, and judge it again; oldest first."""
    repo, tag, state = _open_or_new(tag)
    found = read_imports(repo, state, folder_of(repo, tag), what)
    _hand_in(repo, tag, found, _where(state, workers, ray), as_json)


@app.command()
def stop(tag: Tag = "", as_json: Json = False) -> None:
    """Stop a run cleanly; its current training is repeated when the campaign resumes."""
    repo = Repo.open(Path.cwd())
    tag = tag or reading.last_active(repo)
    said = stop_run(repo, tag)
    put({"tag": tag, "stopped": True}, said, as_json)


@app.command()
def pause(
    tag: Tag = "",
    off: Annotated[bool, typer.Option("--off", help="Go on.")] = False,
    as_json: Json = False,
) -> None:
    """Pause a run after its current trial, without ending it; --off goes on."""
    repo = Repo.open(Path.cwd())
    tag = tag or reading.last_active(repo)
    said = pause_run(repo, tag, off=off)
    put({"tag": tag, "paused": not off}, said, as_json)


def _open_or_new(tag: str) -> tuple[Repo, str, State]:
    repo = Repo.open(Path.cwd())
    with suppress(CampaignError):  # there is none yet
        tag = tag or reading.last_active(repo)
    tag = tag or new_tag(repo)
    return repo, tag, reading.peek(repo, tag)


def _where(state: State, workers: int | None, ray: str | None) -> dict[str, Any]:
    """Settings by which a campaign goes on where its last run measured, unless options say else."""
    own = address(state.settings, workers, ray)
    return {"workers": workers, "ray": own if own or workers is not None else None}


def _hand_in(
    repo: Repo, tag: str, imports: Imports, where: dict[str, Any], as_json: bool
) -> NoReturn:
    """Give submissions to the run under way, else try them in one; success is that one is judged.

    Args:
        where: settings of that one.
    """
    for note in (*imports.skipped, *imports.unread):
        print(f"note: {note}", file=sys.stderr)
    pid, rows, is_done, text = reading.running(repo, tag), [], True, "there is nothing to try"
    running = reading.run_of(reading.peek(repo, tag), pid)
    if imports.found and pid is not None:
        names = [submit(folder_of(repo, tag), one) for one in imports.found]
        turn = "to be tried next: python -m agent log"
        if running is None:
            turn = f"for the next run, as process {pid} is none: python -m agent run"
        text = f"{len(names)} submitted, {turn} --tag {tag}"
    elif imports.found:
        with (
            handled(stop_now),
            closing(make_display(sys.stderr if as_json else sys.stdout)) as display,
            open_runtime(
                repo, tag, where, repo.root / "program.md", display, remembers=False
            ) as runtime,
        ):
            names = [submit(runtime.campaign.folder, one) for one in imports.found]
            reason = run_campaign(runtime, names)
        do_without_terminal()
        state = reading.load(repo, tag)
        own = [t for t in state.finished if t.submitted.get("name") in names]
        rows = trials.log_json(own, state.openings)
        text = columns.plain(trials.log_lines(own, columns.width())) or trials.NOTHING
        text += f"\nstopped: {reason}; go on: python -m agent run --tag {tag}"
        judged = [row["verdict"] != "rejected" and row["status"] != "unjudged" for row in rows]
        is_done = len(rows) == len(names) and any(judged)
    told = {"skipped": imports.skipped, "unread": imports.unread, "trials": rows}
    found = {"tag": tag, "running": running, "submitted": len(imports.found), **told}
    put(found, text, as_json)
    raise typer.Exit(0 if is_done and not imports.unread else 1)
