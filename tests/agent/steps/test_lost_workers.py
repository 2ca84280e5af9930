"""A work that ends its workers again and again costs its trial, and not the run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from lab import ELSEWHERE, Lab, journal, three_ideas, trials, use

from agent import loop
from agent.campaign import events
from agent.campaign.reading import CampaignError
from agent.executors import messages
from agent.executors.base import Work
from agent.executors.pool import Link, Lost, Pool
from agent.steps.runtime import Runtime

pytestmark = pytest.mark.process


class Dying(Link):
    """Measures as the lab does, and dies of what the test says."""

    name = "worker 1"

    def __init__(self, lab: Lab, dies: Callable[[Work], bool]) -> None:
        super().__init__()
        self._lab, self._dies, self._said = lab, dies, deque[dict[str, Any]]()

    def start(self) -> None: ...

    def send(self, message: dict[str, Any]) -> None:
        work = messages.to_work(message["work"])
        self._said.clear()
        if not self._dies(work):
            found = self._lab.run(work, on_event=None, cancel=threading.Event())
            self._said.extend({"one": one} for one in messages.of_result(work.call, found))
            self._said.append({"done": True})

    def receive(self, seconds: float) -> dict[str, Any] | None:
        if not self._said:
            raise Lost("worker 1 was killed (signal 9)")
        return self._said.popleft()

    def close(self) -> None: ...


def test_an_edit_that_ends_them_is_reverted_and_those_beside_it_are_judged(
    runtime: Runtime, lab: Lab
) -> None:
    def dies(work: Work) -> bool:
        return work.call == "heat" and any(f"{ELSEWHERE}    kind" in s for s in work.sources)

    use(runtime, heat="3", ideas=3, keep="greedy")
    lab.replies = three_ideas
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    runtime.devices.executor = Pool([Dying(lab, dies)])
    assert loop.run_campaign(runtime) == "3 trials are done"
    assert sorted(trial.status for trial in trials(runtime)) == ["crashed", "ok", "ok", "ok"]
    (bad,) = [trial for trial in trials(runtime) if trial.status == "crashed"]
    assert [t.status for t in bad.of("candidate")] == ["oom", "crashed"]
    assert bad.words.startswith("crashed (it has ended 3 processes in a row (worker 1 was killed")
    ends = [event for event in journal(runtime) if isinstance(event, events.Concluded)]
    assert {event.slots for event in ends} == {1}


def test_where_the_champion_ends_them_as_well_the_run_ends(runtime: Runtime, lab: Lab) -> None:
    is_bad = iter([False, *[True] * 99])  # all heats after the baseline's
    runtime.devices.executor = Pool([Dying(lab, lambda w: w.call == "heat" and next(is_bad))])
    use(runtime, sequential=True)
    with pytest.raises(CampaignError, match="3 times in a row the champion failed, killed"):
        loop.run_campaign(runtime)
    assert [trial.verdict for trial in trials(runtime)] == ["keep", None]
