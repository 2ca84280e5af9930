"""Several trials side by side: drafted ahead, in one heat, carried over, stopped and gone on with.

Journal, git and threads are real; trainings and the model's replies come when the test lets them.
"""

from __future__ import annotations

import dataclasses
import queue
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from replies import block
from runtimes import running
from staged import measured

from agent import loop
from agent.campaign import events
from agent.campaign.files import PAUSE
from agent.campaign.journal import read_events
from agent.campaign.learning import rebuild_prior
from agent.campaign.records import Trial
from agent.executors.base import Work
from agent.models.types import Cancelled, Misconfigured, Prompt, Reply
from agent.proposers.base import Context, Proposal
from agent.proposers.llm import LLMProposer
from agent.steps.runtime import Runtime
from trainer.measure import AuditResult, CheckResult, Measurement

pytestmark = pytest.mark.process
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


@pytest.fixture
def lab(runtime: Runtime) -> Lab:
    lab = Lab(lambda source: 1.5)
    runtime.devices.executor = lab
    runtime.proposer = LLMProposer(lab, PROMPTS, cancel=runtime.stop)
    use(runtime, sequential=False, heat="1", nulls=0.0, notebook=False, trials=3)
    return lab


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


def test_the_next_edits_are_drafted_while_a_heat_trains(runtime: Runtime, lab: Lab) -> None:
    heats = closed(lab, 1)  # the baseline's training
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime) as run:
        prompts = [lab.wait_for("reply") for _ in range(3)]
        assert [prompt.trial for prompt in prompts] == [1, 2, 3]
        told = "Under way beside this trial"
        assert [told in prompt.text for prompt in prompts] == [False, True, True]
        assert [t.verdict for t in trials(runtime)[1:3]] == [None, None]
        heats.release(9)
    assert run.reason == "3 trials are done"
    assert [trial.verdict for trial in trials(runtime)] == ["keep", "revert", "revert", "revert"]
    check_invariants(runtime)


def test_one_lane_drafts_when_its_trial_is_over(runtime: Runtime, lab: Lab) -> None:
    use(runtime, sequential=True, keep="greedy")
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    loop.run_campaign(runtime)
    kinds = [what for what, _ in lab.asked]
    assert kinds == ["heat", *("reply", "check", "heat") * 3]


@pytest.mark.parametrize("place", [ELSEWHERE, PLACE], ids=["merges", "conflicts"])
def test_a_draft_is_carried_over_to_a_new_champion(runtime: Runtime, lab: Lab, place: str) -> None:
    """The first trial is kept while the second is drafted."""
    use(runtime, trials=2, keep="greedy")
    lab.replies = lambda prompt: edit(f"at{prompt.trial}", PLACE if prompt.trial == 1 else place)
    lab.scores = lambda source: 1.5 - 0.1 * source.count("    kind = ")
    heats = closed(lab, 1)
    with Run(runtime):
        for _ in range(2):
            lab.wait_for("heat")
        lab.wait_for("reply"), lab.wait_for("reply")
        heats.release(9)
    first, second = runtime.campaign.state.finished[1:]
    made = [e for e in journal(runtime) if isinstance(e, events.CandidateMade)]
    assert {event.parent for event in made[1:]} == {trials(runtime)[0].commit}
    assert first.kept
    if place == PLACE:
        assert second.verdict == "rejected" and second.is_lost
        assert second.words.startswith("rejected, as it could not be carried over")
        assert f"trial {first.trial} has changed it, too" in second.words
        assert second.tried == () and not second.holds_by({})
    else:
        assert second.carried == (made[second.trial].candidate,)
        assert second.kept and second.parent == first.commit
        assert second.differences == (pytest.approx(0.1),)
        source = runtime.campaign.source(second.commit)
        assert "'at1'" in source and "'at2'" in source
    check_invariants(runtime)


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


def test_candidates_share_one_champion_and_one_keep_comes_of_it(runtime: Runtime, lab: Lab) -> None:
    """All three pay: the best is kept at once, the others are tried again on it."""
    use(runtime, heat="3", keep="greedy")
    runtime.proposer = Told()
    lab.scores = lambda source: (
        1.5 - 0.1 * source.count("    kind = ") - 0.01 * source.count("'at2'")
    )
    assert loop.run_campaign(runtime) == "3 trials are done"
    heats = [of for what, of in lab.asked if what == "heat"]
    assert len(heats[1]) == 4, "one champion and three candidates"
    begun = [e for e in journal(runtime) if isinstance(e, events.HeatBegun)]
    assert [e.seeds for e in begun[:3]] == [begun[0].seeds] * 3
    assert [e.new_seeds for e in begun[:3]] == [1, 0, 0]
    over = [e.trainings[0] for e in journal(runtime) if isinstance(e, events.HeatOver)]
    assert [one.reused for one in over[:3]] == [False, True, True]
    base = trials(runtime)[0].commit
    assert len(runtime.campaign.state.champion_runs[base]) == 2, "alone, and in the heat once"
    assert [trial.verdict for trial in trials(runtime)] == ["keep"] * 4
    assert runtime.campaign.state.ended[:2] == [0, 2]
    audited = [what for what, _ in lab.asked].count("audit")
    assert audited == 3, "none of what was to be carried over"
    carried = [len(trial.carried) for trial in runtime.campaign.state.finished]
    assert carried[:2] == [0, 0] and min(carried[2:]) > 0
    check_invariants(runtime)


def test_two_devices_train_two_heats_at_once(runtime: Runtime, lab: Lab) -> None:
    lab.slots = 2
    runtime.proposer = Told()
    use(runtime, keep="greedy")
    lab.scores = lambda source: 1.5 - 0.1 * source.count("    kind = ")
    heats = closed(lab, 1)
    with Run(runtime) as run:
        sources = [lab.wait_for("heat") for _ in range(3)]  # the baseline's, and two
        assert [len(of) for of in sources] == [1, 2, 2]
        heats.release(20)
    assert run.reason == "3 trials are done"
    assert [trial.verdict for trial in trials(runtime)] == ["keep"] * 4
    check_invariants(runtime)


def test_ideas_of_one_reply_share_a_heat(runtime: Runtime, lab: Lab) -> None:
    use(runtime, heat="3", ideas=3, keep="greedy")
    lab.replies = lambda prompt: "\n".join(
        f"title: {place}\ncategory: schedule\nhypothesis: it may help\n{edit('one', place)}"
        for place in (PLACE, ELSEWHERE, LAST)
    )
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    assert loop.run_campaign(runtime) == "3 trials are done"
    assert [what for what, _ in lab.asked].count("reply") == 1
    heats = [len(of) for what, of in lab.asked if what == "heat"]
    assert heats == [1, 4]


def test_a_draft_begins_no_heat_once_the_time_is_up(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial that trains goes on to its verdict; those that wait are left to the next run."""
    heats = closed(lab, 1)
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime) as run:
        for _ in range(3):
            lab.wait_for("reply")
        for _ in range(2):
            lab.wait_for("heat")
        monkeypatch.setattr(Runtime, "time_is_up", lambda self: True)
        heats.release(9)
    assert run.reason == "the time is up"
    assert [trial.verdict for trial in trials(runtime)] == ["keep", "revert", None, None]


def test_what_lacks_memory_beside_others_is_judged_alone(runtime: Runtime, lab: Lab) -> None:
    use(runtime, heat="3", ideas=3, keep="greedy")
    lab.replies = lambda prompt: "\n".join(
        f"title: {place}\ncategory: schedule\nhypothesis: it may help\n{edit('one', place)}"
        for place in (PLACE, ELSEWHERE, LAST)
    )
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    lab.lacks_memory = lambda source, count: count > 2 and f"{ELSEWHERE}    kind" in source
    assert loop.run_campaign(runtime) == "3 trials are done"
    assert [trial.status for trial in trials(runtime)] == ["ok"] * 4
    assert [t.status for t in trials(runtime)[2].of("candidate")] == ["oom", "ok"]
    assert [len(of) for what, of in lab.asked if what == "heat"] == [1, 4, 2]


def test_a_trial_under_way_goes_before_drafts_and_ends_when_the_time_is_up(
    runtime: Runtime, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(runtime, heat="2", trials=9)
    heats = closed(lab, 1)
    near = iter(range(1, 1000))
    lab.scores = lambda source: 1.5 + (next(near) % 3 - 1) * 1e-3
    with Run(runtime) as run:
        for _ in range(5):
            lab.wait_for("reply")
        for _ in range(2):
            lab.wait_for("heat")
        monkeypatch.setattr(Runtime, "time_is_up", lambda self: True)
        heats.release(99)
    assert run.reason == "the time is up"
    begun = [trial for trial in trials(runtime) if trial.trainings]
    assert 2 <= len(begun) <= 3 and all(trial.verdict for trial in begun)
    assert len(begun[1].differences) > 1, "it was not decided by its first heat"
    assert len(trials(runtime)) > len(begun)
    check_invariants(runtime)


def test_no_draft_begins_a_heat_while_the_run_is_paused(runtime: Runtime, lab: Lab) -> None:
    use(runtime, keep="greedy")
    heats = closed(lab, 1)
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime) as run:
        for _ in range(3):
            lab.wait_for("reply")
        for _ in range(2):
            lab.wait_for("heat")
        request = runtime.campaign.folder / PAUSE
        request.touch()
        heats.release(9)
        deadline = time.monotonic() + 60
        while not trials(runtime)[1].verdict or runtime.lanes.quick:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert [what for what, _ in lab.asked].count("heat") == 2
        request.unlink()
    assert run.reason == "3 trials are done"
    happened = [event.event for event in journal(runtime)]
    after = happened[happened.index("verdict", happened.index("verdict") + 1) :]
    assert after.index("paused") < after.index("heat_started")


def test_a_stop_ends_all_lanes_and_the_next_run_goes_on(runtime: Runtime, lab: Lab) -> None:
    heats = closed(lab, 1)
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime) as run:
        for _ in range(3):
            lab.wait_for("reply")
        for _ in range(2):
            lab.wait_for("heat")
        runtime.stop.set()
    assert run.reason == "asked to stop"
    state = runtime.campaign.state
    assert len(state.open_trials) == 3 and state.asking is False
    (begun,) = (trial for trial in state.open_trials if trial.open_seeds)
    runtime.stop.clear()
    heats.release(9)
    assert loop.run_campaign(runtime) == "3 trials are done"
    assert trials(runtime)[begun.trial].trainings[0].seed == begun.open_seeds[0]
    assert len(trials(runtime)) == 4 and not runtime.campaign.state.open_trials
    check_invariants(runtime)


def test_a_failure_in_one_lane_ends_the_others(runtime: Runtime, lab: Lab) -> None:
    closed(lab, 1)

    def fail(prompt: Prompt) -> str:
        if prompt.trial == 2:
            raise Misconfigured("no such model")
        return edit("one")

    lab.replies = fail
    with pytest.raises(Misconfigured, match="no such model"):
        loop.run_campaign(runtime)


class Killed(BaseException):
    """Stands in for kill -9: nothing is written after it."""


@pytest.mark.parametrize(
    ("kind", "number", "side"),
    [
        ("heat_started", 3, "after"),  # the heat of all three has begun, of two it is recorded
        ("heat", 2, "before"),
        ("verdict", 2, "after"),
        ("carried", 1, "before"),
        ("carried", 1, "after"),
        ("proposed", 3, "after"),
    ],
)
def test_a_kill_with_several_open_trials_loses_nothing(
    runtime: Runtime, lab: Lab, home: Path, kind: str, number: int, side: str
) -> None:
    use(runtime, heat="3", keep="greedy")
    runtime.proposer = Told()
    lab.scores = lambda source: 1.5 - 0.1 * source.count("    kind = ")
    append, seen, dead = runtime.campaign.journal.append, [0], [False]

    def kill(event: Any) -> Any:
        seen[0] += event.event == kind
        is_it = event.event == kind and seen[0] == number
        if dead[0] or (is_it and side == "before"):
            dead[0] = True
            raise Killed
        written = append(event)
        if is_it:
            dead[0] = True
            raise Killed
        return written

    runtime.campaign.journal.append = kill  # type: ignore[method-assign]
    with pytest.raises(Killed):
        loop.run_campaign(runtime)
    runtime.campaign.close()
    with running(home, home / "again.txt") as again:
        again.devices.executor = lab
        again.proposer = Told()
        use(again, sequential=False, heat="3", keep="greedy", nulls=0.0, notebook=False, trials=3)
        assert loop.run_campaign(again) == "3 trials are done"
        assert [trial.verdict for trial in trials(again)] == ["keep"] * 4
        check_invariants(again)
