"""Conversations with processes that are not there: who gets a work, and what becomes of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.executors import messages, pool
from agent.executors.base import Work
from agent.executors.pool import Link, Lost, Pool, given_up
from trainer.data import prepare
from trainer.errors import UserError
from trainer.measure import CheckResult

WORK = Work("check", ("source",), {"preset": "cpu"})
FOUND = [{"one": messages.of_result("check", CheckResult("ok"))[0]}, {"done": True}]


class Scripted(Link):
    """Answers a work by a list; a text in it is the reason why it is lost."""

    def __init__(self, name: str, *scripts: Sequence[dict[str, Any] | str | None]) -> None:
        super().__init__()
        self.name, self.closed = name, 0
        self.sent: list[dict[str, Any]] = []
        self._scripts, self._now = deque(scripts), deque[Any]()

    def start(self) -> None: ...

    def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if "work" in message:
            self._now = deque(self._scripts.popleft())

    def receive(self, seconds: float) -> dict[str, Any] | None:
        said = self._now.popleft() if self._now else None
        if isinstance(said, str):
            raise Lost(f"{self.name} {said}")
        return said

    def close(self) -> None:
        self.closed += 1


def run(of: Pool, seen: list[Any], work: Work = WORK, **how: Any) -> Any:
    return of.run(work, on_event=seen.append, **{"cancel": threading.Event(), **how})


def test_a_lost_work_is_done_again_and_its_end_is_said() -> None:
    seen: list[Any] = []
    link = Scripted("worker 1", [{"event": {"event": "log"}}, "was killed"], FOUND)
    assert run(Pool([link]), seen).ok
    note = "worker 1 was killed: its check is done again"
    assert seen == [{"event": "log"}, {"event": "note", "text": note}]
    assert link.closed == 1


DEAD = (["died"],) * 3
WHY = "it has ended 3 processes in a row (worker 1 died): is there enough memory for it?"


@pytest.mark.parametrize(
    ("call", "status"), [("check", "crashed"), ("profile", "killed"), ("audit", "killed")]
)
def test_what_ends_three_in_a_row_has_failed(call: Any, status: str) -> None:
    seen: list[Any] = []
    of = Pool([Scripted("worker 1", *DEAD, FOUND)])
    found = run(of, seen, Work(call, ("source",), {}))
    assert (found.status, found.reason) == (status, WHY)
    assert len(seen) == 2 and run(of, seen).ok


def heat(*sources: str, **how: Any) -> Work:
    seeds = [7 + n for n in range(len(sources))]
    arguments = {"budget": "20s", "preset": "cpu", "seed": seeds, **how}
    return Work("heat", sources, arguments, (None, *[Path("weights")] * (len(sources) - 1)))


def trained(*statuses: str) -> list[dict[str, Any]]:
    found = [given_up(heat("a"), "so")[0]]
    each = messages.of_result("heat", [replace(found[0], status=one) for one in statuses])
    return [*({"one": one} for one in each), {"done": True}]


@pytest.mark.parametrize(
    ("sources", "alone", "statuses"),
    [
        ("ab", [trained("ok")], ["ok", "crashed"]),
        ("abc", [trained("ok")], ["ok", "oom", "oom"]),  # beside others: tried again alone
        ("ab", [trained("oom")], ["oom", "killed"]),
        ("ab", DEAD, ["killed", "killed"]),
    ],
)
def test_an_edit_is_blamed_only_where_the_champion_alone_goes_well(
    sources: str, alone: Sequence[Any], statuses: list[str]
) -> None:
    seen: list[Any] = []
    link = Scripted("worker 1", *DEAD, *alone)
    found = run(Pool([link]), seen, heat(*sources, trace=None, champion_first=False))
    assert [one.status for one in found] == statuses
    assert found[-1].reason == WHY and found[-1].seed == 6 + len(sources)
    assert seen[2]["text"] == f"{WHY} The champion is trained alone, to see"
    sent = link.sent[3]["work"]
    assert (sent["sources"], sent["arguments"]["seed"], sent["weights_to"]) == (("a",), [7], [])
    assert sent["arguments"]["champion_first"] is False


def test_who_is_trained_alone_is_not_blamed() -> None:
    """A champion, or a candidate whose champion was trained before."""
    link = Scripted("worker 1", *DEAD)
    (found,) = run(Pool([link]), [], heat("a", champion_seconds=1.0))
    assert (found.status, found.val_bpb, len(link.sent)) == ("killed", None, 3)


def test_one_that_has_had_the_source_is_chosen() -> None:
    links = [Scripted("worker 1", FOUND), Scripted("worker 2", FOUND), Scripted("worker 3", FOUND)]
    links[1].known.add("source")
    of = Pool(list(links))
    assert run(of, []).ok
    assert [len(link.sent) for link in links] == [0, 1, 0]
    assert run(of, [], Work("check", ("other",), {})).ok
    assert len(links[1].sent) == 1


def test_what_a_watch_raises_comes_out_and_the_process_ends() -> None:
    def watch(number: int, own: Any, champion: Any) -> str | None:
        raise ZeroDivisionError

    link = Scripted("worker 1", [{"ask": [1, [2.0], [2.0]]}], FOUND)
    of = Pool([link])
    with pytest.raises(ZeroDivisionError):
        run(of, [], watch=watch)
    assert link.closed == 1  # it waits for an answer
    assert run(of, []).ok


def test_what_it_must_hold_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a worker would read the present text of files that have changed since."""
    monkeypatch.setattr(prepare, "_HELD", {})
    prepare.hold("files:/some where 12ab")
    link = Scripted("worker 1", FOUND)
    run(Pool([link]), [])
    assert link.sent[0]["held"] == ("files:/some where 12ab",)
    assert link.sent[0]["watched"] is False


def test_a_cancel_is_told_once_and_waited_for() -> None:
    cancel = threading.Event()
    cancel.set()
    link = Scripted("worker 1", [None, None, *FOUND])
    assert run(Pool([link]), [], cancel=cancel).ok
    assert link.sent[1:] == [{"cancel": True}]


def test_one_that_does_not_end_when_cancelled_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "CANCEL_SECONDS", 0.0)
    cancel, seen = threading.Event(), list[Any]()
    cancel.set()
    link = Scripted("worker 1", [None] * 9, FOUND)
    assert run(Pool([link]), seen, cancel=cancel).ok
    assert "worker 1 does not end what was cancelled" in seen[0]["text"]
    assert link.closed == 1


def test_where_nobody_is_left_a_cancelled_work_ends_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "RENEW_SECONDS", 0.0)
    done: list[Work] = []

    class Here:
        def run(self, work: Work, **how: Any) -> str:
            done.append(work)
            return "killed"

    monkeypatch.setattr(pool, "Local", Here)
    cancel = threading.Event()
    cancel.set()
    assert run(Pool([]), [], cancel=cancel) == "killed"
    assert done == [WORK]


def test_nothing_is_done_again_once_it_is_closed() -> None:
    link = Scripted("worker 1", ["has hung up"], FOUND)
    of = Pool([link])
    of.close()
    with pytest.raises(UserError, match="since the run has ended"):
        run(of, [])


class Fleeting(Pool):
    """Of places that may be lost, and may be there again under the same name."""

    def __init__(self, *links: Scripted, return_after: bool = False) -> None:
        super().__init__(list(links))
        self._return_after = return_after

    def _put_back(self, link: Link) -> None:
        if not link.is_gone or self._return_after:
            super()._put_back(link)


def lost(name: str, times: int = 1) -> Scripted:
    link = Scripted(name, *[["is gone"]] * times)
    link.is_gone = True
    return link


def test_places_that_go_at_once_blame_no_edit() -> None:
    """Three of four nodes are taken away: nothing is known of what they measured."""
    gone = [lost(f"node {k}") for k in range(3)]
    left = Scripted("node 3", ["died"], trained("ok", "ok"))
    seen: list[Any] = []
    found = run(Fleeting(*gone, left), seen, heat("a", "b"))
    assert [one.status for one in found] == ["ok", "ok"]
    assert len(seen) == 4 and seen[-1]["text"] == "node 3 died: its heat is done again"


@pytest.mark.parametrize("call", ["heat", "check"])
def test_a_work_that_loses_every_place_ends_and_is_nobodys_fault(call: Any) -> None:
    link = lost("node 0", 4)  # one place, and three more
    of, work = Fleeting(link, return_after=True), heat("a", "b")
    found = run(of, [], replace(work, call=call))
    each = found if call == "heat" else [found]
    assert {one.status for one in each} == {"killed"}
    why = "4 places were lost while they measured it (node 0 is gone)"
    assert {one.reason for one in each} == {why} and len(link.sent) == 4
