"""What a run asks of the machine that it runs on: to stay awake, and to have it for itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

_WHY = "a research campaign trains"
_LEAVE_SECONDS = _ANSWER_SECONDS = 2.0
_LOW_PERCENT = 20
_SUPPLIES = Path("/sys/class/power_supply")
_NO_SENSOR = (OSError, AttributeError, RuntimeError, ValueError, TypeError, psutil.Error)


@contextlib.contextmanager
def kept_awake() -> Iterator[subprocess.Popen[bytes] | None]:
    """Keep the machine from falling asleep, where it has a program for that.

    The program ends when its standard input is closed, so it ends with this process, however that
    ends. Yields it, None where there is none.
    """
    command = _inhibitor()
    if command is None:
        yield None
        return
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(
        command, bufsize=0, stdin=pipe, stdout=pipe, stderr=null, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LEAVE_SECONDS)
            process.kill()


def _inhibitor() -> list[str] | None:
    if sys.platform == "darwin":
        return ["caffeinate", "-i", "cat"]
    if shutil.which("systemd-inhibit") is None:
        return None
    options = ("--what=idle:sleep", "--who=autoresearch", f"--why={_WHY}", "--mode=block")
    return ["systemd-inhibit", *options, "cat"]


def sleep_words(inhibitor: subprocess.Popen[bytes] | None) -> str:
    """How it stands with sleep and power; "" on a machine that seems to have nothing of both."""
    battery = _battery()
    if inhibitor is not None and _answers(inhibitor):
        words = "held off while this runs" + ("; leave the lid open" if battery is not None else "")
    elif battery is not None or inhibitor is not None:
        words = "cannot be held off: see that this machine does not fall asleep"
    else:
        return ""
    if battery is not None and battery.power_plugged is False:
        words += f"; on battery, {battery.percent:.0f} % left: a night needs the charger"
    return words


def low_battery() -> str:
    """What to tell of a battery that will soon be empty, "" if there is nothing to tell."""
    battery = _battery()
    if battery is None or battery.power_plugged is not False or battery.percent >= _LOW_PERCENT:
        return ""
    return f"on battery, {battery.percent:.0f} % left: plug in the charger"


def _battery() -> Any:
    """That of the machine; None if there is none, or psutil would read a mouse's for it."""
    with contextlib.suppress(*_NO_SENSOR):
        scopes = [path.read_text().strip() for path in _SUPPLIES.glob("*/scope")]
        if "Device" in scopes and not any(_SUPPLIES.glob("BAT*")):
            return None
        return psutil.sensors_battery()


def _answers(inhibitor: subprocess.Popen[bytes]) -> bool:
    """Whether its ``cat`` runs: it is started once sleep is held off, not where that is refused."""
    assert inhibitor.stdin is not None and inhibitor.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        inhibitor.stdin.write(b".")
    asked = select.select([inhibitor.stdout], [], [], _ANSWER_SECONDS)[0]
    return bool(asked and os.read(inhibitor.stdout.fileno(), 1))


@contextlib.contextmanager
def device_claimed(folder: Path, device: str, name: str) -> Iterator[str]:
    """Say that a device is used, while this is open; yields who said so before, "" if nobody did.

    Args:
        folder: shared by all campaigns of this user, the cache.
        name: of the campaign.
    """
    devices = os.environ.get("CUDA_VISIBLE_DEVICES", "0") if device == "cuda" else ""
    visible = devices.split(",")[0].strip()  # the one that is used
    path = folder / f"used-{device}{visible.replace(os.sep, '_')}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError:  # the data are in a cache that cannot be written
        yield ""
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            yield file.read().strip() or "another process"
            return
        except OSError:  # a file system without locks
            yield ""
            return
        file.truncate(0)
        file.write(f"{name} (process {os.getpid()})")
        file.flush()
        yield ""
