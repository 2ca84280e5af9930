"""Which tests run side by side, in two processes of pytest-xdist, and which run alone.

``alone``: the test watches the clock, or the processes of the whole machine, so nothing runs beside
it. These come last, when one worker has nothing else to do.
"""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist import is_xdist_controller
from xdist.scheduler import LoadScopeScheduling

SPREAD = {"test_hacks", "test_hacks_in_heats", "test_honest", "test_honest_in_heats", "test_heat"}
"""Files whose tests share nothing that takes long, unless their parameter is the same: both workers
take from them."""
LONG = (
    "test_kills",
    "test_cassette_campaign",
    "test_run",
    "test_run_of_heats",
    "test_replay_anywhere",
    "test_honest",
    "test_hacks",
    "test_hacks_in_heats",
    "test_propose",
    "test_evaluate",
    "test_tuner",
    "test_deck",
)
"""Files begun first, so that no worker is left with one of them at the end."""
SLOW_FIXTURE_USERS = {"test_prepare", "test_apidocs"}
"""Files that use ``both_outputs``, a slow fixture of the whole session: they stay together."""
WORKERS = 2


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """None for a few files, which start faster without; two for a folder or for all.

    A training uses every core, so that more of them side by side end no sooner.
    """
    alone = config.option.capture == "no" or config.option.collectonly
    paths = [Path(argument.split("::")[0]) for argument in config.args]
    folders = any(path.is_dir() for path in paths)
    return WORKERS if folders and not alone and (os.cpu_count() or 1) > 1 else 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_rank)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Of two workers each has one core, for which threads of torch in both would wait and spin."""
    torch = sys.modules.get("torch")
    if torch and hasattr(session.config, "workerinput"):
        torch.set_num_threads(1)


class Sharing(LoadScopeScheduling):
    """Gives the tests of most files to one worker, because they share fixtures.

    Not pytest-xdist's ``loadgroup``, whose groups pytest 9.2 does not heed.
    """

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        stem = Path(path).stem
        if stem in SLOW_FIXTURE_USERS:
            return "slow fixture"
        if stem not in SPREAD:
            return path
        _, _, parameter = test.partition("[")
        return f"{path}, {parameter or test}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Sharing:
    return Sharing(config, log)


def _rank(item: pytest.Item) -> int:
    """When it begins; tests of one rank stay in pytest's order."""
    if item.get_closest_marker("alone"):
        return len(LONG) + 1
    return LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.option.testrunuid = config.option.testrunuid or uuid.uuid4().hex


def _lock_file(config: pytest.Config) -> Path:
    run = getattr(config, "workerinput", vars(config.option))["testrunuid"]
    return Path(tempfile.gettempdir()) / f"autoresearch-tests-{run}.lock"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Around the timeout as well: waiting for the other worker is no part of a test."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with _lock_file(item.config).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a process that the test forked may have it open


def pytest_sessionfinish(session: pytest.Session) -> None:
    if is_xdist_controller(session):
        _lock_file(session.config).unlink(missing_ok=True)
