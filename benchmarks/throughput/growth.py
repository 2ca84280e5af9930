"""What a trial costs a campaign beside its trainings, however many trials there were before.

All is real but the trainings: journal, git, state, judge, prior, files. A training returns a drawn
score at once, so most edits are reverted after a heat or two. A proposer that needs no time
gives each trial another number, since what proposers cost is another question. A past of so many
trials is made of the events of real ones, with commits, refs and notes of their own; then some more
are run. Seconds are of processor time, git's included, which other work disturbs least.
"""

from __future__ import annotations

import cProfile
import hashlib
import json
import os
import pstats
import random
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from agent.campaign import events, snapshot
from agent.campaign.files import JOURNAL
from agent.campaign.journal import read_events
from agent.campaign.lines import Reader, write_line
from agent.campaign.state import fold
from agent.campaign.store import Campaign
from agent.edits.blocks import Block, render
from agent.git import repo as git_repo
from agent.loop import baseline, one_trial
from agent.program import load_program
from agent.proposers.base import Context, Proposal
from agent.report.display import Display
from agent.settings import Settings
from agent.steps.runtime import Runtime
from benchmarks.soak import project
from trainer import measure
from trainer.results import AuditResult, CheckResult, Measurement

TAG = "growth"
PASTS = (100, 1_000, 5_000, 20_000)
FEW_PASTS = (100, 1_000)
TEMPLATES, MEASURED = 40, 20
"""Trials of which a past is made, and that are timed after it."""
TOLD = 40
NOISE = 0.005
FINGERPRINT = {
    "processor": "simulated", "cores": 2, "threads": 2, "device": "cpu", "device_name": "",
    "torch": "2.13.0", "python": "3.11", "text": "simulated", "data": "82a9c290" * 8,
    "trainer": "ba203f8bb13ce616", "system": "Linux x86_64",
}  # fmt: skip


class OneNumber:
    """Another value of one constant each time, at no cost."""

    name, attempts = "tuner", 1
    _line = re.compile(r"^MATRIX_LR = .*$", re.MULTILINE)

    def choices(self, context: Context) -> int:
        return 1

    def covers(self, context: Context) -> bool:
        return True

    def propose(self, context: Context) -> Proposal:
        (line,) = self._line.findall(context.source)
        value = 0.01 + 1e-6 * context.trial
        block = Block(line, re.sub(r"= \S+", f"= {value:.6f}", line, count=1))
        told = f"It may help that the rate is {value:.6f}."
        return Proposal(self.name, render(context.category, told, [block], title=f"{value:.6f}"))


def scored(source: str, seed: int) -> Measurement:
    """A training's result, drawn by what it trains."""
    dice = random.Random(f"{hashlib.sha256(source.encode()).hexdigest()} {seed}")
    losses = tuple(round(2.5 - 0.02 * k + dice.gauss(0, NOISE), 6) for k in range(20))
    return Measurement(
        status="ok",
        startup_seconds=0.2,
        train_seconds=20.0,
        steps=400,
        tokens=900_000,
        params=1_300_000,
        peak_memory_mb=1536.0,
        losses=losses,
        curve=tuple((float(k), 20 * k, loss) for k, loss in enumerate(losses)),
        trace="AAAA" * 200,
        weights_sha256=hashlib.sha256(weights(source)).hexdigest(),
        val_bpb=1.3 + dice.gauss(0, NOISE),
        score_seconds=1.5,
        wall_seconds=44.0,
        seed=seed,
        isolation="os",
        budget="20s",
        preset="cpu",
        data="apidocs",
        how="side by side",
        leak_bound_bpb=0.0,
        fingerprint=dict(FINGERPRINT),
    )


def heat(
    sources: Sequence[str], *, seed: Any, weights_to: Sequence[Path | None] | None = None, **_: Any
) -> list[Measurement]:
    """Scores, and weights that an audit would find."""
    seeds = [seed] * len(sources) if isinstance(seed, int) else seed
    found = [scored(source, one) for source, one in zip(sources, seeds, strict=True)]
    for path, source in zip(weights_to or (), sources, strict=False):
        if path is not None:
            path.write_bytes(weights(source))
    return found


def weights(source: str) -> bytes:
    return source[-1000:].encode()


def check(source: str, **_: Any) -> CheckResult:
    digest = hashlib.sha256(source.encode()).hexdigest()
    return CheckResult(
        "ok", steps=2, params=1_300_000, peak_memory_mb=1536.0, weights_sha256=digest
    )


def audit(*_: Any, **__: Any) -> AuditResult:
    return AuditResult(True, "ok", "", 0.0, 0.1, 100)


@contextmanager
def running(folder: Path) -> Iterator[Runtime]:
    """Of the campaign in ``folder``, without trainings."""
    repo = project(folder)
    settings = Settings(preset="cpu", budget="20s", llm="none", nulls=0.0)
    with (
        mock.patch.multiple(measure, heat=heat, check=check, audit=audit),
        Path(os.devnull).open("w") as nowhere,
    ):
        campaign = Campaign(repo, TAG)
        try:
            if campaign.is_new:
                campaign.begin(settings, {"device": "cpu"})
            campaign.reconcile()
            program = load_program(folder / "program.md")
            display, stop = Display(nowhere), threading.Event()
            runtime = Runtime(campaign, settings, program, OneNumber(), display, stop)
            campaign.record(events.RunBegun(pid=os.getpid(), settings={"keep": "confirm"}))
            baseline(runtime)
            yield runtime
        finally:
            campaign.close()


# --- a long past ---


def extend(folder: Path, trials: int) -> None:
    """Make the campaign in ``folder`` so long, by copies of the reverted trials that it has."""
    path = folder / "campaigns" / TAG / JOURNAL
    happened = read_events(path)
    by_trial: dict[int, list[Any]] = {}
    for event in happened:
        if isinstance(event, events.OfTrial):
            by_trial.setdefault(event.trial, []).append(event)
    reverted = [
        own
        for own in by_trial.values()
        if isinstance(own[-1], events.Concluded) and own[-1].verdict == "revert" and own[-1].commit
    ]
    first, count = len(by_trial), trials + 1 - len(by_trial)
    numbers = range(first, first + count)
    copied = [reverted[n % len(reverted)] for n in numbers]
    hashes = _commits(folder, numbers, [own[-1].commit for own in copied])
    state, place = fold(happened), _place(path)
    with path.open("ab") as file:
        for number, own, commit in zip(numbers, copied, hashes, strict=True):
            for event in own:
                new = _renamed(event, number, own[-1].commit, commit)
                new = new.model_copy(update={"n": place.n + 1})
                line = write_line(new)
                file.write(line)
                place = place.after(line, new.n, place.form)
                state.apply(new)
    snapshot.save(path, state, place)


def _place(path: Path) -> Any:
    reader = Reader(path)
    for _ in reader:
        pass
    return reader.place


def _renamed(event: Any, number: int, old: str, new: str) -> Any:
    """The same event of another trial, with another commit, seeds and source of its own."""
    stored = json.loads(event.model_dump_json())
    own = hashlib.sha256(f"{number}".encode()).hexdigest()
    stored["trial"] = number
    for name in ("candidate", "commit"):
        if stored.get(name):
            stored[name] = new
    if stored.get("source_sha256"):
        stored["source_sha256"] = own
    if stored.get("reply"):
        stored["reply"] += f"\n<!-- {number} -->"
    for training in stored.get("trainings", ()):
        training["trial"] = number
        training["seed"] = training["seed"] % 10 + 10 * number
        if training["role"] == "candidate":
            training["commit"] = new
    if "seeds" in stored:
        stored["seeds"] = [seed % 10 + 10 * number for seed in stored["seeds"]]
    return events.read_event(stored, events.FORMAT)


def _commits(folder: Path, numbers: Sequence[int], olds: Sequence[str]) -> list[str]:
    """A commit for each trial with its ref and its note; their hashes."""
    repo = git_repo.Repo.open(folder)
    trees = {old: repo.git("cat-file", "commit", old) for old in dict.fromkeys(olds)}
    notes = {old: repo.read_note(TAG, old) or "" for old in trees}
    parts: list[bytes] = []
    marks = folder / "marks"
    for number, old in zip(numbers, olds, strict=True):
        (parent,) = re.findall(rb"^parent (\w+)$", trees[old], re.MULTILINE)
        message = trees[old].partition(b"\n\n")[2] + f"\nNumber: {number}\n".encode()
        parts.append(
            b"commit %b\nmark :%d\ncommitter a <a@b> 1700000000 +0000\ndata %d\n%b\nfrom %b\n"
            % (repo.trial_ref(TAG, number).encode(), number, len(message), message, parent)
        )
    ref = repo.notes_ref(TAG)
    parts.append(b"commit %b\ncommitter a <a@b> 1700000000 +0000\ndata 0\n" % ref.encode())
    parts.append(b"from %b^0\n" % ref.encode())
    for number, old in zip(numbers, olds, strict=True):
        note = notes[old].replace(old, f"{number:040x}").encode()
        parts.append(b"N inline :%d\ndata %d\n%b\n" % (number, len(note), note))
    stream = b"".join(parts)
    subprocess.run(
        ["git", "-C", str(folder), "fast-import", "--quiet", f"--export-marks={marks}"],
        input=stream, check=True,
    )  # fmt: skip
    found = dict(line.split() for line in marks.read_text().splitlines())
    return [found[f":{number}"] for number in numbers]


# --- what a trial costs ---


def measured(past: int, folder: Path) -> dict[str, Any]:
    """Seconds of a trial after so many, and where they go."""
    with running(folder) as runtime:
        _run(runtime, TEMPLATES)
    if past > TEMPLATES:
        extend(folder, past)
    began = _cpu()
    with running(folder) as runtime:
        opened = _cpu() - began
        _run(runtime, 1)  # what is remembered between trials
        before, readings = runtime.campaign.journal.place.lines, list[tuple[float, float]]()
        for _ in range(MEASURED):
            began, at = _cpu(), time.monotonic()
            _run(runtime, 1)
            readings.append((_cpu() - began, time.monotonic() - at))
        lines = runtime.campaign.journal.place.lines - before
        where = _where(runtime)
    cpu, wall = ([reading[k] for reading in readings] for k in (0, 1))
    return {
        "past": past,
        "seconds_a_trial": round(median(cpu), 4),
        "wall_seconds_a_trial": round(median(wall), 4),
        "seconds_to_open": round(opened, 3),
        "events_a_trial": round(lines / MEASURED, 1),
        "where": where,
    }


def _run(runtime: Runtime, trials: int) -> None:
    for _ in range(trials):
        one_trial(runtime)
        runtime.campaign.messages.clear()


def _cpu() -> float:
    """Processor seconds of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _where(runtime: Runtime, trials: int = 5) -> dict[str, float]:
    """Milliseconds a trial in the functions that take longest, with all that they call: by the
    clock, and profiled, which makes them slower."""
    profile = cProfile.Profile()
    profile.enable()
    _run(runtime, trials)
    profile.disable()
    stats: Any = pstats.Stats(profile)
    rows = [
        (1000 * cumulative / trials, f"{Path(file).stem}.{name}")
        for (file, _, name), (_, _, _, cumulative, _) in stats.stats.items()
        if "/agent/" in file
    ]
    return {name: round(ms, 1) for ms, name in sorted(rows, reverse=True)[:TOLD]}


def in_new_folder(past: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="autoresearch-growth-") as made:
        return measured(past, Path(made))
