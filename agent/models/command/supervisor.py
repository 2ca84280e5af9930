"""Runs a ``command:`` program, and kills it with all that it started once the agent has gone.

Run by path, so that nothing else of the agent is loaded. Its arguments are the number of the file
with the prompt and the program's command line; its standard input is a pipe that the agent closes
when it gives up or ends for any reason. It ends as the program ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import psutil

_MARK = "AUTORESEARCH_COMMAND"
"""Environment variable that marks the program and all that it starts, to find them again where
orphans are not adopted by this process."""
_PR_SET_CHILD_SUBREAPER = 36
_KILL_SECONDS = 10.0
_KILL_POLL_SECONDS = 0.02


def main(prompt: int, command: list[str]) -> None:
    """Run the program to its end, or to the end of standard input."""
    if sys.platform == "linux":  # orphans of the program become children of this process
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    mark = uuid.uuid4().hex
    try:
        program = subprocess.Popen(
            command, stdin=prompt, env=os.environ | {_MARK: mark}, start_new_session=True
        )
    except OSError as error:
        print(error.strerror, file=sys.stderr)
        os._exit(126)

    def watch() -> None:
        sys.stdin.read()
        kill(mark)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    code = program.wait()
    kill(mark)
    if code < 0:
        with contextlib.suppress(OSError):  # some cannot be caught in the first place
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def kill(mark: str) -> None:
    """Kill the program and all that it started, including those that left its session."""
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline and (left := _left(mark)):
        for victim in left:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        time.sleep(_KILL_POLL_SECONDS)


def _left(mark: str) -> list[psutil.Process]:
    """The live ones among the descendants of this process and the processes with the mark."""
    below = {process.pid for process in psutil.Process().children(recursive=True)}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # gone meanwhile, or another user's
            ours = process.pid in below or process.environ().get(_MARK) == mark
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
