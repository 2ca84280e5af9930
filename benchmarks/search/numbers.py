"""Searches of numbers, simulated on surfaces that are drawn from the recorded landscape.

    python -m benchmarks.search.numbers --seeds 200

does what ``benchmarks/results/search-numbers.jsonl`` lacks: a campaign takes a second, TPE three.

Each seed draws one surface (``surface``), on which every arm searches. The arms of plain searches
train one point at a time and believe its score; the tuner's trials are judged in heats by the
campaign's own judge, with the levels, noise and prior of a campaign. Device time is counted in
trainings: a point costs one, a heat two, none is abandoned. What counts is the gain on the surface
of what a search would hand over at that time, which no search sees.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from agent.campaign.records import Trial
from agent.edits import blocks
from agent.edits.constants import Constant, Range, constants
from agent.edits.facts import credited
from agent.judge import REWARD_LOW, Judge, Noise, reward, trial_level
from agent.noise import learn_effect
from agent.prior import Prior
from agent.program import load_program
from agent.proposers.axes import Axis
from agent.proposers.base import Context
from agent.proposers.tuner import Tuner
from benchmarks.landscape import Landscape
from benchmarks.landscape.table import read_heats
from benchmarks.machine import RESULTS, ROOT, keep, stamp
from benchmarks.search import points
from benchmarks.search.arms import RANDOM, TPE
from benchmarks.search.lines import append_line, read_lines
from benchmarks.search.surface import Recording, Surface, held_out, noise_of
from trainer.presets import find_preset

START, CMA_ES = "plain", "CMA-ES"
"""Of each constant of the shipped file one value is recorded: that makes no surface."""
FILE = RESULTS / "search-numbers.jsonl"
TRAININGS = 120
"""Device time of a search: about that of 40 trials."""
EVERY = 10
"""Trainings between two points of a curve."""
SCALE_DOF = 9.0
"""How well the judge knows the noise of a heat."""

CURVE = range(EVERY, TRAININGS + 1, EVERY)
PROGRAM = load_program(ROOT / "program.md")
PRESET = find_preset("cpu")

Course = list[tuple[int, float]]
"""Trainings so far, and the true gain of what would be handed over, whenever that changed."""
Search = Callable[[Recording, Surface, int], Course]


# --- plain searches ---


def plain(search: str) -> Search:
    """One training a point, its own score; what scored best so far is handed over."""

    def run(recording: Recording, surface: Surface, seed: int) -> Course:
        space = points.space_of(recording.source, PRESET.name, as_stated=False)
        asked = cma_es(seed, space) if search == CMA_ES else points.ask(search, seed, space)
        start, best = random.Random(f"scores {seed}").randrange(10**6), math.inf
        course: Course = []
        values = next(asked)
        for number in range(TRAININGS):
            gain = surface.gain(values)
            if gain is None:
                values = asked.send(None)
                continue
            score = recording.scores[(start + number) % len(recording.scores)] - gain
            if score < best:
                best = score
                course.append((number + 1, gain))
            values = asked.send(score)
        return course

    return run


def cma_es(seed: int, space: Sequence[Constant]) -> Generator[dict[str, Any], float | None, None]:
    """Optuna's CMA-ES, which begins at the start; it draws choices of words by chance."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    numbers = {c.name: c.value for c in space if isinstance(c.domain, Range)}
    sampler = optuna.samplers.CmaEsSampler(x0=numbers, seed=seed, warn_independent_sampling=False)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial({constant.name: constant.value for constant in space})
    while True:
        trial = study.ask()
        values = {constant.name: points._suggest(trial, constant) for constant in space}
        score = yield values
        study.tell(trial, points.FAILED if score is None else score)


# --- the tuner ---


@dataclass
class Campaign:
    """A campaign of the tuner alone: all but the trainings is the product's own."""

    recording: Recording
    surface: Surface
    seed: int
    tuner: Tuner
    history: list[Trial] = field(default_factory=lambda: [Trial(0, verdict="keep", status="ok")])
    gains: list[tuple[float, float]] = field(default_factory=list)
    """Of each trial with a score: mean difference and standard error."""

    def __post_init__(self) -> None:
        self.dice = random.Random(f"heats {self.seed}")
        self.source, self.trainings = self.recording.source, 0

    def run(self) -> Course:
        prior, course = Prior(PROGRAM.names, seed=self.seed), [(0, 0.0)]
        while self.trainings < TRAININGS:
            contexts = {name: self._context(name) for name in PROGRAM.names}
            available = [n for n, context in contexts.items() if self.tuner.covers(context)]
            if not available:
                break
            drawn = prior.draw(1, available, trial=len(self.history))
            (category,) = drawn
            done, candidate = self._trial(contexts[category])
            prior.update(
                done.credited,
                done.reward,
                available={*available, done.credited},
                kept=done.kept,
                failed=not done.difference,
                drawn=drawn if done.credited == category else None,
            )
            if done.kept:
                self.source = candidate
                course.append((self.trainings, self._worth(candidate) or 0.0))
        return course

    def _trial(self, context: Context) -> tuple[Trial, str]:
        proposal = self.tuner.propose(context)
        edit = blocks.parse(proposal.reply)
        candidate = edit.apply(self.source)
        before, after = self._worth(self.source), self._worth(candidate)
        assert before is not None
        level = trial_level("confirm", [(t.level == 1.0, t.kept) for t in self.history[1:]])
        judge, found, verdict = Judge("confirm", Noise(self._noise, SCALE_DOF)), [], "heat"
        while verdict == "heat":
            self.trainings += 2
            if after is not None:
                found.append(after - before + noise_of(self.recording, self.dice))
            verdict = judge.verdict(found, level=level) if found else "revert"
        asked = (context.category, edit.category, self.source, candidate, PROGRAM.names)
        shows = credited(*asked)
        about: dict[str, Any] = {"gain": None, "status": "invalid", "reward": REWARD_LOW}
        if found:
            mean, error, _ = judge.moderated(found)
            self.gains.append((mean, error))
            believed = judge.corrected_gain(found, learn_effect(self.gains, PRESET.effect)).mean
            about = {
                "gain": believed if verdict == "keep" else mean,
                "status": "ok",
                "difference": (mean, error),
                "reward": reward(believed, PRESET.reward_unit),
            }
        done = Trial(
            context.trial,
            category=context.category,
            shows=shows if shows != context.category else "",
            proposer=proposal.proposer,
            candidate="1",
            title=edit.title,
            reply=proposal.reply,
            data=proposal.data,
            sets_numbers=True,
            verdict="keep" if verdict == "keep" else "revert",
            level=float(len(found) > 1),  # that it passed its first heat, which is all that is read
            **about,
        )
        self.history.append(done)
        return done, candidate

    def _worth(self, source: str) -> float | None:
        """True gain of a file over the start; None if a campaign refuses it."""
        start, now = _values(self.recording.source), _values(source)
        return self.surface.gain({n: v for n, v in now.items() if v != start[n]})

    @property
    def _noise(self) -> float:
        return self.recording.noise

    def _context(self, category: str) -> Context:
        return Context(
            trial=len(self.history),
            category=category,
            source=self.source,
            program=PROGRAM,
            history=tuple(self.history),
            prior={},
            noise={"numbers": self._noise, "structure": self._noise},
            seed=self.seed,
            facts={},
        )


def _values(source: str) -> dict[str, Any]:
    return {constant.name: constant.value for constant in constants(source)}


def tuned(make: Callable[[], Tuner]) -> Search:
    """A campaign of a tuner."""
    return lambda recording, surface, seed: Campaign(recording, surface, seed, make()).run()


class OptunaTuner(Tuner):
    """The tuner with Optuna's TPE in place of its own surrogate: all constants at once, and of each
    trial what its difference adds to the champion of that time."""

    def _draw(
        self, context: Context, own: Sequence[Axis], axes: Sequence[Axis]
    ) -> tuple[dict[str, Any], str]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(n_startup_trials=5, seed=context.trial)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        space = {axis.name: _distribution(axis, self.reach) for axis in axes}
        whole = {axis.name: _distribution(axis, math.inf) for axis in axes}
        champion = 0.0
        for trial in (t for t in context.history if t.difference is not None):
            value = champion + (trial.difference or (0.0,))[0]
            point = {**trial.data["before"], **trial.data["after"]}
            params = {axis.name: axis.place_in(point) for axis in axes}
            params |= {
                n: int(v) for n, v in params.items() if n in whole and not _is_float(whole[n])
            }
            made = optuna.trial.create_trial(params=params, distributions=whole, value=value)
            study.add_trial(made)
            champion = champion + (trial.gain or 0.0) if trial.kept else champion
        dice = random.Random(f"{context.seed} {context.trial}")
        moved = [dice.choice(own), *dice.sample(axes, self.most - 1)]
        asked = study.ask({axis.name: space[axis.name] for axis in moved}).params
        values = {axis.name: _value_at(axis, asked[axis.name]) for axis in moved}
        changes = {a.name: values[a.name] for a in moved if values[a.name] != a.champion}
        return changes or {own[0].name: own[0].others[0]}, "as TPE has it."


def _distribution(axis: Axis, reach: float) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not axis.is_ordered:
        return CategoricalDistribution(range(1 + len(axis.others)))
    return FloatDistribution(*axis.interval(reach))


def _is_float(distribution: Any) -> bool:
    return hasattr(distribution, "low")


def _value_at(axis: Axis, place: float) -> Any:
    return axis.value(place) if axis.is_ordered else (axis.champion, *axis.others)[int(place)]


ARMS: dict[str, Search] = {
    "random constants": plain(RANDOM.name),
    "TPE": plain(TPE.name),
    "CMA-ES": plain(CMA_ES),
    "tuner": tuned(Tuner),
    "without its surrogate: TPE on differences": tuned(OptunaTuner),
    "without other sections": tuned(lambda: Tuner(joint=False)),
    "without a reach": tuned(lambda: Tuner(reach=1.0)),
    "without failures": tuned(lambda: Tuner(avoids=False)),
    "one constant at a time": tuned(lambda: Tuner(most=1)),
    "two at a time": tuned(lambda: Tuner(most=2)),
    "eight at a time": tuned(lambda: Tuner(most=8)),
}
"""Learning from other proposers' numbers is not among them: here nobody else proposes."""


def at(course: Course, trainings: int) -> float:
    """The true gain of what is handed over by then."""
    return next((gain for when, gain in reversed(course) if when <= trainings), 0.0)


def when(courses: Sequence[Course], gain: float) -> int | None:
    """Trainings until the mean over the seeds is at this gain; None if it never is."""
    times = range(1, TRAININGS + 1)
    return next((t for t in times if fmean(at(c, t) for c in courses) >= gain), None)


def recorded(landscape: Landscape | None = None) -> Recording:
    heats = read_heats()
    return Recording.of(landscape or Landscape.of(heats), heats, START)


def run(
    seeds: int, path: Path | None = FILE, only: Sequence[str] = tuple(ARMS)
) -> dict[str, dict[int, Course]]:
    """The course of each arm by seed; what is in the file, of this recording, is not done again."""
    recording = recorded()
    of = hashlib.sha256(repr((recording.model.readings, recording.scores)).encode()).hexdigest()[
        :12
    ]
    found: dict[str, dict[int, Course]] = {name: {} for name in only}
    for line in read_lines(path) if path is not None else []:
        if line["of"] == of and line["arm"] in found and line["seed"] < seeds:
            found[line["arm"]][line["seed"]] = [(when, gain) for when, gain in line["course"]]
    for seed in range(seeds):
        for name in only:
            if seed not in found[name]:
                course = ARMS[name](recording, recording.draw(seed), seed)
                found[name][seed] = course
                if path is not None:
                    rounded = [(when, round(gain, 5)) for when, gain in course]
                    append_line(path, {"of": of, "arm": name, "seed": seed, "course": rounded})
    return found


def summary(found: Mapping[str, Mapping[int, Course]]) -> dict[str, Any]:
    """Of each arm: mean true gain along the way, and how soon it is where TPE ends.

    ``to_tpe`` is a share of TPE's device time, of the seeds that both have; ``more_than_tpe`` the
    mean difference of the last gains, seed by seed, with the half-width of its 95 % interval.
    """
    rows = {}
    for name, mine in found.items():
        shared = sorted(mine.keys() & found["TPE"].keys())
        if not shared:
            continue
        courses, tpe = [mine[s] for s in shared], [found["TPE"][s] for s in shared]
        goal = fmean(at(course, TRAININGS) for course in tpe)
        there = when(courses, goal)
        more = [at(a, TRAININGS) - at(b, TRAININGS) for a, b in zip(courses, tpe, strict=True)]
        half = 1.96 * stdev(more) / math.sqrt(len(more)) if len(more) > 1 else None
        rows[name] = {
            "seeds": len(shared),
            "gain": [round(fmean(at(course, t) for course in courses), 4) for t in CURVE],
            "more_than_tpe": [round(fmean(more), 4), half and round(half, 4)],
            "to_tpe": there and round(there / TRAININGS, 3),
        }
    return rows


def table(seeds: int, path: Path | None = None) -> dict[str, Any]:
    """Simulated now, but for what is in the file: how good the surface is, and what each arm is."""
    return {
        "start": START,
        "trainings": list(CURVE),
        "surface": held_out(recorded()),
        "arms": summary(run(seeds, path)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="what is not recorded yet is done")
    seeds = parser.parse_args().seeds
    result = stamp(f"python -m benchmarks.search.numbers --seeds {seeds}")
    result |= table(seeds, FILE)
    keep("search-numbers", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
