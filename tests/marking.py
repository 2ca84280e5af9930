"""Marks tests that start processes, and fails a test that starts one without the mark.

``process``: it starts Python, hence trainings, scorings or the agent, or takes seconds otherwise.
``pytest -m "not process"`` leaves these out. A file or a test carries the mark itself, or uses a
fixture of ``STARTS_PROCESSES``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.sandbox.client import ForkServer

STARTS_PROCESSES = {"tiny_source", "plain", "both_outputs", "local_weights"}
"""Fixtures whose users measure a training, or that start processes themselves."""
PYTHON = re.compile(r"python[\d.]*$")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if STARTS_PROCESSES & set(getattr(item, "fixturenames", ())):
            item.add_marker("process")
        if item.get_closest_marker("slow"):  # of two -m the last one counts, and is "not process"
            item.add_marker("process")


class Guard:
    """Knows whether the test that runs may start Python."""

    def __init__(self) -> None:
        self.test: pytest.Item | None = None
        self.caught: list[str] = []

    def hear(self, event: str, arguments: tuple[object, ...]) -> None:
        """An audit hook, which stays installed until Python ends."""
        if event == "subprocess.Popen":
            program = Path(str(arguments[0] or "")).name
            if PYTHON.match(program):
                self.refuse(f"{arguments[1]}")

    def refuse(self, what: str) -> None:
        if self.test is None or self.test.get_closest_marker("process"):
            return
        self.caught.append(what)
        pytest.fail(f"a test that is not marked `process` starts {what}", pytrace=False)


GUARD = Guard()
sys.addaudithook(GUARD.hear)
_spawn = ForkServer.spawn


def _guarded_spawn(server: ForkServer, role: str, fds: list[int], timeout: float = 120.0) -> int:
    GUARD.refuse(f"a child of the fork server: {role}")  # another test may have left it warm
    return _spawn(server, role, fds, timeout)


ForkServer.spawn = _guarded_spawn  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Of the whole test, with the fixtures that it is the first to use."""
    GUARD.test = item
    GUARD.caught.clear()
    try:
        return (yield)
    finally:
        GUARD.test = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fails the test even where a thread swallowed the refusal."""
    result = yield
    if GUARD.caught:
        pytest.fail(f"a test that is not marked `process` started {GUARD.caught}", pytrace=False)
    return result
