"""What a person sees while a campaign runs: a line a trial, and a panel of what is done now."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Concatenate, ParamSpec, TextIO, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live as Redrawn
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agent.campaign import reading
from agent.campaign.live import Live
from agent.campaign.records import Heat, Training, Trial
from agent.campaign.state import State
from agent.report.display import Display
from agent.report.terminal.panel import panel
from agent.report.terminal.rows import GAP, INDENT, heading, row
from agent.report.view import View, view
from trainer.untrusted import one_line

REDRAWN_SECONDS, PLAYED_SECONDS = 0.5, 0.15
EARLIER = 5
"""So many trials from before are shown first."""
P = ParamSpec("P")
log = logging.getLogger(__name__)


def make_display(stream: TextIO) -> Display:
    """A display that is drawn anew where ``stream`` is a terminal that can show it.

    ``FORCE_COLOR``, which many CI services set, makes no terminal of a pipe.
    """
    console = Console(file=stream, highlight=False)
    if stream.isatty() and console.is_interactive and console.encoding.startswith("utf"):
        return RichDisplay(console)
    return Display(stream)


def _guarded(
    method: Callable[Concatenate[RichDisplay, P], None],
) -> Callable[Concatenate[RichDisplay, P], None]:
    """A report to the terminal; if it fails, plain lines from there on, and one line of the log."""

    @functools.wraps(method)
    def guarded(self: RichDisplay, /, *args: P.args, **kwargs: P.kwargs) -> None:
        with self._mutex:  # to the end: what is erased is drawn before any plain line
            if not self._has_failed:
                try:
                    return method(self, *args, **kwargs)
                except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
                    self._give_up(error)
            if (plain := getattr(Display, method.__name__, None)) is not None:
                plain(self, *args, **kwargs)

    return guarded


class RichDisplay(Display):
    """For a terminal. Markup in titles and reasons is plain text; a lost terminal stops nothing."""

    def __init__(self, console: Console) -> None:
        super().__init__(cast(TextIO, console.file))
        console.file = cast(TextIO, self._stream)
        self._console = console
        self._has_failed = False
        self._mutex = threading.RLock()
        self._redrawn: Redrawn | None = None
        self._width = console.width
        self._campaign: tuple[str, State] | None = None
        self._view: View | None = None
        self._pid: int | None = None
        self._recorded = ""
        self._has_columns = False
        self._over = threading.Event()
        self._redrawer: threading.Thread | None = None
        self._heeded = list[signal.Signals]()

    @_guarded
    def attach(self, tag: str, state: State, pid: int | None = None, recorded: str = "") -> None:
        self._campaign, self._pid, self._recorded = (tag, state), pid, one_line(recorded)
        self._project(reading.shares_of(state))
        if recorded:
            self.message(recorded)
        for trial in state.finished[-EARLIER:]:
            self._print_row(trial)
        self._draw()

    @_guarded
    def header(self, lines: Sequence[tuple[str, str]]) -> None:
        table = Table.grid(padding=(0, GAP, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for label, text in lines:
            table.add_row(Text(one_line(label)), Text(one_line(text, 1000)))
        self._console.print(table)

    @_guarded
    def proposing(self, trial: Trial) -> None:
        super().proposing(trial)

    @_guarded
    def training(self, trial: Trial, training: Training, budget: str) -> None:
        super().training(trial, training, budget)

    @_guarded
    def heat(
        self,
        trial: Trial,
        number: int,
        budget: str,
        known: Sequence[float | None] = (),
        others: Sequence[int] = (),
    ) -> None:
        super().heat(trial, number, budget, known, others)

    @_guarded
    def show(self, live: Live) -> None:
        self._set(live)
        if self._redrawn is None:
            self._draw()

    @_guarded
    def heat_over(self, trial: Trial, heat: Heat) -> None:
        super().heat_over(trial, heat)

    @_guarded
    def trained(self, training: Training) -> None:
        super().trained(training)

    @_guarded
    def verdict(self, trial: Trial, state: State, prior: Mapping[str, float]) -> None:
        self._set(Live.of(stage="choosing"))
        self._project(prior)
        self._print_row(trial)
        if told := self._moved(prior, self._console.width - INDENT):
            text = Text(told, style="dim", no_wrap=True, overflow="ellipsis")
            text.highlight_regex("▲", "green")
            text.highlight_regex("▼", "red")
            self._console.print(Padding(text, (0, 0, 0, INDENT)))

    @_guarded
    def message(self, text: str) -> None:
        self._console.print(Text(one_line(text, 1000), style="yellow"))

    def close(self) -> None:
        self._over.set()
        while self._heeded:
            signal.signal(self._heeded.pop(), signal.SIG_DFL)
        self._erase()

    def _begin(self, live: Live, words: str) -> None:
        if self._has_failed:
            return super()._begin(live, words)
        self._set(live)
        self._draw()

    def _end(self, words: str, trial: int) -> None:
        if self._has_failed:
            return super()._end(words, trial)
        if trial == self._live.trial:
            self._set(self._judging())

    def _project(self, prior: Mapping[str, float]) -> None:
        """Look at the state again, which takes too long to be done at every redrawing."""
        if self._campaign is not None:
            tag, state = self._campaign
            last = state.finished[-1:]
            now = last[0].started + last[0].seconds if self._recorded and last else time.time()
            self._view = view(state, tag, prior, pid=self._pid, now=now)

    def _print_row(self, trial: Trial) -> None:
        width = self._console.width
        if not self._has_columns:
            self._has_columns = True
            self._console.print(heading(width), no_wrap=True)
        self._console.print(row(trial, width))

    @_guarded
    def _draw(self) -> None:
        """Begin to redraw the panel, or do it at once."""
        if self._redrawn is not None:
            self._redrawn.refresh()
            return
        self._redrawn = Redrawn(
            get_renderable=self._render,
            console=self._console,
            transient=True,
            auto_refresh=False,  # its own thread would die of an error, and say so on the screen
        )
        self._redrawn.start(refresh=True)
        self._heed_stops()
        if self._redrawer is None:
            self._redrawer = threading.Thread(target=self._redraw, daemon=True)
            self._redrawer.start()

    def _redraw(self) -> None:
        # What is played goes by fast, and disturbs no training.
        seconds = PLAYED_SECONDS if self._recorded else REDRAWN_SECONDS
        while not self._over.wait(seconds) and not self._has_failed:
            self._refresh()

    @_guarded
    def _refresh(self) -> None:
        if self._redrawn is None:
            return
        if self._console.width < self._width:  # the terminal has wrapped what was drawn
            self._erase()
            self._console.clear()
            for trial in self._campaign[1].finished[-EARLIER:] if self._campaign else ():
                self._print_row(trial)
        self._width = self._console.width
        self._draw()

    @_guarded
    def _erase(self) -> None:
        """Remove the panel, and show the cursor."""
        if self._redrawn is not None:
            self._redrawn.stop()
            self._redrawn = None

    def _render(self) -> RenderableType:
        if self._has_failed:
            return ""
        size = self._console.size
        # One column is left free: some terminals wrap a line that fills the last.
        width, height = max(10, size.width - 1), size.height
        lines = panel(self._live, self._view, self._recorded, time.time(), width, height)
        return Group(*lines[: max(1, height - 2)])

    def _heed_stops(self) -> None:
        """Ctrl-Z and ``kill`` leave the terminal as it was, and ``fg`` draws the panel again."""
        is_main = threading.current_thread() is threading.main_thread()
        for number in (signal.SIGTSTP, signal.SIGTERM):
            if is_main and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._stop_here)
                self._heeded.append(number)

    def _stop_here(self, number: int, frame: FrameType | None) -> None:
        is_drawn = self._redrawn is not None
        self._erase()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # here it stands still until SIGCONT, or ends
        signal.signal(number, self._stop_here)
        if is_drawn:
            self._draw()

    def _give_up(self, error: Exception) -> None:
        """Plain lines from here on."""
        if self._has_failed:
            return
        log.warning("the display has failed, and lines take its place: %r", error)
        self._has_failed = True
        redrawn, self._redrawn = self._redrawn, None
        with contextlib.suppress(Exception):
            if redrawn is not None:
                redrawn.stop()
            self._console.show_cursor(True)
