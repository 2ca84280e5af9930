"""Transfer: does what was kept hold at another budget or size? Scored on validation text."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from agent.campaign import events
from agent.campaign.reading import CampaignError
from agent.campaign.records import Transfer
from agent.edits.blocks import Edit
from agent.edits.constants import constants, set_constants
from agent.steps.fresh import interval
from agent.steps.gains import label
from agent.steps.verify import Asked, Keeps, told, used
from trainer.presets import parse_budget

_FACTOR = re.compile(r"(\d+(?:\.\d*)?|\.\d+)x")


class Elsewhere(NamedTuple):
    """Another setting than the campaign's."""

    words: str
    budget: str
    factors: dict[str, float]


def elsewhere(budget: str, scales: Sequence[str], home: str) -> Elsewhere:
    """Read ``--budget 4x``, or an absolute one, and each ``--scale DEPTH=2x``.

    Args:
        home: the campaign's budget.

    Raises:
        CampaignError, BadSetting: an option cannot be read, or changes nothing.
    """
    there, words = parse_budget(home), []
    if budget.endswith("x"):
        factor, tokens = _factor(budget, f"--budget {budget}"), there.tokens
        seconds = f"{(there.seconds or 0.0) * factor:.6f}s"
        there = parse_budget(f"{round(tokens * factor)}tok" if tokens else seconds)
        words = [f"budget {factor:g}x"]
    elif budget:
        there = parse_budget(budget)
        words = [f"budget {there}"]
    if budget and there == parse_budget(home):
        raise CampaignError(f"--budget {budget} is the campaign's own, {home}: give another")
    factors: dict[str, float] = {}
    for scale in sorted(scales):
        name, _, text = scale.partition("=")
        if name in factors:
            raise CampaignError(f"--scale {scale}: give each constant once")
        factors[name] = _factor(text, f"--scale {scale}")
    words += [f"{name} {factor:g}x" for name, factor in factors.items()]
    return Elsewhere(", ".join(words), str(there), factors)


def _factor(text: str, option: str) -> float:
    match = _FACTOR.fullmatch(text)
    factor = float(match[1]) if match else 0.0
    if not 0 < factor < math.inf or factor == 1:
        raise CampaignError(f"{option}: give a factor above 0 but not 1, as 2x, DEPTH=0.5x")
    return factor


def scaled(source: str, scales: dict[str, float], whose: str) -> str:
    """A train.py with each constant times its factor; one that is a whole number stays one.

    Raises:
        CampaignError: there is no such constant that is a number, or it is the same afterwards.
    """
    numbers = {c.name: c.value for c in constants(source) if type(c.value) in (int, float)}
    if missing := [name for name in scales if name not in numbers]:
        raise CampaignError(
            f"--scale {missing[0]}: it is no number in the file of {whose}; there are "
            f"{', '.join(numbers)}"
        )
    values = {name: numbers[name] * factor for name, factor in scales.items()}
    whole = {name: round(v) for name, v in values.items() if type(numbers[name]) is int}
    blocks = set_constants(source, values | whole)
    found = Edit("transfer", "", "", blocks).apply(source) if blocks else source
    now = {c.name: c.value for c in constants(found)}
    if same := [name for name in scales if now[name] == numbers[name]]:
        raise CampaignError(
            f"--scale {same[0]}={scales[same[0]]:g}x: {numbers[same[0]]:g} stays the same in the "
            f"file of {whose}: give another factor or constant"
        )
    return found


def transfer(keeps: Keeps, asked: Asked, there: Elsewhere) -> dict[str, Any]:
    """Each kept commit beside its parent in fresh heats at another setting; what is printed of it.

    Raises:
        UserError: a file cannot be scaled, does not pass its check there, or failed.
    """
    rows: list[dict[str, Any]] = []
    pairs = []
    for trial in keeps.kept[1:]:
        whose = {f"the parent of trial {trial.trial}": trial.parent}
        whose |= {f"trial {trial.trial}": trial.commit}
        files, why = {}, ""
        try:
            files = {of: scaled(keeps.source(c), there.factors, of) for of, c in whose.items()}
        except CampaignError as error:  # as of a constant that this keep has added
            why = str(error)
        pairs.append((trial, files, why))
        for source in files.values():
            keeps.refuse_unfit(trial, source)
    if pairs and not any(files for _, files, _ in pairs):
        raise CampaignError(pairs[0][2])
    for trial, files, why in pairs:
        rows.append(told(trial) | {"label": "undecided", "gain": None, "seeds": 0, "ended": why})
        rows[-1]["used"] = None
        if not files:
            continue
        keeps.display.message(f"trial {trial.trial} beside its parent at {there.words}")
        seeds, gains, went = keeps.gather(files, asked, budget=there.budget)
        gain = interval(gains)
        claimed = trial.gain if trial.holds_by(keeps.state.objective) else None
        found = label(gain, claimed, trial.gain_half)
        took = used([heats[-1][-1] for heats in seeds], keeps.objective)
        rows[-1] |= {"label": found, "gain": asdict(gain), "used": took, **went}
        if keeps.campaign is not None:
            of, ends = (trial.trial, trial.commit, there.words), (gain.mean, gain.low, gain.high)
            one = Transfer(*of, found, *ends, seeds=len(seeds))
            keeps.campaign.record(events.Transferred(transfer=one))
            keeps.campaign.tell_again(keeps.state.trials[trial.trial])
    at = {"split": "val", "setting": there.words, "budget": there.budget, "transfers": rows}
    return {**at, **keeps.facts()}
