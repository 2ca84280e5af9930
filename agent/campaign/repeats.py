"""Which edits are not tried again, by what they change; see ``edits.changes`` for hunks.

An edit that gives the same file as a past edit is not tried again, nor is an edit with:

- the same hunks as a trial that failed or that lost significantly (the 95 % interval of its gain
  ends below 0). The champion may be another one, but it is the same at this place;
- all hunks of a trial that lost significantly, and others, if that trial changed code. The others
  can be tried without the lost ones. Numbers may be combined freely, since two of them often help
  only together; so may the hunks of a failed trial, since the new ones may fix it.

An edit whose result was within noise may be tried again on another champion. An edit that was never
judged may be tried again at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from agent.campaign.compared import finding
from agent.campaign.records import Trial
from agent.edits.checks import Rejected


def refuse_repeat(changes: Sequence[str], trials: Sequence[Trial]) -> None:
    """
    Raises:
        Rejected: these hunks were tried, and failed or lost.
    """
    if past := lost_before(changes, trials):
        how = "lost by more than luck explains" if past.status == "ok" else f"was {past.status}"
        raise Rejected(
            f"already reverted: all that trial {past.trial} changed comes back as it was "
            f"({past.title}), and it {how}; leave it out, or change what it does"
        )


def lost_before(changes: Sequence[str], trials: Sequence[Trial]) -> Trial | None:
    """The latest trial that forbids another try of ``changes``, None if there is none."""
    proposed = Counter(changes)
    for trial in reversed(trials):
        if trial.verdict != "revert" or trial.status == "unjudged" or not trial.hunks:
            continue
        failed = trial.status not in ("ok", "abandoned")
        lost = finding(trial) == "lost"
        if not (failed or lost):
            continue
        past = Counter(trial.hunks)
        if (failed or lost) and past == proposed:
            return trial
        if lost and past <= proposed and any(hunk.startswith("code:") for hunk in past):
            return trial
    return None
