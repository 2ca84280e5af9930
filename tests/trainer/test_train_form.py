"""The form of the shipped train.py: what its text and its constants promise."""

import re
import subprocess
import sys

import pytest
from shipped import SOURCE, block_applied, load

from agent.edits.constants import Choice, Range, constants, set_constants
from trainer import contract
from trainer.presets import load_presets

CATEGORIES = {
    "architecture", "optimizer", "schedule", "hyperparameters", "initialisation",
    "regularisation", "dataset", "preprocessing", "efficiency",
}  # fmt: skip


def test_the_contract_holds_and_the_file_stays_readable() -> None:
    shapes = contract.read(SOURCE, load_presets()["cpu"].max_seq_len)
    module = load()
    assert (shapes.vocab_size, shapes.seq_len) == (module.VOCAB_SIZE, module.SEQ_LEN)
    assert len(SOURCE.splitlines()) <= 500


@pytest.mark.process
def test_importing_does_nothing_else() -> None:
    code = """
import torch, sys
torch.set_num_threads(3)
before = torch.initial_seed(), torch.get_rng_state(), torch.get_default_dtype()
known = set(sys.modules)
import trainer.train
assert torch.equal(torch.get_rng_state(), before[1])
assert (torch.initial_seed(), torch.get_default_dtype()) == (before[0], before[2])
assert torch.get_num_threads() == 3 and not torch.cuda.is_initialized()
assert not {n for n in set(sys.modules) - known if n.startswith("trainer.")} - {"trainer.train"}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_sections_are_the_categories_and_each_has_constants_to_tune() -> None:
    banners = re.findall(r"^# === (.+) ===$", SOURCE, re.MULTILINE)
    assert set(banners) == CATEGORIES and len(banners) == len(CATEGORIES)
    for section in CATEGORIES:
        tunable = [c for c in constants(SOURCE) if c.section == section and c.domain is not None]
        assert len(tunable) >= 2, section


def test_every_constant_is_explained_and_lies_in_its_domain() -> None:
    for constant in constants(SOURCE):
        assert constant.comment, constant.name
        stated = re.search(r"\b(range|choice)\b\s+\S+(\s+\S+)*$", constant.comment)
        assert (stated is not None) == (constant.domain is not None), constant.name
        assert_within(constant.domain, constant.value, constant.name)


@pytest.mark.parametrize("name", sorted(load_presets()))
def test_constants_of_presets_exist_and_lie_in_their_domains(name: str) -> None:
    preset = load_presets()[name]
    known = {c.name: c for c in constants(SOURCE)}
    assert preset.constants
    for constant, value in preset.constants.items():
        assert type(value) is type(known[constant].value), constant
        assert_within(known[constant].domain, value, constant)
    source = SOURCE
    for block in set_constants(SOURCE, preset.constants):
        source = block_applied(source, block)
    contract.read(source, preset.max_seq_len)
    values = {c.name: c.value for c in constants(source)}
    assert values["WIDTH"] % values["HEAD_DIM"] == 0
    assert values["BATCH_ROWS"] % values["MICRO_ROWS"] == 0


def test_the_cpu_preset_is_the_file_as_written() -> None:
    assert set_constants(SOURCE, load_presets()["cpu"].constants) == ()


def assert_within(domain: Range | Choice | None, value: object, name: str) -> None:
    if isinstance(domain, Range):
        assert isinstance(value, int | float) and domain.low <= value <= domain.high, name
    elif isinstance(domain, Choice):
        assert value in domain.options, name
