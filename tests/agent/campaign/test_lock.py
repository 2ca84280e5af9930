"""The lock of a journal where the file system has none."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.campaign import lock
from agent.campaign.events import RunEnded
from agent.campaign.journal import Journal
from agent.campaign.lock import JournalBusy, holder
from trainer.sandbox import owner


@pytest.mark.parametrize("number", lock.NO_LOCKS)
def test_without_locks_the_signature_says_who_writes(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"

    def no_locks(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with Journal(path) as journal:
        assert holder(path) == os.getpid()
        with pytest.raises(JournalBusy, match=f"by process {os.getpid()}: wait"):
            Journal(path)
        journal.append(RunEnded(reason="mine"))
    assert holder(path) is None
    me = owner.this_process()
    signature = path.with_name("journal.jsonl.lock")
    signature.write_text(f"{me.pid} {replace(me, started='1')}\n")  # as kill -9 leaves it
    assert holder(path) is None
    Journal(path).close()
    signature.write_text(f"4711 {replace(me, host='other', pid=4711)}\n")
    assert holder(path) == 4711
    with pytest.raises(JournalBusy, match=r"of another machine .*if that has ended, delete .*lock"):
        Journal(path)
