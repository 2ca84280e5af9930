"""What two equal numbers should share."""

from trainer import fingerprint
from trainer.presets import find_preset
from trainer.training.machine import Setting

SETTING = Setting(find_preset("cpu"), "cpu", "os", 2, "apidocs")
PROBE = {"name": "", "torch": "2.13.0"}


def test_processors_of_one_name_that_compute_otherwise_are_told_apart(monkeypatch) -> None:
    info = {"model name": "AMD EPYC", "flags": "fpu sse2 avx2 fma avx512_bf16 xsave"}
    monkeypatch.setattr(fingerprint, "_cpuinfo", info.get)
    newer = fingerprint.of(SETTING, PROBE, None)
    info["flags"] = "fpu sse2 avx2 fma xsave"
    older = fingerprint.of(SETTING, PROBE, None)

    assert newer["instructions"] == "avx2 avx512_bf16 fma"
    assert {name for name in newer if newer[name] != older[name]} == {"instructions"}


def test_a_system_that_does_not_tell_has_a_processor_all_the_same(monkeypatch) -> None:
    monkeypatch.setattr(fingerprint, "_cpuinfo", lambda field: "")
    found = fingerprint.of(SETTING, PROBE, None)

    assert found["processor"]
    assert found["instructions"] == ""
