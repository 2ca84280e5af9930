"""What a verification and a transfer have found, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from agent.campaign.records import Trial
from agent.report.text import meter, plural, span
from trainer.untrusted import one_line

MOST_GROUPS = 5
"""That are named of those which fell; the JSON has all."""


def opening_words(openings: Sequence[str], at_least: bool = False) -> str:
    """How often the sealed text was opened, and by what."""
    if not openings:
        return "the test text was never opened" + (", as far as is known here" if at_least else "")
    counts = Counter(map(one_line, openings)).items()
    by = ", ".join(f"{words} ({count} times)" if count > 1 else words for words, count in counts)
    least = "at least " if at_least else ""
    return f"the test text was opened {least}{plural(len(openings), 'time')}: by {by}"


def one_line_of(found: Mapping[str, Any]) -> str:
    """A verification in one sentence, "" if there was none."""
    if not found.get("gain"):
        return str(found.get("said", ""))
    return (
        f"verified gain {span(found['gain'])} bits per byte of test text over "
        f"{plural(found['seeds'], 'seed')}, claimed {span(found['claimed_gain'])}{_ended(found)}"
    )


def verified_text(found: Mapping[str, Any]) -> str:
    """What ``verify`` prints, of a transfer too."""
    lines = [
        f"{one['label']}: {_told(one)} at {found['setting']}" for one in found.get("transfers", ())
    ]
    if "transfers" in found:
        lines.append("" if lines else "nothing is kept beyond the baseline")
    elif found["gain"] is None:
        lines.append(found["said"])
    else:
        lines.append(one_line_of(found))
        scores = [f"{name} {found[name]['mean']:.4f}" for name in ("baseline", "champion")]
        lines.append(f"  {', '.join(scores)}")
        if whole := found["by_documents"]:
            count = plural(whole["documents"], "document")
            lines.append(f"  by documents {span(whole)}: {whole['drawn']} drawn, {count}")
            lines.append(f"  {_fallen(found['groups'])}")
        lines += [f"  {_told(one)}" for one in found["each"]]
        if "within" in found:
            is_so = "is" if found["is_within"] else "is NOT"
            lines.append(f"  the interval over seeds {is_so} within ± {found['within']:g}")
    lines.append(f"  null trials: {meter(found['nulls'], found['nulls_kept'])}")
    lines.append(f"  {opening_words(found['openings'], found['opened_at_least'])}")
    return "\n".join(filter(None, lines))


def _fallen(groups: Sequence[Mapping[str, Any]]) -> str:
    """Which groups of documents the champion is worse on, worst first."""
    fell = [f"{one_line(of['group'], 60)} {span(of)}" for of in groups if of["mean"] < 0]
    more = f"; and {len(fell) - MOST_GROUPS} more" if len(fell) > MOST_GROUPS else ""
    named = f": {'; '.join(fell[:MOST_GROUPS])}{more}" if fell else ""
    return f"fell on {len(fell)} of {plural(len(groups), 'group')} of documents{named}"


def _told(one: Mapping[str, Any]) -> str:
    what = f"trial {one['trial']} {one['commit'][:7]} {one_line(one['title'])}"
    return f"{what}: {span(one['gain'])}, claimed {span(one['claimed'])}{_ended(one)}"


def _ended(one: Mapping[str, Any]) -> str:
    """What kept it from more seeds, which a gain over those that are left does not tell."""
    why = one.get("ended")
    return f"; ended after {plural(one['seeds'], 'seed')}: {one_line(why, 300)}" if why else ""


def transfer_words(trial: Trial) -> str:
    """Of each setting the last that was found; "" if there is none."""
    last = {one.setting: asdict(one) | {"mean": one.gain} for one in trial.transfers}
    return "; ".join(f"{one['label']} at {setting}: {span(one)}" for setting, one in last.items())
