"""``python -m trainer``: measures one training from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from trainer.data.prepare import DataError
from trainer.measure import Measurement, measure, resolve
from trainer.presets import BadSetting, parse_budget
from trainer.sandbox.confine import SandboxError
from trainer.untrusted import printable

FIELDS = (
    "status",
    "reason",
    "val_bpb",
    "train_seconds",
    "startup_seconds",
    "score_seconds",
    "wall_seconds",
    "steps",
    "tokens",
    "params",
    "peak_memory_mb",
    "isolation",
    "seed",
    "weights_sha256",
)
TRAIN_FILE = Path(__file__).parent / "train.py"


def main(
    file: Annotated[Path, typer.Option(help="The training file to measure.")] = TRAIN_FILE,
    budget: Annotated[str, typer.Option(help="20s, 200000tok; default: the preset's.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of initialisation and data order.")] = 0,
    preset: Annotated[str, typer.Option(help="auto, cpu, laptop or h100.")] = "auto",
    data: Annotated[str, typer.Option(help="Corpus to train on.")] = "apidocs",
    isolation: Annotated[str, typer.Option(help="auto, require or off.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Train one file under a budget and score it; exit 0 if the measurement is ok, else 1."""
    console = Console(stderr=as_json, soft_wrap=True)
    try:
        source = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"cannot read {file}: {getattr(error, 'strerror', None) or error}")
    try:
        if budget:
            parse_budget(budget)  # a wrong budget fails before the start, which takes seconds
        setting = resolve(preset, isolation=isolation, source=data)
        console.print(f"{escape(str(file))} on {setting.shown}, {setting.threads} threads")
        with _Display(console) as display:
            measured = measure(
                source,
                budget=budget or None,
                seed=seed,
                preset=preset,
                data=data,
                isolation=isolation,
                on_event=display.show,
            )
    except (BadSetting, DataError, SandboxError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"the training cannot be run: {error}")
    if as_json:
        print(json.dumps({name: getattr(measured, name) for name in FIELDS}))
    else:
        _print(console, measured)
    raise typer.Exit(0 if measured.status == "ok" else 1)


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(2)


def _print(console: Console, measured: Measurement) -> None:
    if measured.status == "ok":
        console.print(f"[bold]val_bpb {measured.val_bpb:.4f}[/bold] (seed {measured.seed})")
    else:
        console.print(f"[bold red]{measured.status}[/bold red]: {escape(measured.reason)}")
        for text in (measured.detail, measured.output):
            if text.strip():
                console.print(escape(printable(text.strip(), 3000)), style="dim")
    if not measured.startup_seconds:
        return
    console.print(
        f"{measured.steps} steps, {measured.tokens:,} tokens, {measured.params:,} parameters, "
        f"{measured.peak_memory_mb:.0f} MB\n"
        f"start-up {measured.startup_seconds:.2f} s, training {measured.train_seconds:.2f} s, "
        f"scoring {measured.score_seconds:.2f} s, in all {measured.wall_seconds:.2f} s"
    )


class _Display:
    """Shows one progress bar per phase on a terminal; shows nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=1.0)

    def __enter__(self) -> _Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        fraction = event.get("fraction", event.get("spent"))
        if kind == "preparing":
            text = f"preparing {event['stage']}"
        elif kind == "log":
            text = f"training, step {event['step']}, loss {event['loss']:.3f}"
        else:
            text = "scoring" if kind == "scoring" else "training"
        self._progress.update(self._task, description=text, completed=fraction or 0.0)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
