"""The lines of docs/using.md for coding agents, each with a stand-in that behaves like the agent.

The agents themselves are not here. A stand-in refuses what its agent would refuse, reads the prompt
where that does, edits the file, and prints as that does.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from clients import bare_environ
from prompt_trials import NOISE, PROGRAM, PROMPTS, SOURCE

from agent.edits import blocks
from agent.models.choose import open_model
from agent.program import parse_program
from agent.proposers.base import Context
from agent.proposers.llm import LLMProposer

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[3]
LINES = re.findall(r'\| `"(command:.*?)"` \|$', (ROOT / "docs/using.md").read_text(), re.MULTILINE)
FIELDS = "title: longer warm-down\ncategory: schedule\nhypothesis: the noise averages out"
STAND_IN = '''\
import json, os, pathlib, sys

name = pathlib.Path(sys.argv[0]).name
args = sys.argv[1:]
here = pathlib.Path.cwd()
stdin = sys.stdin.read()
FIELDS = """@FIELDS@"""
asked, root, edits, prints = stdin, here, True, FIELDS
log = ""

def stop(code, words):
    print(words, file=sys.stderr)
    sys.exit(code)

def flag(option, value=""):
    """Whether it is given; takes it and its value off the arguments."""
    if option not in args:
        return ""
    at = args.index(option)
    if value and args[at + 1] not in value.split("|"):
        stop(2, f"invalid value for {option}: {args[at + 1]}")
    del args[at : at + 1 + bool(value)]
    return option

if name == "claude":
    flag("-p") or stop(1, "Error: not a terminal")
    edits = flag("--permission-mode", "acceptEdits")
    rules = here / "CLAUDE.md"
    bold = FIELDS.replace(": ", ":** ").replace("\\n", "\\n**")
    prints = "I have edited `train.py`.\\n\\n**" + bold
    if not edits:
        prints = "I need your permission to edit train.py."
elif name == "codex":
    args.pop(0) == "exec" or stop(1, "Error: stdin is not a terminal")
    if not any((folder / ".git").exists() for folder in [here, *here.parents]):
        stop(1, "Not inside a trusted directory and --skip-git-repo-check was not specified.")
    edits = flag("--sandbox", "workspace-write")
    flag("--ephemeral")
    args.pop() == "-" or stop(2, "the prompt is missing")
    rules = here / "AGENTS.md"
    log = "OpenAI Codex\\n--------\\nworkdir: " + str(here) + "\\nuser\\n" + stdin + "\\ncodex\\n"
elif name == "aider":
    stdin and stop(1, "it would wait for confirmations to read")
    at = args.index("--message-file")
    asked = pathlib.Path(args[at + 1]).read_text()
    del args[at : at + 2]
    for option in ("git", "pretty", "detect-urls", "suggest-shell-commands", "check-update"):
        flag(f"--no-{option}") or stop(1, f"it would ask or go to the network: {option}")
    flag("--yes-always") or stop(1, "it would ask")
    args.pop() == "train.py" or stop(1, "no file to edit")
    rules = here / "AGENTS.md"
    (here / ".aider.chat.history.md").write_text(asked)
    prints = f"""Aider v0.86.1
Model: some-model with diff edit format
Git repo: none
Repo-map: disabled
Added train.py to the chat.

{FIELDS}

train.py
```python
<<<<<<< SEARCH
WARMDOWN = 0.3
=======
WARMDOWN = 0.5
>>>>>>> REPLACE
```

Tokens: 9.1k sent, 412 received. Cost: $0.03 message, $0.03 session.
Applied edit to train.py"""
elif name == "opencode":
    args.pop(0) == "run" or stop(1, "there is no terminal")
    root = pathlib.Path(os.environ.get("PWD", here))
    rules = root / "AGENTS.md"
    log = "\\x1b[0m\\n> build · some-model\\n\\n\\x1b[0m← Edit train.py\\n"
    prints = FIELDS + "\\n"
elif name == "gemini":
    flag("--skip-trust") or stop(55, "Gemini CLI is not running in a trusted directory.")
    edits = flag("--approval-mode", "default|auto_edit|yolo")
    rules = here / "GEMINI.md"
    prints = "Done.\\n\\n" + FIELDS
if args:
    stop(2, f"unknown option {args[0]}")
"edit train.py in your folder" in asked or stop(1, "No prompt was given.")
rules.is_file() or stop(1, "no rules")
path = root / "train.py"
if edits:
    path.write_text(path.read_text().replace("WARMDOWN = 0.3", "WARMDOWN = 0.5"))
print(log, file=sys.stderr)
print(prints)
'''


@pytest.fixture
def asked() -> Context:
    return Context(
        trial=1,
        category="schedule",
        source=SOURCE,
        program=parse_program(PROGRAM),
        history=(),
        prior={"schedule": 1.0},
        noise=NOISE,
        seed=0,
        facts={},
    )


def proposed(line: str, asked: Context, home: Path) -> blocks.Edit:
    environ = bare_environ(home)
    environ["PATH"] = f"{home}/bin:{environ['PATH']}"
    model, _ = open_model(line, {**environ, "PWD": str(Path.cwd())})
    assert model is not None
    proposal = LLMProposer(model, PROMPTS).propose(asked)
    return blocks.parse(proposal.reply, proposal.envelope)


def install(name: str, home: Path) -> None:
    program = home / "bin" / name
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable} -IS\n" + STAND_IN.replace("@FIELDS@", FIELDS))
    program.chmod(0o755)


def test_all_five_have_a_line() -> None:
    names = [re.split("[: ]", line)[1] for line in LINES]
    assert names == ["claude", "codex", "aider", "opencode", "gemini", "python3"]


@pytest.mark.parametrize("line", LINES[:-1], ids=lambda line: re.split("[: ]", line)[1])
def test_the_line_for_an_agent_makes_its_edit_a_proposal(
    line: str, asked: Context, tmp_path: Path
) -> None:
    install(re.split("[: ]", line)[1], tmp_path)
    edit = proposed(line, asked, tmp_path)
    assert edit.apply(SOURCE) == SOURCE.replace("WARMDOWN = 0.3", "WARMDOWN = 0.5")
    told = f"title: {edit.title}\ncategory: {edit.category}\nhypothesis: {edit.hypothesis}"
    assert told == FIELDS


def test_the_stand_in_moves_a_constant_that_was_not_moved_yet(
    asked: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its path is relative to the working directory."""
    monkeypatch.chdir(ROOT)
    line = LINES[-1].replace("python3", sys.executable)
    edit = proposed(line, asked, tmp_path)
    assert (edit.category, edit.title) == ("schedule", "WARMDOWN from 0.3 to 0.4")
    assert edit.apply(SOURCE) == SOURCE.replace("WARMDOWN = 0.3", "WARMDOWN = 0.4")
    files = {"train.py": SOURCE, "history.md": f"trial 1, schedule: {edit.title}\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    script = [sys.executable, str(ROOT / "examples/stub_agent.py")]
    subprocess.run(script, cwd=tmp_path, input="", text=True, check=True, capture_output=True)
    moved = SOURCE.replace("WIDTH = 64", "WIDTH = 88")
    assert (tmp_path / "train.py").read_text() == moved, "nobody asks for a category here"


@pytest.mark.parametrize("output", ["json", "stream-json"])
def test_words_are_found_in_the_json_that_agents_print(
    output: str, asked: Context, tmp_path: Path
) -> None:
    told = {"type": "assistant", "message": {"content": [{"type": "text", "text": FIELDS}]}}
    result = {"type": "result", "is_error": False, "result": FIELDS, "session_id": "1"}
    lines = [json.dumps(one) for one in ([result] if output == "json" else [told, told, result])]
    (tmp_path / "said").write_text("\n".join(lines))
    edit = proposed(
        f"command:sh -c 'sed -i s/0.3/0.5/ train.py; cat {tmp_path}/said'", asked, tmp_path
    )
    assert (edit.title, edit.hypothesis) == ("longer warm-down", "the noise averages out")
