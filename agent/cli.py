"""The commands of ``python -m agent``. Each parses arguments, calls one module and prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from agent.campaign import store
from agent.campaign.files import folder_of
from agent.campaign.journal import JournalError
from agent.campaign.state import State, rebuild_prior
from agent.campaign.store import CampaignError
from agent.git import worktree
from agent.git.command import RepoError
from agent.git.repo import Repo
from agent.loop import run_campaign
from agent.models.types import ModelError
from agent.prior import Prior
from agent.program import ProgramError, parse_program
from agent.proposers.choose import ProposerError
from agent.report import html, summary
from agent.report.terminal import make_display
from agent.settings import SettingsError
from agent.steps.doctor import checks
from agent.steps.replay import find_trial, replay_commit, replay_json, replay_text
from agent.steps.start import new_tag, open_runtime, stop_run
from trainer.contract import ContractBroken
from trainer.data.prepare import DataError, prepare
from trainer.presets import BadSetting, parse_budget
from trainer.sandbox.confine import SandboxError
from trainer.training.machine import MACHINE, resolve

EXPECTED = (
    BadSetting,
    CampaignError,
    ContractBroken,
    JournalError,
    ModelError,
    ProgramError,
    ProposerError,
    RepoError,
    SandboxError,
    SettingsError,
    DataError,
)
"""Errors whose message is for the user; anything else is a bug and shows its traceback."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

Tag = Annotated[str, typer.Option(help="The campaign; default: the one last active.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]


def main() -> None:
    """Run a command; an expected error prints one line on stderr and exits with code 2."""
    try:
        app()
    except EXPECTED as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; nothing is lost")
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}")


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


@app.command()
def run(
    tag: Annotated[str, typer.Option(help="Start or resume this campaign; default: today.")] = "",
    program: Annotated[
        Path | None, typer.Option(help="The research program; default: program.md.")
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            help="auto, none, anthropic:M, openai:M, openai:M@URL, command:CMD, local, "
            "cassette:FILE (replays) or cassette:FILE+SPEC (records)."
        ),
    ] = None,
    proposer: Annotated[str | None, typer.Option(help="llm, deck, tuner or hybrid.")] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of the campaign in all.")] = None,
    hours: Annotated[float | None, typer.Option(help="Start no trial after so many hours.")] = None,
    budget_text: Annotated[
        str | None, typer.Option("--budget", help="Per training: 20s, 5m, 200000tok.")
    ] = None,
    keep: Annotated[str | None, typer.Option(help="confirm, strict or greedy.")] = None,
    preset_name: Annotated[
        str | None, typer.Option("--preset", help="auto, cpu, laptop or h100.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the campaign.")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars for the model.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens to and from the model.")] = None,
    isolation: Annotated[str | None, typer.Option(help="auto, require or off.")] = None,
    data: Annotated[str | None, typer.Option(help="Corpus to train on.")] = None,
    as_json: Json = False,
) -> None:
    """Start or resume a campaign; run it until Ctrl-C, --trials or --hours."""
    repo = Repo.open(Path.cwd())
    tag = tag or new_tag(repo)
    given = {
        "llm": llm,
        "proposer": proposer,
        "trials": trials,
        "hours": hours,
        "budget": str(parse_budget(budget_text)) if budget_text is not None else None,
        "keep": keep,
        "preset": preset_name,
        "seed": seed,
        "max_cost": max_cost,
        "max_tokens": max_tokens,
        "isolation": isolation,
        "data": data,
    }
    path = program.resolve() if program else repo.root / "program.md"
    if program and not program.exists():
        raise SettingsError(f"--program {program}: there is no such file")
    display = make_display(sys.stderr if as_json else sys.stdout)
    try:
        with open_runtime(repo, tag, given, path, display) as runtime:
            reason = run_campaign(runtime)
    finally:
        display.close()
    state = store.load(repo, tag)
    if as_json:
        _print_json(_status(repo, tag, state))
    else:
        print(f"stopped: {reason}")
        print(summary.status_text(_status(repo, tag, state)))
        print(f"look: git log autoresearch/{tag}    go on: python -m agent run --tag {tag}")


@app.command()
def status(tag: Tag = "", as_json: Json = False) -> None:
    """Show the state of a campaign."""
    repo, tag, state = _open(tag)
    found = _status(repo, tag, state)
    _print(found, summary.status_text, as_json)


@app.command()
def log(
    tag: Tag = "",
    graph: Annotated[bool, typer.Option("--graph", help="Kept and reverted as a graph.")] = False,
    as_json: Json = False,
) -> None:
    """Every trial of a campaign, oldest first."""
    _, _, state = _open(tag)
    if graph and not as_json:
        print(summary.log_graph(state))
    else:
        _print(summary.log_json(state), lambda _: summary.log_text(state), as_json)


@app.command()
def show(trial: int, tag: Tag = "", as_json: Json = False) -> None:
    """One trial: prompt, reply, edit, trainings, verdict."""
    repo, tag, state = _open(tag)
    if not 0 <= trial < len(state.trials):
        raise CampaignError(
            f"campaign {tag} has no trial {trial}; its last is {len(state.trials) - 1}"
        )
    if as_json:
        _print_json(summary.show_json(state, trial))
    else:
        print(summary.show_text(state, trial, folder_of(repo, tag)))


@app.command()
def stop(tag: Tag = "", as_json: Json = False) -> None:
    """Stop a run cleanly; its current training is repeated when the campaign resumes."""
    repo = Repo.open(Path.cwd())
    tag = tag or store.last_active(repo)
    said = stop_run(repo, tag)
    _print({"tag": tag, "stopped": True}, lambda _: said, as_json)


@app.command()
def report(
    tag: Tag = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print as Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Write progress.png and report.html into the campaign's folder."""
    repo, tag, state = _open(tag)
    prior = _prior(state).probabilities()
    if markdown:
        text = html.markdown(state, prior)
        _print({"tag": tag, "markdown": text}, lambda _: text, as_json)
        return
    paths = [str(path) for path in html.write_report(folder_of(repo, tag), state, prior)]
    _print({"tag": tag, "files": paths}, lambda _: "\n".join(paths), as_json)


@app.command()
def replay(
    commit: str,
    seeds: Annotated[int, typer.Option(min=1, help="How many of its trainings.")] = 1,
    as_json: Json = False,
) -> None:
    """Train a trial's commit again on its recorded clock and compare the numbers."""
    repo = Repo.open(Path.cwd())
    display = make_display(sys.stderr if as_json else sys.stdout)
    try:
        trial, results = replay_commit(repo, commit, seeds, display.event)
    finally:
        display.close()
    found = replay_json(trial, results)
    _print(found, replay_text, as_json)
    raise typer.Exit(1 if found["verdict"] == "failed" else 0)


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
    _print({"commit": repo.commit_for(commit).sha, "said": said}, lambda _: said, as_json)


@app.command()
def doctor(
    llm: Annotated[str, typer.Option(help="A model to ask a long prompt, as in run.")] = "auto",
    as_json: Json = False,
) -> None:
    """Test what a run needs on this machine, and try to escape from the sandbox."""
    found = []
    for check in checks(Path.cwd(), llm):
        found.append(check.to_json())
        if not as_json:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.check}: {check.detail}", flush=True)
    if as_json:
        _print_json(found)
    raise typer.Exit(0 if all(check["ok"] for check in found) else 1)


@app.command("prepare")
def prepare_data(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="apidocs (the default), climbmix, tinystories or files:PATH."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Prepare the corpus and tokenizer for this machine's preset, before a run needs them."""
    display = make_display(sys.stderr if as_json else sys.stdout)
    made = []
    try:
        chosen = resolve().preset
        for source in sources or ["apidocs"]:
            corpus = prepare(
                source,
                vocab_size=chosen.constants["VOCAB_SIZE"],
                val_bytes=chosen.val_bytes,
                progress=lambda stage, fraction: display.event(
                    {"event": "preparing", "stage": stage, "fraction": fraction}
                ),
            )
            made.append(
                {
                    "source": source,
                    "parts": {part.name: part.n_bytes for part in corpus.train},
                    "train_bytes": sum(part.n_bytes for part in corpus.train),
                    "val_bytes": corpus.val.n_bytes,
                    "vocab_size": corpus.vocab_size,
                    "fingerprint": corpus.fingerprint,
                    "folder": str(corpus.val.tokens.parent.parent),
                }
            )
    finally:
        display.close()
        MACHINE.close()
    lines = [
        f"{m['source']}: {m['train_bytes']:,} bytes to train on, {m['val_bytes']:,} to score on, "
        f"vocabulary {m['vocab_size']}, in {m['folder']}"
        for m in made
    ]
    _print(made, lambda _: "\n".join(lines), as_json)


def _open(tag: str) -> tuple[Repo, str, State]:
    repo = Repo.open(Path.cwd())
    tag = tag or store.last_active(repo)
    return repo, tag, store.load(repo, tag)


def _status(repo: Repo, tag: str, state: State) -> dict[str, Any]:
    pid = store.running(repo, tag)
    return summary.status_json(state, tag, pid, _prior(state).probabilities())


def _prior(state: State) -> Prior:
    """The prior after all rewards of the campaign."""
    if not state.program_text:
        raise CampaignError("this campaign has not begun its first trial yet; run it again")
    names = parse_program(state.program_text).names
    return rebuild_prior(names, state.settings["seed"], state.finished)


def _print(value: Any, text: Callable[[Any], str], as_json: bool) -> None:
    if as_json:
        _print_json(value)
    else:
        print(text(value))


def _print_json(value: Any) -> None:
    print(json.dumps(value))
