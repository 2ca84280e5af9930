"""Messages over a socketpair, against sides that misbehave."""

import json
import math
import os
import socket
import struct
import threading

import psutil
import pytest

from trainer.sandbox import wire
from trainer.sandbox.wire import Channel, Gone, Silent, WireError
from trainer.untrusted import finite, printable, whole


@pytest.fixture
def pair():
    channel, theirs = Channel.pair()
    with theirs:
        yield channel, theirs
    channel.close()


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def open_fds() -> int:
    return psutil.Process().num_fds()


def test_messages_arrive_whole_and_in_order(pair):
    channel, theirs = pair
    other = Channel(theirs)
    large = {"text": "é" * 1_000_000}
    sender = threading.Thread(target=lambda: [other.send(m) for m in (large, {"n": 2})])
    sender.start()

    assert channel.receive(60) == large
    assert channel.receive(60) == {"n": 2}
    sender.join()


def test_a_message_in_pieces_is_kept_between_calls(pair):
    channel, theirs = pair
    data = framed(b'{"a": 1}')
    for cut in range(len(data) - 1):
        theirs.sendall(data[cut : cut + 1])
        with pytest.raises(Silent):
            channel.receive(0.0)
    theirs.sendall(data[-1:])

    assert channel.receive(0.0) == {"a": 1}


def test_end_of_stream_is_gone_after_what_was_sent(pair):
    channel, theirs = pair
    theirs.sendall(framed(b"{}") + b"\0\0")
    theirs.close()

    assert channel.receive(0.0) == {}
    with pytest.raises(Gone):
        channel.receive(0.0)
    with pytest.raises(Gone):
        channel.send({"x": "y" * 1000})


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", wire.MAX_BYTES + 1),
        framed(b"\xff"),
        framed(b"not json"),
        framed(b"[]"),
        framed(b"1"),
        framed(b"[" * 200_000),
        framed(b'{"n": ' + b"9" * 5000 + b"}"),
    ],
    ids=["too long", "no text", "no json", "list", "number", "too deep", "too many digits"],
)
def test_what_is_no_message_is_refused(pair, data):
    channel, theirs = pair
    sender = threading.Thread(target=theirs.sendall, args=(data,))
    sender.start()

    with pytest.raises(WireError) as caught:
        channel.receive(60)

    assert not isinstance(caught.value, Gone | Silent)
    sender.join()


def test_a_side_that_does_not_read_does_not_block_for_ever(pair):
    channel, _ = pair
    with pytest.raises(Silent):
        channel.send({"text": "x" * 4_000_000}, timeout=0.05)


def test_too_long_to_send(pair):
    with pytest.raises(WireError, match="over the bound"):
        pair[0].send({"text": "x" * (wire.MAX_BYTES + 1)})


def test_descriptors_travel_to_who_wants_them(pair):
    channel, theirs = pair
    read, write = os.pipe()
    other = Channel(theirs)

    channel.send({"n": 1}, [write])
    assert other.receive(1, want_fds=True) == {"n": 1}
    (received,) = other.take_fds()
    os.write(received, b"x")

    assert os.read(read, 1) == b"x"
    assert other.take_fds() == []
    for fd in (read, write, received):
        os.close(fd)


def test_descriptors_that_nobody_asked_for_are_not_kept(pair):
    channel, theirs = pair
    before = open_fds()
    for _ in range(10):
        socket.send_fds(theirs, [framed(b"{}")], [theirs.fileno()] * 10)
        channel.receive(1)

    assert open_fds() == before


def test_closing_closes_descriptors_that_were_not_taken():
    before = open_fds()
    channel, theirs = Channel.pair()
    with theirs:
        socket.send_fds(theirs, [framed(b"{}")], [theirs.fileno()] * 3)
        channel.receive(1, want_fds=True)
        channel.close()

    assert open_fds() == before


def test_hanging_up_wakes_who_waits_in_another_thread(pair):
    channel, _ = pair
    said: list[str] = []

    def wait() -> None:
        try:
            channel.receive(60)
        except Gone:
            said.append("gone")

    thread = threading.Thread(target=wait)
    thread.start()
    channel.hang_up()
    thread.join(60)

    assert said == ["gone"]


@pytest.mark.parametrize("text", ["\x1b[31m", "a\rb", "\u202e", "\u2028", "\ud800", "\x00", "\x9b"])
def test_control_characters_become_visible(text):
    clean = printable("\n\t" + text)
    assert clean.startswith("\n\t")
    assert "\N{REPLACEMENT CHARACTER}" in clean
    clean.encode()


def test_the_middle_of_long_text_is_cut():
    cut = printable("a" * 1000 + "é" * 1000 + "z" * 1000, 100)
    assert cut.startswith("a" * 50) and cut.endswith("z" * 50)
    assert "2900 characters left out" in cut
    assert printable("é" * 100, 100) == "é" * 100


@pytest.mark.parametrize("odd", [True, None, "1", [], {}, math.nan, math.inf, -math.inf, 10**400])
def test_numbers_from_a_child_are_numbers(odd):
    assert finite(odd) is None
    assert whole(odd) == 0


def test_numbers_that_are_numbers():
    assert finite(json.loads("1")) == 1.0
    assert finite(-2.5) == -2.5
    assert whole(3) == 3
    assert whole(-1) == whole(1 << 62) == whole(1.0) == 0
