"""However a measurement ends, nothing of it is left, and the next one works."""

import signal
import subprocess
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from measuring import below_server, measure

from trainer.measure import MACHINE, Measurement
from trainer.sandbox import confine
from trainer.sandbox.client import ForkServer
from trainer.training import process
from trainer.training.machine import PROGRAM

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class TestEnds:
    def test_cancel_in_training_and_in_scoring(self, tiny_source: str) -> None:
        for when in ("ready", "scoring"):
            cancel = threading.Event()

            def hear(event: dict[str, Any], when: str = when, cancel: Any = cancel) -> None:
                if event["event"] == when:
                    cancel.set()

            budget = "300s" if when == "ready" else "40000tok"
            measured = measure(tiny_source, budget, on_event=hear, cancel=cancel)
            assert (measured.status, measured.val_bpb) == ("killed", None), when
            assert below_server() == 0

    def test_a_listener_that_raises_leaves_nothing(
        self, tiny_source: str, monkeypatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "log":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            measure(tiny_source, "300s", on_event=hear)
        assert below_server() == 0
        assert not list(tmp_path.iterdir())
        assert measure(tiny_source).status == "ok"

    @LINUX
    @pytest.mark.parametrize(
        "number",
        [signal.SIGKILL]
        + [pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGINT, signal.SIGTERM)],
    )
    def test_the_parent_killed_in_mid_training(
        self, tiny_source: str, number: signal.Signals, tmp_path: Path
    ) -> None:
        ready = "    session.ready()\n"
        daemon = """
    import os
    if os.fork() == 0:
        os.setsid()
        os.fork()
        while True:
            pass
"""
        file = tmp_path / "train.py"
        file.write_text(tiny_source.replace(ready, ready + daemon))
        code = f"""
import psutil, sys
from pathlib import Path
from trainer.measure import MACHINE, measure
def hear(event):
    if event["event"] == "log":
        server = psutil.Process(MACHINE.server().pid)
        if len(server.children(recursive=True)) >= 3:
            print(*(p.pid for p in [server, *server.children(recursive=True)]), flush=True)
measure(Path({str(file)!r}).read_text(), budget="300s", preset="cpu", device="cpu", on_event=hear)
"""
        with subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(confine.__file__).parents[2],
        ) as parent:
            assert parent.stdout is not None
            processes = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
            parent.send_signal(number)
            parent.stdout.read()
        assert len(processes) >= 4
        _, alive = psutil.wait_procs(processes, timeout=60)
        assert not alive

    def test_descriptors(self, tiny_source: str) -> None:
        ends = [
            tiny_source,
            "x = (",
            tiny_source + "\nraise ValueError\n",
            tiny_source.replace("self.last(ids) +", "self.last(ids)[:, :1] +") + "\n#",
            tiny_source.replace("return model", "import os; os._exit(1)"),
            tiny_source.replace("return model", "return nn.Linear(1, 1)"),
        ]

        def held() -> tuple[int, int]:
            server = MACHINE.server()
            for _ in range(2):  # it has then seen all that was closed before the first
                server.kill()
            return psutil.Process().num_fds(), psutil.Process(server.pid).num_fds()

        for source in ends:
            measure(source, "2000tok")
        before = held()
        for source in ends * 2:
            measure(source, "2000tok")
        assert held() == before

    def test_the_server_outlives_the_thread_that_first_measured(self, tiny_source: str) -> None:
        MACHINE.close()
        thread = threading.Thread(target=lambda: MACHINE.server().kill())
        thread.start()
        thread.join()
        server = MACHINE.server()
        assert measure(tiny_source).status == "ok"
        assert MACHINE.server() is server and server.alive()

    def test_two_threads_take_turns(self, tiny_source: str) -> None:
        said: list[str] = []
        done: list[Measurement] = []

        def work(name: str) -> None:
            done.append(
                measure(
                    tiny_source,
                    on_event=lambda e: said.append(name) if e["event"] != "preparing" else None,
                )
            )

        threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [m.status for m in done] == ["ok", "ok"]
        assert done[0].weights_sha256 == done[1].weights_sha256
        changes = sum(x != y for x, y in pairwise(said))
        assert changes == 1

    @pytest.mark.slow
    def test_by_spawning(self, tiny_source: str, plain: Measurement) -> None:
        MACHINE.close()
        MACHINE._servers = [ForkServer(PROGRAM, "spawn")]
        measured = measure(tiny_source, seed=5)
        MACHINE.close()
        assert (measured.status, measured.reason) == ("ok", "")
        assert measured.weights_sha256 == plain.weights_sha256
        assert measured.val_bpb == plain.val_bpb


def test_a_flood_of_output_does_not_keep_the_parent_from_its_clock(monkeypatch) -> None:
    child = object.__new__(process.ChildProcess)
    child._output, child._output_open, child.printed = -1, True, bytearray()
    monkeypatch.setattr(process.os, "read", lambda fd, size: b"x" * size)
    child._drain()
    assert len(child.printed) == 32_000 and child._output_open
