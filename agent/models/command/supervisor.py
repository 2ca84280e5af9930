"""Runs a ``command:`` program, and kills it with all that it started once the agent has gone.

Run by path, so that nothing else of the agent is loaded. Its arguments are the mark, the number of
the file with the prompt, and the program's command line; its standard input is a pipe that the
agent closes when it gives up or ends for any reason. It ends as the program ended. Its working
directory is the program's folder, which nobody else removes once the agent has been killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

_MARK = "AUTORESEARCH_COMMAND"
"""Environment variable that marks the program and all that it starts, to find them again where
orphans are not adopted by this process."""
_PR_SET_CHILD_SUBREAPER = 36
_KILL_SECONDS = 10.0
_KILL_POLL_SECONDS = 0.02


def main(mark: str, prompt: int, command: list[str]) -> None:
    """Run the program to its end, or to the end of standard input."""
    if sys.platform == "linux":  # orphans of the program become children of this process
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    itself = psutil.Process()
    try:
        program = subprocess.Popen(
            command, stdin=prompt, env=os.environ | {_MARK: mark}, start_new_session=True
        )
    except OSError as error:
        print(error.strerror, file=sys.stderr)
        os._exit(126)

    given_up = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        given_up.set()
        kill(mark, itself)
        with contextlib.suppress(OSError):  # it has no place any more
            shutil.rmtree(Path.cwd(), ignore_errors=True)
        os._exit(1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    code = program.wait()
    if given_up.is_set():
        watcher.join()  # which ends this process
    kill(mark, itself)
    if code < 0:
        with contextlib.suppress(OSError):  # some cannot be caught in the first place
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def kill(mark: str, above: psutil.Process | None = None) -> None:
    """Kill all processes with the mark, and all below ``above``, in whatever session they are."""
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline and (left := _left(mark, above)):
        for victim in left:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        time.sleep(_KILL_POLL_SECONDS)


def _left(mark: str, above: psutil.Process | None) -> list[psutil.Process]:
    below = {process.pid for process in above.children(recursive=True)} if above else set()
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # gone meanwhile, or another user's
            ours = process.pid in below or process.environ().get(_MARK) == mark
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
