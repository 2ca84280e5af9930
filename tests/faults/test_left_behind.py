"""What killed processes leave is gone at the next start, and nothing else is touched."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from trainer.sandbox import owner
from trainer.training import machine
from trainer.training.scratch import sweep

pytestmark = pytest.mark.process
ROOT = Path(machine.__file__).parents[2]

TRAINS = """
import sys
import psutil
from pathlib import Path
from trainer.measure import MACHINE, measure
from trainer.sandbox import cgroup
cgroup._roots = lambda: ()  # as in most containers, where no group knows what is left
DAEMON = '''
    import os
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                pass
        os._exit(0)
    os.wait()
'''
READY = "    session.ready()\\n"
source = Path(sys.argv[1]).read_text().replace(READY, READY + DAEMON)
def hear(event):
    if event["event"] == "log":
        server = psutil.Process(MACHINE.server().pid)
        print(MACHINE.server().process.pid, server.pid, end=" ")
        print(*(p.pid for p in server.children(recursive=True)), flush=True)
        sys.stdin.read()
measure(source, budget="300s", preset="cpu", device="cpu", on_event=hear)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_parent_and_its_servers_killed_at_once(
    tiny_source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nobody is left who could clean up, until something starts here again."""
    file, temporary = tmp_path / "train.py", tmp_path / "tmp"
    file.write_text(tiny_source)
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", TRAINS, str(file)],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as parent:
        assert parent.stdout is not None
        supervisor, server, *below = map(int, parent.stdout.readline().split())
        left = [psutil.Process(pid) for pid in below]
        for pid in (supervisor, server, parent.pid):
            os.kill(pid, signal.SIGSTOP)  # so that none of them sees that another was killed
        for pid in (supervisor, server, parent.pid):
            os.kill(pid, signal.SIGKILL)
    assert len(left) >= 2
    assert any(process.is_running() for process in left)  # the daemon, which nobody ends
    (scratch,) = temporary.glob("autoresearch-*")  # torch makes a folder of its own
    kept = [
        temporary / f"autoresearch-{owner.this_process()}-abc",
        temporary / f"autoresearch-{replace(owner.this_process(), host='0', pid=1)}-abc",
        temporary / f"autoresearch-{replace(owner.this_process(), namespace='0', pid=1)}-abc",
        temporary / "autoresearch-tests-abc",
        temporary / "autoresearch-",
    ]
    for path in kept:
        path.mkdir()
    aside = tmp_path / "aside"
    (aside / "folder").mkdir(parents=True)
    (temporary / f"{scratch.name}x").symlink_to(aside)

    killed: list[int] = []
    kill = owner.kill_orphans
    monkeypatch.setattr(owner, "kill_orphans", lambda: killed.append(kill()))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with contextlib.closing(machine.Machine()) as another:
        another.server()
        assert killed[0] >= 1
        deadline = time.monotonic() + 20
        while any(owner.started(process.pid) for process in left):  # a zombie counts as dead
            assert time.monotonic() < deadline
            time.sleep(0.01)

    assert not scratch.exists()
    assert all(path.exists() for path in kept) and (aside / "folder").exists()


def test_a_scratch_folder_too_deep_for_the_standard_library_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"autoresearch-{replace(owner.this_process(), started='1')}-abc"
    folder.mkdir()
    script = "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')"
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    (folder / "locked").mkdir(mode=0)
    assert sweep() == 1
    assert list(tmp_path.iterdir()) == []
