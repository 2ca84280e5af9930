"""A program that edits train.py in its folder: what is read, and what is left of the folder."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from clients import KEY, PROMPT, bare_environ
from test_command import AGENT, all_three, command, gone, tree

from agent.models.command.folder import scratch
from agent.models.types import Cancelled, Misconfigured, Part, Prompt, Reply, Unavailable
from trainer.sandbox import owner

SOURCE = "RATE = 0.1\nDEPTH = 1\n"
RULES = "Edit train.py.\n"
ASKED = Prompt(
    (Part("rules", RULES), Part("focus", "Propose.\n")),
    files={"train.py": SOURCE, "program.md": "prose\n", "history.md": "", "AGENTS.md": RULES},
)
EDIT = "sed -i s/0.1/0.2/ train.py"
FIELDS = "printf 'title: a\\ncategory: b\\nhypothesis: c\\n'"
BLOCK = "printf '<<<<<<< SEARCH\\nx\\n=======\\ny\\n>>>>>>> REPLACE\\n'"
LIMIT = "echo API Error: Rate limit reached"


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """With a place of its own for scratch folders, which is empty in the end."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    return {**bare_environ(tmp_path), "TMPDIR": str(place), "MY_API_KEY": KEY}


def run(does: str, environ: dict[str, str], prompt: Prompt = ASKED) -> Reply:
    program = Path(environ["HOME"]) / "program.sh"
    program.write_text(f"{does}\n")
    return command(f"command:sh '{program}'", environ).complete(prompt, max_tokens=1)


def is_empty(environ: dict[str, str]) -> bool:
    return not list(Path(environ["TMPDIR"]).iterdir())


def left(does: str, home: Path) -> tuple[str | None, str]:
    """What is read after a shell has done this in the folder."""
    with scratch(ASKED.files) as folder:
        script = f"HOME='{home}'; {does}"
        subprocess.run(["sh", "-c", script], cwd=folder.path, check=True, capture_output=True)
        return folder.left()


@pytest.mark.parametrize(
    ("does", "text"),
    [
        (EDIT, "RATE = 0.2\nDEPTH = 1\n"),
        (f"{EDIT}; sed -i s/0.2/0.3/ train.py", "RATE = 0.3\nDEPTH = 1\n"),
        (f"{EDIT}; echo more > notes.md", "RATE = 0.2\nDEPTH = 1\n"),
        ("cp train.py b; rm train.py; sed s/0.1/0.2/ b > train.py", "RATE = 0.2\nDEPTH = 1\n"),
        ("printf '\\357\\273\\277RATE = 0.2\\r\\n' > train.py", "\ufeffRATE = 0.2\r\n"),
        ("mv $PWD $HOME/moved; cd $HOME/moved; echo x > train.py", "x\n"),
        ("touch train.py; printf '\\r\\n' >> train.py", None),
        ("mkdir .cache __pycache__; echo x > .aider.chat.history.md", None),
    ],
)
def test_last_state_of_train_py_counts(does: str, text: str | None, tmp_path: Path) -> None:
    assert left(does, tmp_path) == (text, "")


@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("rm train.py", "cannot be used: it is gone"),
        ("cd ..; rm -r $OLDPWD", "cannot be used: it is gone"),
        ("ln -sf $HOME/mine.py train.py", "cannot be used: it is a symbolic link"),
        ("ln -f $HOME/mine.py train.py", "one with a second name"),
        ("rm train.py; mkfifo train.py", "no ordinary file"),
        ("rm train.py; mkdir train.py", "no ordinary file"),
        ("head -c 200000 /dev/zero > train.py", "over 120000 bytes"),
        ("printf 'x = 1\\nRATE = \\377\\n' > train.py", "line 2 is not UTF-8"),
        ("echo x > model.py", "as it was; of what you wrote beside it, nothing is read: model.py"),
        ("mkdir trainer; echo x > trainer/train.py", "nothing is read: trainer"),
        ("printf x > 'a\nb\033[31m'", "nothing is read: a b\ufffd[31m"),
    ],
)
def test_what_cannot_be_used_is_told_in_words(does: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("a file of the user's\n")
    text, told = left(does, tmp_path)
    assert text is None
    assert why in told


@pytest.mark.process
@pytest.mark.parametrize(
    ("does", "reason", "file", "told"),
    [
        (f"setsid sleep 600 & {EDIT}; {FIELDS}; {BLOCK}", "end", "RATE = 0.2\nDEPTH = 1\n", ""),
        (EDIT, "end", "RATE = 0.2\nDEPTH = 1\n", ""),  # without a word
        (f"{EDIT}; echo 'I mended an error: too high.'", "end", "RATE = 0.2\nDEPTH = 1\n", ""),
        (f"echo $MY_API_KEY > train.py; {FIELDS}", "end", "[key]\n", ""),
        (f"head -c 2000000 /dev/zero; {EDIT}; {FIELDS}", "end", "RATE = 0.2\nDEPTH = 1\n", ""),
        (f"{FIELDS}; {BLOCK}", "end", None, ""),
        (f"rm train.py; {FIELDS}; {BLOCK}", "end", None, ""),
        ("echo 'I would rather not touch the file.'", "end", None, ""),
        (f"rm train.py; {FIELDS}", "unusable", None, "it is gone"),
        ("echo x > model.py", "unusable", None, "read: model.py"),
        (FIELDS, "unusable", None, "as it was, and no block was printed"),
    ],
)  # fmt: skip
def test_file_wins_then_printed_blocks_then_what_was_wrong(
    does: str, reason: str, file: str | None, told: str, environ: dict[str, str]
) -> None:
    reply = run(does, environ)
    assert (reply.stop_reason, reply.file) == (reason, file)
    assert told in reply.detail
    assert bool(told) == bool(reply.detail)
    assert ("title: a" in reply.text) == (FIELDS in does)
    assert is_empty(environ)


@pytest.mark.process
@pytest.mark.parametrize(
    ("does", "kind", "cause"),
    [
        (LIMIT, Unavailable, "outage"),
        (f"{EDIT}; {LIMIT}", Unavailable, "outage"),
        (f"{EDIT}; {FIELDS}; {LIMIT}", Unavailable, "outage"),
        (f"{EDIT}; {LIMIT}; exit 1", Unavailable, "outage"),
        (f"{EDIT}; {FIELDS}; exit 1", Unavailable, "paid"),
        (f"{EDIT}; exit 2", Unavailable, "paid"),
        ("echo no such option >&2; exit 2", Misconfigured, ""),
        (f"{EDIT}; echo Please run /login", Misconfigured, ""),
        (f"{EDIT}; kill -9 $$", Unavailable, "paid"),
        (f"head -c 2000000 /dev/zero; {FIELDS}; {BLOCK}", Unavailable, "paid"),
        (f"{EDIT}; cat /dev/zero", Unavailable, "paid"),
        (f"{EDIT}; cat /dev/zero >&2", Unavailable, "paid"),
    ],
)
def test_a_file_that_was_perhaps_not_finished_is_not_used(
    does: str, kind: type[Exception], cause: str, environ: dict[str, str]
) -> None:
    with pytest.raises(kind) as caught:
        run(does, environ)
    assert getattr(caught.value, "cause", "") == cause
    assert is_empty(environ)


@pytest.mark.process
def test_what_the_folder_holds(environ: dict[str, str]) -> None:
    does = (
        'test "$(git rev-parse --show-toplevel)" = "$PWD" && git status --short && ls -A;'
        "cat CLAUDE.md GEMINI.md; grep -r secret . ; env | grep -c ^GIT_DIR=; echo $MY_API_KEY"
    )
    reply = run(does, {**environ, "GIT_DIR": str(Path.cwd() / ".git")})
    *listed, left, key = reply.text.splitlines()
    assert listed[:6] == [f"?? {name}" for name in sorted([*ASKED.files, "CLAUDE.md", "GEMINI.md"])]
    assert listed[6:13] == [".git", *(line[3:] for line in listed[:6])]
    assert listed[13:] == ["@AGENTS.md", "@AGENTS.md"], "and no secret in any file"
    assert (left, key) == ("0", "[key]"), "the environment is the user's, with the key"


@pytest.mark.process
def test_folder_is_removed_when_it_is_stopped(environ: dict[str, str], tmp_path: Path) -> None:
    spec, pids = tree(tmp_path, "time.sleep(600)")
    cancel = threading.Event()
    threading.Thread(target=lambda: all_three(pids) and cancel.set()).start()
    with pytest.raises(Cancelled):
        command(spec, environ, timeout=60).complete(ASKED, max_tokens=1, cancel=cancel)
    assert is_empty(environ)


@pytest.mark.process
def test_folder_is_removed_when_the_agent_is_killed(
    environ: dict[str, str], tmp_path: Path
) -> None:
    spec, pids = tree(tmp_path, "time.sleep(600)")
    agent = [sys.executable, "-c", AGENT, spec]
    process = subprocess.Popen(agent, env=environ, cwd=Path(__file__).parents[3])
    found = all_three(pids)
    assert not is_empty(environ)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while not (gone(found) and is_empty(environ)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_empty(environ)


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("sh show.sh sub/conf.toml", "{here}/sub/conf.toml"),
        ("./show.sh --conf=sub/conf.toml", "--conf={here}/sub/conf.toml"),
        ("sh ./show.sh train.py program.md run sub x.toml", "train.py program.md run sub x.toml"),
        ("sh -c 'cd $AUTORESEARCH_FROM && sh show.sh'", ""),
    ],
)
def test_files_of_the_working_directory_are_found_from_the_folder(
    words: str, seen: str, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for names that mean the folder's own files, and words that may be no files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for name in ("sub/conf.toml", "train.py", "program.md", "run"):
        (tmp_path / name).write_text("the user's\n")
    (tmp_path / "show.sh").write_text("#!/bin/sh\necho I got: $*\n")
    (tmp_path / "show.sh").chmod(0o755)
    reply = command(f"command:{words}", environ).complete(ASKED, max_tokens=1)
    assert reply.text.strip() == f"I got: {seen.format(here=tmp_path)}".strip()


@pytest.mark.process
def test_where_the_prompt_goes(environ: dict[str, str]) -> None:
    reply = command("command:sh -c 'cat {file} - && pwd'", environ).complete(PROMPT, max_tokens=1)
    *text, folder = reply.text.splitlines()
    assert "\n".join(text) == PROMPT.text.strip(), "once: standard input is empty then"
    assert Path(folder).parent == Path(environ["TMPDIR"])


@pytest.mark.process
def test_pwd_is_the_folder(environ: dict[str, str]) -> None:
    """Some programs read it instead of asking the system."""
    words = f"'{sys.executable}' -c 'import os; print(os.environ[\"PWD\"] == os.getcwd())'"
    assert run(words, environ | {"PWD": str(Path.cwd())}).text == "True\n"


def test_folder_names_its_owner_so_that_a_later_training_sweeps_it() -> None:
    with scratch(ASKED.files) as folder:
        assert str(owner.this_process()) in Path(folder.path).name
