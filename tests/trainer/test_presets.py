"""Presets and budgets."""

import pytest

from benchmarks.sizes import sizes
from trainer.data.prepare import SOURCES
from trainer.presets import BadSetting, Budget, find_preset, load_presets, parse_budget
from trainer.training import machine


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("20s", Budget(seconds=20)),
        (" 0.5s ", Budget(seconds=0.5)),
        ("5m", Budget(seconds=300)),
        ("1.5h", Budget(seconds=5400)),
        ("200000tok", Budget(tokens=200_000)),
        ("1e6tok", Budget(tokens=1_000_000)),
        ("2Mtok", Budget(tokens=2_000_000)),
    ],
)
def test_budget(text, wanted):
    assert parse_budget(text) == wanted
    assert parse_budget(str(wanted)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("", "5x", "20", "s", "5 s", "20s;ls", "31h31", "nans", "infs", "-5s"),
        *("0s", "0.0001s", "0.1tok", "1e9h", "1e999s", "1e999tok", "9" * 5000 + "tok"),
    ],
)
def test_no_budget(text):
    with pytest.raises(BadSetting, match="budget"):
        parse_budget(text)


@pytest.mark.parametrize("seconds", [0.001, 0.1 + 0.2, 1234567.0, 86_400.0 * 30])
def test_budgets_of_any_size_are_read_again_as_written(seconds):
    assert parse_budget(str(Budget(seconds=seconds))).seconds == pytest.approx(seconds)


def test_presets_are_whole():
    assert set(load_presets()) == {"cpu", "laptop", "gpu", "h100"}
    for name, found in load_presets().items():
        assert found.name == name
        assert found.budget.seconds is not None and found.startup_seconds > 0
        assert found.val_bytes > 0 and found.memory_mb > 0 and found.data in SOURCES
        assert 0 < found.noise_numbers < found.noise_structure, "numbers share most of the noise"
        assert found.noise_dof >= 1 and found.effect > 0 and found.ties > 0
        assert found.reward_unit > found.effect, "or a usual gain would be clipped"


def test_auto_goes_by_the_device():
    assert [find_preset("auto", device).name for device in ("cpu", "mps")] == ["cpu", "laptop"]


@pytest.mark.parametrize(
    ("memory_mb", "name"),
    [
        *((None, "gpu"), (0, "gpu"), (4_000, "gpu"), (8_000, "gpu"), (16_000, "gpu")),
        *((24_000, "gpu"), (32_000, "gpu"), (40_300, "h100"), (81_000, "h100")),
    ],
)
def test_on_cuda_auto_goes_by_the_memory(memory_mb, name):
    assert find_preset("auto", "cuda", memory_mb).name == name


@pytest.mark.parametrize("memory_mb", [None, 15_900, 81_000])
def test_the_memory_is_what_the_probe_found(monkeypatch, memory_mb):
    found = {"device": "cuda", "name": "a card", "torch": "2"}
    found |= {"device_memory_mb": memory_mb} if memory_mb else {}
    monkeypatch.setattr(machine.MACHINE, "probe", lambda: found)
    chosen = machine.resolve()
    assert chosen.preset == find_preset("auto", "cuda", memory_mb)
    assert (chosen.device, chosen.data) == ("cuda", "climbmix")
    assert machine.resolve(device="cuda").preset == chosen.preset
    assert machine.resolve(preset="cpu", source="tinystories").data == "tinystories"


@pytest.mark.parametrize(("name", "times"), [("gpu", 1.25), ("h100", 2)])
def test_what_a_card_needs_is_enough_for_the_preset(name, times):
    """Of the h100 preset for two trainings side by side."""
    preset = find_preset(name)
    needs = times * sizes(preset).memory_mb
    assert 0.6 * preset.device_memory_mb < needs <= preset.device_memory_mb


def test_unknown_preset_names_those_there_are():
    with pytest.raises(BadSetting, match=r"'tpu'; there are: auto, cpu, laptop, gpu, h100"):
        find_preset("tpu")
