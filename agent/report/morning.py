"""The morning screen: a campaign on one screen, as ``status`` and the end of a run print it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from agent.report.columns import cut, hung
from agent.report.text import (
    clock,
    noise_words,
    out_of_ideas,
    percents,
    plural,
    prior_line,
    signed,
    sparks,
)
from agent.report.throughput import device_words
from agent.report.view import Advice, Keep, NearMiss, View

HEIGHT = 40
"""Lines at most; what does not fit is shortened."""
LABEL = 10
KEEPS, EXHAUSTED, ADVICE = 5, 3, 3
"""So many at most; other commands show all."""


def lines(shown: View, status: Mapping[str, Any], columns: int) -> list[Text]:
    """The screen.

    Args:
        status: what ``status --json`` prints of the same moment.
    """
    whole = list(_lines(shown, status, columns, most=2))
    return whole if len(whole) <= HEIGHT else list(_lines(shown, status, columns, most=1))


def _lines(shown: View, status: Mapping[str, Any], columns: int, most: int) -> Iterator[Text]:
    """Each item in at most so many lines."""
    run, found, room = shown.run, shown.found, columns - LABEL

    def item(label: str, text: str, style: str = "") -> Iterator[Text]:
        if not text:
            return
        told = hung(f"{label:<{LABEL}}", text, columns, style)
        if len(told) > most:
            told[most - 1] = cut(told[most - 1].append(" …"), columns)
        yield from told[:most]

    yield from item("campaign", f"{run.tag}, {run.state}", "bold")
    yield from item("", shown.now.words)
    by = f"{run.preset}, {run.budget} a training on {run.data}, keep {run.keep}"
    yield from item("", f"{by}; {run.proposer}, model {run.llm or 'none'}")
    yield from item("objective", run.objective)
    for note in shown.notes:
        yield from item("note", note, "yellow")
    yield Text()
    checked = found.verified if found.verified and found.verified.is_of_champion else None
    is_real = checked is not None and checked.gain.is_sure
    yield from item("gain", found.verified_words, "green" if is_real else "bold")
    yield from item("", _claimed(shown))
    yield from item("", found.summed)
    apart = f"; {plural(shown.belief.nulls, 'null trial')} apart" if shown.belief.nulls else ""
    counts = f"{run.kept} kept, {run.reverted} reverted, {run.rejected} rejected{apart}"
    yield from item("trials", f"{run.trials}: {counts}")
    shows = sorted(found.keeps, key=lambda keep: -(keep.gain.mean if keep.gain else 0.0))[:KEEPS]
    for n, keep in enumerate(sorted(shows, key=lambda keep: keep.trial)):
        yield from item("" if n else "kept", _sentence(keep, most), "green")
    if more := len(found.keeps) - len(shows):
        yield from item("", f"and {more} more: python -m agent log --tag {run.tag} --verdict keep")
    for n, miss in enumerate(found.near_misses):
        yield from item("" if n else "near", _sentence(miss, most))
    gone = out_of_ideas(status)
    for n, words in enumerate([*gone[: EXHAUSTED - 1], *gone[EXHAUSTED - 1 :][-1:]]):
        yield from item("" if n else "exhausted", words)
    if not gone:
        yield from item("exhausted", "no category, as far as a model has said")
    yield from item("luck", f"false-keep meter: {shown.belief.meter}")
    yield from item("noise", noise_words(shown.belief.noise))
    yield from item("test", shown.belief.openings)
    yield from item("cost", _cost(shown, status["cached_share"]))
    pace = [shown.pace.words, device_words(status["throughput"])]
    yield from item("pace", "; ".join(filter(None, pace)))
    yield from item("prior", prior_line(percents(status["prior"]), {}, room))
    yield from item("", over_time(status["prior_over_time"], room))
    yield from item("champion", run.champion or "none yet")
    proposers = ", ".join(f"{who} {n}" for who, n in status["proposers"].items())
    yield from item("proposed", proposers)
    waiting = status["ideas_waiting"]
    yield from item("waiting", f"{plural(waiting, 'idea')} of a reply" if waiting else "")
    yield from item("notebook", status["notebook"] or "")
    if shown.next:
        yield Text()
    for n, advice in enumerate(shown.next[:ADVICE]):
        for part, words in enumerate(_advice(advice, room)):
            yield from item("" if n or part else "next", words)


def _claimed(shown: View) -> str:
    found = shown.found
    if found.baseline is None or found.best is None:
        return "not measured yet"
    if found.claimed is None:
        return f"baseline {found.baseline.mean:.4f} {found.cost_name}, which is the champion"
    scores = f"baseline {found.baseline.mean:.4f}, champion {found.best.mean:.4f}"
    return f"claimed {found.claimed.words}: {found.cost_name} of the {scores}"


def _sentence(one: Keep | NearMiss, most: int) -> str:
    """The gain comes first where the end may be cut off."""
    if most > 1 or one.gain is None:
        return one.sentence
    return f"trial {one.trial}, {signed(one.gain.mean)} ({one.category}) {one.title}"


def _cost(shown: View, cached: float | None) -> str:
    cost = shown.cost
    told = [cost.words]
    told += [f"{cached:.0%} of the prompts from a cache"] if cached is not None else []
    if cost.per_gain is not None:
        told.append(f"${cost.per_gain:.2f} for each 0.01 bits per byte")
    return f"{', '.join(told)}; {clock(cost.trained_seconds)} of device time"


def over_time(course: list[Mapping[str, Any]], room: int) -> str:
    """The prior's course for the most probable categories, as many as have room; "" without one."""
    if len(course) < 2:
        return ""
    line, bars = f"trials {course[0]['trial']} to {course[-1]['trial']}:", sparks(course)
    for name in percents(course[-1]["prior"]):
        more = f"  {bars[name]} {name}"
        line += more if len(line) + len(more) <= room else ""
    return line


def _advice(advice: Advice, room: int) -> list[str]:
    """Words and command, which stays in one piece."""
    if not advice.command:
        return [advice.words]
    line = f"{advice.words}: {advice.command}"
    return [line] if len(line) <= room else [f"{advice.words}:", advice.command]
