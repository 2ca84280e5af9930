"""The warm server: its children, their ends, its own end. Real processes."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from trainer.sandbox import tree
from trainer.sandbox.client import ForkServer, ServerDied, environment
from trainer.sandbox.wire import Channel, Gone
from trainer.training.machine import PROGRAM

pytestmark = pytest.mark.process


@pytest.fixture(scope="module", params=["fork", "spawn"])
def server(request):
    if request.param == "fork" and sys.platform == "darwin":
        pytest.skip("forking is unsafe here")
    server = ForkServer(PROGRAM, request.param)
    yield server
    server.close()


@contextlib.contextmanager
def child(server: ForkServer, role: str):
    channel, theirs = Channel.pair()
    with theirs:
        pid = server.spawn(role, [theirs.fileno()])
    yield channel, pid
    channel.close()


def ended(server: ForkServer, channel: Channel, pid: int):
    with pytest.raises(Gone):
        channel.receive(60)
    wait_gone(pid)
    server.kill()  # the end is told before this is answered
    return server.exits[pid]


def wait_gone(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(60)


def test_a_probe_answers_and_ends(server):
    with child(server, "probe") as (channel, pid):
        answer = channel.receive(120)
        assert answer["device"] in ("cpu", "mps", "cuda")
        exit = ended(server, channel, pid)
    assert exit.code == 0
    assert 10 < exit.peak_memory_mb < 5000


def test_kill_is_seen_and_told(server):
    with child(server, "train") as (channel, pid):
        assert server.kill() == 1
        assert server.exits[pid].code == -signal.SIGKILL
        with pytest.raises(Gone):
            channel.receive(0)
    assert tree.usage(server.pid).processes == 0


def test_the_scorer_is_spared(server):
    with child(server, "train"), contextlib.closing(Channel(server.connect())) as line:
        ours, theirs = Channel.pair()
        with theirs:
            # A scorer that waits for its job; its third descriptor is its line to the server.
            scorer = server.spawn("score", [theirs.fileno(), 2, line.fileno()])
        assert server.kill() == 1
        assert psutil.Process(scorer).is_running()
        server.kill_all()
        assert tree.usage(server.pid).processes == 0
        ours.close()


def test_a_second_line_starts_eval_children_only(server):
    line = Channel(server.connect())
    ours, theirs = Channel.pair()
    with theirs:
        line.send({"op": "spawn", "role": "eval", "id": 7}, [theirs.fileno()])
        assert line.receive(120)["id"] == 7
        line.send({"op": "kill", "id": 8})
        assert line.receive(60)["killed"] >= 1  # importing torch may be running a helper
        line.send({"op": "spawn", "role": "score", "id": 9}, [theirs.fileno()])
        with pytest.raises(Gone):
            line.receive(60)
    line.close()
    ours.close()
    with child(server, "probe") as (channel, _):
        assert channel.receive(120)["device"]


def test_descriptors_do_not_pile_up(server):
    def held() -> tuple[int, int]:
        for _ in range(2):  # it has then seen all that was closed before the first
            server.kill()
        return psutil.Process().num_fds(), psutil.Process(server.pid).num_fds()

    before = held()
    for _ in range(3):
        with child(server, "train"), contextlib.closing(server.connect()):
            server.kill()
    assert held() == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_child_has_no_descriptor_of_the_servers(server):
    with child(server, "train") as (channel, pid):
        # It has to be past its start: it answers a job only then.
        channel.send({"level": "off", "readable": [], "scratch": None})
        assert channel.receive(120) == {"event": "confined"}
        links = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        server.kill()
    assert sorted(links)[:3] == ["/dev/null"] * 3
    assert len(links) == 4 and links.count("/dev/null") == 3


def given(server: ForkServer, source: str, threads: int = 2) -> int:
    """Start an unconfined train child on ``source``; returns where to read what it prints."""
    read, write = os.pipe()
    channel, theirs = Channel.pair()
    with theirs:
        server.spawn("train", [theirs.fileno(), write])
    os.close(write)
    with contextlib.closing(channel):
        channel.send({"level": "off", "readable": [], "scratch": "/"})
        assert channel.receive(120) == {"event": "confined"}
        budget = {"seconds": None, "tokens": None, "steps": 1}
        spec = {"vocab_size": 257, "seq_len": 8}
        code = {"source": source, "spec": spec, "device": "cpu", "threads": threads}
        channel.send({"code": code, "budget": budget, "seed": 0, "trace": None})
        with pytest.raises(Gone):
            while True:
                channel.receive(120)
    return read


PARALLEL = """
import os, torch
x = torch.ones(600, 600)
assert (x @ x).sum() == 600 ** 3
assert torch.nn.functional.softmax(x, 1).sum().round() == 600
print(torch.get_num_threads(), len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_torch_operation_is_run_in_the_server(server):
    """One would start OpenMP's threads, and a forked child's first parallel operation would hang.

    So the server has one thread, and children in turn can compute in parallel right away.
    """
    for _ in range(2):
        with os.fdopen(given(server, PARALLEL)) as output:
            threads, tasks = map(int, output.read().split())
        assert threads == 2 and tasks >= 2
        assert len(list(Path(f"/proc/{server.pid}/task").iterdir())) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_opens_no_device(server):
    with child(server, "probe") as (channel, _):
        channel.receive(120)
    links = [os.readlink(fd) for fd in Path(f"/proc/{server.pid}/fd").iterdir()]  # noqa: PTH115
    assert not [link for link in links if link.startswith("/dev/") and link != "/dev/null"]


def test_its_end_is_everythings_end():
    server = ForkServer(PROGRAM, "spawn")
    with child(server, "train") as (_, pid):
        server.close()
        wait_gone(pid)
        assert not psutil.pid_exists(pid)
        with pytest.raises(ServerDied):
            server.kill()
    assert not server.alive()


def test_a_killed_server_takes_its_children_along():
    server = ForkServer(PROGRAM, "spawn")
    with child(server, "train") as (channel, pid):
        channel.send({"level": "off", "readable": [], "scratch": None})
        assert channel.receive(120) == {"event": "confined"}
        os.kill(server.pid, signal.SIGKILL)
        if sys.platform == "linux":
            wait_gone(pid)
            assert not psutil.pid_exists(pid)
        with pytest.raises(ServerDied):
            server.poll()
    server.close()


DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        os.closerange(0, 100)
        time.sleep(1000)
    os._exit(0)
os.wait()
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper")
@pytest.mark.parametrize("who", ["server", "supervisor"])
def test_no_daemon_survives_the_end_of_one_of_the_two(who):
    server = ForkServer(PROGRAM, "spawn")
    with os.fdopen(given(server, DAEMON)) as output:
        daemon = int(output.read())
    assert psutil.Process(daemon).ppid() == server.pid
    assert psutil.Process(server.pid).ppid() == server.process.pid
    both = (server.pid, server.process.pid)

    os.kill(server.pid if who == "server" else server.process.pid, signal.SIGKILL)

    for pid in (daemon, *both):
        wait_gone(pid)
    assert not psutil.pid_exists(daemon)
    assert not server.alive()
    server.close()


def test_outlives_the_thread_that_started_it():
    started: list[ForkServer] = []

    def start() -> None:
        started.append(ForkServer(PROGRAM, "spawn"))
        started[0].kill()  # answered when it is up

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    (server,) = started
    server.kill()
    assert server.alive()
    server.close()


def test_environment_has_no_keys(monkeypatch):
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in environment().values()
    assert environment()["PATH"] == os.environ["PATH"]


def test_packages_of_a_folder_on_the_users_path_are_found(monkeypatch, tmp_path):
    """As where a machine's own are carried along: what confines must be there for the server."""
    (tmp_path / "carried.py").touch()
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", tmp_path.name]))
    paths = environment()["PYTHONPATH"].split(os.pathsep)
    assert paths[1:] == [str(tmp_path)]
    assert (Path(paths[0]) / "trainer").is_dir()


def test_blocks_of_the_device_grow_unless_the_user_says_how_it_is_allocated(monkeypatch):
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert environment()[names[0]] == "expandable_segments:True"
    for name in names:
        with monkeypatch.context() as user:
            user.setenv(name, "max_split_size_mb:64")
            told = environment()
        assert {n: told[n] for n in names if n in told} == {name: "max_split_size_mb:64"}


@pytest.mark.skipif(sys.platform != "linux", reason="asks which cores may be used")
def test_so_many_compile_workers_as_may_have_compilers(monkeypatch):
    code = "import torch._inductor.config as config; print(config.compile_threads)"
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert environment()["TORCHINDUCTOR_COMPILE_THREADS"] == "2"
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    # Of each its compiler and two that this starts, besides the training and the pool's own.
    assert 2 + 4 * int(done.stdout) <= tree.MAX_PROCESSES
