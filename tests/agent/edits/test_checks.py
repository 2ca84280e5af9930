"""checks.py: what is no experiment is turned down by name, and what is one is not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent.edits.changes import fingerprint
from agent.edits.checks import Rejected, check, sections_touched

ROOT = Path(__file__).parents[3]

PARENT = '''"""A training file."""

from __future__ import annotations

import torch

SEED = 7

# === preprocessing ===

VOCAB_SIZE = 512
SEQ_LEN = 64

# === architecture ===

DEPTH = 2  # blocks; range 1..8


def build_model(spec):
    """The model."""
    return torch.nn.Linear(spec.vocab_size, DEPTH)


# === schedule ===

WARMUP = 0.1  # range 0..1

# === hyperparameters ===

RATE = 0.1  # range 0.01..1 log

# === training ===


def train(session):
    torch.manual_seed(session.seed)
    generator = torch.Generator().manual_seed(3)
    model = build_model(session.spec)
    while not session.done():
        if session.progress() > WARMUP:
            session.log(RATE, generator)
    return model
'''


def judge(candidate: str, parent: str = PARENT, **more: object) -> str:
    arguments = {"max_seq_len": 128} | more
    return check(parent, candidate, **arguments)  # type: ignore[arg-type]


def changed(*pairs: tuple[str, str]) -> str:
    source = PARENT
    for old, new in pairs:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def rejected(reason: str, candidate: str, **more: object) -> str:
    with pytest.raises(Rejected) as caught:
        judge(candidate, **more)
    assert str(caught.value).startswith(reason), str(caught.value)
    return str(caught.value)


def body(line: str) -> str:
    return changed(("    model = build_model", f"    {line}\n    model = build_model"))


# --- what passes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "candidate",
    [
        changed(("DEPTH = 2", "DEPTH = 3")),
        changed(("session.log(RATE, generator)", "session.log(2 * RATE, generator)")),
        changed(("def train(session):", "def train(session, extra=None, *, more=1):")),
        changed(("def train(session):", "def train(*arguments):\n    session, = arguments")),
        changed(("def train(session):", "def train(session: Session) -> torch.nn.Modul:")),
        changed(("SEED = 7", "SEED = 8"), ("DEPTH = 2", "DEPTH = 3")),
        body("x: Wrong = 1"),
        body("y = [" + ", ".join("12345678") + "]"),
        body('"""' + "A comment in so many words. " * 40 + '"""\n    y = 1'),
        body("y = [f'{i}' for i in range(3)]"),
        body("try:\n        import numpy as np\n    except ImportError:\n        np = None"),
        changed(("VOCAB_SIZE = 512", "VOCAB_SIZE = 512\nVOCAB_SIZE = 1024")),
        PARENT + "\n\nclass Helper:\n    def again(self) -> Helper:\n        return Helper()\n",
    ],
)
def test_experiments_pass(candidate: str) -> None:
    assert judge(candidate) == fingerprint(candidate)


def test_the_file_that_ships_passes_with_a_change() -> None:
    source = (ROOT / "trainer" / "train.py").read_text()
    changed = re.sub(r"^SEQ_LEN = \d+", "SEQ_LEN = 128", source, flags=re.MULTILINE)
    assert changed != source
    judge(changed, parent=source, max_seq_len=1024)


# --- what does not ----------------------------------------------------------------------------


def test_syntax_errors_are_named_with_their_line() -> None:
    text = rejected("does not compile", changed(("DEPTH = 2", "DEPTH = = 2")))
    assert "line 16" in text and "invalid syntax" in text
    rejected("does not compile", PARENT + "return 3\n")
    rejected("does not compile: train.py: ", PARENT + "x = '\x00'\n")
    rejected("does not compile", PARENT + "def f(a, a): pass\n")
    rejected("does not compile", PARENT + "x = '\ud800'\n")
    rejected("does not compile", PARENT + "x = " + "(" * 5000 + ")" * 5000 + "\n")
    rejected("does not compile", PARENT + "x = " + "-" * 9000 + "1\n")


@pytest.mark.parametrize("depth", [1500, 4000])
def test_what_is_nested_too_deeply_to_be_read(depth: int) -> None:
    assert "nested too deeply" in rejected("contract", PARENT + "x = " + "1 + " * depth + "1\n")


@pytest.mark.parametrize(
    ("pair", "part"),
    [
        (("VOCAB_SIZE = 512", "VOCAB_SIZE = 500"), "VOCAB_SIZE = 500"),
        (("VOCAB_SIZE = 512", "VOCAB_SIZE = 2**9"), "VOCAB_SIZE"),
        (("VOCAB_SIZE = 512\n", ""), "VOCAB_SIZE"),
        (("SEQ_LEN = 64", "SEQ_LEN = 256"), "SEQ_LEN = 256"),
        (("SEQ_LEN = 64", "SEQ_LEN = 0"), "SEQ_LEN = 0"),
        (("SEQ_LEN = 64", "SEQ_LEN = 64.0"), "SEQ_LEN"),
        (("def build_model(spec)", "def build(spec)"), "build_model"),
        (("def train(session)", "async def train(session)"), "train"),
        (("def train(session)", "def train(session, steps)"), "line 35: train"),
        (("def train(session)", "def train()"), "one positional argument"),
        (("def build_model(spec)", "def build_model(*, spec)"), "one positional argument"),
    ],
)
def test_a_broken_contract(pair: tuple[str, str], part: str) -> None:
    assert part in rejected("contract", changed(pair))


@pytest.mark.parametrize(
    "candidate",
    [
        PARENT,
        PARENT + "\n\n# a comment\n",
        changed(('"""The model."""', '"""This model."""')),
        changed(('    """The model."""\n', "")),
        changed(("DEPTH = 2  # blocks; range 1..8", "DEPTH = (2)  # range 1..9")),
        changed(("session.log(RATE, generator)", "session.log(\n  RATE,  generator,\n)")),
    ],
)
def test_comments_or_formatting_only(candidate: str) -> None:
    rejected("comments or formatting only", candidate)


@pytest.mark.parametrize(
    "candidate",
    [
        changed(("SEED = 7", "SEED = 8")),
        changed((".manual_seed(3)", ".manual_seed(4)")),
        changed(("manual_seed(session.seed)", "manual_seed(session.seed + 1)")),
        changed(("    torch.manual_seed(session.seed)\n", "")),
        body("torch.cuda.manual_seed_all(11)"),
        changed(("SEED = 7", "SEED = 8"), ("manual_seed(3)", "manual_seed(SEED)")),
    ],
)
def test_seed_only(candidate: str) -> None:
    rejected("seed only", candidate)


def test_a_seed_by_keyword_only() -> None:
    parent = body("x = make(1, seed=1)\n    make = print")
    rejected("seed only", parent.replace("seed=1", "seed=2"), parent=parent)
    assert judge(parent.replace("make(1,", "make(2,"), parent=parent)


def test_already_tried() -> None:
    candidate = changed(("DEPTH = 2", "DEPTH = 3"))
    digest = judge(candidate)
    rejected("already tried", candidate, tried={digest})
    rejected("already tried", candidate + "# once more\n", tried={digest})
    judge(changed(("DEPTH = 2", "DEPTH = 4")), tried={digest})


@pytest.mark.parametrize(
    "line",
    [
        "x = '" + "ab1" * 200 + "'",
        "x = b'" + "ab1" * 200 + "'",
        "x = 0x" + "f" * 40,
        "x = " + "9" * 60,
        "x = [" + "1, " * 65 + "]",
        "x = {" + ", ".join(f"{i}: {i}" for i in range(33)) + "}",
        "x = [" + "[1, 2, 3, 4], " * 17 + "]",
        "x = (" + ", ".join(f"'{i}'" for i in range(65)) + ")",
        "\n    ".join(f"x{i} = '{i:0490d}'" for i in range(9)),
        "'''" + "word " * 500 + "'''\n    x = 1",
    ],
)
def test_high_entropy_literals(line: str) -> None:
    rejected("high-entropy literals", body(line))
    judge(body(line).replace("DEPTH = 2", "DEPTH = 3"), parent=body(line))


def test_growth_is_bounded() -> None:
    rejected("too large", PARENT + "x = 1\n" * 401)
    rejected("too large", PARENT + "# " + "x" * 20_001)
    parent = PARENT + "# " + "x" * 59_990 + "\n"
    rejected("contract: train.py has", parent + "y = 1  # " + "x" * 100, parent=parent)


@pytest.mark.parametrize(
    "line",
    ["x = tensr.ones(1)", "x = [y for z in (1,)]", "print(count)\n    count = 1", "len(Wrong)"],
)
def test_undefined_names(line: str) -> None:
    assert "line 38: " in rejected("undefined name", body(line))


def test_undefined_names_that_the_champion_has_are_no_news() -> None:
    parent = body("x = lambda: somewhere")
    judge(parent.replace("DEPTH = 2", "DEPTH = 3"), parent=parent)


def test_annotations_count_only_where_they_are_evaluated() -> None:
    eager = PARENT.replace("from __future__ import annotations\n", "")
    rejected(
        "undefined name",
        eager.replace("def train(session)", "def train(session: Session)"),
        parent=eager,
    )


def test_sections_touched() -> None:
    assert sections_touched(PARENT, PARENT) == frozenset()
    assert sections_touched(PARENT, changed(("SEED = 7\n", ""))) == {""}
    assert sections_touched(
        PARENT, changed(("DEPTH = 2", "DEPTH = 3"), ("# === schedule ===\n", ""))
    ) == {"architecture", "schedule"}


def test_fingerprints() -> None:
    assert len(fingerprint(PARENT)) == 64
    assert fingerprint("x = 0.10") == fingerprint("x = .1  # one tenth")
    assert fingerprint("x = 1") != fingerprint("x = 2")
    assert fingerprint("def f():\n 'doc'\n x = 1") == fingerprint("def f(): x = 1")
    with pytest.raises(SyntaxError):
        fingerprint("x = = 1")


@pytest.mark.process
def test_nothing_here_imports_torch() -> None:
    modules = ("cli", "edits.checks", "judge", "prior", "program")
    code = f"""if True:
        import importlib, sys
        for name in {modules!r}:
            importlib.import_module("agent." + name)
        assert "torch" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
