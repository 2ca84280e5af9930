"""What the text of a train.py must have; nothing of it is run."""

import pytest

from trainer import contract
from trainer.contract import ContractBroken, Spec, read

FUNCTIONS = "\ndef build_model(spec): ...\ndef train(session): ...\n"
GOOD = "VOCAB_SIZE = 2048\nSEQ_LEN = 256" + FUNCTIONS


def test_shapes():
    assert read(GOOD, 1024) == Spec(2048, 256)


def test_the_last_assignment_counts():
    assert read(GOOD + "SEQ_LEN: int = 128\nX = VOCAB_SIZE = 512\n", 1024) == Spec(512, 128)


def test_constants_are_the_literals_of_the_module():
    source = "A = 1\nB = -0.5  # a number\nC = A + 1\nD = (1, 'x')\nA = 2\n" + GOOD
    found = {"A": 2, "B": -0.5, "D": (1, "x"), "VOCAB_SIZE": 2048, "SEQ_LEN": 256}
    assert contract.constants(source) == found


def test_a_file_that_trains_in_mixed_precision_is_known_by_its_text():
    used = "def train(session):\n    with session.precision():\n        ...\n"
    assert contract.trains_in_mixed_precision(used)
    assert not contract.trains_in_mixed_precision(GOOD + "precision = 3  # session.precision()\n")


def test_nothing_is_run():
    read(GOOD + "raise SystemExit\n", 1024)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("VOCAB_SIZE = = 3", "line 1: invalid syntax"),
        ("x\0y" + GOOD, "does not parse|null bytes"),
        ("\ud800" + GOOD, "does not parse"),
        (GOOD.replace("2048", "1000"), "no rung of the ladder: 257, 512"),
        (GOOD.replace("2048", "True"), "VOCAB_SIZE to a literal whole number"),
        (GOOD.replace("2048", "2.0"), "VOCAB_SIZE to a literal whole number"),
        (GOOD.replace("2048", "2 ** 11"), "VOCAB_SIZE to a literal whole number"),
        (FUNCTIONS, "VOCAB_SIZE to a literal whole number"),
        (GOOD.replace("256", "1025"), r"not within 1\.\.1024"),
        (GOOD.replace("256", "0"), r"not within 1\.\.1024"),
        (GOOD.replace("def train", "def trains"), "no function train at"),
        (GOOD.replace("def build_model", "build_model = 1\ndef b"), "no function build_model at"),
        (GOOD + "#" * 10_000_000, "at most 60000 are allowed"),
        (GOOD + "é" * 30_000, "at most 60000 are allowed"),
        (GOOD + "x = " + "(" * 20_000 + ")" * 20_000, "parenthes|does not parse"),
        (GOOD + "x = " + "-" * 50_000 + "1", "does not parse"),
        (GOOD + "x = " + "1+" * 25_000 + "1", "does not parse"),
        (GOOD + "x = " + "[" * 150 + "]" * 150 + ".a" * 20_000, "does not parse"),
    ],
    ids=[
        *("syntax", "nul", "surrogate", "rung", "bool", "float", "expression", "missing", "long"),
        *("zero", "no train", "no model", "10 MB", "bytes", "parentheses", "minus", "sum", "dots"),
    ],
)
def test_broken(source, message):
    with pytest.raises(ContractBroken, match=message) as caught:
        read(source, 1024)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_ships_keeps_it():
    from trainer.__main__ import TRAIN_FILE
    from trainer.presets import load_presets

    source = TRAIN_FILE.read_text()
    assert len(source) < contract.MAX_SOURCE_BYTES
    for preset in load_presets().values():
        read(source, preset.max_seq_len)
