"""Searches that train one point at a time and believe its score: luck, chance, plain TPE."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.edits.blocks import Edit
from agent.edits.constants import Choice, Constant, Range, constants, set_constants
from benchmarks.search.arms import LUCK, RANDOM
from benchmarks.search.campaign import PRESET
from benchmarks.search.course import Found, device_seconds, steps_of_points
from benchmarks.search.lines import append_line, read_lines
from trainer import measure
from trainer.presets import find_preset

POINTS = "points.jsonl"
FAILED = 10.0
"""Bits per byte that TPE is told of a point without a score: worse than any guess."""
SIZES = 4.0
"""Whole numbers are searched up to so many times the start's, and down to that part of it."""
Values = dict[str, Any]
"""Of constants, by name; none of the start's."""
Point = dict[str, Any]
"""A training as it is recorded."""


def search(
    asked: Generator[Values, float | None, None],
    start: str,
    path: Path,
    budget: str,
    seed: Callable[[int], int],
    enough: Callable[[Sequence[Point]], bool],
    stop: threading.Event,
    say: Callable[[str], None],
) -> Found | None:
    """Train one point after the other until there are enough; what is recorded is not done again.

    A point whose answers take many times as long as the start's has no score, as in a campaign.

    Args:
        asked: the points, as ``ask`` gives them, the start's first.
        path: where points are recorded, to be gone on with.
        seed: of a point, by its number.

    Returns:
        None if it was asked to stop.

    Raises:
        SystemExit: what is recorded is another search's.
    """
    recorded: list[Point] = read_lines(path)
    points: list[Point] = []
    values = next(asked)
    while not enough(points):
        number = len(points)
        if number == len(recorded):
            (measured,) = measure.heat(
                [with_values(start, values)],
                budget=budget,
                seed=seed(number),
                preset=PRESET,
                cancel=stop,
                champion_seconds=points[0]["answer_seconds"] if points else 0.0,
            )
            if stop.is_set():
                return None
            point = {
                "values": values,
                "seed": measured.seed,
                "status": measured.status,
                "reason": measured.reason,
                "score": measured.val_bpb,
                "seconds": round(device_seconds(measured), 3),
                "taken": round(measured.train_seconds + measured.score_seconds, 3),
                "answer_seconds": measured.answer_seconds,
                "threads": measured.fingerprint["threads"],
            }
            append_line(path, point)
            recorded.append(point)
            say(f"point {number}: {measured.status} {measured.val_bpb}")
        if (recorded[number]["values"], recorded[number]["seed"]) != (values, seed(number)):
            raise SystemExit(f"error: {path}: point {number} is another search's; remove the file")
        points.append(recorded[number])
        values = asked.send(points[number]["score"])
    return found_of(points, start)


def found_of(points: Sequence[Point], start: str) -> Found:
    """What points that were trained one after the other have come to."""
    steps = steps_of_points(points)
    files = {
        step.trial: with_values(start, points[step.trial]["values"])
        for step in steps
        if step.kept or step.trial == 0
    }
    return Found(steps, files, f"{len(points) - 1} points are trained")


def ask(arm: str, seed: int, space: tuple[Constant, ...]) -> Generator[Values, float | None, None]:
    """The points of an arm, the start's first; it is sent the score of each, None if it has none.

    The same scores give the same points, so that an interrupted search is asked again from the
    first and goes on as it would have.
    """
    yield from (
        _tpe(seed, space) if arm not in (LUCK.name, RANDOM.name) else _drawn(arm, seed, space)
    )


def _drawn(
    arm: str, seed: int, space: tuple[Constant, ...]
) -> Generator[Values, float | None, None]:
    """Nothing at all changed, or all constants drawn evenly from what they state."""
    yield {}
    dice = random.Random(f"{arm} {seed}")
    while True:
        yield {} if arm == LUCK.name else {c.name: _draw(c, dice) for c in space}


def _draw(constant: Constant, dice: random.Random) -> Any:
    domain = constant.domain
    assert domain is not None
    if isinstance(domain, Choice):
        return dice.choice(domain.options)
    value = domain.value(dice.random())
    return round(value) if domain.integer else value


def _tpe(seed: int, space: tuple[Constant, ...]) -> Generator[Values, float | None, None]:
    """Optuna's TPE as it comes, over all constants, with the start as its first point."""
    import optuna  # slow to import

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({constant.name: constant.value for constant in space})
    while True:
        trial = study.ask()
        values = {constant.name: _suggest(trial, constant) for constant in space}
        score = yield {} if trial.number == 0 else values
        study.tell(trial, FAILED if score is None else score)


def _suggest(trial: Any, constant: Constant) -> Any:
    name, domain = constant.name, constant.domain
    assert domain is not None
    if isinstance(domain, Choice):
        return trial.suggest_categorical(name, domain.options)
    if domain.integer:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


def space_of(source: str, preset: str, as_stated: bool) -> tuple[Constant, ...]:
    """All constants that state a range or a choice, whatever their section.

    Over the ranges as stated nearly no point trains within a few seconds, as one in 24 of them has
    one block; who writes a search by hand does not ask for that. So sizes stay near the start's
    unless ``as_stated``; what the preset cannot train is in neither.
    """
    longest = find_preset(preset).max_seq_len
    space = []
    for constant in constants(source):
        limit = longest if constant.name == "SEQ_LEN" else math.inf
        if constant.domain is not None:
            domain = _near(constant, math.inf if as_stated else SIZES, limit)
            space.append(replace(constant, domain=domain))
    return tuple(space)


def _near(constant: Constant, times: float, limit: float) -> Range | Choice:
    """The domain, of whole numbers without what is too far from the start's or over a limit."""
    domain, value = constant.domain, constant.value
    assert domain is not None
    if not isinstance(value, int) or isinstance(value, bool):
        return domain
    low, high = value / times, min(limit, value * times)
    if isinstance(domain, Choice):
        return Choice(tuple(option for option in domain.options if low <= option <= high))
    low, high = (
        max(domain.low, math.ceil(low)),
        min(domain.high, math.floor(min(high, domain.high))),
    )
    return replace(domain, low=low, high=high)


def with_values(source: str, values: Values) -> str:
    blocks = set_constants(source, values)
    return Edit("", "", "", blocks).apply(source) if blocks else source
