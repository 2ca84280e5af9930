"""Commands as typed, in the process of the tests: it has imported them, and has a warm server."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import typer

import trainer.__main__
from agent import cli


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run_here(
    folder: Path, *args: str, main: Callable[[], None] = cli.main, encoding: str = ""
) -> Done:
    """Run ``python -m agent`` with ``args`` in ``folder``, with streams of an ``encoding``, if any.

    What would show a traceback raises here.
    """
    out, err = (_stream(encoding) for _ in range(2))
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["agent", *args]),
    ):
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Done(code, *map(_text, (out, err)))


def _stream(encoding: str) -> io.StringIO | io.TextIOWrapper:
    """As strict as Python's own."""
    return io.TextIOWrapper(io.BytesIO(), encoding) if encoding else io.StringIO()


def _text(stream: io.StringIO | io.TextIOWrapper) -> str:
    stream.seek(0)  # which writes out what is in its buffer
    return stream.read()


def measure_files() -> None:
    """``python -m trainer``."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(trainer.__main__.main)
    app()
