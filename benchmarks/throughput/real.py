"""The same trials judged with one and with four candidates a heat, by real trainings of 5 s.

The edits are of the plain start and known from the landscape: every other one does nothing, the
rest are the best and the worst that were recorded. A round is all of them once with either width;
the two take turns, so that a change of the machine's pace meets both. Each heat is a line of the
file of readings, so that a run that was stopped goes on; what the judge makes of them follows from
these lines.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from agent.forecast import CHECKPOINTS, PARTS
from benchmarks.landscape import plan
from benchmarks.landscape.plan import Planned
from benchmarks.landscape.table import read_heats
from benchmarks.throughput.recorded import Ground, Known, Losses
from benchmarks.throughput.simulated import Heats, Lane, Outcome, Run
from trainer import measure

START, SECONDS = "plain", 5
WIDTHS = (1, 4)
TRIALS, FEW = 32, 2
ROUNDS = 3
"""The first was measured one width after the other."""
FIRST_SEED, SEEDS_A_ROUND = 7_000_000, 100_000
Reading = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A trial to make: what it trains, and what is known of it."""

    known: Known
    planned: Planned


def entries(number: int = 0) -> list[Entry]:
    """The trials of a round, in the order in which they are begun."""
    ground, planned = Ground(read_heats(), START), {one.name: one for one in plan.edits()}
    nulls = plan.nulls(START)
    edits = sorted((e for e in ground.edits if e.name in planned), key=lambda e: -e.gain)
    half = TRIALS // 4
    chosen = [Entry(known, planned[known.name]) for known in [*edits[:half], *edits[-half:]]]
    for n in range(TRIALS // 2):
        null = nulls[n % len(nulls)]
        kind = ground.null("structure" if null.other_seed else "numbers")
        chosen.append(Entry(kind, null))
    random.Random(f"throughput{_of(number)}").shuffle(chosen)
    return chosen


class RealHeats(Heats):
    """The judge's campaign over trainings instead of recorded luck; the champion never changes, so
    that each edit is worth what is known of it."""

    def __init__(
        self,
        width: int,
        done: Sequence[Reading],
        record: Callable[[Reading], None],
        trials: int = TRIALS,
        number: int = 0,
    ) -> None:
        """
        Args:
            done: heats that were trained before, in their order.
            record: gets each one that is trained now.
            number: of the round.
        """
        self._entries = entries(number)
        waiting = iter(self._entries)
        ground = Ground(read_heats(), START)
        dice = f"real {width}{_of(number)}"
        self.name = f"{width} a heat"
        super().__init__(
            ground, lambda _: next(waiting).known, trials, dice, width=width, anew=False
        )
        self._first_seed = FIRST_SEED + SEEDS_A_ROUND * number + 1000 * width
        self.outcomes_so_far: list[Outcome] = []
        self._done, self._record, self.seconds = iter(done), record, 0.0
        self._heat_number = 0

    def _train(self, lanes: Sequence[Lane]) -> list[Run]:
        trials = [lane.number for lane in lanes]
        reading = next(self._done, None)
        if reading is None:
            reading = self._measure(lanes)
            self._record(reading)
        if reading["trials"] != trials:
            raise SystemExit(
                f"error: heat {self._heat_number} was of trials {reading['trials']}, and is of "
                f"{trials} now: remove the lines of real trainings, to begin again"
            )
        self._heat_number += 1
        self.seconds += reading["seconds"]
        return [(share, difference) for share, difference in reading["runs"]]

    def _measure(self, lanes: Sequence[Lane]) -> Reading:
        chosen = [self._entries[lane.number].planned for lane in lanes]
        seed = self._first_seed + 2 * self._heat_number

        def watch(number: int, own: Losses, champion: Losses) -> str | None:
            parts = min(len(own), len(champion))
            lane = lanes[number - 1]
            if parts in CHECKPOINTS and self.is_hopeless(lane, champion, own, parts):
                return f"hopeless after {parts / PARTS:.0%}"
            return None

        began = time.monotonic()
        base, *measured = measure.heat(
            [plan.base(START), *(one.source for one in chosen)],
            seed=[seed, *(seed + one.other_seed for one in chosen)],
            budget=f"{SECONDS}s",
            preset=plan.PRESET,
            device="cpu",
            watch=watch,  # type: ignore[arg-type]
        )
        seconds = time.monotonic() - began
        runs: list[Run] = [
            (
                one.spent if one.status == "abandoned" else 1.0,
                base.val_bpb - one.val_bpb if base.val_bpb and one.val_bpb else None,
            )
            for one in measured
        ]
        return {
            "trials": [lane.number for lane in lanes],
            "runs": runs,
            "seconds": round(seconds, 3),
            "statuses": [base.status, *(one.status for one in measured)],
            "how": base.how,
        }


def simulated(campaigns: int) -> dict[str, Any]:
    """What these trials take on recorded luck, by width: mean, and SD between campaigns."""
    ground, found = Ground(read_heats(), START), dict[str, Any]()
    trials = [entry.known for entry in entries()]
    for width in WIDTHS:
        each = []
        for number in range(campaigns):
            waiting = iter(trials)
            dice = f"simulated {width} {number}"
            made = Heats(
                ground, lambda _, w=waiting: next(w), TRIALS, dice, width=width, anew=False
            )
            each.append((sum(outcome.heats for outcome in made.outcomes()), made.trainings))
        heats, trainings = zip(*each, strict=True)
        told = {"campaigns": campaigns, "heats_a_trial": round(fmean(heats) / TRIALS, 2)}
        told |= {"trainings": round(fmean(trainings), 1), "sd": round(stdev(trainings), 1)}
        found[f"{width} a heat"] = told
    return found


def in_turns(campaigns: Sequence[RealHeats]) -> None:
    """Bring all to their end; next is always the one that has come least far, by its verdicts."""
    under_way = [(campaign, campaign.heats()) for campaign in campaigns]
    while under_way:
        turn = min(under_way, key=lambda one: len(one[0].outcomes_so_far))
        campaign, heats = turn
        ended = next(heats, None)
        if ended is None:
            under_way.remove(turn)
        else:
            campaign.outcomes_so_far += ended


def told(campaign: RealHeats) -> dict[str, Any]:
    """What a finished campaign of real trainings comes to."""
    found = [(outcome.edit, outcome.kept) for outcome in campaign.outcomes_so_far]
    scales = {kind: noise.scale for kind, noise in campaign.noise.items()}
    better = [kept for edit, kept in found if edit.gain >= scales[edit.kind]]
    nulls = [kept for edit, kept in found if edit.name == "null"]
    return {
        "verdicts": len(found),
        "seconds": round(campaign.seconds, 1),
        "trainings": round(campaign.trainings, 1),
        "nulls": len(nulls),
        "nulls_kept": sum(nulls),
        "better": len(better),
        "better_kept": sum(better),
    }


def together(rounds: Iterable[Mapping[str, Mapping[str, float]]]) -> dict[str, Any]:
    """All rounds as one: of each width its counts and verdicts an hour, and how they compare."""
    found: dict[str, Any] = {}
    for widths in rounds:
        for name, counts in widths.items():
            own = found.setdefault(name, dict.fromkeys(counts, 0))
            own.update({what: round(own[what] + counts[what], 1) for what in counts})
    for own in found.values():
        own["verdicts_an_hour"] = round(3600 * own["verdicts"] / max(own["seconds"], 1e-3), 1)
    one, four = (own["verdicts_an_hour"] for own in found.values())
    return {**found, "times_one_a_heat": round(four / one, 3)}


def _of(number: int) -> str:
    """What names a round; nothing of the first."""
    return f" {number}" if number else ""
