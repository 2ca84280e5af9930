"""Messages between the trusted parent, the fork server, the scorer and confined children.

One message is a 4-byte big-endian length and that many bytes of JSON, over a socketpair. Nothing
from a child is ever unpickled, and a length over the bound ends the connection. Descriptors are
sent with a message (SCM_RIGHTS), and only a reader that asks for them gets them. Readers of an
untrusted child do not ask, so a child cannot push descriptors.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_type_hints

MAX_BYTES = 16 << 20
MAX_FDS = 64
_HEADER = struct.Struct(">I")
_Record = TypeVar("_Record")


def record(kind: type[_Record], message: Mapping[str, Any]) -> _Record:
    """The dataclass that a trusted sender sent by ``asdict``; its fields may be dataclasses."""
    kinds = get_type_hints(kind)
    return kind(
        **{
            name: record(kinds[name], value) if is_dataclass(kinds[name]) else value
            for name, value in message.items()
        }
    )


class WireError(Exception):
    """The other side is gone, silent past the deadline, or does not speak the protocol."""


class Gone(WireError):
    """The other side closed its end."""


class Silent(WireError):
    """No whole message arrived in time; what has arrived is kept for the next call."""


class Channel:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray()
        self._fds: list[int] = []

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A channel, and the bare socket to hand to the other side."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    @classmethod
    def from_fd(cls, fd: int) -> Channel:
        return cls(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=fd))

    def fileno(self) -> int:
        return self._sock.fileno()

    def hang_up(self) -> None:
        """End the connection but keep the descriptor, which another thread may be using."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()
        self._sock.close()

    def send(self, message: dict[str, Any], fds: Sequence[int] = (), timeout: float = 60.0) -> None:
        """Send one message, with descriptors if given.

        Raises:
            WireError: it is too long, or the other side is gone or does not read for ``timeout`` s.
        """
        body = json.dumps(message, separators=(",", ":")).encode()
        if len(body) > MAX_BYTES:
            raise WireError(f"message of {len(body)} bytes is over the bound of {MAX_BYTES}")
        data = memoryview(_HEADER.pack(len(body)) + body)
        try:
            self._sock.settimeout(timeout)
            sent = socket.send_fds(self._sock, [data], list(fds)) if fds else 0
            if sent < len(data):
                self._sock.sendall(data[sent:])
        except TimeoutError:
            raise Silent("the other side does not read") from None
        except OSError as error:
            raise Gone(f"the other side is gone ({error.strerror})") from None

    def receive(self, timeout: float | None = None, *, want_fds: bool = False) -> dict[str, Any]:
        """The next message; with ``want_fds``, ``take_fds`` then gives its descriptors.

        Raises:
            Gone: end of stream.
            Silent: no whole message within ``timeout`` seconds (None: wait without end).
            WireError: not a message of this protocol.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            message = self._parse()
            if message is not None:
                return message
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                readable = select.select([self._sock], [], [], wait)[0]
            except ValueError:  # closed by another thread of this process
                raise Gone("this end is closed") from None
            if not readable:
                raise Silent("no message in time")
            self._read(want_fds)

    def take_fds(self) -> list[int]:
        fds, self._fds = self._fds, []
        return fds

    def _read(self, want_fds: bool) -> None:
        try:
            if want_fds:
                data, fds, _, _ = socket.recv_fds(self._sock, 1 << 16, MAX_FDS)
                self._fds.extend(fds)
            else:
                data = self._sock.recv(1 << 20)
        except OSError as error:
            raise Gone(f"the other side is gone ({error.strerror})") from None
        if not data:
            raise Gone("the other side closed its end")
        self._buffer += data

    def _parse(self) -> dict[str, Any] | None:
        if len(self._buffer) < _HEADER.size:
            return None
        (size,) = _HEADER.unpack_from(self._buffer)
        if size > MAX_BYTES:
            raise WireError(f"a message announces {size} bytes, over the bound of {MAX_BYTES}")
        if len(self._buffer) < _HEADER.size + size:
            return None
        body = bytes(self._buffer[_HEADER.size : _HEADER.size + size])
        del self._buffer[: _HEADER.size + size]
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            raise WireError("a message is not JSON") from None
        if not isinstance(message, dict):
            raise WireError("a message is not a JSON object")
        return message
