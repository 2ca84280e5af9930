"""Verify the gain of a campaign: baseline and champion in heats on fresh seeds and sealed text.

The seal is burnt at the attempt: an opening is on disk before anything reads the text, and one call
is one opening, whatever its seeds and commits. A clone without the journal goes by its notes.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean, median
from typing import Any

from agent.campaign import events, notes, reading
from agent.campaign.openings import add_opening, known_openings, noted_openings
from agent.campaign.reading import CampaignError
from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.campaign.store import Campaign
from agent.executors.base import Executor, Work
from agent.executors.choose import Opens
from agent.executors.local import Local
from agent.git.command import RepoError
from agent.git.repo import Repo
from agent.objective import Objective
from agent.report.display import Display
from agent.report.summary import standing
from agent.report.verification import one_line_of, opening_words
from agent.steps.fresh import Interval, fresh_heat, fresh_seed, interval, side_by_side
from agent.steps.gains import by_documents
from agent.steps.runtime import VERIFY_SHARE, Runtime
from agent.steps.stop import forget_request
from agent.steps.weigh import WRONG
from trainer.data.prepare import hold
from trainer.errors import UserError
from trainer.measure import MOST_TRAININGS, Measurement
from trainer.presets import parse_budget
from trainer.source import plain
from trainer.training.job import OnEvent
from trainer.training.standstill import since_boot

SEEDS, LEAST_SEEDS, LEAST_WITHIN, MOST_SEEDS = 5, 2, 8, 40
"""Usual; for an interval; for one of a given width, since few seeds can agree by chance; at all."""
Cost = Callable[[float, Measurement], float]
MARGIN = 1.2
"""A heat may take so many times as long as earlier ones."""


@dataclass(frozen=True)
class Asked:
    """How sure one wants to be: so many seeds, or as many as make an interval so narrow."""

    seeds: int | None = None
    within: float | None = None

    def __post_init__(self) -> None:
        if self.seeds is not None and self.within is not None:
            raise CampaignError("give --seeds N or --within BPB, not both")
        if self.seeds is not None and self.seeds < LEAST_SEEDS:
            raise CampaignError(f"--seeds {self.seeds}: at least {LEAST_SEEDS}, for an interval")
        if self.within is not None and not self.within > 0:
            raise CampaignError(f"--within {self.within:g}: bits per byte above 0, as in 0.001")

    def more(self, count: int, slots: int) -> range:
        """The seeds after ``count``, by number, that are done before the gain is looked at."""
        if self.within is None:
            return range(count, self.seeds or SEEDS)
        return range(count, min(max(count + slots, LEAST_WITHIN), MOST_SEEDS))

    def is_met(self, gains: Sequence[float]) -> bool:
        """Whether there are seeds enough; ``MOST_SEEDS`` always are."""
        if self.within is None or len(gains) < LEAST_WITHIN:
            return self.within is None and len(gains) >= (self.seeds or SEEDS)
        return len(gains) >= MOST_SEEDS or half_of(interval(gains)) <= self.within


def half_of(gain: Interval) -> float:
    return gain.high - gain.mean


@dataclass
class Keeps:
    """The kept trials of a campaign, to be trained again."""

    repo: Repo
    tag: str
    state: State
    campaign: Campaign | None
    """None in a clone, where what is found is only told."""
    display: Display
    stop: threading.Event
    executor: Executor
    """Where they are trained."""

    def __post_init__(self) -> None:
        self.kept = [trial for trial in self.state.real if trial.kept]
        """The baseline first."""
        self.objective = Objective.of(self.state.objective)
        self.folder = self.campaign.folder if self.campaign else None
        texts = (run.fingerprint.get("text", "") for t in self.kept for run in t.trainings)
        hold(next(texts, ""))

    def source(self, commit: str) -> str:
        return self.campaign.source(commit) if self.campaign else plain(self.repo.read_file(commit))

    def refuse_unfit(self, trial: Trial, source: str) -> None:
        """Train two steps of a file: what can fail, fails before anything is opened."""
        settings = {name: self.state.settings[name] for name in ("preset", "data", "isolation")}
        work = Work("check", (source,), settings)
        found = self.executor.run(work, on_event=self.display.event, cancel=self.stop)
        if not found.ok:
            raise CampaignError(
                f"the file of trial {trial.trial} ({trial.commit[:7]}) does not pass its check: "
                f"{found.status} ({found.reason}); nothing was opened"
            )

    def open_test(self, by: str, commits: Sequence[str]) -> None:
        """Count an opening, on disk when this returns; what a kill kept from the notes is added."""
        due, is_clone, baseline = [by], self.campaign is None, self.kept[0].commit
        if self.campaign is not None:
            self.campaign.record(events.Opened(by=by, commits=tuple(commits)))
            noted = noted_openings(self.repo, self.tag)
            own = [one for one in noted if not one["clone"] and one["on"] == baseline]
            due = self.state.openings[len(own) :]
        try:
            for words in due:
                add_opening(self.repo, self.tag, baseline, words, commits, clone=is_clone)
        except RepoError as error:
            if is_clone:
                raise
            self.display.message(f"no clone will know of this opening: {error}")

    def _hear_notes(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "note":
            self.display.event(event)

    def facts(self) -> dict[str, Any]:
        """What is told with all that is found: openings as far as they are known here, null trials,
        and the gain that is claimed."""
        is_clone = self.campaign is None
        openings, at_least = known_openings(self.repo, self.tag, self.state, is_clone=is_clone)
        nulls, gain = self.state.nulls, standing(self.state).gain
        return {
            "tag": self.tag,
            "objective": dict(self.state.objective),
            "summed": self.state.objectives,
            "opened": len(openings),
            "openings": openings,
            "opened_at_least": at_least,
            "nulls": len(nulls),
            "nulls_kept": sum(null.kept for null in nulls),
            "claimed_gain": around(gain.mean, gain.half) if gain else None,
        }

    def gather(
        self, files: Mapping[str, str], asked: Asked, **how: Any
    ) -> tuple[list[list[list[Measurement]]], list[float], dict[str, Any]]:
        """Heats of all files, which are given by name, on fresh seeds that no other call has. Files
        that do not fit into one heat take several; each begins with the last one's last file. On
        several devices there are several seeds at a time.

        Returns:
            The heats of each seed, its gain, and what is told of the seeds: how many, which, and
            what ended them, if that was not planned.

        Raises:
            UserError: a heat failed, or it was asked to stop, before there was an interval.
        """
        found: list[list[list[Measurement]]] = []
        step = MOST_TRAININGS - 1
        named, token = list(files.items()), secrets.token_hex(8)
        parts = [dict(named[at : at + step + 1]) for at in range(0, len(named) - 1, step)]
        how |= {"settings": self.state.settings, "cancel": self.stop, "executor": self.executor}
        gains, slots, failed = list[float](), max(1, self.executor.slots), list[UserError]()

        def heats_of(number: int) -> list[list[Measurement]]:
            self.display.message(f"seed {number + 1}, {len(files)} files")
            seed = fresh_seed(token, number)
            # Of several heats one is shown.
            hear: OnEvent = self._hear_notes if number % slots else self.display.event
            return [
                fresh_heat([*part.values()], seed, names=[*part], on_event=hear, **how)
                for part in parts
            ]

        while not (failed or asked.is_met(gains)):
            jobs = [partial(heats_of, number) for number in asked.more(len(found), slots)]
            for one in side_by_side(jobs, slots):
                failed.append(one) if isinstance(one, UserError) else found.append(one)
            if failed and len(found) < LEAST_SEEDS:
                raise failed[0]
            gains = [sum(steps_of(heats, self.objective.cost)) for heats in found]
        went: dict[str, Any] = {"ended": str(failed[0]) if failed else ""}
        if asked.within is not None:
            is_within = len(gains) >= LEAST_WITHIN and half_of(interval(gains)) <= asked.within
            went |= {"within": asked.within, "is_within": is_within}
        seeds = [heats[0][0].seed for heats in found]
        return found, gains, went | {"seeds": len(seeds), "seed_numbers": seeds}


def steps_of(heats: Sequence[Sequence[Measurement]], cost: Cost) -> list[float]:
    """The gain of each file over the one before it, within a heat."""
    pairs = (pair for heat in heats for pair in itertools.pairwise(heat))
    return [cost(one.val_bpb or 0.0, one) - cost(two.val_bpb or 0.0, two) for one, two in pairs]


def used(runs: Sequence[Measurement], objective: Objective) -> dict[str, Any]:
    """What the trainings of a file took: the most memory, and the mean of seconds and tokens;
    ``over`` says that it is more than the objective allows."""
    peak = max(run.peak_memory_mb for run in runs)
    means = {of: fmean(getattr(run, of) for run in runs) for of in ("train_seconds", "tokens")}
    return {"peak_memory_mb": peak, **means, "over": objective.over(peak)}


def around(mean: float | None, half: float | None) -> dict[str, float] | None:
    """A claimed gain as it is told; None where it is not known."""
    half = half or 0.0
    return None if mean is None else {"mean": mean, "low": mean - half, "high": mean + half}


def verify(keeps: Keeps, asked: Asked, by: str, *, each: bool = False) -> dict[str, Any]:
    """What ``verify --json`` prints; with nothing kept it opens nothing, and says so.

    Raises:
        UserError: a file is unfit or the opening cannot be recorded, so that nothing was opened; or
            what was trained then failed.
    """
    found: dict[str, Any] = {"split": "test", **keeps.facts(), "seeds": 0, "groups": [], "each": []}
    found |= dict.fromkeys(("baseline", "champion", "gain", "by_documents", "commits", "used"))
    found |= {name: keeps.state.settings[name] for name in ("budget", "preset")}
    if len(keeps.kept) < 2:
        return found | {"said": "nothing is kept beyond the baseline, so nothing is opened"}
    chosen = keeps.kept if each else [keeps.kept[0], keeps.kept[-1]]
    files = {f"trial {trial.trial}": keeps.source(trial.commit) for trial in chosen}
    for trial, source in zip(chosen, files.values(), strict=True):
        keeps.refuse_unfit(trial, source)
    commits = {"baseline": chosen[0].commit, "champion": chosen[-1].commit}
    found |= {"commits": commits, "trial": chosen[-1].trial}
    keeps.open_test(by, [trial.commit for trial in chosen])
    found |= keeps.facts()
    try:
        seeds, gains, went = keeps.gather(files, asked, split="test")
    except UserError as error:
        words = opening_words(found["openings"], found["opened_at_least"])
        raise CampaignError(f"{error}; {words}") from error
    gain = interval(gains)
    scores = [(heats[0][0].val_bpb or 0.0, heats[-1][-1].val_bpb or 0.0) for heats in seeds]
    baseline, champion = (asdict(interval(side)) for side in zip(*scores, strict=True))
    ends = {"baseline": [h[0][0] for h in seeds], "champion": [h[-1][-1] for h in seeds]}
    found["used"] = {name: used(runs, keeps.objective) for name, runs in ends.items()}
    found |= {"baseline": baseline, "champion": champion, "gain": asdict(gain), **went}
    texts = [[[of.documents for of in (h[0], h[-1])] for h in hs] for hs in seeds]
    found |= by_documents(texts)
    if each:
        steps = zip(*(steps_of(heats, keeps.objective.cost) for heats in seeds), strict=True)
        found["each"] = [
            {**told(trial), "gain": asdict(interval(step, 1 - WRONG / len(chosen[1:])))}
            for trial, step in zip(chosen[1:], steps, strict=True)
        ]
    if keeps.campaign is not None:
        keeps.campaign.record(events.Verified(found=found))
    return found


def told(trial: Trial) -> dict[str, Any]:
    """Which kept trial it is, and what it claims."""
    of = {"trial": trial.trial, "commit": trial.commit, "title": trial.title}
    return {**of, "claimed": around(trial.gain, trial.gain_half)}


def verify_at_end(runtime: Runtime) -> None:
    """Verify what a run has found, in the part of its hours that was kept for it."""
    campaign, settings, display = runtime.campaign, runtime.settings, runtime.display
    if not settings.verify or runtime.stop.is_set():
        return
    of, executor = (campaign.repo, campaign.tag, campaign.state), runtime.devices.executor
    keeps = Keeps(*of, campaign, display, runtime.stop, executor)
    verified, champion = keeps.state.verified.get("commits"), keeps.state.champion
    if champion and verified and verified["champion"] == champion.commit:
        return display.message("the champion is verified already: the test text is not opened")
    asked = Asked()
    if settings.hours is not None:
        whole = 3600 * settings.hours
        left = min(runtime.began + whole - since_boot(), VERIFY_SHARE * whole)
        fits = max(1, executor.slots) * int(left / (MARGIN * _heat_seconds(keeps)))
        if fits < LEAST_SEEDS:
            return display.message("no time is left for two heats on the test text: not opened")
        asked = Asked(min(fits, MOST_SEEDS))
    try:
        display.message(one_line_of(verify(keeps, asked, "run --verify")))
    except CampaignError as error:
        if not runtime.stop.is_set():
            raise
        display.message(str(error))


def _heat_seconds(keeps: Keeps) -> float:
    """What a heat of two files takes, by the campaign's last ones."""
    heats = [heat for trial in keeps.state.finished for heat in trial.heats]
    sides = [heat.candidate for heat in heats if heat.difference is not None]
    taken = [  # in the heat there may have been others
        2 * (side.train_seconds + side.score_seconds)
        if side.score_seconds is not None
        else side.wall_seconds
        for side in sides
    ]
    budget = parse_budget(str(keeps.state.settings["budget"])).seconds or 1.0
    return max(2 * budget, median(taken[-5:] or [0.0]))


@contextlib.contextmanager
def open_keeps(
    repo: Repo, tag: str, display: Display, stop: threading.Event, opens: Opens
) -> Iterator[Keeps]:
    """What a campaign has kept, for the only writer of its journal where there is one.

    Raises:
        UserError: no such campaign, here or in notes; a run is under way; a note is damaged; there
            is nothing to measure with.
    """
    noted = repo.refs(repo.notes_ref("").rstrip("/"))
    try:
        tag = tag or reading.last_active(repo)
    except CampaignError:
        tags = [ref.removeprefix(repo.notes_ref("")) for ref in noted]
        if len(tags) != 1:
            how = f"give one of --tag {', '.join(tags)}" if tags else f"in a clone: {notes.FETCH}"
            raise CampaignError(f"no campaign in {repo.root} has a journal; {how}") from None
        (tag,) = tags
    repo.check_tag(tag)
    if not reading.peek(repo, tag).settings and repo.notes_ref(tag) in noted:
        state = notes.state_from_notes(repo, tag)
        with _opened(opens, state) as executor:
            yield Keeps(repo, tag, state, None, display, stop, executor)
        return
    try:
        reading.load(repo, tag)
    except CampaignError as error:
        raise CampaignError(f"{error}; in a clone, get its notes: {notes.FETCH}") from None
    forget_request(repo, tag)
    with (
        contextlib.closing(Campaign(repo, tag)) as campaign,
        _opened(opens, campaign.state) as executor,
    ):
        yield Keeps(repo, tag, campaign.state, campaign, display, stop, executor)


def _opened(opens: Opens, state: State) -> contextlib.closing[Executor]:
    """Where nothing was kept nothing is measured, and no cluster needed."""
    has_kept = any(trial.kept for trial in state.real[1:])
    return contextlib.closing(opens(state.settings) if has_kept else Local())
