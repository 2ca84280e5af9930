"""Numbers and words as every display and report writes them.

Titles, words and reasons may come from a model or from a training's own output. They are untrusted
data, returned here as single printable lines. The caller still has to escape its own markup.
"""

from __future__ import annotations

from collections.abc import Mapping

from agent.campaign.records import Training, Trial
from trainer.untrusted import one_line


def interval(value: float | None, half: float | None, digits: int = 4) -> str:
    """``1.2711 ± 0.0021``; "" for what is not known."""
    if value is None:
        return ""
    return f"{value:.{digits}f}" + (f" ± {half:.{digits}f}" if half is not None else "")


def signed(value: float | None, digits: int = 4) -> str:
    """``+0.0123``; "" for what is not known, and no minus before zero."""
    return "" if value is None else f"{round(value, digits) + 0.0:+.{digits}f}"


def clock(seconds: float) -> str:
    """``1:04`` or ``2:01:04``."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def role(trial: Trial, training: Training) -> str:
    """Whose training this is, in words."""
    if trial.trial == 0:
        return "baseline"
    if training.role == "champion":
        return "champion, fresh seed"
    return "candidate, fresh seed" if trial.scores else "candidate"


def percents(prior: Mapping[str, float]) -> dict[str, int]:
    """Whole percents, the most probable category first."""
    ranked = sorted(prior.items(), key=lambda item: (-item[1], item[0]))
    return {one_line(name, 40): round(100 * p) for name, p in ranked}


def prior_line(
    shares: Mapping[str, int], before: Mapping[str, int], width: int, label: str = "prior  "
) -> str:
    """The most probable categories with their change since ``before``, in ``width`` characters."""
    if len(set(shares.values())) == 1:
        return f"{label}even over {len(shares)} categories"
    line = label
    for name, share in shares.items():
        change = share - before.get(name, share)
        part = f"{name} {share}%" + ("▲" if change > 0 else "▼" if change < 0 else "") + "  "
        if len(line) + len(part) + 1 > width:
            return line + "…"
        line += part
    return line.rstrip()
