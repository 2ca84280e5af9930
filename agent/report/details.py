"""All that is known of one trial: what ``show`` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from agent.campaign.records import Training, Trial
from agent.campaign.state import State
from agent.objective import Objective
from agent.report.text import clock, interval, proposer_words, signed
from agent.report.trials import verdict_words, what
from agent.report.verification import transfer_words
from trainer.untrusted import one_line, printable

WIDTH = 80
DIFF = "diff.patch"
SHOWN_CHARACTERS = 6000
"""Limit for each stored text; the files hold the whole text."""
TRAININGS = "heat  role       seed        status    val_bpb     steps   peak MB     time"


def show_json(state: State, n: int) -> dict[str, Any]:
    """Everything that the journal holds about trial ``n``."""
    return asdict(state.trials[n])


def show_text(state: State, n: int, folder: Path) -> str:
    """Everything about trial ``n``; its stored texts are read from ``folder``, cut if long."""
    return "\n\n".join(_blocks(state, n, folder))


def show_lines(state: State, n: int, folder: Path) -> Iterator[Text]:
    """The same in colour."""
    for number, block in enumerate(_blocks(state, n, folder)):
        heading, *rest = block.split("\n")
        if number:
            yield Text()
        yield Text(heading, "" if number and not heading.startswith("--- ") else "bold")
        if heading.startswith(f"--- {DIFF}"):
            yield from diff_lines(rest)
        else:
            yield from map(Text, rest)


def diff_lines(lines: Sequence[str]) -> Iterator[Text]:
    """The lines of a diff in colour; they are printable."""
    is_hunk = False
    for line in lines:
        is_hunk = line.startswith("@@") or (is_hunk and not line.startswith("diff "))
        colour = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        yield Text(line, colour if is_hunk else "bold")


def _blocks(state: State, n: int, folder: Path) -> list[str]:
    trial, stored = state.trials[n], folder / "trials" / str(n)
    rows = [_training(run) for run in trial.trainings]
    differences = " ".join(signed(difference) for difference in trial.differences)
    blocks = [
        f"trial {n}  {what(trial)}",
        "\n".join(f"{label:<11}{text}" for label, text in facts(trial) if text),
        textwrap.fill(one_line(trial.hypothesis, 4000), WIDTH),
        "\n".join([TRAININGS, *rows]) if rows else "",
        f"differences: {differences}" if differences else "",
    ]
    for audit in trial.audits:
        told = f"believed, bound {audit.leak_bound_bpb:.4f}" if audit.ok else audit.reason
        blocks.append(f"audited on prefixes alone: {one_line(told)}")
    blocks += [f"turned down: {printable(reason, 1000).strip()}" for reason in trial.rejections]
    asked = sorted((*stored.glob("prompt*.md"), *stored.glob("reply*.md")), key=attempt)
    for path in (*asked, *stored.glob(DIFF), *sorted(stored.glob("*.log"))):
        text = path.read_text(encoding="utf-8", errors="replace")
        cut = f", all of it in {path}" if len(text) > SHOWN_CHARACTERS else ""
        blocks.append(f"--- {path.name}{cut} ---\n{printable(text, SHOWN_CHARACTERS).rstrip()}")
    return [block for block in blocks if block]


def prompts(folder: Path, n: int) -> dict[str, str]:
    """By file: what was asked in trial ``n``, whole, oldest first."""
    paths = sorted((folder / "trials" / str(n)).glob("prompt*.md"), key=attempt)
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


def attempt(path: Path) -> tuple[int, str]:
    """Sort key of prompt.md, reply.md, prompt-2.md, ...: requests and replies in order."""
    name, _, number = path.stem.partition("-")
    return int(number or 1), name


def facts(trial: Trial) -> list[tuple[str, str]]:
    drawn = f" (drawn with probability {trial.propensity:.2f})" if trial.propensity else ""
    if len(trial.drawn) > 1:
        order = zip(trial.drawn, trial.propensities, strict=True)
        drawn = f" (of {', '.join(f'{name} {p:.2f}' for name, p in order)}, as drawn)"
    drawn += f", follows up {trial.follows}" if trial.follows else ""
    drawn += f", came with trial {trial.idea['trial']}'s reply" if trial.idea else ""
    drawn += f", counts as {one_line(trial.shows)}" if trial.shows else ""
    gain = f"{signed(trial.gain)} ± {trial.gain_half:.4f}" if trial.gain_half is not None else ""
    is_selected = trial.kept and trial.heats and not trial.is_null and not trial.tie
    corrected = ", corrected for having been selected" if is_selected else ""
    judged = f"as an edit of {trial.kind}" if trial.heats else ""
    judged += f", {trial.level:.2%} of false keeps allowed" if trial.level is not None else ""
    reads = one_line(trial.reads_clock)
    changed = f"+{trial.lines_added} -{trial.lines_removed} lines" if trial.candidate else ""
    return [
        ("verdict", verdict_words(trial) or trial.verdict or "none yet"),
        ("val_bpb", interval(trial.val_bpb, trial.val_bpb_half)),
        ("gain", (gain or signed(trial.gain)) + corrected),
        ("judged", judged),
        ("by", Objective.of(trial.objective).words() if trial.objective else ""),
        ("wrong if", one_line(trial.sign)),
        ("transfer", transfer_words(trial)),
        ("reward", signed(trial.reward, 3)),
        ("category", f"{one_line(trial.category)}{drawn}"),
        ("proposer", proposer_words(trial)),
        ("prompt", _tokens(trial)),
        ("claimed", signed(trial.claimed)),
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
