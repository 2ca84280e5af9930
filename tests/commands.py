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


def run_here(folder: Path, *args: str, main: Callable[[], None] = cli.main) -> Done:
    """Run ``python -m agent`` with ``args`` in ``folder``.

    What would show a traceback raises here.
    """
    out, err = io.StringIO(), io.StringIO()
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
    return Done(code, out.getvalue(), err.getvalue())


def measure_files() -> None:
    """``python -m trainer``."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(trainer.__main__.main)
    app()
