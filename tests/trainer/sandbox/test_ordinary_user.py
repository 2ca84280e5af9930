"""Confinement and the watch over totals for a user who is not root and has no control group."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trainer.data.prepare import cache_dir
from trainer.sandbox import confine

pytestmark = pytest.mark.sandbox

ROOT = Path(confine.__file__).parents[2]
NOBODY = 65534

MEASURES = """
import json, sys
from dataclasses import replace
from pathlib import Path
from trainer import presets
from trainer.sandbox import cgroup
from trainer.sandbox import escapes
from trainer.measure import MACHINE, measure

small = {**presets.load_presets(), "cpu": replace(presets.load_presets()["cpu"], memory_mb=1500)}
presets.load_presets = lambda: small
tiny = Path(sys.argv[1]).read_text()
memory = tiny + '''
import os, time
def train(session):
    fds = [os.memfd_create("x") for _ in range(4)]
    for fd in fds:
        os.posix_fallocate(fd, 0, 500 << 20)
    time.sleep(1000)
'''
results = []
for source in (tiny, Path(escapes.__file__).read_text(), memory):
    found = measure(source, budget="2000tok", preset="cpu", device="cpu")
    results.append([found.status, found.reason, found.isolation, found.output])
print(json.dumps([len(MACHINE.server().cgroup.folders), results]))
"""


def interpreter(folder: Path) -> Path:
    """An interpreter with these packages that an ordinary user can start."""
    system = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin")
    if system is None:
        pytest.skip("no interpreter of this version lies where another user may read it")
    environment = folder / "environment"
    subprocess.run([system, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/*/site-packages")
    (packages / "these.pth").write_text(str(Path(pytest.__file__).parents[1]))
    return environment / "bin" / "python"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can be others")
@pytest.mark.skipif(confine.available()[0] != "os", reason="cannot confine here")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv")
@pytest.mark.slow
def test_an_ordinary_user_is_measured_confined_and_watched(prepared) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        python = interpreter(folder)
        cache = folder / "cache"
        shutil.copytree(cache_dir() / "apidocs", cache / "apidocs")
        (folder / "work").mkdir()
        for path in (cache, *cache.rglob("*"), folder / "work"):
            os.chown(path, NOBODY, NOBODY)
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        become += ["--inh-caps=-all", "--bounding-set=-all"]
        home = {"HOME": str(folder / "work"), "TMPDIR": str(folder / "work")}
        environment = {"PATH": os.environ["PATH"], "AUTORESEARCH_CACHE": str(cache), **home}
        command = [*become, str(python), "-c", MEASURES, str(ROOT / "tests" / "tiny_train.py")]
        tried = subprocess.run([*become, str(python), "-c", "import torch, trainer.measure"],
            cwd=ROOT, env=environment, capture_output=True, check=False)  # fmt: skip
        if tried.returncode != 0:
            pytest.skip("the checkout or its packages lie where another user may not read them")
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    groups, (plain, doors, memory) = json.loads(done.stdout)
    assert groups == 0  # so it is the parent's watch that is tried
    assert plain[:3] == ["ok", "", "os"]
    assert "shut" in doors[3] and "open" not in doors[3]
    assert memory[:2] == ["oom", "memory: more than 1500 MB in all processes"]
