"""Output to any terminal, pipe or file: no sign that its encoding lacks ends a command."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from collections.abc import Callable

PLAINER = "plainer"
"""Name of the error handler that writes what the encoding lacks in ASCII."""

_ASCII = {
    "±": "+-", "→": "->", "…": "...", "×": "x", "·": "-", "●": "*", "○": "o", "◌": "0",
    "“": '"', "”": '"', "‘": "'", "’": "'", "▲": "^", "▼": "v", "✓": "+", "✗": "x",
    "│": "|", "├": "|", "─": "-", "–": "-", "—": "-",
}  # fmt: skip


def _plainer(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_in_ascii, error.object[error.start : error.end])), error.end


def _in_ascii(sign: str) -> str:
    letters = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return _ASCII.get(sign) or letters or sign.encode("ascii", "backslashreplace").decode()


codecs.register_error(PLAINER, _plainer)


def run(command: Callable[[], None]) -> None:
    """Run a command with streams that take any text and are written out before it ends.

    Raises:
        OSError: what it printed cannot be written: the reader is gone, or the disk is full.
    """
    _open_streams()
    try:
        command()
    finally:
        failure = sys.exception()
        try:
            _flush_streams()
        except OSError:
            if failure is None or isinstance(failure, SystemExit | OSError):
                raise  # else what ended the command is told


def print_exactly(text: str) -> None:
    """Print as UTF-8 with the text's own line ends, which a patch needs to apply."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", newline="")
    print(text)


def _open_streams() -> None:
    """Make stdout and stderr take any text; one that is closed goes nowhere."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would get all that is printed
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=PLAINER)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())  # or Python would try again at exit, and complain
            os.close(nowhere)
            raise OSError(error.errno, f"output cannot be written: {error.strerror}") from None
