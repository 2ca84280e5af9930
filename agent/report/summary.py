"""A campaign in numbers and in plain text: what ``status``, ``log`` and ``show`` print."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from agent.campaign.records import Training, Trial
from agent.campaign.state import State
from agent.judge import Estimate, Noise, pooled_sigma, t_quantile
from agent.report.text import clock, interval, percents, plural, prior_line
from agent.report.text import signed as with_sign
from trainer.presets import find_preset
from trainer.untrusted import one_line, printable

WIDTH = 80
SHOWN_CHARACTERS = 6000
"""Limit for each stored text in ``show``; the files hold the whole text."""
MARKS = {"kept": "●", "reverted": "○", "failed": "×", "rejected": "·", "open": "?"}


class NoSuchTrial(LookupError):
    """The campaign has no trial of that number; the message says which it has."""


# --- numbers ---


def noise(state: State) -> Noise:
    """Sigma of val_bpb over seeds, from all replicates so far and the preset's prior."""
    chosen = find_preset(str(state.settings.get("preset", "auto")))
    return pooled_sigma(state.replicates(), chosen.sigma, chosen.sigma_dof)


def baseline_scores(state: State) -> list[float]:
    """Trial 0's scores, and those it got as champion later."""
    if not state.trials:
        return []
    first = state.trials[0]
    runs = state.champion_runs.get(first.commit or first.candidate, [])
    return [run.score for run in runs if run.score is not None]


def best_scores(state: State) -> list[float]:
    """The champion's scores with fresh seeds; until there are any, those that its verdict used."""
    champion = state.champion
    if champion is None:
        return []
    return state.champion_scores() or list(champion.scores[1:] or champion.scores)


@dataclass(frozen=True)
class Standing:
    """The state of a campaign, in bits per byte; None for what is not measured yet."""

    noise: Noise
    baseline: Estimate | None
    best: Estimate | None
    gain: Estimate | None
    """Baseline minus champion, claimed on the validation split; None while they are the same."""


def standing(state: State) -> Standing:
    sigma = noise(state)
    baseline, best = baseline_scores(state), best_scores(state)
    gain = None
    if baseline and best and state.champion is not state.trials[0]:
        error = sigma.sigma * (1 / len(baseline) + 1 / len(best)) ** 0.5
        half = t_quantile(0.975, sigma.dof) * error
        gain = Estimate(fmean(baseline) - fmean(best), half)
    return Standing(sigma, _estimate(baseline, sigma), _estimate(best, sigma), gain)


def _estimate(scores: Sequence[float], sigma: Noise) -> Estimate | None:
    if not scores:
        return None
    half = t_quantile(0.975, sigma.dof) * sigma.sigma / len(scores) ** 0.5
    return Estimate(fmean(scores), half)


def status_json(
    state: State,
    tag: str,
    running_pid: int | None,
    prior: Mapping[str, float],
    sigma: float | None,
) -> dict[str, Any]:
    """What ``status --json`` prints; None for what is not known."""
    counts, champion = state.counts, state.champion
    baseline, best = baseline_scores(state), best_scores(state)
    best_bpb = fmean(best) if best else champion.val_bpb if champion is not None else None
    return {
        "tag": tag,
        "state": "stopped" if running_pid is None else "waiting" if state.waiting else "running",
        "trials": sum(counts.values()),
        "kept": counts["keep"],
        "reverted": counts["revert"],
        "rejected": counts["rejected"],
        "baseline_bpb": fmean(baseline) if baseline else None,
        "best_bpb": best_bpb,
        "noise_sigma": sigma,
        "cost_usd": state.cost,
        "cost_per_gain_usd": cost_per_gain(state),
        "tokens": state.tokens,
        "unanswered": state.unanswered,
        "cached_share": cached_share(state.usage),
        "champion": champion.commit if champion is not None else None,
        "prior": dict(prior),
    }


def cost_per_gain(state: State) -> float | None:
    """US dollars of models for each sigma by which the champion beats the baseline.

    None if that gain is not significant (95 % interval), or if a price is unknown.
    """
    now = standing(state)
    if state.cost is None or now.gain is None or now.gain.mean <= now.gain.half:
        return None
    return state.cost / (now.gain.mean / now.noise.sigma)


def cached_share(usage: Mapping[str, int]) -> float | None:
    """Share of all prompt tokens that were read from a cache; None without any prompt tokens."""
    prompts = sum(usage.get(kind, 0) for kind in ("input", "cache_read", "cache_write"))
    return usage.get("cache_read", 0) / prompts if prompts else None


def log_json(state: State) -> list[dict[str, Any]]:
    """What ``log --json`` prints: finished trials, oldest first; trial 0 is the baseline."""
    return [
        {
            "trial": trial.trial,
            "commit": trial.commit or None,
            "parent": trial.parent or None,
            "category": trial.category,
            "title": trial.title,
            "hypothesis": trial.hypothesis,
            "proposer": trial.proposer,
            "verdict": trial.verdict,
            "words": trial.words,
            "status": trial.status or None,
            "scores": list(trial.scores),
            "val_bpb": trial.val_bpb,
            "val_bpb_half": trial.val_bpb_half,
            "gain": trial.gain,
            "gain_half": trial.gain_half,
            "reward": trial.reward,
            "seconds": trial.seconds,
            "lines_added": trial.lines_added,
            "lines_removed": trial.lines_removed,
        }
        for trial in state.finished
    ]


def show_json(state: State, n: int) -> dict[str, Any]:
    """Everything that the journal holds about trial ``n``.

    Raises:
        NoSuchTrial: there is no trial ``n``.
    """
    return asdict(_find(state, n))


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
        parts.append(f"The baseline is still the champion, at val_bpb {start}.")
    else:
        amount = f"{with_sign(now.gain.mean)} ± {now.gain.half:.4f}"
        parts.append(
            f"From the baseline to the champion val_bpb went from {now.baseline.mean:.4f} to "
            f"{now.best.mean:.4f}: a claimed gain of {amount} bits per byte."
        )
    parts.append(f"The noise between seeds is {now.noise.sigma:.4f} (sigma).")
    return " ".join(parts)


def status_text(status: Mapping[str, Any]) -> str:
    """The result of ``status_json`` as text for people."""
    counts = ", ".join(f"{status[kind]} {kind}" for kind in ("kept", "reverted", "rejected"))
    score, sigma, cost = "not measured yet", status["noise_sigma"], status["cost_usd"]
    if status["baseline_bpb"] is not None and status["best_bpb"] is not None:
        change = with_sign(status["best_bpb"] - status["baseline_bpb"])
        score = f"baseline {status['baseline_bpb']:.4f}, champion {status['best_bpb']:.4f}"
        score += f" ({change})"
    lines = [
        ("campaign", f"{status['tag']}, {status['state']}"),
        ("trials", f"{status['trials']}: {counts}"),
        ("val_bpb", score),
        ("noise", "not known" if sigma is None else f"sigma {sigma:.4f} over seeds"),
        ("champion", status["champion"] or "none yet"),
        ("cost", "not known" if cost is None else f"${cost:.2f}"),
    ]
    if status["unanswered"]:
        asks = plural(status["unanswered"], "ask")
        lines.append(("", f"at least: {asks} cut off, and not counted whole"))
    if status["tokens"]:
        per_gain, cached = status["cost_per_gain_usd"], status["cached_share"]
        said = f"{status['tokens']:,}"
        said += f", {cached:.0%} of the prompts from a cache" if cached is not None else ""
        lines.append(("tokens", said))
        if per_gain is not None:
            lines.append(("per gain", f"${per_gain:.2f} for each sigma gained"))
    text = "\n".join(f"{label:<10}{value}" for label, value in lines)
    shares = percents(status["prior"])
    return f"{text}\n{prior_line(shares, {}, WIDTH, label='prior     ')}" if shares else text


def log_text(state: State) -> str:
    """What ``log`` prints: two lines per trial, oldest first."""
    if not state.finished:
        return "no trial is finished yet"
    lines = []
    for trial in state.finished:
        score = interval(trial.val_bpb, trial.val_bpb_half) or trial.status or "not trained"
        lines.append(
            f"{trial.trial:>3}  {trial.commit[:7]:7}  {score:<15}  {with_sign(trial.gain):>7}  "
            f"{clock(trial.seconds):>6}  {_what(trial)}"
        )
        lines.append(f"     {one_line(trial.words)}")
    return "\n".join(lines)


def log_graph(state: State) -> str:
    """Kept trials on the trunk, the others as side branches of the champion they were tried on."""
    if not state.finished:
        return "no trial is finished yet"
    lines = []
    for trial in state.finished:
        end = trial.outcome
        branch = MARKS[end] + "  " if end == "kept" else "├─" + MARKS[end]
        score = f"{trial.val_bpb:.4f}" if trial.val_bpb is not None else trial.status or "rejected"
        lines.append(
            f"{branch} {trial.trial:>3}  {trial.commit[:7]:7}  {score:<8}  "
            f"{with_sign(trial.gain):>7}  {_what(trial)}"
        )
    lines.append("● kept  ○ reverted  × training failed  · rejected before training")
    return "\n".join(lines)


def _find(state: State, n: int) -> Trial:
    for trial in state.trials:
        if trial.trial == n:
            return trial
    there_are = f"there are 0 to {len(state.trials) - 1}" if state.trials else "there is none yet"
    raise NoSuchTrial(f"there is no trial {n}; {there_are}")


def show_text(state: State, n: int, folder: Path) -> str:
    """Everything about trial ``n``; stored texts are read from ``folder``/trials/<n>, cut if long.

    Raises:
        NoSuchTrial: there is no trial ``n``.
    """
    trial = _find(state, n)
    lines = [f"trial {n}  {_what(trial)}", ""]
    lines += [f"{label:<11}{text}" for label, text in _facts(trial) if text]
    if trial.hypothesis:
        lines += ["", *textwrap.wrap(one_line(trial.hypothesis, 4000), WIDTH)]
    if trial.trainings:
        lines += ["", "role       seed        status    val_bpb     steps   peak MB     time"]
        lines += [_training(run) for run in trial.trainings]
    for audit in trial.audits:
        told = f"believed, bound {audit.leak_bound_bpb:.4f}" if audit.ok else audit.reason
        lines += ["", f"audited on prefixes alone: {one_line(told)}"]
    for reason in trial.rejections:
        lines += ["", f"turned down: {printable(reason, 1000).strip()}"]
    stored = folder / "trials" / str(n)
    asked = sorted((*stored.glob("prompt*.md"), *stored.glob("reply*.md")), key=_attempt)
    for path in (*asked, *stored.glob("diff.patch"), *sorted(stored.glob("*.log"))):
        text = path.read_text(encoding="utf-8", errors="replace")
        cut = f", all of it in {path}" if len(text) > SHOWN_CHARACTERS else ""
        lines += ["", f"--- {path.name}{cut} ---", printable(text, SHOWN_CHARACTERS).rstrip()]
    return "\n".join(lines)


def _attempt(path: Path) -> tuple[int, str]:
    """Sort key of prompt.md, reply.md, prompt-2.md, ...: requests and replies in order."""
    name, _, number = path.stem.partition("-")
    return int(number or 1), name


def _facts(trial: Trial) -> list[tuple[str, str]]:
    drawn = f" (drawn with probability {trial.propensity:.2f})" if trial.propensity else ""
    gain = f"{with_sign(trial.gain)} ± {trial.gain_half:.4f}" if trial.gain_half is not None else ""
    changed = f"+{trial.lines_added} -{trial.lines_removed} lines" if trial.candidate else ""
    return [
        ("verdict", one_line(trial.words) or trial.verdict or "none yet"),
        ("val_bpb", interval(trial.val_bpb, trial.val_bpb_half)),
        ("gain", gain or with_sign(trial.gain)),
        ("reward", with_sign(trial.reward, 3)),
        ("category", f"{one_line(trial.category)}{drawn}"),
        ("proposer", one_line(trial.proposer)),
        ("program", trial.program),
        ("commit", trial.commit or trial.candidate),
        ("parent", trial.parent),
        ("change", changed),
        ("time", clock(trial.seconds) if trial.verdict else ""),
    ]


def _training(run: Training) -> str:
    score = "none" if run.val_bpb is None else f"{run.val_bpb:.6f}"
    aside = "" if run.counted else "  (quarantined)" if run.quarantined else "  (not counted)"
    aside += f"  {one_line(run.reason)}" if run.reason else ""
    return (
        f"{run.role:<10} {run.seed:<11} {one_line(run.status):<9} {score:<10} {run.steps:>6} "
        f"{run.peak_memory_mb:>9.0f} {clock(run.wall_seconds):>8}{aside}"
    )


def _what(trial: Trial) -> str:
    category = one_line(trial.category, 40)
    return f"{category}: {one_line(trial.title)}" if trial.title else category
