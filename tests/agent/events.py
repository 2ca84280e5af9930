"""Journals of made-up campaigns, written event by event as a run writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

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
        self, number: int, title: str, hypothesis: str = "It may help.", proposer: str = "deck"
    ) -> None:
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
        )

    def train(self, number: int, role: str, score: float | None, **fields: Any) -> None:
        self._seed += 1
        commit = sha(f"candidate {number}") if role == "candidate" else self.champion
        run = {"trial": number, "role": role, "commit": commit, "seed": self._seed}
        self.add("training_started", **run, status="abandoned")
        result = {
            "status": "ok" if score is not None else "crashed",
            "val_bpb": score,
            "wall_seconds": 24.5,
            "train_seconds": 20.0,
            "steps": 431,
            "tokens": 900_000,
            "params": 1_300_000,
            "peak_memory_mb": 1536.0,
            "isolation": "os",
            "fingerprint": {"torch": "2.13.0", "processor": "Some CPU", "cores": 2},
        }
        self.add("training", **run, **{**result, **fields})

    def end(self, number: int, verdict: str, words: str, **numbers: Any) -> None:
        commit = "" if verdict == "rejected" else sha(f"final {number}")
        status = "" if verdict == "rejected" else "ok"
        self.add(
            "verdict",
            trial=number,
            verdict=verdict,
            words=words,
            commit=commit,
            seconds=60.0,
            **{"status": status, **numbers},
        )
        if verdict == "keep":
            self.champion = commit

    def baseline(self, score: float = 1.3000) -> None:
        number = self.draw("baseline", proposer="preset")
        self.candidate(number, "train.py as it stands, cpu preset", proposer="preset")
        self.train(number, "candidate", score)
        self.end(number, "keep", "the starting point", val_bpb=score, val_bpb_half=0.011)

    def trial(
        self,
        category: str,
        title: str,
        scores: Sequence[float | None],
        champion: Sequence[float] = (),
        verdict: str = "revert",
        words: str = "worse than the champion by 2.0 sigma, reverted",
        hypothesis: str = "It may help.",
        **numbers: Any,
    ) -> int:
        """A trained trial whose numbers are given; a score of None is a crash."""
        number = self.draw(category)
        self.candidate(number, title, hypothesis)
        for index, score in enumerate(scores):
            reason = "" if score is not None else "crash: RuntimeError: shapes"
            self.train(number, "candidate", score, reason=reason)
            if index < len(champion):
                self.train(number, "champion", champion[index])
        if None in scores:
            numbers = {"status": "crashed", "reward": -0.2, **numbers}
        self.end(number, verdict, words, **numbers)
        return number

    def rejected(self, category: str, reason: str) -> int:
        number = self.draw(category)
        self.add("proposed", trial=number, proposer="deck", reply="the reply")
        self.add("turned_down", trial=number, reason=reason)
        self.end(number, "rejected", f"rejected before training: {reason}")
        return number

    @property
    def state(self) -> State:
        return fold(self.events)


def campaign() -> Story:
    """Baseline, a keep, a crash, a rejected one, a near miss; the champion measured afresh."""
    story = Story()
    story.baseline(1.3000)
    story.trial(
        "schedule",
        "longer warm-down, the last 60 % of the budget",
        [1.2900, 1.2880, 1.2860],
        champion=[1.3020, 1.2980],
        verdict="keep",
        words="kept: better on 2 fresh seeds by 0.0130 ± 0.0080",
        val_bpb=1.2870,
        val_bpb_half=0.0060,
        gain=0.0130,
        gain_half=0.0080,
        reward=0.5,
    )
    story.trial(
        "architecture",
        "heads of 32 instead of 64",
        [None],
        words="crashed (crash: RuntimeError: shapes), reverted",
    )
    story.rejected("optimizer", "SEARCH text is not in the file")
    story.trial(
        "regularisation",
        "weight decay 0.1 on matrices, none on embeddings",
        [1.2850, 1.2890],
        champion=[1.2876, 1.2884],
        words="beat the champion once, lost on fresh seeds, reverted",
        val_bpb=1.2890,
        val_bpb_half=0.0090,
        gain=-0.0010,
        gain_half=0.0080,
        reward=-0.03,
    )
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
