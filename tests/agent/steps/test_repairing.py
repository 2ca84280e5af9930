"""A crash that is mended, for real: command line, sandbox, a program as the model, kill -9."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import psutil
import pytest
from project import agent, as_json, clone, events, git, start, wait_until

LOOP = "    while not session.done():\n"
RESEARCHER = f"""
import re, sys, time
prompt = sys.stdin.read()
category = re.findall(r"in the category \\*\\*(\\w+)\\*\\*", prompt)[-1]
failed = "Reply 1 to this was turned down, or failed" in prompt
steps = 10**6 if failed else 4
print(f"category: {{category}}\\nhypothesis: it counts its steps")
print("<<<<<<< SEARCH")
print({LOOP!r}, end="=======\\n")
print(f"    count = iter(range({{steps}}))\\n" + {LOOP!r} + "        next(count)\\n>>>>>>> REPLACE")
"""


@pytest.mark.slow
def test_a_crash_goes_back_and_a_kill_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    folder = clone(tmp_path / "project")
    program = tmp_path / "researcher.py"
    program.write_text(RESEARCHER)
    run = (
        "run", "--tag", "t", "--budget", "20000tok", "--trials", "1", "--proposer", "llm",
        "--llm", f"command:'{sys.executable}' '{program}'",
    )  # fmt: skip
    process = start(folder, *run)
    wait_until(lambda: any(e["event"] == "repair" for e in events(folder)), process)
    tree = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(tree, timeout=20)
    assert not alive
    agent(folder, *run)

    shown = as_json(folder, "show", "1")
    ends = [t["status"] for t in shown["trainings"] if t["role"] == "candidate"]
    assert ends[0] == "crashed"
    assert set(ends[1:]) == {"ok"}
    assert len(shown["sent_back"]) == 1
    prompt = (folder / "campaigns/t/trials/1/prompt-2.md").read_text()
    data = re.findall(r"<data>\n(.*?)\n</data>", prompt, re.DOTALL)
    assert "range(4)" in data[-2]
    assert "the training failed, crashed" in data[-1]
    assert "StopIteration" in data[-1]
    source = git(folder, "show", "refs/autoresearch/t/trials/1:trainer/train.py")
    assert "iter(range(1000000))" in source
    assert as_json(folder, "status")["trials"] == 1
