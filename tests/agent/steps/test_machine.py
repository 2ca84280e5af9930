"""Sleep is held off while a run lasts, by the system's own program, and a shared device is told."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from agent.steps import machine
from agent.steps.machine import device_claimed, kept_awake, sleep_words
from agent.steps.runtime import Runtime

HELD = "held off while this runs"


@pytest.fixture
def inhibitor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a program in the place of systemd-inhibit was called with; it then does its work."""
    called, program = tmp_path / "called", tmp_path / "systemd-inhibit"
    program.write_text(f'#!/bin/sh\necho "$@" > {called}\nshift 4\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None)
    return called


def test_it_is_asked_and_ends_with_the_run(inhibitor: Path) -> None:
    with kept_awake() as process:
        assert process is not None
        assert sleep_words(process) == HELD
        process.stdin.write(b"x")  # type: ignore[union-attr]
    assert process.returncode == 0
    assert inhibitor.read_text().split()[:2] == ["--what=idle:sleep", "--who=autoresearch"]
    assert inhibitor.read_text().split()[-2:] == ["--mode=block", "cat"]


@pytest.mark.process
def test_it_ends_with_a_killed_run(inhibitor: Path) -> None:
    code = "from agent.steps.machine import kept_awake\n"
    code += "with kept_awake() as process:\n    print(process.pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(machine.__file__).parents[2],
    ) as parent:
        assert parent.stdout is not None
        cat = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    cat.wait(60)


@pytest.mark.parametrize(
    ("script", "battery", "words"),
    [
        ("read line; exit 1", None, "cannot be held off"),  # as where there is no logind
        ("exec <&-; exec sleep 0.1", None, "cannot be held off"),
        ("exit 1", (True, 80), "cannot be held off"),
        ("exec cat", None, HELD),
        ("exec cat", (True, 80), f"{HELD}; leave the lid open"),
        ("exec cat", (False, 57.4), "lid open; on battery, 57 % left: a night needs the charger"),
        ("exit 1", (False, 9), "on battery, 9 % left"),
    ],
)
def test_what_is_said(
    inhibitor: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    battery: tuple[bool, float] | None,
    words: str,
) -> None:
    (inhibitor.parent / "systemd-inhibit").write_text(f"#!/bin/sh\n{script}\n")
    found = battery and SimpleNamespace(power_plugged=battery[0], percent=battery[1])
    monkeypatch.setattr(psutil, "sensors_battery", lambda: found)
    with kept_awake() as process:
        assert process is not None
        assert words in sleep_words(process)


def test_a_battery_that_runs_low_is_told_once(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []
    soon = lambda event, words: told.append((event, words))  # noqa: E731
    runtime.notify = SimpleNamespace(soon=soon)  # type: ignore[assignment]
    for plugged, percent in [(False, 50), (False, 19.6), (False, 15), (True, 9), (False, 9)]:
        found = SimpleNamespace(power_plugged=plugged, percent=percent)
        monkeypatch.setattr(psutil, "sensors_battery", lambda found=found: found)
        runtime.read_program()
    words = "on battery, {} % left: plug in the charger"
    assert told == [("needed", words.format(20)), ("needed", words.format(9))]


LOW = {"status": "Discharging", "capacity": "15"}
MOUSE = LOW | {"scope": "Device"}
SUPPLIES: dict[str, tuple[dict[str, dict[str, str]] | None, bool]] = {
    "no such folder": (None, False),
    "none": ({}, False),
    "a low one": ({"BAT0": LOW}, True),
    "a low one, and a mouse's": ({"BAT0": LOW, "hidpp_battery_0": MOUSE}, True),
    "a mouse's": ({"hidpp_battery_0": MOUSE}, False),
    "a mouse's, mains": ({"ADP1": {"online": "1"}, "hidpp_battery_0": MOUSE}, False),
    "no energy": ({"BAT0": LOW | {"energy_now": "", "energy_full": "50"}}, False),
    "nothing of what it holds": ({"BAT0": LOW | {"energy_now": "5", "energy_full": ""}}, False),
    "no capacity": ({"BAT0": LOW | {"capacity": ""}}, False),
    "no file": ({"BAT0": {}}, False),
}


@pytest.mark.skipif(sys.platform != "linux", reason="where Linux tells of power")
@pytest.mark.parametrize("what", SUPPLIES)
def test_what_is_told_of_power_supplies(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system tells it, in files; what cannot be read is none, and stops nothing."""
    supplies, is_low = SUPPLIES[what]
    folder = tmp_path / "power_supply"
    for name, files in (supplies or {}).items():
        (folder / name).mkdir(parents=True)
        for file, content in files.items():
            (folder / name / file).write_text(f"{content}\n")
    if supplies == {}:
        folder.mkdir()
    monkeypatch.setattr("psutil._pslinux.POWER_SUPPLY_PATH", str(folder))
    monkeypatch.setattr(machine, "_SUPPLIES", folder)
    monkeypatch.setattr(machine, "_inhibitor", lambda: None)
    assert machine.low_battery() == "on battery, 15 % left: plug in the charger" * is_low
    with kept_awake() as process:
        assert process is None and bool(sleep_words(process)) == is_low


# --- a device that two campaigns use


def test_the_second_is_told_of_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    with (
        device_claimed(folder, "cpu", "one") as first,
        device_claimed(folder, "cpu", "two") as second,
    ):
        assert (first, second) == ("", f"one (process {os.getpid()})")
        with device_claimed(folder, "cuda", "three") as other_device:
            assert other_device == ""
    with device_claimed(folder, "cpu", "three") as again:
        assert again == ""


def test_each_visible_device_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with device_claimed(tmp_path, "cuda", "one"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1/2")
        with device_claimed(tmp_path, "cuda", "two") as other:
            assert other == ""


@pytest.mark.parametrize("visible", ["0", "0,1", None])
def test_one_device_by_other_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with device_claimed(tmp_path, "cuda", "one"):
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with device_claimed(tmp_path, "cuda", "two") as other:
            assert other.startswith("one")


def test_a_file_system_without_locks_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with device_claimed(tmp_path, "cpu", "one") as other:
        assert other == ""


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with device_claimed(tmp_path / "file" / "cache", "cpu", "one") as other:
        assert other == ""
