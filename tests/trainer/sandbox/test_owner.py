"""Whether an owner still runs, told from what it left."""

import os
import subprocess
from dataclasses import replace

import pytest

from trainer.sandbox import owner
from trainer.sandbox.owner import Owner


def a_dead_one() -> Owner:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    then = replace(owner.this_process(), pid=process.pid, started=owner.started(process.pid))
    assert not then.is_dead
    process.communicate()
    return then


def a_zombie() -> Owner:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    zombie = replace(owner.this_process(), pid=process.pid)
    assert owner.started(process.pid) == ""
    return zombie


@pytest.mark.parametrize(
    ("who", "is_dead"),
    [
        (owner.this_process, False),
        (a_dead_one, True),
        (a_zombie, True),
        (lambda: replace(owner.this_process(), started="1"), True),  # its id is used again
        (lambda: replace(owner.this_process(), boot="000000"), True),  # the machine was restarted
        (lambda: replace(a_dead_one(), namespace="000000"), False),  # in another container
        (lambda: replace(a_dead_one(), host="000000"), False),  # on another machine
        (lambda: replace(a_dead_one(), host="000000", boot="000000"), False),
    ],
)
def test_who_has_ended(who, is_dead: bool) -> None:
    assert who().is_dead is is_dead


def test_an_owner_is_written_and_read() -> None:
    me = owner.this_process()
    assert owner.parse(str(me)) == me
    assert len(str(me)) < 50  # it is part of paths, and those of sockets are short


@pytest.mark.parametrize("text", ["", "4711", "a-b-c-d-e", "a-b-c-1", "a-b-c-1-2-3", "a-b-c-²-1"])
def test_what_names_no_owner(text: str) -> None:
    assert owner.parse(text) is None
