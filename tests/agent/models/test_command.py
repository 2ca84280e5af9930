"""``command:``, with real programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
from clients import KEY, PROMPT, ask

from agent.models.choose import open_model
from agent.models.types import Cancelled, Misconfigured, Model, Part, Prompt, Unavailable

pytestmark = pytest.mark.process


def script(folder: Path, body: str) -> str:
    """A spec for a Python program with this body."""
    path = folder / "program.py"
    path.write_text(f"import os, subprocess, sys, time\n{body}")
    return f"command:'{sys.executable}' '{path}'"


def command(spec: str, environ: Mapping[str, str], timeout: float | None = None) -> Model:
    if timeout is not None:
        own = Path(environ["HOME"]) / "mine.toml"
        own.write_text(f"[models.{json.dumps(spec)}]\ntimeout = {timeout}\n")
        environ = {**environ, "AUTORESEARCH_MODELS": str(own)}
    model, _ = open_model(spec, environ)
    assert model is not None
    return model


def test_command_reads_the_prompt_and_writes_the_reply(
    environ: dict[str, str], tmp_path: Path
) -> None:
    spec = script(tmp_path, "print(sys.stdin.read().upper(), os.environ['MY_API_KEY'] != '')")
    reply = ask(command(spec, environ | {"MY_API_KEY": KEY}))
    assert reply.text == f"{PROMPT.text.upper()} True\n"
    assert (reply.stop_reason, reply.usage) == ("end", None)


def test_command_takes_a_prompt_longer_than_any_pipe(
    environ: dict[str, str], tmp_path: Path
) -> None:
    spec = script(tmp_path, "sys.stdout.write('x' * 300_000 + str(len(sys.stdin.read())))")
    long = Prompt((Part("rules", "y" * 500_000),))
    reply = command(spec, environ).complete(long, max_tokens=1)
    assert reply.text.lstrip("x") == "500000"


def test_command_failure_is_told_without_keys(environ: dict[str, str], tmp_path: Path) -> None:
    body = "sys.exit('x' * 9000 + f\"\\nlogin failed for {os.environ['MY_API_KEY']}\\a\")"
    with pytest.raises(Unavailable, match=r"exit code 1: .*login failed for \[key\]") as caught:
        ask(command(script(tmp_path, body), environ | {"MY_API_KEY": KEY}))
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\a" not in str(caught.value)


@pytest.mark.parametrize(
    ("does", "cause", "said"),
    [
        ("print('API Error: Rate limit reached')", "outage", "exit code 0: API Error: Rate limit"),
        ("print('API Error: Rate limit reached'); sys.exit(1)", "outage", "exit code 1: API Error"),
        (
            "print('\\x1b[31mTry again in 20s. Error\\x1b[0m')",
            "outage",
            "0: Try again in 20s. Error",
        ),
        ("pass", "unexplained", "exit code 0: it printed nothing"),
        ("print(' \\n'); print('odd thing', file=sys.stderr)", "unexplained", "0: odd thing"),
        (
            "print('Warning', file=sys.stderr); print('Execution error')",
            "outage",
            "Execution error",
        ),
        ("sys.exit('no such option')", "unexplained", "exit code 1: no such option"),
        ("sys.stdout.buffer.write(b'\\xff\\xfeError: overloaded')", "outage", "overloaded"),
        ("print('x' * 2_000_000)", "paid", "over 1048576 bytes"),
    ],
)
def test_what_may_pass_is_no_reply(
    environ: dict[str, str], tmp_path: Path, does: str, cause: str, said: str
) -> None:
    with pytest.raises(Unavailable, match=re.escape(said)) as caught:
        ask(command(script(tmp_path, does), environ))
    assert caught.value.cause == cause
    assert caught.value.retry_after == (20 if "20s" in does else None)


@pytest.mark.parametrize(
    "does",
    [
        "print('Invalid API key · Please run /login')",
        "print('Credit balance is too low'); sys.exit(1)",
        "sys.exit('Error: 401 Unauthorized')",
    ],
)
def test_what_the_user_has_to_mend_is_no_reply(
    environ: dict[str, str], tmp_path: Path, does: str
) -> None:
    with pytest.raises(Misconfigured, match="exit code"):
        ask(command(script(tmp_path, does), environ | {"PYTHONIOENCODING": "utf-8"}))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("command:no-such-program-at-all", "there is no program"),
        ("command:'unbalanced", "No closing quotation"),
        ("command:", "not complete"),
        ("command:sh -c no-such-program-at-all", "exit code 127"),
        ("command:sh -c 'echo first >&2; echo last >&2; exit 2'", "exit code 2: last$"),
        ("command:cat --key [key]", "a key was left out"),
    ],
)
def test_command_that_cannot_run(environ: dict[str, str], spec: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        ask(command(spec, environ))


TREE = """
grandchild = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(600)"
child = (
    "import subprocess, sys, os, time; print(os.getpid(), flush=True);"
    f"subprocess.Popen([sys.executable, '-c', {grandchild!r}]); {ending}"
)
print(os.getpid(), flush=True)
subprocess.Popen([sys.executable, '-c', child])
"""


def tree(folder: Path, ending: str) -> tuple[str, Path]:
    """A spec for a program that starts a child and a grandchild, and the file with their pids."""
    pids = folder / "pids"
    pids.touch()
    body = f"os.dup2(os.open({str(pids)!r}, os.O_WRONLY | os.O_APPEND), 1)\nending = {ending!r}\n"
    return script(folder, f"{body}{TREE}\ntime.sleep(600)\n"), pids


def all_three(pids: Path) -> list[int]:
    deadline = time.monotonic() + 30
    while len(found := pids.read_text().split()) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(found) == 3
    return [int(pid) for pid in found]


def gone(found: list[int]) -> bool:
    def lives(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return not any(lives(pid) for pid in found)


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        ("time.sleep(600)", "cancel"),
        ("pass", "cancel"),
        ("pass", "timeout"),
        ("pass", "supervisor killed"),
    ],
)
def test_whole_tree_is_killed(
    environ: dict[str, str], tmp_path: Path, ending: str, why: str
) -> None:
    """A child, and a grandchild in a session of its own; ``pass`` makes that one an orphan."""
    spec, pids = tree(tmp_path, ending)
    cancel = threading.Event()
    if why == "cancel":
        threading.Thread(target=lambda: all_three(pids) and cancel.set()).start()
    elif why == "supervisor killed":
        threading.Thread(target=lambda: psutil.Process(all_three(pids)[0]).parent().kill()).start()
    with pytest.raises(Cancelled if why == "cancel" else Unavailable):
        ask(command(spec, environ, timeout=3 if why == "timeout" else 60), cancel=cancel)
    assert gone(all_three(pids))


AGENT = """
import os, sys
from agent.models.types import Part, Prompt
from agent.models.choose import open_model

model, _ = open_model(sys.argv[1], os.environ)
model.complete(Prompt((Part("rules", "Wait."),)), max_tokens=1)
"""


@pytest.mark.parametrize("root", ["sleeps", "without the mark"])
def test_whole_tree_dies_with_a_killed_agent(
    environ: dict[str, str], tmp_path: Path, root: str
) -> None:
    spec, pids = tree(tmp_path, "time.sleep(600)")
    if root == "without the mark":
        spec = spec.replace("command:", "command:env -u AUTORESEARCH_COMMAND ")
    agent = [sys.executable, "-c", AGENT, spec]
    process = subprocess.Popen(agent, env=environ, cwd=Path(__file__).parents[3])
    found = all_three(pids)
    assert not gone(found)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while not gone(found) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(found)


def test_exit_code_2_of_a_program_that_has_answered_is_an_outage(
    environ: dict[str, str], tmp_path: Path
) -> None:
    flag = tmp_path / "answered"
    body = f"sys.exit(2) if os.path.exists({str(flag)!r}) else print(open({str(flag)!r}, 'w'))"
    model = command(script(tmp_path, body), environ)
    ask(model)
    with pytest.raises(Unavailable, match="exit code 2"):
        ask(model)


def test_what_a_command_leaves_behind_does_not_keep_anybody_waiting(
    environ: dict[str, str], tmp_path: Path
) -> None:
    body = (
        "left = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print(left.pid, flush=True)\n"
    )
    reply = ask(command(script(tmp_path, body), environ))
    assert gone([int(reply.text)])


def test_a_command_that_ends_its_own_process_group_is_heard(environ: dict[str, str]) -> None:
    """As scripts do that kill what they left behind; the one who runs them is not among it."""
    spec = "command:sh -c 'trap \"\" TERM; echo done; kill 0; exit 0'"
    assert ask(command(spec, environ)).text == "done\n"
    with pytest.raises(Unavailable, match="signal 15"):
        ask(command("command:sh -c 'kill 0; sleep 9'", environ))


def test_command_that_writes_without_end_is_stopped(
    environ: dict[str, str], tmp_path: Path
) -> None:
    spec = script(tmp_path, "while True: print('more ' * 1000)")
    with pytest.raises(Unavailable, match="over 67108864 bytes"):
        ask(command(spec, environ, timeout=60))
