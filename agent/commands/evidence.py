"""Commands that test what was kept, and take it over: verify, replay, harvest, adopt."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from agent.campaign.files import folder_of, write_atomically
from agent.campaign.reading import CampaignError
from agent.commands.shared import Json, Ray, Tag, Workers, app, open_campaign, put
from agent.executors.choose import Opens, open_again
from agent.git import worktree
from agent.git.repo import Repo
from agent.report.display import Display
from agent.report.terminal import make_display
from agent.report.verification import verified_text
from agent.steps.harvest import harvest_campaign
from agent.steps.replay import find_trial, replay_commit, replay_text
from agent.steps.stop import heeding
from agent.steps.transfer import elsewhere, transfer
from agent.steps.verify import Asked, open_keeps
from agent.steps.verify import verify as verify_gain
from trainer import console
from trainer.training.machine import MACHINE


def _opens(display: Display, workers: int | None, ray: str | None) -> Opens:
    return partial(open_again, tell=display.event, workers=workers, ray=ray)


@app.command()
def verify(
    tag: Tag = "",
    seeds: Annotated[int | None, typer.Option(help="Fresh seeds, at least 2; default: 5.")] = None,
    within: Annotated[
        float | None, typer.Option(help="More seeds until the gain is known to ± so many bpb.")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Each keep; always in a transfer.")] = False,
    budget: Annotated[
        str, typer.Option(help="Transfer: another budget, 4x or 80s; the text stays sealed.")
    ] = "",
    scale: Annotated[
        list[str] | None, typer.Option(help="Transfer: CONST=1.5x, another size; repeatable.")
    ] = None,
    workers: Workers = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Measure the gain on sealed text and fresh seeds; or, at another setting, each keep's."""
    repo, asked, stop = Repo.open(Path.cwd()), Asked(seeds, within), threading.Event()
    with (
        closing(MACHINE),
        closing(make_display(sys.stderr)) as display,
        open_keeps(repo, tag, display, stop, _opens(display, workers, ray)) as keeps,
        heeding(stop, lambda by: display.message("asked to stop"), keeps.folder),
    ):
        if budget or scale:
            there = elsewhere(budget, scale or [], keeps.state.settings["budget"])
            found = transfer(keeps, asked, there)
        else:
            typed = " ".join(word for word in sys.argv[1:] if word != "--json")
            found = verify_gain(keeps, asked, typed, each=each)
    put(found, verified_text(found), as_json)


@app.command()
def replay(
    commit: str,
    seeds: Annotated[int | None, typer.Option(min=2, help="Fresh seeds to score it anew.")] = None,
    workers: Workers = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Repeat a trial's training on its recorded clock: are the recorded numbers its own?"""
    repo = Repo.open(Path.cwd())
    with closing(make_display(sys.stderr if as_json else sys.stdout)) as display:
        opens = _opens(display, workers, ray)
        found = replay_commit(repo, commit, seeds, display.event, opens)
    tag, _, trial = find_trial(repo, commit, claimed=True)
    stored = folder_of(repo, tag) / "trials" / str(trial.trial)
    if stored.is_dir():  # not in a clone; the report tells it
        write_atomically(stored / "replay.json", json.dumps(found).encode())
    put(found, replay_text(found), as_json)
    raise typer.Exit(1 if found["verdict"] == "failed" else 0)


@app.command()
def harvest(
    tag: Tag = "",
    seeds: Annotated[int, typer.Option(min=2, help="Fresh ones, for each heat.")] = 5,
    workers: Workers = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Which kept changes carry the gain: each alone, the champion without it; a branch for each."""
    from agent.report.markdown import write_harvest  # only here: other commands need no jinja2

    repo, tag, _ = open_campaign(tag)
    with closing(MACHINE), closing(make_display(sys.stderr)) as display:
        found = harvest_campaign(repo, tag, seeds, display, _opens(display, workers, ray))
    text, files = write_harvest(folder_of(repo, tag), found) if found["keeps"] else ("", [])
    put({**found, "files": files}, "\n".join([text, *found["said"], *files]).strip(), as_json)


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
        _, tag, state = open_campaign(tag)
        if state.champion is None or state.champion.trial == 0:
            raise CampaignError(f"campaign {tag} has kept nothing beyond its baseline yet")
        commit = state.champion.commit
    else:
        _, state, trial = find_trial(repo, commit)
        if not trial.kept:
            raise CampaignError(f"trial {trial.trial} was not kept: {trial.words}")
    if start := state.settings.get("start"):
        replaced = f"{start}, as edited, takes the place of trainer/train.py"
        print(f"note: the campaign started from another file: {replaced}", file=sys.stderr)
    said = worktree.adopt(repo, commit, patch=patch)
    if patch and not as_json:
        if "\r\n" in said:
            print("note: train.py has CRLF line ends: git am --keep-cr", file=sys.stderr)
        console.print_exactly(said)
        return
    put({"commit": repo.commit_for(commit).sha, "said": said}, said, as_json)
