"""Downloads from a real server that fails in every way that servers do."""

import errno
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from fileserver import Fault, FileServer
from huggingface_hub import constants

from trainer.data.prepare import DataError
from trainer.data.sources import hub

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(3_000_000)
FROM_START = "bytes=0-"
ROOT = "/datasets/some/texts/resolve/main"
PATH = f"{ROOT}/a.bin"
FETCH = """
import sys
from pathlib import Path
from trainer.data.sources import hub
tick = lambda share: share > 0.3 and print(share, flush=True)
hub.fetch("some/texts", "main", {"a.bin": ""}, Path(sys.argv[1]), tick)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "FAILURES", 3)
    monkeypatch.setattr(hub, "BACKOFF_SECONDS", 0.01)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    with FileServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.files[PATH] = CONTENT
        yield server


@pytest.fixture
def linking(server: FileServer) -> FileServer:
    """The same server, answering like the Hub."""
    server.links = True
    return server


def get(folder: Path, *names: str, sha256: str = SHA256) -> dict[str, str]:
    files = dict.fromkeys(names or ("a.bin",), sha256)
    return hub.fetch("some/texts", "main", files, folder, lambda share: None)


def refused(folder: Path, sha256: str = SHA256) -> str:
    with pytest.raises(DataError) as error:
        get(folder, sha256=sha256)
    message = str(error.value)
    assert "\n" not in message
    assert f"cannot download {os.environ['HF_ENDPOINT']}{PATH}: " in message
    assert hub.REMEDY in message
    assert not (folder / "a.bin").exists()
    return message


def whole(folder: Path, content: bytes = CONTENT) -> bool:
    names = sorted(path.name for path in folder.iterdir())
    return names == ["a.bin", "a.bin.sha256"] and (folder / "a.bin").read_bytes() == content


def test_file_comes_whole_and_is_noted(server: FileServer, tmp_path: Path) -> None:
    assert get(tmp_path) == {"a.bin": SHA256}
    assert whole(tmp_path)
    assert (tmp_path / "a.bin.sha256").read_text() == f"{SHA256}  a.bin\n"
    assert get(tmp_path) == {"a.bin": SHA256}
    assert len(server.requests) == 1


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_dropped_connection_goes_on_where_it_was(
    server: FileServer, tmp_path: Path, sha256: str
) -> None:
    server.faults[PATH] = [Fault(drop_after=1_000_000), Fault(drop_after=500_000)]
    get(tmp_path, sha256=sha256)
    assert whole(tmp_path)
    assert server.ranges(PATH) == [FROM_START, "bytes=1000000-", "bytes=1500000-"]


def test_every_attempt_that_brings_something_is_worth_another(
    server: FileServer, tmp_path: Path
) -> None:
    server.faults[PATH] = [Fault(drop_after=100_000)] * 20
    get(tmp_path)
    assert whole(tmp_path)
    assert len(server.requests) == 21 > hub.FAILURES


def test_attempts_that_bring_nothing_are_bounded(server: FileServer, tmp_path: Path) -> None:
    server.faults[PATH] = [Fault(drop_after=500)] * 20
    assert "3 times in a row" in refused(tmp_path)
    assert len(server.requests) == 3


def test_server_without_ranges_starts_over(server: FileServer, tmp_path: Path) -> None:
    server.faults[PATH] = [Fault(drop_after=1_000_000), Fault(ignores_range=True)]
    get(tmp_path)
    assert whole(tmp_path)
    assert server.ranges(PATH) == [FROM_START, "bytes=1000000-"]


def test_server_without_ranges_that_always_drops_is_given_up(
    server: FileServer, tmp_path: Path
) -> None:
    server.faults[PATH] = [Fault(drop_after=1_000_000, ignores_range=True)] * 20
    refused(tmp_path)
    assert len(server.requests) == 1 + hub.FAILURES


def test_wrong_bytes_are_fetched_once_more(server: FileServer, tmp_path: Path) -> None:
    server.faults[PATH] = [Fault(body=OTHER)]
    get(tmp_path)
    assert whole(tmp_path)
    assert server.ranges(PATH) == [FROM_START, FROM_START]


def test_wrong_bytes_are_never_kept(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH] = OTHER
    message = refused(tmp_path)
    assert SHA256 in message and hashlib.sha256(OTHER).hexdigest() in message
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 2


def test_more_bytes_than_were_promised_are_not_kept(server: FileServer, tmp_path: Path) -> None:
    server.faults[PATH] = [Fault(body=CONTENT + OTHER), Fault(status=404)]
    refused(tmp_path)
    get(tmp_path)
    assert whole(tmp_path)


def test_what_the_server_says_of_the_content_is_held_against_it(
    linking: FileServer, tmp_path: Path
) -> None:
    linking.faults[PATH] = [Fault(body=OTHER), Fault(drop_after=1_000_000)]
    assert get(tmp_path, sha256="") == {"a.bin": SHA256}
    assert whole(tmp_path)
    assert linking.ranges(PATH) == [FROM_START, FROM_START, "bytes=1000000-"]


def test_file_that_is_not_the_published_one_is_not_downloaded(
    linking: FileServer, tmp_path: Path
) -> None:
    linking.files[PATH] = OTHER
    assert "was published" in refused(tmp_path)
    assert list(tmp_path.iterdir()) == linking.requests == []


@pytest.mark.parametrize("status", [404, 403])
def test_refusal_is_final(server: FileServer, tmp_path: Path, status: int) -> None:
    server.faults[PATH] = [Fault(status=status)]
    assert f"HTTP {status}" in refused(tmp_path)
    assert len(server.requests) == 1


def test_busy_server_is_asked_again_when_it_says(server: FileServer, tmp_path: Path) -> None:
    busy = [Fault(status=503, headers={"Retry-After": "0"}), Fault(status=429)]
    server.faults[PATH] = busy
    get(tmp_path)
    assert whole(tmp_path)
    assert len(server.requests) == 3


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_server_that_asks_for_an_hour_is_given_up(
    server: FileServer, tmp_path: Path, as_date: bool
) -> None:
    asked = formatdate(time.time() + 3600.0, usegmt=True) if as_date else "3600"
    server.faults[PATH] = [Fault(status=503, headers={"Retry-After": asked})]
    (seconds,) = re.findall(r"asks to wait (\d+) s", refused(tmp_path))
    assert 3000 < int(seconds) <= 3600
    assert len(server.requests) == 1


@pytest.mark.parametrize("asked", ["Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-1"])
def test_wait_that_is_over_or_none_is_no_wait(
    server: FileServer, tmp_path: Path, asked: str
) -> None:
    server.faults[PATH] = [Fault(status=503, headers={"Retry-After": asked})]
    get(tmp_path)
    assert whole(tmp_path)


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_server_that_does_not_say_how_large_it_is(
    server: FileServer, tmp_path: Path, sha256: str
) -> None:
    server.lengths = False
    assert get(tmp_path, sha256=sha256) == {"a.bin": SHA256}
    assert whole(tmp_path)


def test_without_a_size_the_checksum_tells_whether_all_came(
    server: FileServer, tmp_path: Path
) -> None:
    server.lengths = False
    server.faults[PATH] = [Fault(drop_after=1_000_000)]
    get(tmp_path)
    assert whole(tmp_path)
    assert server.ranges(PATH) == [FROM_START, FROM_START]


def test_stalled_connection_is_left(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    server.faults[PATH] = [Fault(stall_after=1_000_000)]
    get(tmp_path)
    assert whole(tmp_path)
    assert server.ranges(PATH)[:2] == [FROM_START, "bytes=1000000-"]


@pytest.mark.parametrize("size", [3_000_000, 2_000_000, 900_000])
def test_two_versions_never_meet_in_one_file(server: FileServer, tmp_path: Path, size: int) -> None:
    server.faults[PATH] = [Fault(drop_after=1_000_000), Fault(status=404)]
    refused(tmp_path, sha256="")
    server.files[PATH] = OTHER[:size]
    get(tmp_path, sha256="")
    assert whole(tmp_path, OTHER[:size])


def test_whole_part_that_was_not_renamed_is_used(server: FileServer, tmp_path: Path) -> None:
    server.faults[PATH] = [Fault(drop_after=1_000_000), Fault(status=404)]
    refused(tmp_path)
    (part,) = tmp_path.glob("*.part")
    part.write_bytes(CONTENT)
    asked = len(server.requests)
    get(tmp_path)
    assert whole(tmp_path)
    assert len(server.requests) == asked


def test_nobody_there(server: FileServer, tmp_path: Path) -> None:
    server.close()
    message = refused(tmp_path)
    assert "refused" in message and "3 times in a row" in message


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("nonsense", "missing an 'http://' or 'https://' protocol"),
        ("ftp://host", "unsupported protocol 'ftp://'"),
        ("http://[", "[Errno "),  # of the resolver
    ],
)
def test_address_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str, reason: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert reason in refused(tmp_path).removesuffix(hub.REMEDY)


def test_no_request_where_they_are_forbidden(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(tmp_path)
    assert server.requests == []


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("HTTP_PROXY", "http://127.0.0.1:9", "refused"),
        ("HTTP_PROXY", "nonsense://here", "scheme"),
        ("ALL_PROXY", "socks://a:secret@here", "scheme"),
        ("SSL_CERT_FILE", "/nowhere/certificates.pem", "No such file"),
        ("SSL_CERT_FILE", __file__, "no certificate"),
    ],
)
@pytest.mark.process
def test_what_the_environment_says_of_connections_is_named(
    server: FileServer, tmp_path: Path, variable: str, value: str, reason: str
) -> None:
    quickly = FETCH.replace("tick =", "hub.BACKOFF_SECONDS = 0.01\ntick =")
    done = subprocess.run(
        [sys.executable, "-c", quickly, str(tmp_path)],
        env={**os.environ, variable: value, "NO_PROXY": ""},
        capture_output=True,
        text=True,
    )
    last = done.stderr.splitlines()[-1]
    assert "DataError: cannot download" in last and last.endswith(hub.REMEDY)
    told = last.removesuffix(hub.REMEDY)
    assert reason in told and variable in told and "secret" not in told


def test_damaged_file_is_fetched_again(server: FileServer, tmp_path: Path) -> None:
    get(tmp_path)
    with (tmp_path / "a.bin").open("r+b") as file:
        file.write(b"damage")
    get(tmp_path)
    assert whole(tmp_path)
    assert len(server.requests) == 2


def test_many_files_and_how_far_they_are(server: FileServer, tmp_path: Path) -> None:
    contents = {f"{i}.bin": CONTENT[i:] for i in range(5)}
    server.files = {f"{ROOT}/{name}": content for name, content in contents.items()}
    shares: list[float] = []
    sums = hub.fetch("some/texts", "main", dict.fromkeys(contents, ""), tmp_path, shares.append)
    assert sums == {name: hashlib.sha256(c).hexdigest() for name, c in contents.items()}
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] == 1.0


def test_one_that_stalls_does_not_keep_the_others_waiting(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    paths = [f"{ROOT}/{i}.bin" for i in range(4)]
    server.files = dict.fromkeys(paths, CONTENT)
    server.faults[paths[0]] = [Fault(stall_after=1_000_000)]
    shares: list[float] = []
    files = dict.fromkeys(["0.bin", "1.bin", "2.bin", "3.bin"], SHA256)
    hub.fetch("some/texts", "main", files, tmp_path, shares.append)
    assert {path for path, _ in server.requests[:4]} == {*paths}
    assert server.requests[4] == (paths[0], "bytes=1000000-")
    assert any(0.8 < share < 0.9 for share in shares)


def test_one_that_cannot_be_had_stops_the_others(server: FileServer, tmp_path: Path) -> None:
    names = [f"{i}.bin" for i in range(40)]
    server.files = {f"{ROOT}/{name}": CONTENT for name in names[1:]}
    with pytest.raises(DataError, match=r"0\.bin: HTTP 404"):
        get(tmp_path, *names)
    assert len(server.requests) < len(names)


@pytest.mark.process
def test_interrupt_ends_a_wait(server: FileServer, tmp_path: Path) -> None:
    busy = Fault(status=503, headers={"Retry-After": "100"})
    server.faults[PATH] = [Fault(drop_after=1_000_000), busy]
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert err.endswith("KeyboardInterrupt\n")
    assert list(tmp_path.glob("*.part"))


@pytest.mark.process
def test_killed_midway_it_goes_on(server: FileServer, tmp_path: Path) -> None:
    server.faults[PATH] = [Fault(stall_after=1_000_000)]
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.bin").exists()
    (part,) = tmp_path.glob("*.part")
    there = part.stat().st_size
    assert 0 < there <= 1_000_000
    get(tmp_path)
    assert whole(tmp_path)
    assert server.ranges(PATH) == [FROM_START, f"bytes={there}-"]


@pytest.mark.process
def test_full_disk_is_an_os_error(server: FileServer, tmp_path: Path) -> None:
    """A limit on file size stands for a full disk."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
    done = subprocess.run(
        [sys.executable, "-c", limit + FETCH, str(tmp_path)], capture_output=True, text=True
    )
    assert f"OSError: [Errno {errno.EFBIG}]" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "a.bin").exists()
    assert list(tmp_path.iterdir())
