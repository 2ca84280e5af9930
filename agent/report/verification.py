"""What a verification and a transfer have found, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from agent.campaign.openings import IN_A_CLONE
from agent.campaign.records import Trial
from agent.objective import GB, Objective, of_cost
from agent.report.text import meter, plural, span
from trainer.untrusted import one_line

MOST_GROUPS = 5
"""That are named of those which fell; the JSON has all."""
SAID = {"budget-bound": ", does not hold there; at home it was claimed, not measured again"}


def opening_words(openings: Sequence[str], at_least: bool = False) -> str:
    """How often the sealed text was opened, and by what."""
    if not openings:
        known = ", as far as is known here" if at_least else ""
        return f"the test text was never opened by this campaign{known}"
    counts = Counter(map(one_line, openings)).items()
    by = ", ".join(f"{words} ({count} times)" if count > 1 else words for words, count in counts)
    least = "at least " if at_least or any(w.endswith(IN_A_CLONE) for w in openings) else ""
    return f"the test text was opened {least}{plural(len(openings), 'time')}: by {by}"


def one_line_of(found: Mapping[str, Any], champion: str = "") -> str:
    """A verification in one sentence, "" if there was none; one of another than the ``champion``
    says so."""
    if not found.get("gain"):
        return str(found.get("said", ""))
    was = (found.get("commits") or {}).get("champion", champion)
    is_old = champion and was != champion
    stale = f" (of trial {found['trial']}; the champion is another now)" if is_old else ""
    return (
        f"verified gain {span(found['gain'])} bits per byte of test text over "
        f"{plural(found['seeds'], 'seed')}, claimed {span(found['claimed_gain'])}"
        f"{_ended(found)}{stale}{_by(found)}"
    )


def verified_text(found: Mapping[str, Any]) -> str:
    """What ``verify`` prints, of a transfer too."""
    lines = [
        f"{one['label']}: {_told(one)} at {found['setting']}{SAID.get(one['label'], '')}"
        for one in found.get("transfers", ())
    ]
    if "transfers" in found:
        lines.append(_by(found)[2:] if lines else "nothing is kept beyond the baseline")
    elif found["gain"] is None:
        lines.append(found["said"])
    else:
        lines.append(one_line_of(found))
        scores = [f"{name} {found[name]['mean']:.4f}" for name in ("baseline", "champion")]
        lines.append(f"  {', '.join(scores)}")
        lines += [f"  {name} {_used(of)}" for name, of in (found["used"] or {}).items()]
        if whole := found["by_documents"]:
            count = plural(whole["documents"], "document")
            of = ", val_bpb alone" if found["objective"] else ""
            lines.append(f"  by documents{of} {span(whole)}: {whole['drawn']} drawn, {count}")
            lines.append(f"  {_fallen(found['groups'])}")
        lines += [f"  {_told(one)}" for one in found["each"]]
        lines.append(f"  the interval over seeds{_within(found)}" if "within" in found else "")
    lines.append(f"  null trials: {meter(found['nulls'], found['nulls_kept'])}")
    lines.append(f"  {opening_words(found['openings'], found['opened_at_least'])}")
    return "\n".join(filter(None, lines))


def _fallen(groups: Sequence[Mapping[str, Any]]) -> str:
    """Which groups of documents the champion is surely worse on, worst first."""
    sure = [of for of in groups if of["high"] is not None and of["high"] < 0]
    lower = sum(of["mean"] < 0 for of in groups) - len(sure)
    fell = [f"{one_line(of['group'], 60)} {span(of)}" for of in sure]
    more = f"; and {len(fell) - MOST_GROUPS} more" if len(fell) > MOST_GROUPS else ""
    named = f": {'; '.join(fell[:MOST_GROUPS])}{more}" if fell else ""
    aside = f"; lower on average, not surely, on {lower}" if lower else ""
    return f"fell on {len(fell)} of {plural(len(groups), 'group')} of documents{named}{aside}"


def _within(found: Mapping[str, Any]) -> str:
    if "within" not in found:
        return ""
    return f" is{'' if found['is_within'] else ' NOT'} within ± {found['within']:g}"


def _told(one: Mapping[str, Any]) -> str:
    what = f"trial {one['trial']} {one['commit'][:7]} {one_line(one['title'])}"
    over = f"; it {one['used']['over']}" if one.get("used") and one["used"]["over"] else ""
    gain = f"{span(one['gain'])}{_within(one)}, claimed {span(one['claimed'])}"
    return f"{what}: {gain}{_ended(one)}{over}"


def _used(of: Mapping[str, Any]) -> str:
    """What a file's trainings took, and whether that is too much."""
    took = f"{of['peak_memory_mb'] / GB:.4g} GB, {of['train_seconds']:.1f} s, {of['tokens']:,.0f}"
    return f"{of['over'] or 'takes'} ({took} tokens)"


def _by(found: Mapping[str, Any]) -> str:
    """What the gains are gains of, where that is not val_bpb."""
    if not found.get("objective"):
        return ""
    by, claimed = Objective.of(found["objective"]).words(), found["summed"]
    own = Objective.of(of_cost(found["objective"])).words()
    apart = "" if claimed == [own] else f"; claimed by {'; then '.join(claimed)}: no one number"
    return f"; by {by}{apart}"


def _ended(one: Mapping[str, Any]) -> str:
    """What kept it from more seeds, which a gain over those that are left does not tell."""
    why = one.get("ended")
    return f"; ended after {plural(one['seeds'], 'seed')}: {one_line(why, 300)}" if why else ""


def transfer_words(trial: Trial) -> str:
    """Of each setting the last that was found; "" if there is none."""
    last = {one.setting: asdict(one) | {"mean": one.gain} for one in trial.transfers}
    return "; ".join(f"{one['label']} at {setting}: {span(one)}" for setting, one in last.items())
