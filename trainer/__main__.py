"""``python -m trainer``: measures one training, or a heat of several, from the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

import typer
from rich.console import Console
from rich.markup import escape

from trainer.console import run
from trainer.contract import constants
from trainer.data.choice import AUTO
from trainer.data.prepare import notes
from trainer.errors import UserError
from trainer.measure import Measurement, heat, resolve
from trainer.presets import PRESETS, Isolation, Preset, parse_budget
from trainer.source import not_utf8
from trainer.untrusted import printable

BULKY = {"curve", "losses", "trace", "detail", "output", "fingerprint", "documents"}
"""What ``--json`` leaves out of a measurement."""
TRAIN_FILE = Path(__file__).parent / "train.py"


def main(
    file: Annotated[
        list[Path] | None,
        typer.Option(
            help="A training file to measure; given again, it is trained side by side with the "
            "first, which is the champion. Default: the shipped one.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[str, typer.Option(help="20s, 200000tok; default: the preset's.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of initialisation and data order.")] = 0,
    preset: Annotated[str, typer.Option(help=f"{', '.join(PRESETS)}.")] = "auto",
    data: Annotated[
        str, typer.Option(help="Corpus to train on; auto: the preset's, if it can be had.")
    ] = AUTO,
    isolation: Annotated[str, typer.Option(help=f"{', '.join(get_args(Isolation))}.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Train files under a budget and score them; exit 0 if every measurement is ok, else 1."""
    console = Console(stderr=as_json, soft_wrap=True)
    files = file or [TRAIN_FILE]
    sources = [_read(path) for path in files]
    try:
        if budget:
            parse_budget(budget)  # a wrong budget fails before the start, which takes seconds
        setting = resolve(preset, isolation=isolation, source=data)
        names = ", ".join(map(str, files))
        console.print(f"{escape(names)} on {setting.shown}, {setting.threads} threads")
        if note := _other_constants(setting.preset, sources[0]) if not file else "":
            console.print(note)
        with console.status("starting") as status:

            def tell(event: dict[str, Any]) -> None:
                if event["event"] == "note":
                    console.print(escape(event["text"]))
                else:
                    status.update(_doing(event, files))

            trainings = heat(
                sources,
                budget=budget or None,
                seed=seed,
                preset=preset,
                data=data,
                isolation=isolation,
                on_event=tell,
            )
        for line in notes(setting.data):
            console.print(escape(line))
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"the training cannot be run: {error}")
    differences = [_difference(trainings[0], training) for training in trainings[1:]]
    if as_json:
        answers = [
            {name: value for name, value in training.to_json().items() if name not in BULKY}
            for training in trainings
        ]
        found = {"trainings": answers, "differences": differences} if differences else answers[0]
        print(json.dumps(found))
    else:
        for path, training in zip(files, trainings, strict=True):
            if differences:
                console.print(f"[bold]{escape(str(path))}[/bold], {training.how}")
            _print(console, training)
        for path, difference in zip(files[1:], differences, strict=True):
            told = "no score" if difference is None else f"{difference:+.6f} bits per byte"
            console.print(f"difference of {escape(str(path))}: {told} (positive is better)")
    raise typer.Exit(0 if all(training.status == "ok" for training in trainings) else 1)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        _fail(f"cannot read {path}: {error.strerror}")
    except UnicodeDecodeError as error:
        _fail(f"cannot read {path}: {not_utf8(error)}")


def _difference(champion: Measurement, candidate: Measurement) -> float | None:
    """Champion minus candidate, bits per byte; None without a score."""
    if champion.val_bpb is None or candidate.val_bpb is None:
        return None
    return champion.val_bpb - candidate.val_bpb


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(2)


def _print(console: Console, measured: Measurement) -> None:
    if measured.status == "ok":
        console.print(
            f"[bold]val_bpb {measured.val_bpb:.4f}[/bold] (seed {measured.seed}, "
            f"{measured.val_bytes:,} bytes of {escape(measured.data)})"
        )
    else:
        console.print(f"[bold red]{measured.status}[/bold red]: {escape(measured.reason)}")
        for text in (measured.detail, measured.output):
            if text.strip():
                console.print(escape(printable(text.strip(), 3000)), style="dim")
    if not measured.startup_seconds:
        return
    used = "" if measured.mfu is None else f", {measured.mfu:.0%} of the device's FLOP/s"
    console.print(
        f"{measured.steps} steps, {measured.tokens:,} tokens, {measured.params:,} parameters, "
        f"{measured.peak_memory_mb:.0f} MB{used}\n"
        f"start-up {measured.startup_seconds:.2f} s, training {measured.train_seconds:.2f} s, "
        f"scoring {measured.score_seconds:.2f} s, in all {measured.wall_seconds:.2f} s"
    )


def _other_constants(preset: Preset, source: str) -> str:
    """A line if the shipped file is not what a campaign at this preset would begin with."""
    try:
        own = constants(source)
    except (SyntaxError, ValueError):  # the measurement says where
        return ""
    other = {name: value for name, value in preset.constants.items() if own.get(name) != value}
    if not other:
        return ""
    name, value = next(iter(other.items()))
    return (
        f"train.py is trained with its own constants, of which the preset has {len(other)} "
        f"otherwise ({name} {own.get(name)}, there {value}): python -m agent run writes those"
    )


def _doing(event: dict[str, Any], files: Sequence[Path]) -> str:
    """What is going on, as a line that a terminal shows until the next event."""
    kind, fraction = event["event"], event.get("fraction", event.get("spent"))
    text = {"preparing": f"preparing {event.get('stage')}", "scoring": "scoring"}.get(
        kind, "training"
    )
    if kind == "log":
        text += f", step {event['step']}, loss {event['loss']:.3f}"
    if fraction is not None:
        text += f", {fraction:.0%}"
    if len(files) > 1 and "training" in event:
        text = f"{files[event['training']].name}: {text}"
    return escape(text)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        run(app)
    except OSError as error:
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"error: {error.strerror}")
