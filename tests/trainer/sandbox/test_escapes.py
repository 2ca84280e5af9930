"""The doors that ``doctor`` tries: shut for a confined child, and open where nothing confines."""

import sys
from pathlib import Path

import pytest

from trainer.measure import measure
from trainer.sandbox import confine, escapes

TEXT = Path(escapes.__file__).read_text()
pytestmark = [
    pytest.mark.process,
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="other systems, other doors"),
]


def tried(isolation: str) -> dict[str, str]:
    measured = measure(TEXT, budget="1tok", preset="cpu", device="cpu", isolation=isolation)
    assert measured.reason == "crash: RuntimeError: every escape has been tried"
    return dict(line.split(": ") for line in measured.output.splitlines())


@pytest.mark.skipif(confine.available()[0] != "os", reason="cannot confine here")
def test_every_door_is_shut() -> None:
    found = tried("auto")
    assert found.keys() == escapes.ESCAPES.keys()
    assert {name for name, state in found.items() if state != "shut"} == set()


def test_a_door_that_nobody_shut_is_found_open() -> None:
    """Else an attempt that fails for a reason of its own would pass for confinement."""
    found = tried("off")
    always = {
        "read /etc/passwd",
        "read the trainer",
        "read another process",
        "write outside scratch",
        "internet socket",
        "datagram socket",
        "unix socket",
        "netlink socket",
        "signal the parent",
        "descriptors of the fork server",
        "memory of the fork server",
        "limits of the fork server",
        "processors of the fork server",
        "other processors",
        "memory that outlives a process",
        "modes of files",
    }
    assert {name for name in always if found[name] != "open"} == set()
    assert found["a key in the environment"] == "shut"
    Path("/tmp/autoresearch-door").unlink()
