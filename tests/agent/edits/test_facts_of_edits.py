"""edits/facts.py: size in statements, numbers or structure, and what is logged as the loss."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.edits.facts import credited, edit_facts, reads_clock

PARENT = '''"""A file."""
RATE = 0.1  # a rate
NAME = "relu"

def train(session):
    """Train."""
    total = 0.0
    for x in session.rows():
        y = x + 1
        total += y
    session.log(0, loss=total)
    return total
'''


def changed(old: str, new: str) -> str:
    assert old in PARENT
    return PARENT.replace(old, new)


@pytest.mark.parametrize(
    ("candidate", "size"),
    [
        (changed("    session.log(0, loss=total)\n", ""), -1),
        (changed("  # a rate", ""), 0),
        (changed('    """Train."""\n', ""), 0),
        (changed("        y = x + 1\n        total += y\n", "        total += x + 1\n"), -1),
        (changed('RATE = 0.1  # a rate\nNAME = "relu"', 'RATE, NAME = 0.1, "relu"'), 0),
        (changed("        y = x + 1\n        total += y", "        y = x + 1; total += y"), 0),
        (changed("    total = 0.0\n", "    total = 0.0\n    extra = 1\n"), 1),
    ],
)
def test_size_is_counted_in_statements_that_are_not_merely_put_together(
    candidate: str, size: int
) -> None:
    assert edit_facts(PARENT, candidate).size_delta == size


def test_only_numbers_of_the_module_make_an_edit_of_numbers() -> None:
    assert edit_facts(PARENT, changed("RATE = 0.1", "RATE = -2")).sets_numbers
    assert edit_facts(PARENT, changed("RATE = 0.1", "RATE = 1e-4")).sets_numbers
    assert not edit_facts(PARENT, changed('"relu"', '"gelu"')).sets_numbers
    assert not edit_facts(PARENT, changed("x + 1", "x + 2")).sets_numbers
    assert not edit_facts(PARENT, changed("RATE = 0.1", "RATE = True")).sets_numbers
    both = changed("RATE = 0.1", "RATE = 0.2").replace("x + 1", "x - 1")
    assert not edit_facts(PARENT, both).sets_numbers


@pytest.mark.parametrize(
    "new",
    [
        "    session.log(0, loss=total / 2)",
        "    session.log = print\n    session.log(0, loss=total)",
        "    total = dropout(total)\n    session.log(0, loss=total)",
        "    mixture = 3\n    session.log(0, loss=total)",
    ],
)
def test_an_edit_of_what_is_logged_or_read_hides_the_loss(new: str) -> None:
    assert edit_facts(PARENT, changed("    session.log(0, loss=total)", new)).hides_loss


def test_others_do_not() -> None:
    assert not edit_facts(PARENT, changed("x + 1", "x + 2")).hides_loss
    assert not edit_facts(PARENT, changed("RATE = 0.1", "RATE = 0.2")).hides_loss


ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import time\nx = time.time()", "time.time"),
        ("import time as t\nx = t.monotonic_ns()", "time.monotonic_ns"),
        ("from time import perf_counter as pc\nx = pc()", "time.perf_counter"),
        ("from time import *\nx = perf_counter()", "time.*"),
        ("import time\nnow = time.time\ndef f():\n    return now()", "time.time"),
        ("import time\nx = getattr(time, 'process_time')()", "time.process_time"),
        ("x = __import__('time').strftime('%S')", "time.strftime"),
        ("import importlib\nx = importlib.import_module('time').time()", "time.time"),
        ("import datetime\nx = datetime.datetime.now()", "datetime.datetime.now"),
        ("from datetime import datetime as dt\nx = dt.utcnow()", "datetime.datetime.utcnow"),
        ("from datetime import date\nx = date.today()", "datetime.date.today"),
        ("import os\nx = os.times().user", "os.times"),
        ("import os\nx = os.urandom(4)", "os.urandom"),
        ("import torch\ne = torch.cuda.Event(enable_timing=True)", "torch.cuda.Event"),
        ("from torch import cuda\ne = cuda.Event()", "torch.cuda.Event"),
        ("import torch.cuda as tc\ne = tc.Event()", "torch.cuda.Event"),
        ("import torch\ntorch.seed()", "torch.seed"),
        ("import random\nx = random.random()", "random.random"),
        ("import random\nrandom.seed()\nx = 1", "random.seed"),
        ("import random\nx = random.Random()", "random.Random"),
        ("import numpy as np\nx = np.random.default_rng()", "numpy.random.default_rng"),
        ("from numpy.random import default_rng as d\nx = d(None)", "numpy.random.default_rng"),
        ("import numpy as np\nx = np.random.permutation(3)", "numpy.random.permutation"),
        ("import secrets\nx = secrets.randbits(8)", "secrets.randbits"),
        ("from uuid import uuid4\nx = uuid4()", "uuid.uuid4"),
        ("import timeit\nx = timeit.default_timer()", "timeit.default_timer"),
        ("x = open('/proc/uptime').read()", "/proc/uptime"),
    ],
)  # fmt: skip
def test_what_is_another_thing_each_time_is_named_with_its_line(source: str, name: str) -> None:
    assert reads_clock("\n\n" + source).startswith(f"{name} (line ")
    lines = (ROOT / "tests/tiny_train.py").read_text() + source
    assert name in edit_facts("x = 1", lines).reads_clock


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(0.1)",
        "def f(time):\n    return time.time()",
        "def train(session):\n    return session.progress(), session.time, session.done()",
        "import numpy as np\nx = np.random.default_rng(5).permutation(3)",
        "import numpy as np\nnp.random.seed(1)\nx = np.random.permutation(3)",
        "import random\nrandom.seed(1)\nx = random.random(), random.Random(3)",
        "import torch\ntorch.manual_seed(1)\nx = torch.rand(3), torch.initial_seed()",
        "import random\nimport torch\nx = torch.randperm(3), hash('a')",
        *((ROOT / name).read_text() for name in ("trainer/train.py", "tests/tiny_train.py")),
    ],
)
def test_what_repeats_is_not_named(source: str) -> None:
    assert reads_clock(source) == ""


def test_many_are_counted() -> None:
    source = "import time\n" + "\n".join(
        f"x = time.{name}()" for name in ("time", "monotonic", "ctime", "gmtime", "time", "asctime")
    )
    assert reads_clock(source) == (
        "time.time (line 2), time.monotonic (line 3), time.ctime (line 4), time.gmtime (line 5) "
        "and 1 more"
    )


SECTIONS = """import torch
# === architecture ===
DEPTH = 2
WIDTH = 64
# === optimizer ===
RATE = 0.1
# === schedule ===
WARMUP = 0.1
# === hyperparameters ===
ROWS = 8
"""
DEPTH, WIDTH, RATE, WARMUP = (
    ("DEPTH = 2", "DEPTH = 3"),
    ("WIDTH = 64", "WIDTH = 96"),
    ("0.1\n# === s", "0.2\n# === s"),
    ("WARMUP = 0.1", "WARMUP = 0.2"),
)
CATEGORIES = ("architecture", "optimizer", "schedule", "hyperparameters", "efficiency", "dataset")


@pytest.mark.parametrize(
    ("asked", "declared", "pairs", "counts"),
    [
        ("architecture", "architecture", [DEPTH], "architecture"),
        ("schedule", "schedule", [DEPTH], "architecture"),
        ("schedule", "architecture", [DEPTH], "architecture"),
        ("schedule", "optimizer", [DEPTH], "architecture"),
        ("schedule", "scheduling", [("WARMUP = 0.1", "WARMUP = 0.2")], "schedule"),
        ("optimizer", "optimizer", [DEPTH, RATE], "optimizer"),
        ("schedule", "schedule", [DEPTH, WIDTH, RATE], "architecture"),
        (
            "schedule",
            "schedule",
            [DEPTH, WIDTH, ("RATE", "x = 1\n" * 5 + "RATE")],
            "optimizer",
        ),
        ("schedule", "schedule", [("ROWS = 8", "ROWS = 4")], "schedule"),  # anyone's
        ("schedule", "schedule", [("ROWS = 8", "ROWS = 4"), DEPTH], "architecture"),
        ("schedule", "schedule", [("import torch", "import numpy"), DEPTH], "architecture"),
        ("schedule", "schedule", [("import torch", "import numpy"), WARMUP, DEPTH], "schedule"),
        ("schedule", "schedule", [("import torch", "import numpy")], "schedule"),  # no section's
        ("efficiency", "efficiency", [DEPTH], "efficiency"),  # may change any section
        ("dataset", "dataset", [DEPTH], "dataset"),  # the file has no such section
    ],
)
def test_an_edit_counts_for_what_it_changes(
    asked: str, declared: str, pairs: list[tuple[str, str]], counts: str
) -> None:
    source = SECTIONS
    for old, new in pairs:
        assert source.count(old) == 1
        source = source.replace(old, new)
    assert credited(asked, declared, SECTIONS, source, CATEGORIES) == counts
