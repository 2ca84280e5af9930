"""A stand-in for devices and a model, which answer when a test lets them, and runs to watch."""

from __future__ import annotations

import dataclasses
import queue
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from replies import block
from staged import measured

from agent import loop
from agent.campaign.journal import read_events
from agent.campaign.learning import rebuild_prior
from agent.campaign.records import Trial
from agent.executors.base import Work
from agent.models.types import Cancelled, Prompt, Reply
from agent.proposers.base import Context, Proposal
from agent.steps.runtime import Runtime
from trainer.measure import AuditResult, CheckResult, Measurement

PROMPTS = Path(__file__).parents[3] / "prompts"
PLACE = "    session.ready()\n"
ELSEWHERE, LAST = "    step = 0\n", "    loss = None\n"


def edit(name: str, place: str = PLACE) -> str:
    return block(place, f"{place}    kind = {name!r}\n    del kind\n")


@dataclasses.dataclass
class Lab:
    """The devices and the model. All that is asked of them is in ``asked``, in order."""

    scores: Callable[[str], float]
    slots: int = 1
    asked: list[tuple[str, Any]] = dataclasses.field(default_factory=list)
    name: str = "fake:m"
    gates: dict[str, threading.Semaphore] = dataclasses.field(default_factory=dict)
    """By the kind of what is asked, ``heat`` or ``reply``: each answer takes one from it."""
    began: dict[str, queue.Queue[Any]] = dataclasses.field(
        default_factory=lambda: {"heat": queue.Queue(), "reply": queue.Queue()}
    )
    replies: Callable[[Prompt], str] = lambda prompt: edit(f"at{prompt.trial}")
    lacks_memory: Callable[[str, int], bool] = lambda source, count: False
    """Whether a source of so many in a heat does not fit."""

    def _ask(self, what: str, of: Any, cancel: threading.Event) -> None:
        self.asked.append((what, of))
        if what in self.began:
            self.began[what].put(of)
        if gate := self.gates.get(what):
            while not gate.acquire(timeout=0.05) and not cancel.is_set():
                pass

    def wait_for(self, what: str) -> Any:
        """The next of what is asked, once it is."""
        return self.began[what].get(timeout=60)

    def run(
        self, work: Work, *, on_event: Any, cancel: threading.Event, watch: Any = None
    ) -> list[Measurement] | CheckResult | AuditResult:
        self._ask(work.call, work.sources, cancel)
        if work.call == "check":
            return CheckResult("ok", params=1000)
        if work.call == "audit":
            return AuditResult(True, "ok", "", 0.0, 0.0)
        for path in filter(None, work.weights_to):
            path.write_bytes(path.stem.rpartition("-")[2].encode())
        seeds = work.arguments["seed"]
        return [
            dataclasses.replace(measured(self.scores(source), seed), status="oom", val_bpb=None)
            if self.lacks_memory(source, len(work.sources))
            else measured(self.scores(source), seed)
            for source, seed in zip(work.sources, seeds, strict=True)
        ]

    def close(self) -> None: ...

    def complete(self, prompt: Prompt, *, cancel: threading.Event, **_: Any) -> Reply:
        self._ask("reply", prompt, cancel)
        if cancel.is_set():
            raise Cancelled
        category = re.findall(r"in the category \*\*(\w+)\*\*", prompt.text)[-1]
        text = self.replies(prompt)
        head = "" if "title:" in text else f"category: {category}\nhypothesis: it may help\n"
        return Reply(head + text, "end", None, "fake")


def use(runtime: Runtime, **settings: Any) -> None:
    runtime.settings = runtime.settings.model_copy(update=settings)
    runtime.command_line = {**runtime.command_line, **settings}


class Run:
    """``with Run(runtime)``: a run in a thread of its own; its end is awaited."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self.reason = runtime, ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.reason = loop.run_campaign(self._runtime)

    def __enter__(self) -> Run:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(120)
        assert not self._thread.is_alive()


def trials(runtime: Runtime) -> list[Trial]:
    return runtime.campaign.state.trials


def journal(runtime: Runtime) -> list[Any]:
    return read_events(runtime.campaign.journal.path)


def check_invariants(runtime: Runtime) -> None:
    """What holds of every campaign, however many lanes it had."""
    state = runtime.campaign.state
    champion, kept = None, [t for t in state.real if t.kept]
    for trial in kept:
        assert champion is None or trial.parent == champion.commit, "a keep on another champion"
        champion = trial
    repo = runtime.campaign.repo
    assert repo.resolve(repo.branch("t")) == kept[-1].commit
    seeds = [t.seed for trial in state.trials for t in trial.trainings if not t.reused]
    assert state.seeds_used >= len(set(seeds))
    names = runtime.program.described
    rebuilt = rebuild_prior(names, runtime.settings.seed, state.in_order, state.lent)
    assert rebuilt.probabilities() == runtime.prior.probabilities()


def closed(lab: Lab, heats: int = 0) -> threading.Semaphore:
    """From now on each heat waits, but for so many."""
    lab.gates["heat"] = threading.Semaphore(heats)
    return lab.gates["heat"]


@dataclasses.dataclass
class Told:
    """A proposer that needs no model."""

    name: str = "deck"
    attempts: int = 1

    def choices(self, context: Context) -> int:
        return 1

    def covers(self, context: Context) -> bool:
        return True

    def propose(self, context: Context) -> Proposal:
        place = [PLACE, ELSEWHERE, LAST][context.trial % 3]
        head = f"category: {context.category}\nhypothesis: it may help\n"
        return Proposal("deck", head + edit(f"at{context.trial}", place))


def three_ideas(prompt: Prompt) -> str:
    """A reply of three edits, each in another place."""
    return "\n".join(
        f"title: {place}\ncategory: schedule\nhypothesis: it may help\n{edit('one', place)}"
        for place in (PLACE, ELSEWHERE, LAST)
    )


def drafted(lab: Lab, drafts: int) -> tuple[str, ...]:
    """Wait until so many drafts were asked for and the first heat of candidates trains; returns
    its sources, the champion's first."""
    for _ in range(drafts):
        lab.wait_for("reply")
    lab.wait_for("heat")  # the baseline's
    return lab.wait_for("heat")
