"""Journals of made-up campaigns, written event by event as a run writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from types import MappingProxyType
from typing import Any

from agent.campaign.events import read_event
from agent.campaign.records import Role, Training
from agent.campaign.state import State, fold

Event = dict[str, Any]


def sha(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


class Story:
    """Collects events; every trial takes a minute."""

    def __init__(self, **settings: Any) -> None:
        self.events: list[Event] = []
        self.champion = ""
        self._time = 1_700_000_000.0
        self._seed = 0
        fixed = {
            "preset": "cpu",
            "budget": "20s",
            "data": "apidocs",
            "isolation": "auto",
            "seed": 0,
        }
        self.add("campaign", tag="t", base=sha("base"), **fixed, device="cpu")
        self.add(
            "run", pid=1, **{"keep": "confirm", "proposer": "hybrid", "llm": "none", **settings}
        )
        self.add("program", sha256=sha("program"), text="# program")

    def add(self, event: str, **fields: Any) -> None:
        self._time += 1
        self.events.append({"n": len(self.events), "time": self._time, "event": event, **fields})

    def draw(self, category: str, **fields: Any) -> int:
        """Begin the next trial; returns its number."""
        number = sum(event["event"] == "trial" for event in self.events)
        self.add(
            "trial",
            trial=number,
            category=category,
            propensity=0.125,
            program="abcdef012345",
            **fields,
        )
        return number

    def candidate(
        self,
        number: int,
        title: str,
        hypothesis: str = "It may help.",
        proposer: str = "deck",
        **facts: Any,
    ) -> None:
        """The candidate's commit; ``facts`` as of ``edits.facts``."""
        self.add("proposed", trial=number, proposer=proposer, reply="the reply")
        self.add(
            "candidate",
            trial=number,
            candidate=sha(f"candidate {number}"),
            parent=self.champion or sha("base"),
            title=title,
            hypothesis=hypothesis,
            source_sha256=sha(f"source {number}"),
            lines_added=3,
            lines_removed=2,
            **{"size_delta": 1, "sets_numbers": False, "hides_loss": False, **facts},
        )

    def train(self, number: int, score: float | None, **fields: Any) -> None:
        """The baseline's training, alone."""
        self._seed += 1
        self.add("training_started", trial=number, seed=self._seed)
        run = self._run(number, "candidate", score, seed=self._seed, how="alone", **fields)
        self.add("training", **run)

    def heat(
        self,
        number: int,
        first: float | None,
        second: float | None,
        *,
        champion: Mapping[str, Any] = MappingProxyType({}),
        proof: str = "",
        **candidate: Any,
    ) -> None:
        """A heat with the scores of champion and candidate, and what else is to be said of them.

        A champion without a score has ended because the candidate did.
        """
        trial = self.state.trials[number]
        heat = 1 + max((t.heat for t in trial.trainings if t.heat is not None), default=-1)
        new = 2 if trial.is_null and not trial.sets_numbers else 1
        seeds = [self._seed + 1, self._seed + new]
        self._seed += new
        self.add("heat_started", trial=number, heat=heat, seeds=seeds, new_seeds=new)
        if first is None:
            champion = {"status": "abandoned", "reason": "no candidate is left", **champion}
        runs = [
            self._run(number, "champion", first, heat=heat, seed=seeds[0], **champion),
            self._run(number, "candidate", second, heat=heat, seed=seeds[1], **candidate),
        ]
        self.add("heat", trial=number, trainings=runs, proof=proof)

    def _run(self, number: int, role: Role, score: float | None, **fields: Any) -> dict[str, Any]:
        """A training that is over, as the journal holds it."""
        is_null = self.state.trials[number].is_null
        commit = self.champion if role == "champion" or is_null else sha(f"candidate {number}")
        result = {
            "status": "ok" if score is not None else "crashed",
            "val_bpb": score,
            "how": "side by side",
            "wall_seconds": 24.5,
            "train_seconds": 20.0,
            "steps": 431,
            "tokens": 900_000,
            "params": 1_300_000,
            "peak_memory_mb": 1536.0,
            "isolation": "os",
            "fingerprint": {"torch": "2.13.0", "processor": "Some CPU", "cores": 2},
        }
        return asdict(Training(number, role, commit, **(result | fields)))

    def end(self, number: int, verdict: str, words: str, **numbers: Any) -> None:
        is_null = self.state.trials[number].is_null
        commit = "" if verdict == "rejected" or is_null else sha(f"final {number}")
        status = "" if verdict == "rejected" else "ok"
        begun = (e["time"] for e in self.events if e["event"] == "trial" and e["trial"] == number)
        self._time = max(self._time, next(begun) + 59.0)
        self.add(
            "verdict",
            trial=number,
            verdict=verdict,
            words=words,
            commit=commit,
            seconds=60.0,
            **{"status": status, "level": None, "tie": False, "tie_cost": 0.0, **numbers},
        )
        if verdict == "keep" and not is_null:
            self.champion = commit

    def baseline(self, score: float = 1.3000) -> None:
        number = self.draw("baseline", proposer="preset")
        self.candidate(number, "train.py as it stands, cpu preset", proposer="preset")
        self.train(number, score)
        self.end(number, "keep", "the starting point", val_bpb=score, val_bpb_half=0.011)

    def trial(
        self,
        category: str,
        title: str,
        heats: Sequence[tuple[float | None, float | None]],
        verdict: str = "revert",
        words: str = "worse by 0.0200 ± 0.0100 in 1 heat, reverted",
        hypothesis: str = "It may help.",
        **numbers: Any,
    ) -> int:
        """A trained trial.

        Args:
            heats: what champion and candidate scored; the candidate crashed if it has None.
            numbers: of the verdict; score and gain are the means of the heats otherwise.
        """
        number = self.draw(category)
        self.candidate(number, title, hypothesis)
        for champion, candidate in heats:
            reason = "" if candidate is not None else "crash: RuntimeError: shapes"
            self.heat(number, champion, candidate, reason=reason)
        self.end(number, verdict, words, **(self._means(number) | numbers))
        return number

    def null(
        self,
        heats: Sequence[tuple[float, float]],
        verdict: str = "revert",
        constant: str = "",
        **numbers: Any,
    ) -> int:
        """A null trial: the champion under another seed, or with a constant changed a little."""
        number = sum(event["event"] == "trial" for event in self.events)
        self.add(
            "trial",
            trial=number,
            category="null",
            proposer="null",
            title=f"{constant} times 1 + 1e-6" if constant else "the champion under another seed",
            parent=self.champion,
            null_constant=constant,
            sets_numbers=bool(constant),
            program="abcdef012345",
        )
        for champion, candidate in heats:
            self.heat(number, champion, candidate)
        words = "null trial, " + (
            "kept, falsely: better" if verdict == "keep" else "not kept: worse"
        )
        self.end(number, verdict, words, **(self._means(number) | {"reward": None} | numbers))
        return number

    def abandoned(self, category: str, title: str, forecast: float, half: float) -> int:
        """A trial whose first heat was hopeless after a quarter of it."""
        number = self.draw(category)
        self.candidate(number, title)
        why = "hopeless after 25% of a heat"
        self.heat(
            number, None, None, status="abandoned", reason=why, losses=(3.1, 2.9, 2.8, 2.7, 2.6)
        )
        words = f"forecast {forecast:+.4f} ± {half:.4f}, {why}, reverted"
        self.end(
            number,
            "revert",
            words,
            status="abandoned",
            gain=forecast,
            gain_half=half,
            reward=-0.2,
        )
        return number

    def _means(self, number: int) -> dict[str, Any]:
        """Status, score and gain of a trial that was judged by its heats."""
        trial = self.state.trials[number]
        if not trial.differences:
            return {"status": "crashed", "reward": -0.2}
        return {"val_bpb": fmean(trial.scores), "gain": fmean(trial.differences)}

    def rejected(self, category: str, reason: str) -> int:
        number = self.draw(category)
        self.add("proposed", trial=number, proposer="deck", reply="the reply")
        self.add("turned_down", trial=number, reason=reason)
        self.end(number, "rejected", f"rejected before training: {reason}")
        return number

    @property
    def state(self) -> State:
        return fold(map(read_event, self.events))


def campaign() -> Story:
    """Baseline, a keep, a crash, a rejected one, a near miss, a null trial, a hopeless one."""
    story = Story()
    story.baseline(1.3000)
    story.trial(
        "schedule",
        "longer warm-down, the last 60 % of the budget",
        [(1.3020, 1.2900), (1.3000, 1.2860), (1.3010, 1.2850)],
        verdict="keep",
        words="kept: better by 0.0140 ± 0.0082 in 3 heats",
        val_bpb=1.2870,
        val_bpb_half=0.0060,
        gain=0.0130,
        gain_half=0.0080,
        reward=0.5,
        level=0.02,
    )
    story.trial(
        "architecture",
        "heads of 32 instead of 64",
        [(None, None)],
        words="crashed (crash: RuntimeError: shapes), reverted",
    )
    story.rejected("optimizer", "SEARCH text is not in the file")
    story.trial(
        "regularisation",
        "weight decay 0.1 on matrices, none on embeddings",
        [(1.2876, 1.2850), (1.2884, 1.2930)],
        words="worse by 0.0010 ± 0.0080 in 2 heats, reverted",
        val_bpb=1.2890,
        val_bpb_half=0.0090,
        gain=-0.0010,
        gain_half=0.0080,
        reward=-0.03,
    )
    story.null([(1.2881, 1.2900)])
    story.abandoned("architecture", "twice as wide", -0.0600, 0.0200)
    return story


PRIOR = {
    "architecture": 0.11,
    "optimizer": 0.12,
    "schedule": 0.19,
    "hyperparameters": 0.10,
    "initialisation": 0.09,
    "regularisation": 0.08,
    "dataset": 0.11,
    "preprocessing": 0.10,
    "efficiency": 0.05,
    "simplification": 0.05,
}
