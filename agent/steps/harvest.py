"""Harvest a campaign: which kept changes carry the gain, and a branch for each that does.

Each is measured alone on the baseline, and the champion without it, in heats on fresh seeds and on
validation text. A heat is in the journal when it is over, so that another harvest of the same
champion goes on from there.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

from agent.campaign import reading
from agent.campaign.events import Harvested
from agent.campaign.reading import CampaignError
from agent.campaign.records import Trial
from agent.campaign.store import Campaign
from agent.campaign.submissions import Submission, submit
from agent.edits.changes import fingerprint
from agent.edits.facts import edit_facts
from agent.executors.base import Executor, Work
from agent.executors.choose import Opens
from agent.git.command import RepoError
from agent.git.merge import merge
from agent.git.message import commit_message
from agent.git.repo import Repo
from agent.git.worktree import checked_out, harvest_ref
from agent.objective import Objective, of_cost
from agent.report.display import Display
from agent.report.text import signed, span
from agent.steps.fresh import fresh_heat, fresh_seed, side_by_side
from agent.steps.machine import kept_awake
from agent.steps.stop import forget_request, heeding
from agent.steps.weigh import branch_name, estimate, weigh
from trainer.errors import UserError
from trainer.measure import MOST_TRAININGS
from trainer.source import in_form_of, plain

BUDGET, *SHARED = ("budget", "preset", "data", "isolation")
TOLD = ("trial", "category", "title", "hypothesis", "commit", "gain", "gain_half")
MACHINE = {"processor": "{}", "device_name": "{}", "threads": "{} threads", "torch": "torch {}"}
BETWEEN = "\x1f\n"
"""A line that no train.py has."""
STOPPING = "asked to stop: the heat under way is dropped; those before it are kept"


@dataclass(frozen=True)
class Keep:
    """A kept trial, and the files that its change is in; None for one that does not run."""

    trial: Trial
    own: str
    alone: str | None
    without: str | None
    built: str
    """The baseline with the change, and with those that it needs."""
    needs: tuple[int, ...]
    notes: tuple[str, ...]


def harvest_campaign(
    repo: Repo, tag: str, seeds: int, display: Display, opens: Opens
) -> dict[str, Any]:
    """What ``harvest --json`` prints; ``keeps`` is empty if nothing was kept.

    Raises:
        UserError: a run is under way, there is nothing to measure with, a heat failed, or it was
            asked to stop.
    """
    if (pid := reading.running(repo, tag)) is not None:
        raise CampaignError(f"campaign {tag} is running (process {pid}): harvest when it is over")
    if not any(trial.kept for trial in reading.load(repo, tag).real[1:]):
        return {"tag": tag, "keeps": [], "said": [f"campaign {tag} has kept nothing to harvest"]}
    forget_request(repo, tag)
    stop = threading.Event()
    with (
        kept_awake(),
        closing(Campaign(repo, tag)) as campaign,
        closing(opens(campaign.state.settings)) as executor,
        heeding(stop, lambda _: display.message(STOPPING), campaign.folder),
    ):
        return _Harvest(campaign, display, stop, executor).run(seeds)


class _Harvest:
    def __init__(
        self, campaign: Campaign, display: Display, stop: threading.Event, executor: Executor
    ) -> None:
        self.campaign, self.display, self.stop = campaign, display, stop
        self.executor, self.writes = executor, threading.Lock()
        self.repo, self.state = campaign.repo, campaign.state
        self.kept = [trial for trial in self.state.real if trial.kept]
        commits = {commit for trial in self.kept for commit in (trial.commit, trial.parent)}
        self.texts = {commit: campaign.source(commit) for commit in commits}
        self.baseline, *_, self.champion = (self.texts[trial.commit] for trial in self.kept)
        self.settings = {name: self.state.settings[name] for name in (BUDGET, *SHARED)}
        self.name = functools.cache(fingerprint)
        self.before = len(self.state.harvested.get("pairs", ()))
        self.troubles = dict.fromkeys(self.texts.values(), "")
        """By file: why it does not run."""
        self.said: list[str] = []

    def run(self, count: int) -> dict[str, Any]:
        base, champion = str(self.state.settings["base"]), self.kept[-1].commit
        seeds = [fresh_seed(base, champion, k) for k in range(count)]
        keeps = self._keeps()
        self._measure(keeps, seeds)
        machines = {p["machine"] for p in self.state.harvested["pairs"] if p["seed"] in seeds}
        found = {
            **{"tag": self.campaign.tag, "base": base, "champion": champion, "split": "val"},
            **{**self.settings, "machine": "; ".join(sorted(machines)), "seeds": seeds},
            "intervals": sum(bool(keep.alone) + bool(keep.without) for keep in keeps),
            "starts_as_base": self.baseline == plain(self.repo.read_file(base)),
            **{"start": self.state.settings.get("start", ""), "baseline": self.kept[0].commit},
        }
        found["keeps"] = [self._row(keep, found) for keep in keeps]
        names = [row["branch"] for row in found["keeps"]]
        for ref in self.repo.refs(harvest_ref(self.campaign.tag)):
            if (name := ref.removeprefix("refs/heads/")) not in names:
                self._say(
                    f"{name} is of an earlier harvest, or yours: it is none that survives now"
                )
        self.campaign.record(Harvested(found={"result": found}))
        return {**found, "said": self.said}

    def _say(self, words: str) -> None:
        self.said.append(words)
        self.display.message(words)

    def _keeps(self) -> list[Keep]:
        found: list[Keep] = []
        for trial in self.kept[1:]:
            self.display.message(f"trial {trial.trial}: its change is merged and checked")
            own, parent = self.texts[trial.commit], self.texts[trial.parent]
            notes = ["it was kept because it is shorter"] if trial.tie else []
            alone, why = self._merged(self.baseline, parent, own)
            built, needs = (alone, ()) if alone else self._on_earlier(found, parent, own)
            if alone is None:
                notes.append(f"alone on the base it {why}: it needs {named(needs)}")
            without, why = self._merged(self.champion, own, parent)
            if without is None:
                notes.append(f"taken out of the champion it {why}")
            found.append(Keep(trial, own, alone, without, built, needs, tuple(notes)))
            for note in notes:
                self._say(f"trial {trial.trial}: {note}")
        return found

    def _on_earlier(
        self, earlier: Sequence[Keep], parent: str, own: str
    ) -> tuple[str, tuple[int, ...]]:
        """The change on the first earlier one with which it runs, else on the fewest first ones."""
        numbers = tuple(keep.trial.trial for keep in earlier)
        each = [(keep.built, (*keep.needs, keep.trial.trial)) for keep in earlier]
        each += [(keep.own, numbers[: n + 1]) for n, keep in enumerate(earlier)]
        found = ((self._merged(onto, parent, own)[0], needs) for onto, needs in each)
        return next(((text, needs) for text, needs in found if text is not None), (own, numbers))

    def _merged(self, onto: str, base: str, changed: str) -> tuple[str | None, str]:
        """``onto`` with a change; or None, and why there is no such file that runs."""
        text, conflicts = merge_beside(onto, base, changed)
        if conflicts or text.rstrip() == onto.rstrip():
            return None, f"is in conflict ({conflicts})" if conflicts else "is nothing"
        if text not in self.troubles:
            shared = {name: self.settings[name] for name in SHARED}
            work = Work("check", (text,), shared)
            checked = self.executor.run(work, on_event=self.display.event, cancel=self.stop)
            if self.stop.is_set():
                raise CampaignError("asked to stop before the first heat")
            self.troubles[text] = "" if checked.ok else f"does not run ({checked.reason})"
        return (None if self.troubles[text] else text), self.troubles[text]

    def _measure(self, keeps: Sequence[Keep], seeds: Sequence[int]) -> None:
        """What is not measured yet; a file that fails is tried again by the next harvest only."""
        rounds = (
            (self.baseline, [keep.alone for keep in keeps if keep.alone]),
            (self.champion, [keep.without for keep in keeps if keep.without]),
        )
        room = MOST_TRAININGS - 1
        trainings = sum(1 + len(others) for _, others in rounds)
        self.display.message(f"{len(seeds)} times {trainings} trainings of {self.settings[BUDGET]}")
        slots = max(1, self.executor.slots)

        def measure(number: int, seed: int) -> None:
            for reference, others in rounds:
                left = [
                    text
                    for text in dict.fromkeys(others)
                    if not self._differences(reference, text, [seed])
                    and str not in map(type, self._differences(reference, text, seeds))
                ]
                for n in range(0, len(left), room):
                    self._heat(reference, left[n : n + room], seed, (number - 1) % slots == 0)
            self.display.message(f"seed {number} of {len(seeds)} is measured")

        jobs = [functools.partial(measure, *one) for one in enumerate(seeds, 1)]
        for failed in side_by_side(jobs, slots):
            if isinstance(failed, UserError):
                raise failed

    def _heat(self, reference: str, others: Sequence[str], seed: int, is_shown: bool) -> None:
        def hear(event: Mapping[str, Any]) -> None:  # the display knows one heat, of two only
            if is_shown or event["event"] == "note":
                self.display.event({name: of for name, of in event.items() if name != "training"})

        names = ["the baseline" if reference == self.baseline else "the champion"]
        how: Any = {"names": names, "settings": self.settings, "cancel": self.stop}
        how["executor"] = self.executor
        first, *rest = fresh_heat([reference, *others], seed, may_fail=True, on_event=hear, **how)
        facts = [(words, first.fingerprint.get(name)) for name, words in MACHINE.items()]
        machine = ", ".join(words.format(fact) for words, fact in facts if fact)
        pairs = []
        for text, one in zip(others, rest, strict=True):
            found: float | str = f"{one.status} ({one.reason})"
            if one.val_bpb is not None and first.val_bpb is not None:
                cost = Objective.of(self.state.objective).cost
                found = cost(first.val_bpb, first) - cost(one.val_bpb, one)
            pair = {"seed": seed, "first": self.name(reference), "second": self.name(text)}
            pair["objective"] = of_cost(self.state.objective)
            pairs.append({**pair, "difference": found, "machine": machine})
        with self.writes:  # several seeds may be measured at once
            self.campaign.record(Harvested(found={"pairs": pairs}))

    def _differences(self, first: str, second: str, seeds: Sequence[int]) -> list[float | str]:
        """First minus second cost of the heats that are over; words of what failed now."""
        wanted, found = [self.name(first), self.name(second)], []
        for number, pair in enumerate(self.state.harvested.get("pairs", ())):
            own, value = [pair["first"], pair["second"]], pair["difference"]
            counts = number >= self.before or not isinstance(value, str)
            counts &= pair.get("objective", {}) == of_cost(self.state.objective)
            if counts and pair["seed"] in seeds and sorted(own) == sorted(wanted):
                found.append(value if own == wanted or isinstance(value, str) else -value)
        return found

    def _row(self, keep: Keep, found: Mapping[str, Any]) -> dict[str, Any]:
        """What is told of a kept change, after what has to be done about it."""
        seeds, notes, intervals = found["seeds"], list(keep.notes), []
        pairs = (self.baseline, keep.alone), (keep.without, self.champion)
        for what, (first, second) in zip(("alone", "left out"), pairs, strict=True):
            values = self._differences(first, second, seeds) if first and second else []
            intervals.append(estimate(values, found["intervals"]))
            notes += [f"{what} it {value}" for value in values if isinstance(value, str)]
            if what == "alone" and str in map(type, values):
                order = [trial.trial for trial in self.kept]
                earlier = order[1 : order.index(keep.trial.trial)]
                keep = replace(keep, built=keep.own, needs=tuple(earlier))
        claimed = keep.trial.gain if keep.trial.holds_by(self.state.objective) else None
        label, why = weigh(claimed or 0.0, intervals[0], intervals[1], keep.needs)
        alone, left_out = (asdict(one) if one else None for one in intervals)
        row = {name: getattr(keep.trial, name) for name in TOLD}
        row |= {"label": label, "words": f"{label}: {why}", "needs": list(keep.needs)}
        row |= {"alone": alone, "left_out": left_out, "notes": notes, "branch": "", "made": ""}
        if label in ("carries", "only with"):
            row |= self._branch(keep, row, found)
        elif not keep.without or not left_out or keep.trial.tie:
            return row
        elif label == "no longer" or left_out["mean"] <= 0:  # a trial will tell
            self._offer(keep.trial, keep.without, left_out)
        return row

    def _branch(
        self, keep: Keep, row: Mapping[str, Any], found: Mapping[str, Any]
    ) -> dict[str, str]:
        """Bring the change's branch to one commit on the user's, with its numbers; the same ones
        give the same hash. One that is not the harvest's own any more is left alone."""
        trial, original = keep.trial, self.repo.read_file(found["base"])
        merged, conflicts = merge_beside(plain(original), self.baseline, keep.built)
        whole = "the constants of the preset" if conflicts else ""
        if found["start"]:  # the base's own train.py was never measured
            whole = f"all of {found['start']}, from which the campaign started"
        text = in_form_of(original, keep.built if whole else merged)
        also = f"Holds the change of {named(keep.needs)}, too." if keep.needs else ""
        also += f" Holds {whole}, too." if whole else ""
        trailers = {
            "Harvest": row["words"],
            "Trial": f"{trial.trial} of {found['tag']}, kept as {trial.commit}",
            "Claimed-Gain": signed(trial.gain, 6),
            "Alone": span(row["alone"]),
            "Left-Out": span(row["left_out"]),
            "Seeds": " ".join(map(str, found["seeds"])),
            "Measured": ", ".join(found[name] for name in (BUDGET, *SHARED[:2], "machine")),
        }
        body = f"{trial.hypothesis}\n\n{also}"
        message = commit_message(trial.category, trial.title, None, None, None, trailers, body)
        commit = self.repo.commit_file(found["base"], text, message, trial.started)
        ref = harvest_ref(found["tag"], branch_name(trial.trial, trial.title))
        name, made = ref.removeprefix("refs/heads/"), self.state.harvested.get("made", {})
        there, taken = self.repo.refs(ref).get(ref), ref in checked_out(self.repo)
        own = made.get(ref, [])
        if there != commit and (taken or there not in (None, *own)):
            why = "is checked out" if taken else "is not as a harvest made it"
            how = f"git branch -m {name} NEW, then harvest again"
            self._say(f"{name} {why}, and left alone; to have {commit[:12]} there: {how}")
        elif there != commit:
            self.campaign.record(Harvested(found={"made": {**made, ref: [*own, commit]}}))
            try:
                self.repo.update_refs([(ref, commit, there)])
            except RepoError as error:
                self._say(f"{name} could not be made: {error}")
        return {"branch": name, "made": commit}

    def _offer(self, trial: Trial, without: str, lost: Mapping[str, float]) -> None:
        """Hand the champion without what seems not to carry any more to the loop, once."""
        offered, offer = (
            self.state.harvested.get("offered", []),
            [self.kept[-1].commit, trial.trial],
        )
        past = [one for one in self.state.trials if one.holds_by(self.state.objective)]
        tried = {name for one in past for name in one.tried}
        if self.name(without) in tried:  # as without the last one kept; the loop would refuse it
            return self._say(f"the program without trial {trial.trial} was tried before: no offer")
        if offer in offered:
            return
        number, shorter = trial.trial, edit_facts(self.champion, without).size_delta < 0
        submission = Submission(
            source=without,
            title=f"without: {trial.title}",
            hypothesis=f"The change of trial {number} seems not to carry any more: on fresh seeds "
            f"the champion loses {span(lost)} without it.",
            origin="harvest",
            claimed=-lost["mean"],
            category="simplification" if shorter else "",
            base=self.champion,
        )
        submit(self.campaign.folder, submission)
        self.campaign.record(Harvested(found={"offered": [*offered, offer]}))
        self._say(f"trial {number} may not carry any more: the next run tries first without it")


def merge_beside(ours: str, base: str, theirs: str) -> tuple[str, str]:
    """A merge, and its conflicts in words. One side may change a line beside one of the other's.

    Git calls that a conflict; a line between each two keeps them apart. Heats will judge the file.
    """
    if ours == base:
        return theirs, ""  # with its empty last lines, which a merge drops
    text, conflicts = merge(ours, base, theirs)
    if conflicts:
        apart, left = merge(*(t.replace("\n", f"\n{BETWEEN}") for t in (ours, base, theirs)))
        apart = apart.replace(f"\n{BETWEEN}", "\n")
        conflicts, text = (conflicts, text) if left or BETWEEN in apart else ([], apart)
    return text, "; ".join(conflicts[:3])


def named(trials: Sequence[int]) -> str:
    return f"trial {' and '.join(map(str, trials))}"
