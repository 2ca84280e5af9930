"""Stop a run: by Ctrl-C, SIGTERM, a terminal that is closed, or the command ``stop``.

The first time it ends in order, the second time at once. Both lose nothing: the journal has
everything that has happened, and what was under way is done again.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from agent.campaign import reading
from agent.campaign.files import PAUSE, folder_of
from agent.campaign.lines import JournalError
from agent.campaign.reading import CampaignError
from agent.campaign.state import State
from agent.git.repo import Repo

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REQUEST = "stop"
"""The file in the campaign's folder by which a run is asked to stop. No process is signalled: its
id may be another process by now, and is one in another container or on another machine."""
POLL_SECONDS = 0.2
AGAIN_SECONDS = 0.5
"""A signal so soon after the first is not asking again: a closed terminal, a wrapper and a session
manager send several for one cause."""
PATIENCE_SECONDS = 60.0


class StopNow(SystemExit):
    """Asked to stop at once; nothing that runs is waited for."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)

    def __str__(self) -> str:
        return "stopped at once; nothing is lost, and the next run goes on from here"


def stop_now(number: int, frame: FrameType | None = None) -> NoReturn:
    """A handler of signals that ends whatever is done at the moment."""
    do_without_terminal()
    raise StopNow(number)


def do_without_terminal() -> None:
    """Write to nowhere from here on if the terminal is closed, since each write would fail."""
    for fd in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(fd).st_mode) and not os.isatty(fd):  # it once was one
                nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
                os.dup2(nowhere, fd)
                os.close(nowhere)


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Give the signals that ask to stop to ``handler``.

    SIGHUP or SIGINT that is ignored stays so: ``nohup`` and jobs in the background rely on it.
    """
    with contextlib.ExitStack() as before:
        for number in SIGNALS:
            was = signal.getsignal(number)
            if was is not signal.SIG_IGN or number == signal.SIGTERM:
                before.callback(signal.signal, number, was or signal.SIG_DFL)
                signal.signal(number, handler)
        yield


@contextlib.contextmanager
def heeding(
    stop: threading.Event, tell: Callable[[str], None], folder: Path | None = None
) -> Iterator[None]:
    """Set ``stop`` when the run is asked to stop, raise ``StopNow`` in it when it is asked again.

    Args:
        tell: is called once with who asked, from another thread.
        folder: the campaign's, where the command ``stop`` leaves its request.
    """
    wake, waker = os.pipe()
    asked: list[tuple[int, float]] = []
    main = threading.main_thread().ident
    assert main is not None

    def ask(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if asked and now - asked[0][1] > AGAIN_SECONDS:
            stop_now(number)
        asked.append((number, now))
        do_without_terminal()
        if len(asked) == 1:  # not the event itself: the main thread may hold its lock right now
            os.write(waker, b".")

    def watch() -> None:
        while True:
            if select.select([wake], [], [], POLL_SECONDS)[0]:
                if not os.read(wake, 1):
                    return
                stop.set()
                tell(signal.Signals(asked[0][0]).name)
            if folder is not None:
                with contextlib.suppress(OSError):  # usually there is none
                    (folder / REQUEST).unlink()
                    signal.pthread_kill(main, signal.SIGTERM)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        with handled(ask):
            yield
    finally:
        os.close(waker)
        watcher.join()
        os.close(wake)


def stopping_words(state: State) -> str:
    """What a run says when it is asked to stop."""
    if any(trial.open_seeds for trial in state.open_trials):
        dropped = "the training under way is dropped, and done again when it is resumed"
    elif state.asking:
        dropped = "the reply under way is dropped, and asked for again when it is resumed"
    else:
        dropped = "what is under way is done again when it is resumed"
    return f"asked to stop: {dropped}; asked once more, it stops at once"


def forget_request(repo: Repo, tag: str) -> None:
    """Remove requests that no run has seen, before one begins: from then on they are meant for
    it."""
    with contextlib.suppress(OSError, JournalError):  # usually there is none
        if reading.running(repo, tag) is None:
            for name in (PAUSE, REQUEST):
                (folder_of(repo, tag) / name).unlink(missing_ok=True)


def stop_run(repo: Repo, tag: str, patience: float = PATIENCE_SECONDS) -> str:
    """Ask the run of ``tag`` to end and wait until it has; returns what happened.

    Raises:
        CampaignError: nothing runs, it cannot be asked, or it does not end in time.
    """
    pid = reading.running(repo, tag)
    if pid is None:
        raise CampaignError(
            f"campaign {tag} is not running, or still prepares its data: then press Ctrl-C there"
        )
    request = folder_of(repo, tag) / REQUEST
    try:
        request.touch()
    except OSError as error:
        raise CampaignError(
            f"{request}, which asks the run to stop, cannot be made ({error.strerror}): stop "
            f"process {pid} where it was started, with Ctrl-C or kill {pid}"
        ) from None
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if reading.running(repo, tag) != pid:
            request.unlink(missing_ok=True)
            return f"campaign {tag} has stopped; python -m agent run --tag {tag} goes on"
        time.sleep(0.1)
    was_seen = not request.exists()
    request.unlink(missing_ok=True)
    raise CampaignError(
        f"process {pid} did not end within {patience:.0f} s: "
        + ("ask again, and it stops at once" if was_seen else "it does not look at requests")
        + f"; kill -9 {pid} is safe, where it was started"
    )
