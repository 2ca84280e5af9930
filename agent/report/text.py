"""Numbers and words as every display and report writes them.

Titles, words and reasons may come from a model or from a training's own output. They are untrusted
data, returned here as single printable lines. The caller still has to escape its own markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.campaign.records import Heat, Training, Trial
from agent.judge import most_false_keeps
from agent.objective import GB
from trainer.untrusted import one_line

BARS = "▁▂▃▄▅▆▇█"


def interval(value: float | None, half: float | None, digits: int = 4) -> str:
    """``1.2711 ± 0.0021``; "" for what is not known."""
    if value is None:
        return ""
    return f"{value:.{digits}f}" + (f" ± {half:.{digits}f}" if half else "")


def signed(value: float | None, digits: int = 4) -> str:
    """``+0.0123``; "" for what is not known, and no minus before zero."""
    return "" if value is None else f"{round(value, digits) + 0.0:+.{digits}f}"


def span(found: Mapping[str, Any] | None) -> str:
    """``+0.0123 (+0.0100 to +0.0146)``, of ``mean``, ``low`` and ``high``."""
    if found is None:
        return "not measured"
    if found["low"] is None:
        return f"{signed(found['mean'])} (too few for an interval)"
    return f"{signed(found['mean'])} ({signed(found['low'])} to {signed(found['high'])})"


def clock(seconds: float) -> str:
    """``1:04`` or ``2:01:04``."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def noise_words(noise: Mapping[str, float]) -> str:
    """The noise of both kinds of edit."""
    return f"{noise['numbers']:.4f} for numbers, {noise['structure']:.4f} for structure"


def meter(nulls: int, kept: int) -> str:
    """How many null trials were kept, and what that says."""
    if not nulls:
        return "no null trial yet"
    most = most_false_keeps(nulls, kept)
    return f"{kept} of {plural(nulls, 'null')} kept (below {100 * most:.0f} % with 95 % confidence)"


def heat_words(heat: Heat) -> str:
    """What came of a heat: the difference, or why there is none."""
    how = f" ({heat.candidate.how})" if heat.candidate.how else ""
    for run in (heat.champion, heat.candidate):
        if run.status not in ("ok", "abandoned"):
            reason = f" ({one_line(run.reason)})" if run.reason else ""
            return f"{run.role} {run.status}{reason}{how}"
    if heat.candidate.status == "abandoned":
        return f"{one_line(heat.candidate.reason)}, ended{how}"
    of = "" if heat.objective.is_score else " in cost"
    told = "not counted" if heat.difference is None else f"difference {signed(heat.difference)}{of}"
    sides = [
        f"{run.role} {run.val_bpb:.4f}{_took(heat, run)}" for run in (heat.champion, heat.candidate)
    ]
    return f"{told}: {', '.join(sides)}{how}, {clock(heat.candidate.wall_seconds)}"


def _took(heat: Heat, run: Training) -> str:
    """What a side's cost is made of besides its score; "" where that is all."""
    if heat.objective.is_score:
        return ""
    seconds, memory = f"{run.train_seconds:.1f} s", f"{run.peak_memory_mb / GB:.3g} GB"
    return f" ({run.spent:.0%} of the budget, {seconds}, {memory})"


def percents(prior: Mapping[str, float]) -> dict[str, int]:
    """Whole percents, the most probable category first."""
    ranked = sorted(prior.items(), key=lambda item: (-item[1], item[0]))
    return {one_line(name, 40): round(100 * p) for name, p in ranked}


def nothing_left(category: str, reason: str) -> str:
    """What a model says of a category, for all places that show it."""
    return one_line(f"nothing left in {category}, it is said: {reason}", 400)


def proposer_words(trial: Trial) -> str:
    """Who proposed it, from which trials, and with which chance ``hybrid`` drew who proposed."""
    told, of = one_line(trial.proposer), trial.data.get("of", ())
    told += f", of trial{'s' if len(of) > 1 else ''} {' and '.join(map(str, of))}" if of else ""
    chance = trial.data.get("chances", {}).get(trial.proposer)
    return f"{told}, drawn with {chance:.0%}" if chance is not None else told


def out_of_ideas(status: Mapping[str, Any]) -> list[str]:
    """Where a model says that nothing is left, and where no proposer has an untried idea."""
    said = [nothing_left(*one) for one in status["exhausted"].items()]
    without = ", ".join(status["without_ideas"])
    return [*said, *([f"no untried idea, or closed: {without}"] if without else [])]


def sparks(course: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By category: its probability over the trials of ``prior_course``, as small bars."""
    shares = [row["prior"] for row in course]
    most = max((share for row in shares for share in row.values()), default=1.0)
    return {
        one_line(name, 40): "".join(BARS[round(7 * row.get(name, 0.0) / most)] for row in shares)
        for name in (shares[-1] if shares else ())
    }


def prior_line(shares: Mapping[str, int], before: Mapping[str, int], width: int) -> str:
    """The most probable categories with their change since ``before``, in ``width`` characters."""
    if len(set(shares.values())) == 1 < len(shares):
        return f"even over {len(shares)} categories"
    line = ""
    for name, share in shares.items():
        change = share - before.get(name, share)
        part = f"{name} {share}%" + ("▲" if change > 0 else "▼" if change < 0 else "") + "  "
        if len(line) + len(part) + 1 > width:
            return line + "…"
        line += part
    return line.rstrip()
