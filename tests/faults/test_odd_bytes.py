"""Streams in any encoding, compression and division: what is meant is read, or it is told."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

import pytest
from clients import TWO, bare_environ, failure, open_at
from model_server import EDIT, Raw, Server
from odd_answers import answers, chunk, events, stream

from agent.models.types import Unavailable


def pieces(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[i : i + size] for i in range(0, len(data), size))


@TWO
@pytest.mark.parametrize(
    "form",
    [
        "bytes", "crlf", "cr", "no space", "comments", "bom", "gzip", "zlib", "single line ends",
        "no last line end", "two members", "padded",
    ],
)  # fmt: skip
def test_a_stream_in_any_form_is_read(tmp_path: Path, kind: str, form: str) -> None:
    text = EDIT + "# π ≈ 3, 💡\n"
    data = (
        stream(kind, text)
        .replace(rb"\u03c0", "π".encode())
        .replace(rb"\ud83d\udca1", b"\xf0\x9f\x92\xa1")
    )
    packer = zlib.compressobj(wbits=31)
    changed = {
        "bytes": data,
        "crlf": data.replace(b"\n", b"\r\n"),
        "cr": data.replace(b"\n", b"\r"),
        "no space": data.replace(b"data: ", b"data:"),
        "comments": b": hello\n\n" + data.replace(b"\n\n", b"\n\n: ping\n\nretry: 3\nid: 1\n\n"),
        "bom": b"\xef\xbb\xbf" + data,
        "gzip": packer.compress(data) + packer.flush(),
        "zlib": zlib.compress(data),
        "two members": gzip.compress(data[:99]) + gzip.compress(data[99:]),
        "padded": gzip.compress(data) + bytes(9),
        "single line ends": data.replace(b"\n\n", b"\n") if kind != "anthropic" else data,
        "no last line end": data.rstrip(b"\n"),
    }[form]
    reply = answers(Raw(pieces(changed, 7)), tmp_path, kind)
    assert (reply.text, reply.stop_reason) == (text, "end")


@pytest.mark.parametrize("halves", [(b"\xc3", b"\xa9"), (rb"\ud83d", rb"\udc80")])
def test_a_character_divided_between_two_events_is_put_together(
    tmp_path: Path, halves: tuple[bytes, bytes]
) -> None:
    data = b"".join(
        b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % half for half in halves
    )
    text = answers(Raw((data, b"data: [DONE]\n\n")), tmp_path).text
    assert text in ("é", "\N{SKULL}")


@TWO
def test_text_may_hold_line_ends(tmp_path: Path, kind: str) -> None:
    text = f"A plan.\n\n{EDIT}"
    body = json.dumps({"completion": text}).replace(r"\n", "\n").encode()
    assert answers(Raw((body,)), tmp_path, kind).text == text


def test_reasoning_only_is_told(tmp_path: Path) -> None:
    reply = answers(events(chunk("<think>hm", finish_reason="stop")), tmp_path)
    assert (reply.text, reply.detail) == ("", "it is reasoning only")


def test_half_a_character_is_no_character(tmp_path: Path) -> None:
    data = b'data: {"choices": [{"delta": {"content": "caf\xc3"}, "finish_reason": "stop"}]}\n\n'
    assert answers(Raw((data,)), tmp_path).text == "caf\N{REPLACEMENT CHARACTER}"


@TWO
@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00",
        b"\x1f\x8b\x08broken",
        b"[" * 100_000,
        b'data: {"a": ' * 9,
        b"data: nul\x00\n\n",
    ],
)
def test_what_cannot_be_read_is_an_outage(tmp_path: Path, kind: str, body: bytes) -> None:
    with Server(Raw((body,))) as server:
        assert isinstance(failure(open_at(kind, server.url, bare_environ(tmp_path))), Unavailable)


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_what_it_is_compressed_with_is_told(tmp_path: Path, encoding: str) -> None:
    step = Raw((b"(\xb5/\xfd\x04\x00",), headers={"content-encoding": encoding})
    with Server(step) as server:
        error = failure(open_at("own server", server.url, bare_environ(tmp_path)))
    assert isinstance(error, Unavailable)
    assert f"compressed with {encoding}" in str(error)
