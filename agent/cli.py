"""The commands of ``python -m agent``. Each parses arguments, calls one module and prints."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from agent.campaign import reading
from agent.campaign.files import folder_of
from agent.campaign.reading import CampaignError
from agent.campaign.state import State
from agent.campaign.submissions import submit
from agent.git import worktree
from agent.git.command import advice
from agent.git.repo import Repo
from agent.loop import run_campaign
from agent.report import summary
from agent.report.display import Display
from agent.report.terminal import make_display
from agent.report.verification import verified_text
from agent.settings import CAMPAIGN, REMEMBERED, RUN, Settings, SettingsError, names, option
from agent.steps.clean import remains_of, remove
from agent.steps.doctor import checks
from agent.steps.harvest import harvest_campaign
from agent.steps.import_commits import Imports, read_imports
from agent.steps.replay import find_trial, replay_commit, replay_text
from agent.steps.start import new_tag, open_runtime, prepare_corpus
from agent.steps.stop import StopNow, do_without_terminal, handled, heeding, stop_now, stop_run
from agent.steps.take import read_file
from agent.steps.transfer import elsewhere, transfer
from agent.steps.verify import Asked, open_keeps
from agent.steps.verify import verify as verify_gain
from trainer import console
from trainer.data.choice import AUTO
from trainer.errors import UserError
from trainer.presets import PRESETS
from trainer.training.machine import MACHINE, resolve

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

Tag = Annotated[str, typer.Option(help="The campaign; default: the one last active.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]


def main() -> None:
    """Run a command; an expected error prints one line on stderr and exits with code 2."""
    try:
        console.run(app)
    except UserError as error:
        _fail(str(error))
    except StopNow as now:
        print(f"error: {now}", file=sys.stderr)
        raise
    except KeyboardInterrupt:
        _fail("interrupted; nothing is lost")
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        said = error.strerror or str(error)
        _fail(f"{where}{said}{advice(said)}")


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _takes_settings(command: Callable[..., None]) -> Callable[..., None]:
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
        return Annotated[bool | None, typer.Option(option(name), help=schema["description"])]
    shown = "|".join(value.get("enum", [value["type"].upper()]))
    for bound, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<=")):
        shown += f" {sign}{value[bound]}" if bound in value else ""
    words = " ".join(schema["description"].split())
    if schema["default"] not in (None, ""):  # in words, since typer puts text in parentheses
        words = f"{words.removesuffix('.')}; default: {schema['default']}."
    return Annotated[str | None, typer.Option(help=words, metavar=shown, show_default=False)]


@app.command()
@_takes_settings
def run(
    tag: Annotated[str, typer.Option(help="Start or resume this campaign; default: today.")] = "",
    program: Annotated[
        Path | None, typer.Option(help="The research program; default: program.md.")
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
        open_runtime(repo, tag, given, path, display, verbose) as runtime,
    ):
        reason = run_campaign(runtime)
    do_without_terminal()
    found = _status(repo, tag, reading.load(repo, tag))
    text = (
        f"stopped: {reason}\n{summary.status_text(found)}\n"
        f"look: git log autoresearch/{tag}    go on: python -m agent run --tag {tag}"
    )
    _print(found, text, as_json)


@app.command()
def status(tag: Tag = "", as_json: Json = False) -> None:
    """Show the state of a campaign."""
    repo, tag, state = _open(tag)
    found = _status(repo, tag, state)
    _print(found, summary.status_text(found), as_json)


@app.command()
def log(
    tag: Tag = "",
    graph: Annotated[bool, typer.Option("--graph", help="Kept and reverted as a graph.")] = False,
    as_json: Json = False,
) -> None:
    """Every trial of a campaign, oldest first."""
    _, _, state = _open(tag)
    text = summary.log_graph(state) if graph else summary.log_text(state)
    _print(summary.log_json(state), text, as_json)


@app.command()
def show(trial: int, tag: Tag = "", as_json: Json = False) -> None:
    """One trial: prompt, reply, edit, trainings, verdict."""
    repo, tag, state = _open(tag)
    if not 0 <= trial < len(state.trials):
        raise CampaignError(
            f"campaign {tag} has no trial {trial}; its last is {len(state.trials) - 1}"
        )
    text = summary.show_text(state, trial, folder_of(repo, tag))
    _print(summary.show_json(state, trial), text, as_json)


@app.command()
def stop(tag: Tag = "", as_json: Json = False) -> None:
    """Stop a run cleanly; its current training is repeated when the campaign resumes."""
    repo = Repo.open(Path.cwd())
    tag = tag or reading.last_active(repo)
    said = stop_run(repo, tag)
    _print({"tag": tag, "stopped": True}, said, as_json)


@app.command()
def report(
    tag: Tag = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print as Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Write progress.png and report.html into the campaign's folder."""
    from agent.report import html  # only here: other commands need no jinja2

    repo, tag, state = _open(tag)
    prior = reading.prior_of(state).probabilities()
    if markdown:
        text = html.markdown(state, prior)
        _print({"tag": tag, "markdown": text}, text, as_json)
        return
    paths = [str(path) for path in html.write_report(folder_of(repo, tag), state, prior)]
    _print({"tag": tag, "files": paths}, "\n".join(paths), as_json)


@app.command("try")
def try_file(
    file: Path,
    hypothesis: Annotated[str, typer.Option(help="Why it should be better.")] = "",
    tag: Tag = "",
    as_json: Json = False,
) -> None:
    """Make your own edit of train.py a trial: the next one of the run under way, else here."""
    repo, tag, state = _open_or_new(tag)
    one = read_file(file, hypothesis, summary.preset_of(state).max_seq_len)
    _hand_in(repo, tag, Imports([one]), as_json)


@app.command("import")
def import_commits(
    what: Annotated[str, typer.Argument(help="A branch, commit, range or ancestor's results.tsv.")],
    tag: Tag = "",
    as_json: Json = False,
) -> None:
    """Make trials of what others have committed, and judge it again; oldest first."""
    repo, tag, state = _open_or_new(tag)
    _hand_in(repo, tag, read_imports(repo, state, folder_of(repo, tag), what), as_json)


@app.command()
def verify(
    tag: Tag = "",
    seeds: Annotated[int | None, typer.Option(help="Fresh seeds, at least 2; default: 5.")] = None,
    within: Annotated[
        float | None, typer.Option(help="More seeds until the gain is known to ± so many bpb.")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Every kept commit in turn.")] = False,
    budget: Annotated[
        str, typer.Option(help="Transfer: another budget, 4x or 80s; the text stays sealed.")
    ] = "",
    scale: Annotated[
        list[str] | None, typer.Option(help="Transfer: CONST=1.5x, another size; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the gain on sealed text and fresh seeds; or, at another setting, each keep's."""
    repo, asked, stop = Repo.open(Path.cwd()), Asked(seeds, within), threading.Event()
    with (
        closing(MACHINE),
        closing(make_display(sys.stderr)) as display,
        open_keeps(repo, tag, display, stop) as keeps,
        heeding(stop, lambda by: display.message("asked to stop"), keeps.folder),
    ):
        if budget or scale:
            there = elsewhere(budget, scale or [], keeps.state.settings["budget"])
            found = transfer(keeps, asked, there)
        else:
            typed = " ".join(word for word in sys.argv[1:] if word != "--json")
            found = verify_gain(keeps, asked, typed, each=each)
    _print(found, verified_text(found), as_json)


@app.command()
def replay(
    commit: str,
    seeds: Annotated[int | None, typer.Option(min=2, help="Fresh seeds to score it anew.")] = None,
    as_json: Json = False,
) -> None:
    """Repeat a trial's training on its recorded clock: are the recorded numbers its own?"""
    repo = Repo.open(Path.cwd())
    with closing(make_display(sys.stderr if as_json else sys.stdout)) as display:
        found = replay_commit(repo, commit, seeds, display.event)
    _print(found, replay_text(found), as_json)
    raise typer.Exit(1 if found["verdict"] == "failed" else 0)


@app.command()
def harvest(
    tag: Tag = "",
    seeds: Annotated[int, typer.Option(min=2, help="Fresh ones, for each heat.")] = 5,
    as_json: Json = False,
) -> None:
    """Which kept changes carry the gain: each alone, the champion without it; a branch for each."""
    from agent.report import html  # only here: other commands need no jinja2

    repo, tag, _ = _open(tag)
    with closing(MACHINE), closing(make_display(sys.stderr)) as display:
        found = harvest_campaign(repo, tag, seeds, display)
    text, files = html.write_harvest(folder_of(repo, tag), found) if found["keeps"] else ("", [])
    _print({**found, "files": files}, "\n".join([text, *found["said"], *files]).strip(), as_json)


@app.command()
def adopt(
    commit: Annotated[str, typer.Argument(help="Default: the campaign's champion.")] = "",
    tag: Tag = "",
    patch: Annotated[bool, typer.Option("--patch", help="Print a patch instead.")] = False,
    as_json: Json = False,
) -> None:
    """Merge a kept commit into your branch, or print it as a patch."""
    repo = Repo.open(Path.cwd())
    if not commit:
        _, tag, state = _open(tag)
        if state.champion is None or state.champion.trial == 0:
            raise CampaignError(f"campaign {tag} has kept nothing beyond its baseline yet")
        commit = state.champion.commit
    else:
        _, _, trial = find_trial(repo, commit)
        if not trial.kept:
            raise CampaignError(f"trial {trial.trial} was not kept: {trial.words}")
    said = worktree.adopt(repo, commit, patch=patch)
    if patch and not as_json:
        if "\r\n" in said:
            print("note: train.py has CRLF line ends: git am --keep-cr", file=sys.stderr)
        console.print_exactly(said)
        return
    _print({"commit": repo.commit_for(commit).sha, "said": said}, said, as_json)


@app.command()
def clean(
    tag: Tag = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove it, without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a campaign: branch, refs, notes, worktree and folder, after saying what."""
    repo = Repo.open(Path.cwd())
    found = remains_of(repo, tag or reading.last_active(repo))
    if not as_json:
        print(found.text())
    asks = not yes and not as_json and sys.stdin.isatty()
    if go := yes or (asks and typer.confirm("Remove all of it?")):
        remove(repo, found)
    again = f"nothing was removed; to remove it: python -m agent clean --tag {found.tag} --yes"
    said = f"campaign {found.tag} is removed" if go else again
    _print({**asdict(found), "removed": go}, said, as_json)


@app.command()
def doctor(
    llm: Annotated[str, typer.Option(help="A model to ask a long prompt, as in run.")] = "auto",
    as_json: Json = False,
) -> None:
    """Test what a run needs on this machine, and try to escape from the sandbox."""
    found = []
    for check in checks(Path.cwd(), llm):
        found.append(asdict(check))
        if not as_json:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.check}: {check.detail}", flush=True)
    if as_json:
        print(json.dumps(found))
    raise typer.Exit(0 if all(check["ok"] for check in found) else 1)


@app.command("prepare")
def prepare_data(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="apidocs, climbmix, tinystories or files:PATH; default: the preset's."),
    ] = None,
    preset: Annotated[
        str, typer.Option(help=f"For it: {', '.join(PRESETS)} (this machine's).")
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Prepare corpus and tokenizer for a preset, before a run needs them."""
    with closing(MACHINE), closing(make_display(sys.stderr if as_json else sys.stdout)) as display:
        chosen = resolve(preset).preset
        corpora = [prepare_corpus(name, chosen, display)[0] for name in sources or [AUTO]]
    made = [
        {
            "source": corpus.source,
            "parts": {part.name: part.n_bytes for part in corpus.train},
            "train_bytes": sum(part.n_bytes for part in corpus.train),
            "val_bytes": corpus.val.n_bytes,
            "vocab_size": corpus.vocab_size,
            "fingerprint": corpus.fingerprint,
            "folder": str(corpus.val.tokens.parent.parent),
        }
        for corpus in corpora
    ]
    lines = [
        f"{m['source']}: {m['train_bytes']:,} bytes to train on, {m['val_bytes']:,} to score on, "
        f"vocabulary {m['vocab_size']}, in {m['folder']}"
        for m in made
    ]
    _print(made, "\n".join(lines), as_json)


def _open(tag: str) -> tuple[Repo, str, State]:
    repo = Repo.open(Path.cwd())
    tag = tag or reading.last_active(repo)
    state = reading.load(repo, tag)
    if state.left_out:
        print(f"note: {state.left_out}", file=sys.stderr)
    return repo, tag, state


def _open_or_new(tag: str) -> tuple[Repo, str, State]:
    repo = Repo.open(Path.cwd())
    with suppress(CampaignError):  # there is none yet
        tag = tag or reading.last_active(repo)
    tag = tag or new_tag(repo)
    return repo, tag, reading.peek(repo, tag)


def _hand_in(repo: Repo, tag: str, imports: Imports, as_json: bool) -> NoReturn:
    """Give submissions to the run under way, else try them here; success is that one is judged."""
    for note in (*imports.skipped, *imports.unread):
        print(f"note: {note}", file=sys.stderr)
    running, rows, is_done, text = reading.running(repo, tag), [], True, "there is nothing to try"
    if imports.found and running is not None:
        names = [submit(folder_of(repo, tag), one) for one in imports.found]
        text = f"{len(names)} submitted, to be tried next: python -m agent log --tag {tag}"
    elif imports.found:
        with (
            handled(stop_now),
            closing(make_display(sys.stderr if as_json else sys.stdout)) as display,
            open_runtime(repo, tag, {}, repo.root / "program.md", display) as runtime,
        ):
            names = [submit(runtime.campaign.folder, one) for one in imports.found]
            reason = run_campaign(runtime, names)
        do_without_terminal()
        state = reading.load(repo, tag)
        own = replace(state, trials=[t for t in state.trials if t.submitted.get("name") in names])
        rows = summary.log_json(own)
        text = f"{summary.log_text(own)}\nstopped: {reason}; go on: python -m agent run --tag {tag}"
        judged = [row["verdict"] != "rejected" and row["status"] != "unjudged" for row in rows]
        is_done = len(rows) == len(names) and any(judged)
    told = {"skipped": imports.skipped, "unread": imports.unread, "trials": rows}
    found = {"tag": tag, "running": running, "submitted": len(imports.found), **told}
    _print(found, text, as_json)
    raise typer.Exit(0 if is_done and not imports.unread else 1)


def _status(repo: Repo, tag: str, state: State) -> dict[str, Any]:
    pid = reading.running(repo, tag)
    return summary.status_json(state, tag, pid, reading.prior_of(state).probabilities())


def _print(value: Any, text: str, as_json: bool) -> None:
    print(json.dumps(value) if as_json else text)
