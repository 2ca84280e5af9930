"""A campaign in numbers, what ``status --json`` prints, and in a few sentences."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from agent.campaign.chain import baseline_and_best
from agent.campaign.evidence import noise_of
from agent.campaign.files import NOTEBOOK
from agent.campaign.learning import prior_course
from agent.campaign.records import Kind, Trial
from agent.campaign.state import State
from agent.judge import Estimate
from agent.objective import DEFAULT
from agent.report.text import (
    interval,
    meter,
    noise_words,
    plural,
)
from agent.report.text import signed as with_sign
from agent.report.throughput import throughput
from agent.report.verification import one_line_of, opening_words
from agent.settings import Settings, option
from trainer.presets import Preset, find_preset
from trainer.untrusted import one_line

Doing = Literal["running", "paused", "waiting", "stopped"]
"""What the run of a campaign does."""

# --- numbers ---


def noise(state: State, preset: Preset) -> dict[str, float]:
    """By kind of edit: standard deviation of its differences, bits per byte."""
    return {kind: noise_of(state, kind, preset).scale for kind in get_args(Kind)}


def preset_of(state: State) -> Preset:
    return find_preset(str(state.settings.get("preset", "auto")))


@dataclass(frozen=True)
class Standing:
    """The state of a campaign, in bits per byte; None for what is not measured yet."""

    noise: dict[str, float]
    baseline: Estimate | None
    best: Estimate | None
    gain: Estimate | None
    """Baseline minus champion, claimed on the validation split; None while they are the same."""


def standing(state: State) -> Standing:
    preset, gain = preset_of(state), None
    baseline, best = baseline_and_best(state, preset)
    if baseline and best and state.champion is not state.trials[0]:
        half = sum((t.gain_half or 0.0) ** 2 for t in state.real if t.kept and t.trial > 0) ** 0.5
        gain = Estimate(baseline.mean - best.mean, half)
    return Standing(noise(state, preset), baseline, best, gain)


def doing(state: State, pid: int | None, paused: bool) -> Doing:
    """What the run under way does, if there is one with this process id; ``paused`` says whether
    it was asked to begin no trial."""
    if pid is None:
        return "stopped"
    if paused and state.open_trial is None:
        return "paused"
    return "waiting" if state.waiting else "running"


def status_json(
    state: State,
    tag: str,
    running_pid: int | None,
    prior: Mapping[str, float],
    *,
    paused: bool = False,
) -> dict[str, Any]:
    """What ``status --json`` prints; None for what is not known."""
    counts, champion, now = state.counts, state.champion, standing(state)
    return {
        "tag": tag,
        "state": doing(state, running_pid, paused),
        "trials": sum(counts.values()),
        "kept": counts["keep"],
        "reverted": counts["revert"],
        "drafts": {
            "carried_over": sum(len(trial.carried) for trial in state.trials),
            "lost": sum(trial.is_lost for trial in state.trials),
        },
        "rejected": counts["rejected"],
        "nulls": len(state.nulls),
        "nulls_kept": sum(trial.kept for trial in state.nulls),
        "opened": len(state.openings),
        "openings": list(state.openings),
        "objective": dict(state.objective),
        "summed": state.objectives,
        "verified": state.verified or None,
        "baseline_bpb": now.baseline.mean if now.baseline else None,
        "best_bpb": now.best.mean if now.best else None,
        "noise_sigma": now.noise["structure"],
        "noise": now.noise,
        "rewards_clipped": sum(trial.reward_is_clipped for trial in state.real),
        "cost_usd": state.cost,
        "cost_per_gain_usd": cost_per_gain(state),
        "tokens": state.tokens,
        "unanswered": state.unanswered,
        "capped": state.capped,
        "capped_usd": state.capped_usd,
        "cached_share": cached_share(state.usage),
        "champion": champion.commit if champion is not None else None,
        "notebook": f"campaigns/{tag}/{NOTEBOOK}" if state.notebook.text else None,
        "prior": dict(prior),
        "prior_over_time": prior_course(state),
        "exhausted": dict(state.exhausted),
        "without_ideas": without_ideas(state),
        "proposers": _proposers(state),
        "ideas_waiting": len(state.queue),
        "throughput": throughput(state),
    }


def cost_per_gain(state: State) -> float | None:
    """US dollars of models for each hundredth of a bit by which the champion beats the baseline.

    None if that gain is not significant (95 % interval), or if a price is unknown.
    """
    now = standing(state)
    if state.cost is None or now.gain is None or now.gain.mean <= now.gain.half:
        return None
    return state.cost / (100 * now.gain.mean)


def cached_share(usage: Mapping[str, int]) -> float | None:
    """Share of all prompt tokens that were read from a cache; None without any prompt tokens."""
    prompts = sum(usage.get(kind, 0) for kind in ("input", "cache_read", "cache_write"))
    return usage.get("cache_read", 0) / prompts if prompts else None


# --- plain text ---


def paragraph(state: State) -> str:
    """What the campaign found, in a few sentences."""
    counts, now = state.counts, standing(state)
    if now.baseline is None:
        return "Nothing is measured yet."
    tried = plural(sum(counts.values()), "trial")
    parts = [f"{tried}: {counts['keep']} kept, {counts['revert']} reverted"]
    parts[0] += f", {counts['rejected']} rejected before training." if counts["rejected"] else "."
    if now.gain is None or now.best is None:
        start = interval(now.baseline.mean, now.baseline.half)
        parts.append(f"The baseline is still the champion, at {cost_name(state)} {start}.")
    else:
        amount = f"{with_sign(now.gain.mean)} ± {now.gain.half:.4f}"
        parts.append(
            f"From the baseline to the champion {cost_name(state)} went from "
            f"{now.baseline.mean:.4f} to {now.best.mean:.4f}: a claimed gain of {amount} bits per "
            f"byte{f', {words}' if (words := summed_words(state.objectives)) else ''}."
        )
    parts.append(f"The noise of a difference is {noise_words(now.noise)}.")
    parts.append(f"False-keep meter: {meter(len(state.nulls), sum(t.kept for t in state.nulls))}.")
    if state.verified:
        told = one_line_of(state.verified, state.champion.commit if state.champion else "")
        parts.append(f"{told[0].upper()}{told[1:]}.")
    parts.append(opening_words(state.openings).replace("the", "The", 1) + ".")
    return " ".join(parts)


def cost_name(state: State) -> str:
    """What the chain of champions is a chain of."""
    return "cost" if summed_words(state.objectives) else DEFAULT


def summed_words(objectives: Sequence[str]) -> str:
    """By what a sum of gains was measured, "" if by val_bpb alone."""
    if list(objectives) in ([], [DEFAULT]):
        return ""
    several = "a sum of gains by different objectives:" if len(objectives) > 1 else "measured by"
    return f"{several} {'; then '.join(objectives)}"


def repeat_command(state: State) -> str:
    """What runs a campaign with the same settings, as far as they are not the usual ones.

    A start is named by its file, without its folder; another machine's scores are its own.
    """
    usual, settings = Settings(), state.settings
    start = settings.get("start")
    parts = ["python -m agent run", *([f"--start {typed(start)}"] if start else [])]
    for name in ("preset", "budget", "data", "keep", "proposer", "llm", "seed"):
        value = settings.get(name)
        if value not in (None, "", getattr(usual, name)):
            parts.append(f"{option(name)} {typed(value)}")
    return " ".join([*parts, f"--trials {sum(state.counts.values())}"])


def typed(value: object) -> str:
    """As a word of a command line."""
    return shlex.quote(one_line(value))


def without_ideas(state: State) -> list[str]:
    """Categories of which no proposer had an untried idea when one was drawn last."""
    last = next((trial for trial in reversed(state.trials) if trial.available), Trial(0))
    return [name for name in last.categories if name not in last.available]


def _proposers(state: State) -> dict[str, int]:
    """Number of trials by who proposed them."""
    return dict(Counter(trial.proposer for trial in state.real[1:] if trial.proposer))
