"""In what two campaigns differ of which one was killed, and what a campaign has left."""

from __future__ import annotations

import getpass
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.campaign import reading
from agent.campaign.events import Concluded, HeatBegun, TrainingBegun, TrialBegun
from agent.campaign.evidence import effect_of, noise_of
from agent.campaign.files import JOURNAL
from agent.campaign.learning import rebuild_prior
from agent.campaign.lines import Reader
from agent.campaign.records import Trial
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.judge import Judge, reward, shrunk
from benchmarks.kills_campaign import TAG, Site, git, processes
from trainer.presets import find_preset

CLOSE = 0.02
"""Bits per byte. The audits ask at secret positions, drawn anew each time, and what they bound is
taken off a gain: so a gain repeats about, a score to the last bit."""
CACHE = f"torchinductor_{getpass.getuser()}"
"""A folder that torch makes whenever it is imported, one for all its processes."""


def outcome(site: Site) -> dict[str, Any]:
    """All that a kill must not change, as JSON has it."""
    state = reading.load(Repo.open(site.repo), TAG)
    numbers = {trial.commit: trial.trial for trial in state.trials if trial.commit}
    found = {
        "trials": [_trial(site, trial, numbers) for trial in state.trials],
        "branch": git(site, "log", "--format=%T", f"autoresearch/{TAG}").splitlines(),
        "notes": len(git(site, "notes", f"--ref=autoresearch/{TAG}", "list").splitlines()),
        "rows": [
            row.split("\t")[3] for row in (site.campaign / "results.tsv").read_text().splitlines()
        ],
        "worktree": (site.campaign / "worktree/trainer/train.py").read_text(),
        "seeds": state.seeds_used,
    }
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _trial(site: Site, trial: Trial, numbers: Mapping[str, int]) -> dict[str, Any]:
    names = "category proposer title hypothesis reply rejections proof verdict status null_constant"
    commit = trial.commit or trial.candidate
    return {
        **{name: getattr(trial, name) for name in names.split()},
        "tree": git(site, "rev-parse", f"{commit}^{{tree}}") if commit else "",
        "parent": numbers.get(trial.parent),
        "trainings": [
            (one.role, one.heat, one.seed, one.status, one.val_bpb, one.weights_sha256, one.reused)
            for one in trial.trainings
        ],
        "audits": [audit.status for audit in trial.audits],
        "gains": [trial.gain, *trial.differences],
        "reward": trial.reward,
    }


def differences(first: Any, second: Any, where: str = "") -> Iterator[str]:
    """In what two outcomes differ, gains and rewards by more than ``CLOSE``."""
    if isinstance(first, dict) and isinstance(second, dict):
        for name in first.keys() | second.keys():
            yield from differences(first.get(name), second.get(name), f"{where} {name}".strip())
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from differences(one, other, f"{where} {number}".strip())
    elif not _same(first, second, where):
        yield f"{where}: {first!r} is {second!r} after kills"


def _same(first: Any, second: Any, where: str) -> bool:
    about = {"gains", "reward"} & set(where.split())
    if about and isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, abs_tol=CLOSE)
    return bool(first == second)


def contradictions(journal: Path, seed: int) -> Iterator[str]:
    """Where a journal is not what one that was never resumed could be.

    A reward follows from the differences, the prior from the rewards, and these repeat only about:
    so both are compared, to the last bit, with what their own journal makes of them, too.
    """
    state, taught = State(), dict[int, int]()
    for event in Reader(journal):
        if isinstance(event, TrialBegun):
            taught[event.trial] = len(state.ended)  # others may have been under way
        if isinstance(event, Concluded) and event.reward is not None and event.status == "ok":
            implied = _reward(state, event.trial)
            if not math.isclose(event.reward, implied, abs_tol=1e-12):
                yield f"trial {event.trial} had reward {event.reward}, its differences {implied}"
        again = ()
        if isinstance(event, HeatBegun | TrainingBegun):
            again = state.trials[event.trial].open_seeds
        state.apply(event)
        if again and again != (seeds := state.trials[event.trial].open_seeds):
            yield f"event {event.n} begins again with seeds {seeds} instead of {again}"
    for trial in state.trials:
        if trial.idea:  # nothing was drawn for it: it has the draw of the trial whose reply held it
            drew = state.trials[trial.idea["trial"]]
            if (trial.drawn, trial.propensities) != (drew.drawn, drew.propensities):
                yield f"trial {trial.trial} has not the draw of trial {drew.trial}"
        elif trial.available:
            before = state.finished[: taught[trial.trial]]
            prior = rebuild_prior(trial.known, seed, before, state.lent)
            prior.learner.spent = trial.spent
            first = trial.drawn[0] if trial.drawn else trial.category
            rebuilt = prior.probabilities(trial.available)[first]
            if rebuilt != trial.propensity:
                yield f"trial {trial.trial} had propensity {trial.propensity}, rebuilt {rebuilt}"


def _reward(state: State, number: int) -> float:
    """What the differences of a judged trial teach, by all that was known before its verdict."""
    trial, preset = state.trials[number], find_preset(str(state.settings["preset"]))
    judge = Judge("confirm", noise_of(state, trial.kind, preset))
    mean, error, _ = judge.moderated(trial.differences)
    error = 0.0 if trial.proof == "same" else error
    believed = shrunk(mean, error, effect_of(state, trial, preset))
    return reward(believed, preset.reward_unit) or 0.0


def left(site: Site) -> list[str]:
    """What should not be there once a campaign has ended in order."""
    git_folder = site.repo / ".git"
    fsck = git(site, "fsck", "--no-dangling", "--no-progress")
    worktrees = git(site, "worktree", "list", "--porcelain")
    unfinished = ("*.safetensors*", "*.tmp", "*.part", "*.torn-*", "worktree.old*")
    found: Sequence[tuple[str, object]] = [
        *(("contradiction", it) for it in contradictions(site.campaign / JOURNAL, site.seed)),
        *(("process", process) for process in processes(site)),
        *(("temporary file", path) for path in site.tmp.iterdir() if path.name != CACHE),
        *(("git lock", path) for path in git_folder.rglob("*.lock")),
        *(("file", path) for name in unfinished for path in site.campaign.rglob(name)),
        ("writer of the journal", reading.running(Repo.open(site.repo), TAG)),
        ("git fsck", fsck),
        ("change in the user's checkout", git(site, "status", "--porcelain")),
        *(
            ("worktree", line)
            for line in worktrees.splitlines()
            if line.startswith(("lock", "prun"))
        ),
    ]
    return [f"{what} left: {it}" for what, it in found if it]
