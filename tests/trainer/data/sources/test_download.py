"""Downloads from a real server that fails in every way that servers do."""

import errno
import hashlib
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fileserver import Fault, FileServer

from trainer.data.prepare import DataError
from trainer.data.sources.download import Patience, Remote, fetch

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = random.Random(1).randbytes(3_000_000)
PATIENCE = Patience(failures=3, backoff_seconds=0.01)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        server.files["/a.bin"] = CONTENT
        yield server


def get(
    server: FileServer,
    folder: Path,
    *names: str,
    sha256: str = SHA256,
    patience: Patience = PATIENCE,
) -> dict[str, str]:
    remotes = [Remote(name, f"{server.url}/{name}", sha256) for name in names or ("a.bin",)]
    return fetch(remotes, folder, lambda share: None, remedy="use the post", patience=patience)


def refused(server: FileServer, folder: Path, sha256: str = SHA256) -> str:
    with pytest.raises(DataError) as error:
        get(server, folder, sha256=sha256)
    message = str(error.value)
    assert "\n" not in message
    assert f"cannot download {server.url}/a.bin" in message and "use the post" in message
    assert not (folder / "a.bin").exists()
    return message


def whole(folder: Path, content: bytes = CONTENT) -> bool:
    names = sorted(path.name for path in folder.iterdir())
    return names == ["a.bin", "a.bin.sha256"] and (folder / "a.bin").read_bytes() == content


def test_file_comes_whole_and_is_noted(server: FileServer, tmp_path: Path) -> None:
    assert get(server, tmp_path) == {"a.bin": SHA256}
    assert whole(tmp_path)
    assert (tmp_path / "a.bin.sha256").read_text() == f"{SHA256}  a.bin\n"
    assert get(server, tmp_path) == {"a.bin": SHA256}
    assert len(server.requests) == 1


@pytest.mark.parametrize("sha256", [SHA256, ""])
def test_dropped_connection_goes_on_where_it_was(
    server: FileServer, tmp_path: Path, sha256: str
) -> None:
    server.faults["/a.bin"] = [Fault(drop_after=1_000_000), Fault(drop_after=500_000)]
    get(server, tmp_path, sha256=sha256)
    assert whole(tmp_path)
    assert server.ranges("/a.bin") == ["", "bytes=1000000-", "bytes=1500000-"]


def test_every_attempt_that_brings_something_is_worth_another(
    server: FileServer, tmp_path: Path
) -> None:
    server.faults["/a.bin"] = [Fault(drop_after=100_000)] * 20
    get(server, tmp_path)
    assert whole(tmp_path)
    assert len(server.requests) == 21 > PATIENCE.failures


def test_attempts_that_bring_nothing_are_bounded(server: FileServer, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [Fault(drop_after=500)] * 20
    assert "3 times in a row" in refused(server, tmp_path)
    assert len(server.requests) == 3


def test_server_without_ranges_starts_over(server: FileServer, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [Fault(drop_after=1_000_000), Fault(ignores_range=True)]
    get(server, tmp_path)
    assert whole(tmp_path)
    assert server.ranges("/a.bin") == ["", "bytes=1000000-"]


def test_server_without_ranges_that_always_drops_is_given_up(
    server: FileServer, tmp_path: Path
) -> None:
    server.faults["/a.bin"] = [Fault(drop_after=1_000_000, ignores_range=True)] * 20
    refused(server, tmp_path)
    assert len(server.requests) == 1 + PATIENCE.failures


def test_wrong_bytes_are_fetched_once_more(server: FileServer, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [Fault(body=OTHER)]
    get(server, tmp_path)
    assert whole(tmp_path)
    assert server.ranges("/a.bin") == ["", ""]


def test_wrong_bytes_are_never_kept(server: FileServer, tmp_path: Path) -> None:
    server.files["/a.bin"] = OTHER
    message = refused(server, tmp_path)
    assert SHA256 in message and hashlib.sha256(OTHER).hexdigest() in message
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 2


def test_what_the_server_says_of_the_content_is_held_against_it(tmp_path: Path) -> None:
    with FileServer(links=True) as server:
        server.files["/a.bin"] = CONTENT
        server.faults["/a.bin"] = [Fault(body=OTHER), Fault(drop_after=1_000_000)]
        assert get(server, tmp_path, sha256="") == {"a.bin": SHA256}
        assert whole(tmp_path)
        assert server.ranges("/a.bin") == ["", "", "bytes=1000000-"]


def test_file_that_is_not_the_published_one_is_not_downloaded(tmp_path: Path) -> None:
    with FileServer(links=True) as server:
        server.files["/a.bin"] = OTHER
        assert "was published" in refused(server, tmp_path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [404, 403])
def test_refusal_is_final(server: FileServer, tmp_path: Path, status: int) -> None:
    server.faults["/a.bin"] = [Fault(status=status)]
    assert f"HTTP {status}" in refused(server, tmp_path)
    assert len(server.requests) == 1


def test_busy_server_is_asked_again_when_it_says(server: FileServer, tmp_path: Path) -> None:
    busy = [Fault(status=503, headers={"Retry-After": "0"}), Fault(status=429)]
    server.faults["/a.bin"] = busy
    get(server, tmp_path)
    assert whole(tmp_path)
    assert len(server.requests) == 3


@pytest.mark.parametrize("when", ["3600", "Wed, 21 Oct 2195 07:28:00 GMT"])
def test_server_that_asks_for_an_hour_is_given_up(
    server: FileServer, tmp_path: Path, when: str
) -> None:
    server.faults["/a.bin"] = [Fault(status=503, headers={"Retry-After": when})]
    assert "asks to wait" in refused(server, tmp_path)
    assert len(server.requests) == 1


def test_stalled_connection_is_left(server: FileServer, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [Fault(stall_after=1_000_000)]
    get(server, tmp_path, patience=replace(PATIENCE, timeout_seconds=1.0))
    assert whole(tmp_path)
    assert server.ranges("/a.bin")[:2] == ["", "bytes=1000000-"]


@pytest.mark.parametrize("size", [3_000_000, 2_000_000, 900_000])
def test_two_versions_never_meet_in_one_file(server: FileServer, tmp_path: Path, size: int) -> None:
    server.faults["/a.bin"] = [Fault(drop_after=1_000_000), Fault(status=404)]
    refused(server, tmp_path, sha256="")
    server.files["/a.bin"] = OTHER[:size]
    get(server, tmp_path, sha256="")
    assert whole(tmp_path, OTHER[:size])


def test_whole_part_that_was_not_renamed_is_used(server: FileServer, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [Fault(drop_after=1_000_000), Fault(status=404)]
    refused(server, tmp_path)
    (part,) = tmp_path.glob("*.part")
    part.write_bytes(CONTENT)
    get(server, tmp_path)
    assert whole(tmp_path)
    assert server.ranges("/a.bin")[-1] == "bytes=3000000-"


def test_nobody_there(tmp_path: Path) -> None:
    with FileServer() as server:
        pass
    message = refused(server, tmp_path)
    assert "refused" in message and "3 times in a row" in message


@pytest.mark.parametrize("url", ["nonsense/a.bin", "ftp://host/a.bin", "http://[/a.bin"])
def test_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(DataError, match="cannot download"):
        fetch([Remote("a.bin", url)], tmp_path, lambda share: None, remedy="", patience=PATIENCE)


def test_damaged_file_is_fetched_again(server: FileServer, tmp_path: Path) -> None:
    get(server, tmp_path)
    with (tmp_path / "a.bin").open("r+b") as file:
        file.write(b"damage")
    get(server, tmp_path)
    assert whole(tmp_path)
    assert len(server.requests) == 2


def test_some_at_a_time(server: FileServer, tmp_path: Path) -> None:
    """The server answers only when four are asking: one after another would never get there."""
    names = [f"{i}.bin" for i in range(8)]
    server.files = {f"/{name}": CONTENT[i:] for i, name in enumerate(names)}
    server.gate = threading.Barrier(4)
    shares: list[float] = []
    remotes = [Remote(name, f"{server.url}/{name}") for name in names]
    sums = fetch(remotes, tmp_path, shares.append, remedy="", patience=PATIENCE)
    assert sums == {n: hashlib.sha256(CONTENT[i:]).hexdigest() for i, n in enumerate(names)}
    assert shares[-1] == 1.0 and all(0 <= share <= 1 for share in shares)


def test_one_that_cannot_be_had_stops_the_others(server: FileServer, tmp_path: Path) -> None:
    names = [f"{i}.bin" for i in range(20)]
    server.files = {f"/{name}": CONTENT for name in names[1:]}
    with pytest.raises(DataError, match=r"0\.bin: HTTP 404"):
        get(server, tmp_path, *names)
    assert len(server.requests) < len(names)


@pytest.mark.process
def test_killed_midway_it_goes_on(server: FileServer, tmp_path: Path) -> None:
    server.faults["/a.bin"] = [Fault(stall_after=1_000_000)]
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from trainer.data.sources.download import Remote, fetch\n"
        "tick = lambda share: share > 0.3 and print(share, flush=True)\n"
        "fetch([Remote('a.bin', sys.argv[1])], Path(sys.argv[2]), tick, remedy='')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"{server.url}/a.bin", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.bin").exists()
    (part,) = tmp_path.glob("*.part")
    there = part.stat().st_size
    assert 0 < there <= 1_000_000
    get(server, tmp_path)
    assert whole(tmp_path)
    assert server.ranges("/a.bin") == ["", f"bytes={there}-"]


@pytest.mark.process
def test_full_disk_is_an_os_error(server: FileServer, tmp_path: Path) -> None:
    """A limit on file size stands for a full disk."""
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from trainer.data.sources.download import Remote, fetch\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "try:\n"
        "    fetch([Remote('a.bin', sys.argv[1])], Path(sys.argv[2]), lambda s: None, remedy='')\n"
        "except OSError as error:\n"
        "    print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"{server.url}/a.bin", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(errno.EFBIG)], done.stderr
    assert not (tmp_path / "a.bin").exists()
    assert list(tmp_path.iterdir())
