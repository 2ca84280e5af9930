"""Commands around campaigns: clean, doctor, prepare."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from agent.campaign import reading
from agent.commands.shared import Json, Tag, app, put
from agent.git.repo import Repo
from agent.report.terminal import make_display
from agent.steps.clean import remains_of, remove
from agent.steps.doctor import checks
from agent.steps.start import prepare_corpus
from trainer.data.choice import AUTO
from trainer.presets import PRESETS
from trainer.training.machine import MACHINE, resolve


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
    put({**asdict(found), "removed": go}, said, as_json)


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
    put(made, "\n".join(lines), as_json)
