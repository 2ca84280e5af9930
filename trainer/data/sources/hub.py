"""Files of a dataset on the Hugging Face Hub, at one revision: the same bytes for everyone.

``huggingface_hub`` asks for them, so its settings hold: ``HF_ENDPOINT`` is the address of a mirror,
``HF_HUB_OFFLINE`` forbids requests, proxies are those of the environment. The bytes are received
here, because its ``hf_hub_download`` begins a file anew after a kill and compares no checksum, and
its ``http_get`` loses up to 10 MB with each connection that breaks.

A file is received as ``NAME.IDENTITY.part``, where IDENTITY stands for the server's file, so that
bytes of two versions are never mixed. It is renamed to ``NAME`` only if its SHA-256 is right, and
``NAME.sha256`` is written beside it (``sha256sum -c`` reads it). The right SHA-256 is the published
one; if there is none, the one that the Hub sends; if there is none either, that of the first
download, which later checks use. The caller ensures that no other process downloads into the same
folder.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_raise_for_status
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from trainer.data.sources.base import Tick
from trainer.data.store import DataError, digest

REMEDY = (
    "nothing half-written is used, and the next try goes on from here; check the network and the "
    "proxy, set HF_ENDPOINT to a mirror of huggingface.co, or use --data apidocs, which needs no "
    "download"
)
FAILURES = 5
"""Attempts in a row without progress, after which to give up."""
LEAST_PROGRESS = 65_536
"""Bytes; an attempt that brings fewer counts as one without progress."""
BACKOFF_SECONDS = 0.5
"""Wait after the first failure; doubled after each further one."""
LONGEST_WAIT_SECONDS = 120.0
"""If the server asks for a longer wait (Retry-After), give up."""
PARALLEL = 4
"""Files that are downloaded at a time."""
TICK_SECONDS = 0.2
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_ANSWER = (
    *(httpx2.HTTPError, httpx2.InvalidURL, OfflineModeIsEnabled),
    *(ValueError, ImportError),  # no address, or a proxy that cannot be used
)
_OF_CONNECTIONS = re.compile(r"SSL_CERT_(FILE|DIR)|(ALL|HTTPS?)_PROXY", re.IGNORECASE)
"""Variables of the environment that name certificates or a proxy."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Otherwise it asks the Hub how coding agents are recognised, and says which one runs this.
constants.HF_HUB_DISABLE_TELEMETRY = True


def reach(repository: str, revision: str, name: str) -> None:
    """Ask, once, what the server has of a file.

    Raises:
        DataError: it does not answer, or does not have it.
    """
    url = f"{_root(repository, revision)}/{name}"
    _open_client(url)
    try:
        get_hf_file_metadata(url, token=False)
    except _NO_ANSWER as error:
        raise _failed(url, _trouble(error)[0]) from error


def fetch(
    repository: str, revision: str, files: Mapping[str, str], folder: Path, tick: Tick
) -> dict[str, str]:
    """Download the files of a dataset that are not in ``folder`` yet, up to four at a time.

    Args:
        files: published SHA-256 by name, empty where there is none.
        tick: called from this thread with the share of the files that is there.

    Returns:
        SHA-256 by name.

    Raises:
        DataError: a file cannot be downloaded; its partial file stays, the next call resumes it.
        OSError: the folder cannot be written.
    """
    root = _root(repository, revision)
    _open_client(root)
    folder.mkdir(parents=True, exist_ok=True)
    shares = dict.fromkeys(files, 0.0)
    stop = threading.Event()

    def get(name: str) -> str:
        def note(share: float) -> None:
            if stop.is_set():
                raise CancelledError
            shares[name] = share

        path = folder / name
        there = _standing(path, files[name])
        found = there or _download(f"{root}/{name}", path, files[name], note, stop)
        shares[name] = 1.0
        return found

    pool = ThreadPoolExecutor(PARALLEL)
    try:
        running = {name: pool.submit(get, name) for name in files}
        pending = {*running.values()}
        while pending:
            done, pending = wait(pending, TICK_SECONDS, FIRST_EXCEPTION)
            for future in done:
                future.result()
            tick(sum(shares.values()) / len(files))
    finally:  # after an error or Ctrl-C, the others end with the next bytes that come
        stop.set()
        pool.shutdown(cancel_futures=True)
    return {name: future.result() for name, future in running.items()}


def _root(repository: str, revision: str) -> str:
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    return f"{endpoint}/datasets/{repository}/resolve/{revision}"


def _open_client(url: str) -> None:
    """Open the client that all requests share, since that fails by the environment alone.

    Raises:
        DataError: a certificate file that is missing or none, a proxy that cannot be used.
    """
    try:
        get_session()
    except (OSError, ValueError, ImportError) as error:
        raise _failed(url, str(error)) from error


def _standing(path: Path, published: str) -> str:
    """SHA-256 of a file that is there and right; a damaged one is removed."""
    try:
        noted = _note(path).read_text().split()[0]
        if digest(path) == noted == (published or noted):
            return noted
    except (OSError, IndexError, UnicodeDecodeError):
        pass
    path.unlink(missing_ok=True)
    return ""


def _download(url: str, path: Path, published: str, tick: Tick, stop: threading.Event) -> str:
    """Repeat attempts until one succeeds, or too many in a row make no progress."""
    failures = most = 0
    while True:
        try:
            return _attempt(url, path, published, tick)
        except _NO_ANSWER as exc:
            error: Exception = exc
        size = sum(part.stat().st_size for part in _parts(path))
        failures = 0 if size >= most + LEAST_PROGRESS else failures + 1
        most = max(most, size)
        reason, seconds = _trouble(error)
        if failures == FAILURES:
            raise _failed(url, f"{reason}, {failures} times in a row") from error
        if seconds > LONGEST_WAIT_SECONDS:
            raise _failed(url, reason) from error
        if stop.wait(max(seconds, BACKOFF_SECONDS * 2 ** (failures - 1))):
            raise CancelledError


def _trouble(error: Exception) -> tuple[str, float]:
    """What went wrong, and the seconds to wait at least; endless if another attempt is no use."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        reason = f"HTTP {status} {error.response.reason_phrase}"
        if status not in _BUSY:
            return reason, math.inf
        asked = _seconds(error.response.headers.get("retry-after", ""))
        return f"{reason}, and the server asks to wait {asked:.0f} s" if asked else reason, asked
    of_network = isinstance(error, httpx2.TransportError)
    final = not of_network or isinstance(error, httpx2.UnsupportedProtocol)
    return str(error) or type(error).__name__, math.inf if final else 0.0


def _seconds(asked: str) -> float:
    """From now, by a Retry-After that is a number or a date (RFC 9110, 10.2.3); 0 for neither."""
    if asked.isdecimal():
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _attempt(url: str, path: Path, published: str, tick: Tick) -> str:
    """Ask what the server has and receive it; returns its SHA-256."""
    remote = get_hf_file_metadata(url, token=False)
    theirs = remote.etag if remote.etag and _SHA256.fullmatch(remote.etag) else ""
    if published and theirs not in ("", published):
        raise _failed(
            url, f"the server has a file with SHA-256 {theirs}, and {published} was published"
        )
    identity = hashlib.sha256(f"{remote.etag} {remote.size}".encode()).hexdigest()[:16]
    part = path.with_name(f"{path.name}.{identity}.part")
    # What is there is of use only if it is of the same file, and it can be told when that is whole.
    is_known = remote.etag or published
    usable = remote.size if is_known and remote.size is not None else -1
    for other in _parts(path):
        if other != part or other.stat().st_size > usable:
            other.unlink()
    for _ in range(2):  # wrong bytes are fetched once more
        _receive(url, part, remote.size, tick)
        found = digest(part)
        expected = published or theirs or found
        if found == expected:
            _note(path).write_text(f"{found}  {path.name}\n")
            part.replace(path)
            return found
        part.unlink()
    raise _failed(url, f"its SHA-256 is {found} and should be {expected}")


def _receive(url: str, part: Path, size: int | None, tick: Tick) -> None:
    """Append what is missing; start over where the server does not go on."""
    with part.open("ab") as file:
        start = file.tell()
        if start == size:
            return
        headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            hf_raise_for_status(response)
            if not response.headers.get("content-range", "").startswith(f"bytes {start}-"):
                file.seek(0)
                file.truncate()
            for chunk in response.iter_raw():
                file.write(chunk)
                tick(min(1.0, file.tell() / size) if size else 0.0)
        file.flush()
        os.fsync(file.fileno())
        if size is not None and file.tell() != size:
            raise httpx2.RemoteProtocolError(f"{file.tell()} of {size} bytes came")


def _parts(path: Path) -> list[Path]:
    """Partial files of a file that earlier attempts left."""
    return list(path.parent.glob(f"{path.name}.*.part"))


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _failed(url: str, reason: str) -> DataError:
    names = [name for name in os.environ if _OF_CONNECTIONS.fullmatch(name) and os.environ[name]]
    use = f" (in use: {', '.join(sorted(names))})" if names else ""
    return DataError(f"cannot download {url}: {reason}{use}; {REMEDY}")
