"""What the scorer holds the process with the weights to, and the memory that they share."""

import os
import sys
import time
from pathlib import Path

import pytest

from trainer.contract import Code, Spec
from trainer.presets import load_presets
from trainer.scoring import model as model_process
from trainer.scoring import prefixes, scorer


@pytest.mark.parametrize("preset", ["cpu", "h100"])
def test_limits_follow_the_budget(preset: str) -> None:
    """A device's clock is not multiplied by the processor's threads."""
    budget = load_presets()[preset].budget.seconds
    assert budget is not None
    processor, device = (
        model_process.limits(Code("", Spec(257, 8), device, threads=16), budget, 0)
        for device in ("cpu", "cuda")
    )
    assert processor.answers == 16 * device.answers
    assert device.answers < 0.25 * budget
    assert device.ready == processor.ready + model_process.DEVICE_READY_SECONDS


def test_the_documents_tell_the_limits() -> None:
    text = " ".join((Path(__file__).parents[3] / "docs" / "measurement.md").read_text().split())
    budget = load_presets()["h100"].budget.seconds
    assert budget is not None
    device = model_process.limits(Code("", Spec(257, 8), "cuda", threads=1), budget, 0)
    for words in (
        f"{model_process.DEVICE_READY_SECONDS:.0f} s of the clock beside that",
        f"{device.ready:.0f} s at the h100 preset",
        f"{model_process.ANSWERS_SECONDS:g} s and {model_process.ANSWERS_SHARE:.0%} of the budget"
        .replace("%", " %"),
        f"and {scorer.ANSWERS_SLACK:g} s; the quickest of three",
        f"{prefixes.LEAST_CUTS:,} at least",
    ):  # fmt: skip
        assert words in text, words
    assert (scorer.ANSWERS_FACTOR, scorer.ATTEMPTS) == (3, 3), "the text says three times, thrice"


def test_processor_time_of_a_process() -> None:
    before = model_process.process_seconds(os.getpid())
    began = time.process_time()
    while time.process_time() < began + 0.02:
        pass
    assert 0.02 <= model_process.process_seconds(os.getpid()) - before < 2.0
    with pytest.raises(ProcessLookupError):
        model_process.process_seconds(2**22 + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="seals are Linux's")
def test_shared_memory_keeps_its_size():
    fd, memory = model_process._shared(4096)
    for size in (0, 100, 10_000):
        with pytest.raises(OSError):
            os.ftruncate(fd, size)
    assert len(memory) == 4096
    memory.close()
    os.close(fd)
