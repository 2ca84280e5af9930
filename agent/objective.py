"""The objective: what a training costs, as one number in bits per byte. Pure.

A difference is the champion's cost less the candidate's, so the judge, the noise, the reward, the
tuner and the chart need to know nothing else. Without an objective the cost is val_bpb.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field, model_validator

from agent.settings import Frozen

DEFAULT = "val_bpb"
GB = 1024.0
"""MB, as in results.tsv."""
DOUBLING_SHARE = 1 - 2**-0.07
"""Of the target, what a doubling of the time is worth if nobody says: 4.7 %, as losses fall about
as the -0.07 power of it. Kaplan et al. (arXiv:2001.08361) found -0.05 of compute at the best size,
-0.095 of text."""
EDGE = 0.005
"""Of the target, about the noise of a score: time that was saved counts ever less the more is
missing, and nothing from here on. So to end sooner and miss it by more cannot pay, whatever a
doubling is worth and however flat the course of the losses."""
LEAST_SHARE = 1e-3
"""Of the budget: less time than this is no less."""
MOST = 1000.0
"""Bits per byte that anything may be worth: with more, costs are no finite numbers any more."""
SAME_MEMORY = 1.01
"""Two trainings of one file differ by less than this factor."""


class Used(Protocol):
    """What a training took: a ``Measurement``, or what the journal keeps of it."""

    @property
    def peak_memory_mb(self) -> float: ...
    @property
    def train_seconds(self) -> float: ...
    @property
    def spent(self) -> float: ...


def _gigabytes(text: object) -> object:
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([GM])i?B\s*", str(text), re.IGNORECASE)
    return float(match[1]) / (GB if match[2] in "mM" else 1) if match else text


class Objective(Frozen):
    """The costs besides val_bpb, all in bits per byte, and the bounds."""

    memory: float = Field(default=0.0, ge=0, le=MOST)
    """Per GB of peak memory."""
    time: float = Field(default=0.0, ge=0, le=MOST)
    """Per minute of training."""
    memory_limit: Annotated[float | None, BeforeValidator(_gigabytes), Field(gt=0, le=1e6)] = None
    """GB that a training may take at most; MB are understood, too."""
    target: float | None = Field(default=None, gt=0, le=MOST)
    """val_bpb that is good enough: below it only time counts."""
    doubling: float | None = Field(default=None, gt=0, le=MOST)
    """What a doubling of the time to the target is worth."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: object) -> object:
        if given == DEFAULT or isinstance(given, Mapping):
            return {} if given == DEFAULT else given
        raise ValueError(f"write {DEFAULT}, or one of {', '.join(cls.model_fields)} with its value")

    @model_validator(mode="after")
    def _whole(self) -> Objective:
        if self.doubling is not None and self.target is None:
            raise ValueError("doubling says what time is worth on the way to a target: give target")
        return self

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> Objective:
        """The objective that a trial has recorded; what this version does not know is left out."""
        known = {name: recorded[name] for name in cls.model_fields if name in recorded}
        return cls.model_construct(None, **known)  # as it was, whatever is refused today

    def recorded(self) -> dict[str, float]:
        """What a journal keeps of it: nothing of the default."""
        doubling = {"doubling": self.worth} if self.target is not None else {}
        return self.model_dump(exclude_defaults=True) | doubling

    @property
    def worth(self) -> float:
        """What a doubling of the time is worth, bits per byte."""
        return self.doubling or DOUBLING_SHARE * (self.target or 0.0)

    @property
    def is_score(self) -> bool:
        """Whether the cost is val_bpb alone, within bounds or not."""
        return self.target is None and not self.memory and not self.time

    def cost(self, bpb: float, used: Used) -> float:
        """The cost of a training that has scored ``bpb``, bits per byte; lower is better.

        With a target: down to it val_bpb, below it only the time, by its logarithm. A near miss
        goes over smoothly, so that a score on the edge does not toss a coin.
        """
        if self.target is not None:
            saved = self.worth * -math.log2(min(1.0, max(used.spent, LEAST_SHARE)))
            miss = max(0.0, bpb - self.target)
            bpb = self.target + miss - saved * max(0.0, 1 - miss / (EDGE * self.target))
        return bpb + self.memory * used.peak_memory_mb / GB + self.time * used.train_seconds / 60

    def ceiling_mb(self, champions: Iterable[float]) -> float | None:
        """Memory that a candidate may take; None without a limit.

        Args:
            champions: peaks of all that were kept so far. While all of them are above the limit,
                the lowest counts, or a percent with each keep would add up.
        """
        if self.memory_limit is None:
            return None
        return max(GB * self.memory_limit, SAME_MEMORY * min(champions, default=0.0))

    def over(self, peak_memory_mb: float) -> str:
        """That a training takes more than the limit, in words; "" if it does not."""
        if self.memory_limit is None or peak_memory_mb <= GB * self.memory_limit:
            return ""
        taken = f"takes {peak_memory_mb / GB:.4g} GB"
        return f"{taken}, above the objective's {self.memory_limit:g} GB"

    def reach(self, candidate: tuple[float, str], champion: tuple[float, str]) -> str:
        """Whether mean scores are at the target, and after what, in words; "" without a target."""
        if self.target is None:
            return ""
        theirs = f"champion in {champion[1]}" if champion[0] <= self.target else ""
        if candidate[0] <= self.target:
            own = f"reaches {self.target:g} in {candidate[1]}"
            return f"{own}, {theirs or 'the champion does not yet'}"
        return f"does not reach {self.target:g} yet, {theirs or 'nor does the champion'}"

    def words(self) -> str:
        """The objective on one line."""
        parts = [DEFAULT]
        if self.target is not None:
            parts = [f"time to val_bpb {self.target:g}, a doubling of it costs {self.worth:.3g}"]
        parts += [f"at most {self.memory_limit:g} GB"] if self.memory_limit is not None else []
        parts += [f"{self.memory:g} for each GB"] if self.memory else []
        parts += [f"{self.time:g} for each minute"] if self.time else []
        return ", ".join(parts)


BY_SCORE = Objective()


def key_of(objective: Mapping[str, Any]) -> str:
    """Equal for equal objectives, as the journal keeps them."""
    return repr(sorted(objective.items()))


def of_cost(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """What of a recorded objective makes the cost, by which differences may be compared: a limit
    does not."""
    return {name: value for name, value in recorded.items() if name != "memory_limit"}
