"""The part of the screen that is drawn anew: what is done, both curves, and where it stands."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.text import Text

from agent.campaign.live import Curve, Live
from agent.report.text import BARS, clock, signed
from agent.report.view import Share, View
from trainer.untrusted import one_line

LABEL, GAP = 11, 2
LEAST_HEIGHT = 16
"""In fewer lines than this there is no room for the prior's bars and for what it costs."""
_BAR_WIDTH, _NAME_WIDTH, _PRIOR_LINES = 10, 15, 5
_OTHER_LINES = 21
"""Of a terminal, that the prior's bars leave: three trials, and the rest of the panel."""
_CLIPPED = 0.1
"""Of the budget: the losses before it are far above all others, and cut off in a picture."""


def panel(
    live: Live, view: View | None, recorded: str, now: float, width: int, height: int
) -> list[Text]:
    """Its lines, none wider than ``width``.

    Args:
        view: None as long as no campaign is known.
        now: Unix seconds.
    """
    lines = list(_now(live, now, width))
    if view is not None:
        lines += _standing(view)
        if height >= LEAST_HEIGHT:
            most = max(1, min(_PRIOR_LINES, height - _OTHER_LINES))
            lines += [*_bars(view.prior, width, most), *_cost(view)]
    if recorded:
        lines.insert(0, Text(one_line(recorded), style="bold magenta"))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
        line.truncate(width, overflow="ellipsis")
    return lines


def _now(live: Live, now: float, width: int) -> Iterable[Text]:
    """What is being done, for how long, and the curves of what is trained."""
    if live.trial is not None and live.title:
        number = (f"  {live.trial:>3}  ", "dim")
        yield Text.assemble(number, (f"{live.category:<{_NAME_WIDTH}}", ""), f"  {live.title}")
    doing = Text(live.words, style="cyan")
    yield _labelled("now", doing.append(f"  {clock(now - live.since)}", style="dim"))
    curves = {"champion": live.champion, "candidate": live.candidate}
    if not live.candidate and not live.champion:
        return
    if not live.champion:  # the baseline's
        curves = {"baseline": live.candidate}
    wide = max(10, min(60, width - LABEL - 12))
    pictures = sketch(list(curves.values()), wide)
    for (name, curve), picture in zip(curves.items(), pictures, strict=True):
        told = f"  {curve[-1][1]:.4f}" if curve else ""
        style = "green" if name == "candidate" else "blue"
        yield _labelled(name, Text.assemble((picture, style), (told, "dim")))
    if live.differences:
        told = f"differences so far: {' '.join(map(signed, live.differences))}"
        yield _labelled("", Text(told, style="dim"))


def sketch(curves: Sequence[Curve], width: int) -> list[str]:
    """Each curve as ``width`` bars on one scale; blanks where it has not come yet."""
    late = [mean for curve in curves for share, mean, _ in curve if share > _CLIPPED]
    known = late or [mean for curve in curves for _, mean, _ in curve]
    low, high = min(known, default=0.0), max(known, default=1.0)
    step = (high - low) / (len(BARS) - 1) or 1.0
    pictures = []
    for curve in curves:
        line, end = "", 0
        for share, mean, _ in curve:
            cells = math.floor(share * width + 1e-9)
            level = round(min(max((mean - low) / step, 0), len(BARS) - 1))
            line += BARS[level] * max(0, cells - end)
            end = max(end, cells)
        pictures.append(f"{line:<{width}}")
    return pictures


def _standing(view: View) -> Iterable[Text]:
    """Champion and gain, the trials, the false-keep meter."""
    found, run = view.found, view.run
    if found.best is None:
        yield _labelled("champion", Text("not measured yet", style="dim"))
    else:
        trial = found.keeps[-1].trial if found.keeps else 0
        yield _labelled("champion", Text(f"trial {trial}, {found.cost_name} {found.best.mean:.4f}"))
    if found.claimed is not None:
        sure = "not verified yet" if found.verified is None else found.verified.words
        style = "green" if found.claimed.is_sure else ""
        yield _labelled("gain", Text.assemble((found.claimed.words, style), f", {sure}"))
    counts = f"{run.kept} ✓ kept, {run.reverted} reverted (✗ lost, ~ undecided), "
    yield _labelled("trials", Text(f"{counts}{run.rejected} · rejected"))
    yield _labelled("false keeps", Text(view.belief.meter))


def _bars(prior: Sequence[Share], width: int, lines: int) -> Iterable[Text]:
    """The most probable categories, in columns, each with a bar as long as its probability."""
    each = _NAME_WIDTH + _BAR_WIDTH + 5 + GAP
    columns = max(1, (width - LABEL) // each)
    shown = prior[: columns * lines]
    most = max((share.now for share in shown), default=1.0)
    for start in range(0, len(shown), columns):
        line = Text()
        for share in shown[start : start + columns]:
            name = Text(share.category)
            name.truncate(_NAME_WIDTH, overflow="ellipsis", pad=True)
            line.append_text(name).append(" ")
            bar = _bar(share.now / most, _BAR_WIDTH)
            line.append(f"{bar:<{_BAR_WIDTH}}", style="magenta").append(f"{share.now:>4.0%}  ")
        yield _labelled("prior" if start == 0 else "", line)


def _bar(share: float, width: int) -> str:
    """As long as ``share`` of ``width``, in eighths of a column."""
    eighths = round(8 * width * share)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _cost(view: View) -> Iterable[Text]:
    yield _labelled("cost", Text(view.cost.words))
    if view.pace.words:
        yield _labelled("pace", Text(view.pace.words))


def _labelled(label: str, text: Text) -> Text:
    return Text.assemble((f"{label:<{LABEL}} ", "dim"), text)
