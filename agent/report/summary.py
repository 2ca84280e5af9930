"""A campaign in numbers and in plain text: what ``status``, ``log`` and ``show`` print."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from agent.campaign.chain import baseline_and_best
from agent.campaign.compared import finding
from agent.campaign.evidence import noise_of
from agent.campaign.files import NOTEBOOK
from agent.campaign.learning import prior_course
from agent.campaign.records import Kind, Training, Trial
from agent.campaign.state import State
from agent.judge import Estimate
from agent.objective import DEFAULT, Objective
from agent.report.text import (
    clock,
    interval,
    meter,
    noise_words,
    out_of_ideas,
    percents,
    plural,
    prior_line,
    proposer_words,
    sparks,
)
from agent.report.text import signed as with_sign
from agent.report.verification import one_line_of, opening_words, transfer_words
from trainer.presets import Preset, find_preset
from trainer.untrusted import one_line, printable

WIDTH, LABEL = 80, 10
SHOWN_CHARACTERS = 6000
"""Limit for each stored text in ``show``; the files hold the whole text."""
MARKS = {"kept": "●", "reverted": "○", "failed": "×", "rejected": "·", "null": "◌", "open": "?"}
LEGEND = "● kept  ○ reverted  × training failed  · rejected before training  ◌ null trial"
TRAININGS = "heat  role       seed        status    val_bpb     steps   peak MB     time"
NOTHING = "no trial is finished yet"
LOGGED = (
    "trial commit parent category credited title hypothesis sign proposer verdict words status "
    "kind level scores differences val_bpb val_bpb_half gain gain_half claimed reward seconds "
    "lines_added lines_removed size_delta"
)
"""What ``log`` tells of a trial."""


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


def status_json(
    state: State, tag: str, running_pid: int | None, prior: Mapping[str, float]
) -> dict[str, Any]:
    """What ``status --json`` prints; None for what is not known."""
    counts, champion, now = state.counts, state.champion, standing(state)
    return {
        "tag": tag,
        "state": "stopped" if running_pid is None else "waiting" if state.waiting else "running",
        "trials": sum(counts.values()),
        "kept": counts["keep"],
        "reverted": counts["revert"],
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
        "without_ideas": state.without_ideas,
        "proposers": state.proposers,
        "ideas_waiting": len(state.queue),
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


def log_json(state: State) -> list[dict[str, Any]]:
    """What ``log --json`` prints: finished trials, oldest first; trial 0 is the baseline."""
    openings = list(state.openings)
    return [_logged(trial) | {"openings": openings} for trial in state.finished]


def _logged(trial: Trial) -> dict[str, Any]:
    row = {name: getattr(trial, name) for name in LOGGED.split()}
    row |= {name: row[name] or None for name in ("commit", "parent", "status")}
    row |= {name: list(row[name]) for name in ("scores", "differences")}
    row["transfers"] = [asdict(transfer) for transfer in trial.transfers]
    row["objective"] = dict(trial.objective)
    return row | {"kind": trial.kind if trial.heats else None}


def show_json(state: State, n: int) -> dict[str, Any]:
    """Everything that the journal holds about trial ``n``."""
    return asdict(state.trials[n])


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


def status_text(status: Mapping[str, Any]) -> str:
    """The result of ``status_json`` as text for people."""
    counts = ", ".join(f"{status[kind]} {kind}" for kind in ("kept", "reverted", "rejected"))
    apart = f"; {plural(status['nulls'], 'null trial')} apart" if status["nulls"] else ""
    score, cost, tokens = "not measured yet", status["cost_usd"], status["tokens"]
    if status["baseline_bpb"] is not None and status["best_bpb"] is not None:
        change = with_sign(status["best_bpb"] - status["baseline_bpb"])
        score = f"baseline {status['baseline_bpb']:.4f}, champion {status['best_bpb']:.4f}"
        score += f" ({change})"
    asks = plural(status["unanswered"], "ask") if status["unanswered"] else ""
    capped = plural(status["capped"], "ask") if status["capped"] else ""
    per_gain, cached = status["cost_per_gain_usd"], status["cached_share"]
    from_cache = f", {cached:.0%} of the prompts from a cache" if cached is not None else ""
    is_priced = tokens and per_gain is not None
    lines = [
        ("campaign", f"{status['tag']}, {status['state']}"),
        ("trials", f"{status['trials']}: {counts}{apart}"),
        ("cost" if (summed := summed_words(status["summed"])) else DEFAULT, score),
        ("", summed),
        ("objective", Objective.of(o).words() if (o := status["objective"]) else ""),
        ("noise", noise_words(status["noise"])),
        ("", f"false-keep meter: {meter(status['nulls'], status['nulls_kept'])}"),
        ("test", opening_words(status["openings"])),
        ("", one_line_of(status["verified"] or {}, status["champion"] or "")),
        ("champion", status["champion"] or "none yet"),
        ("cost", "not known" if cost is None else f"${cost:.2f}"),
        ("", f"at least: {asks} cut off, and not counted whole" if asks else ""),
        (
            "",
            f"at most: {capped} cut off, counted as ${status['capped_usd']:.2f}" if capped else "",
        ),
        ("tokens", f"{tokens:,}{from_cache}" if tokens else ""),
        ("per gain", f"${per_gain:.2f} for each 0.01 bits per byte" if is_priced else ""),
        ("waiting", f"{plural(n, 'idea')} of a reply" if (n := status["ideas_waiting"]) else ""),
        ("notebook", status["notebook"] or ""),
        ("prior", prior_line(percents(status["prior"]), {}, WIDTH - LABEL)),
        ("", _over_time(status["prior_over_time"])),
        *(("", one_line(words, WIDTH - LABEL)) for words in out_of_ideas(status)),
        ("proposed", ", ".join(f"{who} {n}" for who, n in status["proposers"].items())),
    ]
    return "\n".join(f"{label:<{LABEL}}{text}" for label, text in lines if text)


def _over_time(course: Sequence[Mapping[str, Any]]) -> str:
    """The prior's course for the most probable categories, as many as have room; "" without one."""
    if len(course) < 2:
        return ""
    line, bars = f"trials {course[0]['trial']} to {course[-1]['trial']}:", sparks(course)
    for name in percents(course[-1]["prior"]):
        more = f"  {bars[name]} {name}"
        line += more if len(line) + len(more) <= WIDTH - LABEL else ""
    return line


def log_text(state: State) -> str:
    """What ``log`` prints: two lines per trial, oldest first, and one more where it transfers."""
    lines = []
    for trial in state.finished:
        score = interval(trial.val_bpb, trial.val_bpb_half) or trial.status or "not trained"
        row = _row(trial, f"{score:<15}", f"{clock(trial.seconds):>6}  ")
        lines += [row, f"     {_verdict(trial)}"]
        lines += [f"     {transfer_words(trial)}"] if trial.transfers else []
    return "\n".join([*lines, opening_words(state.openings)]) if lines else NOTHING


def log_graph(state: State) -> str:
    """Kept trials on the trunk, the others as side branches of the champion they were tried on."""
    lines = []
    for trial in state.finished:
        mark = MARKS[trial.outcome]
        branch = mark + "  " if trial.outcome == "kept" else "├─" + mark
        score = interval(trial.val_bpb, None) or trial.status or "rejected"
        lines.append(f"{branch} {_row(trial, f'{score:<9}')}")
    return "\n".join([*lines, LEGEND, opening_words(state.openings)]) if lines else NOTHING


def _row(trial: Trial, score: str, aside: str = "") -> str:
    """A trial's line in the log."""
    gain = with_sign(trial.gain)
    return f"{trial.trial:>3}  {trial.commit[:7]:7}  {score}  {gain:>7}  {aside}{_what(trial)}"


def show_text(state: State, n: int, folder: Path) -> str:
    """Everything about trial ``n``; its stored texts are read from ``folder``, cut if long."""
    trial, stored = state.trials[n], folder / "trials" / str(n)
    rows = [_training(run) for run in trial.trainings]
    differences = " ".join(with_sign(difference) for difference in trial.differences)
    blocks = [
        f"trial {n}  {_what(trial)}",
        "\n".join(f"{label:<11}{text}" for label, text in _facts(trial) if text),
        textwrap.fill(one_line(trial.hypothesis, 4000), WIDTH),
        "\n".join([TRAININGS, *rows]) if rows else "",
        f"differences: {differences}" if differences else "",
    ]
    for audit in trial.audits:
        told = f"believed, bound {audit.leak_bound_bpb:.4f}" if audit.ok else audit.reason
        blocks.append(f"audited on prefixes alone: {one_line(told)}")
    blocks += [f"turned down: {printable(reason, 1000).strip()}" for reason in trial.rejections]
    asked = sorted((*stored.glob("prompt*.md"), *stored.glob("reply*.md")), key=_attempt)
    for path in (*asked, *stored.glob("diff.patch"), *sorted(stored.glob("*.log"))):
        text = path.read_text(encoding="utf-8", errors="replace")
        cut = f", all of it in {path}" if len(text) > SHOWN_CHARACTERS else ""
        blocks.append(f"--- {path.name}{cut} ---\n{printable(text, SHOWN_CHARACTERS).rstrip()}")
    return "\n\n".join(block for block in blocks if block)


def prompts(folder: Path, n: int) -> dict[str, str]:
    """By file: what was asked in trial ``n``, whole, oldest first."""
    paths = sorted((folder / "trials" / str(n)).glob("prompt*.md"), key=_attempt)
    return {path.name: path.read_text(encoding="utf-8", errors="replace") for path in paths}


def prompts_text(trial: Trial, found: Mapping[str, str]) -> str:
    """All that was asked in a trial, after how many tokens the last of it took."""
    texts = [
        f"--- {name} ---\n{printable(text, len(text)).rstrip()}" for name, text in found.items()
    ]
    texts = texts or ["no prompt is stored, or it was removed for room"]
    return "\n\n".join([_tokens(trial) or "no model was asked", *texts])


def _tokens(trial: Trial) -> str:
    """Tokens of the last prompt to a model by part, in words; "" if no model was asked."""
    parts = trial.prompt_tokens
    if not parts:
        return "its tokens by part were not recorded" if trial.proposer == "llm" else ""
    told = ", ".join(f"{one_line(name)} {count:,}" for name, count in parts.items())
    return f"about {sum(parts.values()):,} tokens: {told}"


def _verdict(trial: Trial) -> str:
    """The verdict in words; of a score that was no better, whether it lost or nobody knows."""
    found = "" if trial.is_null else finding(trial)
    return one_line(f"{found}: {trial.words}" if found else trial.words)


def _attempt(path: Path) -> tuple[int, str]:
    """Sort key of prompt.md, reply.md, prompt-2.md, ...: requests and replies in order."""
    name, _, number = path.stem.partition("-")
    return int(number or 1), name


def _facts(trial: Trial) -> list[tuple[str, str]]:
    drawn = f" (drawn with probability {trial.propensity:.2f})" if trial.propensity else ""
    if len(trial.drawn) > 1:
        order = zip(trial.drawn, trial.propensities, strict=True)
        drawn = f" (of {', '.join(f'{name} {p:.2f}' for name, p in order)}, as drawn)"
    drawn += f", follows up {trial.follows}" if trial.follows else ""
    drawn += f", came with trial {trial.idea['trial']}'s reply" if trial.idea else ""
    drawn += f", counts as {one_line(trial.shows)}" if trial.shows else ""
    gain = f"{with_sign(trial.gain)} ± {trial.gain_half:.4f}" if trial.gain_half is not None else ""
    is_selected = trial.kept and trial.heats and not trial.is_null and not trial.tie
    corrected = ", corrected for having been selected" if is_selected else ""
    judged = f"as an edit of {trial.kind}" if trial.heats else ""
    judged += f", {trial.level:.2%} of false keeps allowed" if trial.level is not None else ""
    reads = one_line(trial.reads_clock)
    changed = f"+{trial.lines_added} -{trial.lines_removed} lines" if trial.candidate else ""
    return [
        ("verdict", _verdict(trial) or trial.verdict or "none yet"),
        ("val_bpb", interval(trial.val_bpb, trial.val_bpb_half)),
        ("gain", (gain or with_sign(trial.gain)) + corrected),
        ("judged", judged),
        ("by", Objective.of(trial.objective).words() if trial.objective else ""),
        ("wrong if", one_line(trial.sign)),
        ("transfer", transfer_words(trial)),
        ("reward", with_sign(trial.reward, 3)),
        ("category", f"{one_line(trial.category)}{drawn}"),
        ("proposer", proposer_words(trial)),
        ("prompt", _tokens(trial)),
        ("claimed", with_sign(trial.claimed)),
        ("imported", trial.submitted.get("commit", "")),
        ("program", trial.program),
        ("commit", trial.commit or trial.candidate),
        ("parent", trial.parent),
        ("change", changed),
        ("replay", f"not bit for bit: it reads {reads}" if reads else ""),
        ("time", clock(trial.seconds) if trial.verdict else ""),
    ]


def _training(run: Training) -> str:
    score = "none" if run.val_bpb is None else f"{run.val_bpb:.6f}"
    aside = "" if run.counted else "  (quarantined)" if run.quarantined else "  (not counted)"
    aside += "  (an earlier training, used again)" if run.reused else ""
    aside += f"  {one_line(run.reason)}" if run.reason else ""
    heat = "" if run.heat is None else run.heat + 1
    return (
        f"{heat:>4}  {run.role:<10} {run.seed:<11} {one_line(run.status):<9} {score:<10} "
        f"{run.steps:>6} {run.peak_memory_mb:>9.0f} {clock(run.wall_seconds):>8}{aside}"
    )


def _what(trial: Trial) -> str:
    category = one_line(trial.category, 40)
    return f"{category}: {one_line(trial.title)}" if trial.title else category
