"""Looks for the sealed test text wherever a process can look, while it trains and while it answers.

It knows a sentence of that text, one of the training text, and the name of the folder with the
test tokens: all masked, or it would find itself. What it must not find ends it, the rest it says.
"""

# ruff: noqa: F821, PTH112, PTH115, PTH118  (it is appended to tests/tiny_train.py)

import itertools
import os
import socket
from pathlib import Path

MASK, PIECE, OVERLAP = 77, 4 << 20, 1 << 12
"""The mask is added to each byte. To mask twice must not show it again, as the memory has both."""
PARENT, PATHS = int("@parent@"), "@paths@"


def forms(masked, sizes=(1, 2, 4, 8)):
    """As text, and as the ids of its bytes in integers of several sizes; all masked."""
    for size in sizes:
        wide = np.full((len(masked) // 2, size), MASK, dtype=np.uint8)
        wide[:, 0] = np.frombuffer(bytes.fromhex(masked), dtype=np.uint8)
        yield wide.tobytes()


KNOWN, SEALED, NAME = list(forms("@known@")), list(forms("@sealed@")), list(forms("@name@", (1,)))


def read(fd, start=0, end=1 << 62):
    """A descriptor's bytes, in pieces that overlap."""
    try:
        for at in range(start, end, PIECE):
            yield (piece := os.pread(fd, min(PIECE + OVERLAP, end - at), at))
            if len(piece) < PIECE:
                return
    except (OSError, OverflowError):
        return


def opened(path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return
    yield from read(fd)
    os.close(fd)


def memory(pid):
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except OSError:
        return
    for line in maps:
        span, access, *_ = line.split()
        if access[0] == "r" and ".so" not in line and "[v" not in line:
            yield from read(fd, *(int(end, 16) for end in span.split("-")))
    os.close(fd)


def descriptors(besides=""):
    for fd in range(3, 4096):
        try:
            where = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if not besides or besides not in where:
            yield from read(fd)


def other_processes():
    for pid in {PARENT, os.getppid(), 1, *range(os.getpid() - 30, os.getpid())}:
        for name in ("environ", "cmdline"):
            yield from opened(f"/proc/{pid}/{name}")
        yield from memory(pid)
        for fd in range(64):
            yield from opened(f"/proc/{pid}/fd/{fd}")


def files():
    paths = bytes((b - MASK) % 256 for b in bytes.fromhex(PATHS)).decode().split("\n")
    for path in (*paths, ".", "..", "/dev/shm", "/var/tmp"):
        if not os.path.isdir(path):
            yield from opened(path)
        for folder, _, names in os.walk(path):
            for name in names[:1000]:
                yield from opened(os.path.join(folder, name))


def of_session(session):
    yield repr(vars(session)).encode()
    for source in session.data.sources.values():
        yield repr(vars(source) if hasattr(source, "__dict__") else source).encode()
        yield source.tokens.tobytes()


def look(when, **places):
    for where, pieces in places.items():
        known = False
        for piece in pieces:
            hidden = (np.frombuffer(piece, dtype=np.uint8) + np.uint8(MASK)).tobytes()
            if any(form in hidden for form in SEALED + NAME):
                raise AssertionError(f"open: the test text, or its name, in {where} {when}")
            known = known or any(form in hidden for form in KNOWN)
        if known:
            print(f"known text in {where} {when}")


def keep(*asked, receive=socket.recv_fds):
    """What comes and is closed at once is looked at too."""
    answer = receive(*asked)
    for fd in answer[1]:
        os.dup(fd)
    return answer


socket.recv_fds = keep


class Looker(Tiny):
    def forward(self, ids):
        if not self.training and not hasattr(self, "looked"):
            self.looked = True
            look(
                "when asked",
                descriptors=descriptors(besides="memfd:autoresearch"),
                processes=other_processes(),
                files=files(),
            )
        return super().forward(ids)


def build_model(spec):
    environment = (f"{name}={value}".encode() for name, value in os.environ.items())
    look(
        "at the start",
        environment=environment,
        memory=memory("self"),
        descriptors=descriptors(),
        processes=other_processes(),
    )
    return Looker(spec.vocab_size)


def batches(session, rows, length, drawn=batches):
    drawn = drawn(session, rows, length)
    first = next(drawn)
    look(
        "with data",
        session=of_session(session),
        memory=memory("self"),
        descriptors=descriptors(),
        processes=other_processes(),
    )
    yield from itertools.chain([first], drawn)


def train(session, honest=train):
    model = honest(session)
    look("at the end", memory=memory("self"), descriptors=descriptors(), files=files())
    return model
