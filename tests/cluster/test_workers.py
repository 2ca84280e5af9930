"""Workers are processes: heats run in them side by side, and their end, by whatever, costs nothing
but time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.executors import workers
from agent.executors.base import Work
from agent.executors.workers import Share, Worker, Workers, shares
from agent.steps.fresh import fresh_heat, fresh_seed
from trainer.presets import BadSetting
from trainer.sandbox import owner

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(len(workers.processors()) < 2, reason="needs two processors"),
]
HOW = {"budget": "20000tok", "preset": "cpu", "seed": 1}
LONG = {**HOW, "budget": "600s"}


@pytest.fixture(scope="module")
def two() -> Iterator[Workers]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SOME_API_KEY", "secret")
        pool = Workers(shares(2))
        yield pool
        pool.close()


class Seen:
    """The events of one work; at the first of a kind something is done."""

    def __init__(self, kind: str = "", do: Any = lambda: None) -> None:
        self.events: list[dict[str, Any]] = []
        self._kind, self._do = kind, do

    def __call__(self, event: dict[str, Any]) -> None:
        first = event["event"] == self._kind and self._kind not in self.kinds
        self.events.append(event)
        if first:
            self._do()

    @property
    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events]

    @property
    def notes(self) -> list[str]:
        return [event["text"] for event in self.events if event["event"] == "note"]


def run(pool: Workers, work: Work, seen: Seen | None = None, **how: Any) -> Any:
    return pool.run(work, on_event=seen or Seen(), **{"cancel": threading.Event(), **how})


def left_by(process: str) -> list[int]:
    """What is there of the processes that the owner ``process`` has started, itself among them."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.environ().get(owner.VARIABLE) == process:  # of a dead one nobody can read it
                found.append(one.pid)
        except psutil.Error:
            continue
    return found


def owner_of(pid: int) -> str:
    here = owner.this_process()
    return str(owner.Owner(here.host, here.boot, here.namespace, pid, owner.started(pid)))


def gone(process: str, seconds: float = 30.0) -> bool:
    """Whether all of them end, waiting for each."""
    left = [psutil.Process(pid) for pid in left_by(process) if psutil.pid_exists(pid)]
    psutil.wait_procs(left, seconds)
    return not left_by(process)


def test_two_heats_run_side_by_side_each_on_its_own_processor(
    two: Workers, tiny_source: str, tmp_path: Path
) -> None:
    both = threading.Barrier(2, timeout=120)  # neither trains on until the other trains, too

    def heat(number: int) -> list[Any]:
        to = (None, tmp_path / f"weights{number}")
        work = Work("heat", (tiny_source, tiny_source + "\n"), HOW, to)
        return run(two, work, Seen("ready", both.wait))

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(heat, range(2)))
    for number, (champion, candidate) in enumerate(found):
        assert (champion.status, candidate.status) == ("ok", "ok")
        assert champion.fingerprint["threads"] == 1
        assert champion.val_bpb == candidate.val_bpb == found[0][0].val_bpb  # one seed, no luck
        assert isinstance(champion.curve, tuple)
        assert (tmp_path / f"weights{number}").stat().st_size > 0
    pids = [worker.pid for worker in two.workers]
    assert all(pids) and len({frozenset(os.sched_getaffinity(pid or 0)) for pid in pids}) == 2
    for pid in pids:
        assert b"SOME_API_KEY" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert os.getsid(pid or 0) == pid


def test_a_fresh_heat_is_scored_on_test_text_in_a_worker(two: Workers, tiny_source: str) -> None:
    settings = {"budget": "20000tok", "preset": "cpu", "data": "apidocs", "isolation": "auto"}
    found = fresh_heat(
        [tiny_source, tiny_source + "\n"],
        fresh_seed("test"),
        executor=two,
        names=["first", "second"],
        settings=settings,
        split="test",
        on_event=Seen(),
        cancel=threading.Event(),
    )
    first, second = (one.documents for one in found)
    assert first == second and len({group for group, _, _ in first}) > 1
    assert {one.fingerprint["threads"] for one in found} == {1}


def test_check_audit_and_profile_come_back_as_what_they_are(
    two: Workers, tiny_source: str, tmp_path: Path
) -> None:
    checked = run(two, Work("check", (tiny_source,), {"preset": "cpu"}))
    assert checked.ok and checked.weights_sha256
    weights = tmp_path / "weights"
    (measured,) = run(two, Work("heat", (tiny_source,), HOW, (weights,)))
    how = {"preset": "cpu", "claimed_bpb": measured.val_bpb, "train_seconds": 0.1}
    assert run(two, Work("audit", (tiny_source,), how, weights=weights)).ok
    profile = run(two, Work("profile", (tiny_source,), {"preset": "cpu"}))
    assert profile.status == "ok" and profile.groups[0].params


def test_what_trainer_raises_is_raised_here(two: Workers, tiny_source: str, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="preset"):
        run(two, Work("check", (tiny_source,), {"preset": "tpu"}))
    missing = tmp_path / "missing"
    how = {"preset": "cpu", "claimed_bpb": 1.0}
    with pytest.raises(FileNotFoundError) as raised:
        run(two, Work("audit", (tiny_source,), how, weights=missing))
    assert raised.value.filename == str(missing)
    with pytest.raises(RuntimeError, match="unexpected keyword"):
        run(two, Work("check", (tiny_source,), {"presets": "cpu"}))


def test_a_worker_killed_in_a_heat_is_started_again_and_the_heat_done_again(
    two: Workers, tiny_source: str
) -> None:
    before = {worker.pid for worker in two.workers}

    def kill() -> None:
        (busy,) = [worker for worker in two.workers if worker not in two._idle]
        assert busy.pid is not None
        killed.append(owner_of(busy.pid))
        os.kill(busy.pid, signal.SIGKILL)

    killed: list[str] = []
    seen = Seen("log", kill)
    champion, candidate = run(two, Work("heat", (tiny_source, tiny_source), HOW), seen)
    assert (champion.status, candidate.status) == ("ok", "ok")
    (note,) = [note for note in seen.notes if "done again" in note]
    assert "was killed (signal 9): its heat is done again" in note
    assert len(before & {worker.pid for worker in two.workers}) == 1
    assert gone(killed[0])


def test_what_is_cancelled_ends_as_killed(two: Workers, tiny_source: str) -> None:
    cancel = threading.Event()
    work = Work("heat", (tiny_source, tiny_source), LONG)
    found = run(two, work, Seen("log", cancel.set), cancel=cancel)
    assert {one.status for one in found} == {"killed"}


def test_a_watch_is_asked_here_and_its_word_holds_there(two: Workers, tiny_source: str) -> None:
    asked = []

    def watch(number: int, own: Any, champion: Any) -> str | None:
        asked.append((number, len(own), len(champion)))
        return "hopeless"

    how = {**HOW, "budget": "200000tok"}
    champion, candidate = run(two, Work("heat", (tiny_source, tiny_source), how), watch=watch)
    assert (champion.status, candidate.status) == ("ok", "abandoned")
    assert candidate.reason == "hopeless"
    ((number, parts, of_champion),) = asked
    assert (number, of_champion) == (1, 20) and 2 <= parts <= 20


def test_a_work_whose_worker_always_dies_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"PATH": os.environ["PATH"], "PYTHONHOME": "/nowhere"}
    monkeypatch.setattr(workers, "_environment", lambda device: nothing)
    pool, seen = Workers([Share()]), Seen()
    found = run(pool, Work("check", ("",), {}), seen)
    assert found.status == "crashed" and "it has ended 3 processes in a row" in found.reason
    assert len(seen.notes) == 2
    pool.close()


ALONE = """
import os, sys, threading
from agent.executors.base import Work
from agent.executors.workers import Share, Workers
pool = Workers([Share()])
def tell(event):
    if event["event"] == "log":
        print(pool.workers[0].pid, flush=True)
source = open(sys.argv[1]).read()
work = Work("heat", (source, source), {"budget": "600s", "preset": "cpu"})
pool.run(work, on_event=tell, cancel=threading.Event())
"""


def test_a_worker_and_all_below_it_end_with_a_campaign_that_is_killed(
    tiny_source: str, tmp_path: Path
) -> None:
    file = tmp_path / "train.py"
    file.write_text(tiny_source)
    campaign = subprocess.Popen(
        [sys.executable, "-c", ALONE, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert campaign.stdout is not None
    worker = int(campaign.stdout.readline())
    of_campaign, of_worker = owner_of(campaign.pid), owner_of(worker)
    assert left_by(of_campaign) and left_by(of_worker)
    campaign.kill()
    campaign.wait()
    campaign.stdout.close()
    assert gone(of_campaign) and gone(of_worker)


def test_a_worker_is_started_when_it_is_needed() -> None:
    assert Worker("worker 1", Share()).pid is None
