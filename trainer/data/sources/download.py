"""Downloads that can be resumed, are checked, and appear complete or not at all.

A file is downloaded to ``NAME.IDENTITY.part``, where IDENTITY identifies the server's file, so that
bytes of two versions are never mixed. It is renamed to ``NAME`` only if its SHA-256 is right, and
``NAME.sha256`` is written beside it (``sha256sum -c`` reads it). The right SHA-256 is the published
one; if there is none, the one that the server sends (Hugging Face sends that of a large file as
``X-Linked-ETag``); if there is none either, that of the first download, which later checks use.

The caller ensures that no other process downloads into the same folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.data.sources.base import Tick
from trainer.data.store import DataError

if TYPE_CHECKING:
    import httpx2

PARALLEL = 4
_TICK_SECONDS = 0.2
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


@dataclass(frozen=True)
class Remote:
    """A file to download."""

    name: str
    url: str
    sha256: str = ""
    """As published; empty if none is published."""


@dataclass(frozen=True)
class Patience:
    """When to try again, and when to give up."""

    failures: int = 5
    """Attempts in a row without progress, after which to give up."""
    backoff_seconds: float = 0.5
    """After the first failure; doubled after each further one."""
    timeout_seconds: float = 30.0
    """For connecting, and for each wait for bytes."""
    longest_wait_seconds: float = 120.0
    """If a server asks for a longer wait (Retry-After), give up."""
    least_progress: int = 65_536
    """Bytes; an attempt that brings fewer counts as one without progress."""


def fetch(
    remotes: Sequence[Remote],
    folder: Path,
    tick: Tick,
    *,
    remedy: str,
    patience: Patience | None = None,
) -> dict[str, str]:
    """Download the files that are not in ``folder`` yet, up to four at a time.

    Args:
        tick: called from this thread with the share of all files that is there.
        remedy: what to do when a file cannot be downloaded, for the message.

    Returns:
        SHA-256 by name.

    Raises:
        DataError: a file cannot be downloaded; its partial file stays, the next call resumes it.
        OSError: the folder cannot be written.
    """
    import httpx2  # only here: it takes long to import, and a prepared corpus does not need it

    patience = patience or Patience()
    folder.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    with httpx2.Client(follow_redirects=True, timeout=patience.timeout_seconds) as client:
        transfers = [_Transfer(r, folder, client, patience, stop, remedy) for r in remotes]
        pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="download")
        try:
            pending = {pool.submit(transfer.run) for transfer in transfers}
            while pending:
                done, pending = wait(pending, _TICK_SECONDS, FIRST_EXCEPTION)
                for future in done:
                    future.result()
                tick(sum(transfer.share for transfer in transfers) / len(transfers))
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return {transfer.remote.name: transfer.sha256 for transfer in transfers}


class _TryAgain(Exception):
    """An attempt failed in a way that may be temporary."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


class _WrongBytes(Exception):
    """The file is complete, but it is not the expected one."""


class _Stopped(Exception):
    """Another download has failed, or the user has interrupted."""


class _Transfer:
    """The download of one file."""

    def __init__(
        self,
        remote: Remote,
        folder: Path,
        client: httpx2.Client,
        patience: Patience,
        stop: threading.Event,
        remedy: str,
    ) -> None:
        self.remote = remote
        self.share = 0.0
        self.sha256 = ""
        self._path = folder / remote.name
        self._sums = folder / f"{remote.name}.sha256"
        self._client = client
        self._patience = patience
        self._stop = stop
        self._remedy = remedy

    def run(self) -> None:
        """Get the file, and set ``sha256`` to its hash."""
        if not self._stands():
            self._insist()
        self.share = 1.0

    def _stands(self) -> bool:
        """Whether the file is there and has the right SHA-256; a damaged one is removed."""
        try:
            noted = self._sums.read_text().split()[0]
            self.sha256 = _digest(self._path)
        except (OSError, IndexError, UnicodeDecodeError):
            noted = ""
        if self.sha256 and self.sha256 == noted == (self.remote.sha256 or noted):
            return True
        self._path.unlink(missing_ok=True)
        return False

    def _insist(self) -> None:
        """Repeat attempts until one succeeds, or too many in a row make no progress."""
        import httpx2

        patience = self._patience
        failures = mismatches = 0
        most = self._size()
        while True:
            try:
                return self._attempt()
            except (httpx2.UnsupportedProtocol, httpx2.InvalidURL) as exc:
                raise self._failed(str(exc)) from exc
            except httpx2.RequestError as exc:
                again = _TryAgain(str(exc) or type(exc).__name__)
            except _TryAgain as exc:
                again = exc
            except _WrongBytes as exc:
                mismatches += 1
                if mismatches == 2:
                    raise self._failed(str(exc)) from exc
                again = _TryAgain(str(exc))
            size = self._size()
            failures = 0 if size >= most + patience.least_progress else failures + 1
            most = max(most, size)
            if failures >= patience.failures:
                raise self._failed(f"{again}, {failures} times in a row") from again
            after = max(again.after, patience.backoff_seconds * 2 ** max(0, failures - 1))
            if after > patience.longest_wait_seconds:
                raise self._failed(f"{again}, and the server asks to wait {after:.0f} s")
            if self._stop.wait(after):
                raise _Stopped

    def _attempt(self) -> None:
        """Make one request; when this returns, the file is there."""
        part = self._part()
        offset = part.stat().st_size if part else 0
        headers = {"Accept-Encoding": "identity"}
        if part and offset:
            headers["Range"] = f"bytes={offset}-"
        with self._client.stream("GET", self.remote.url, headers=headers) as response:
            linked = _header([*response.history, response], "x-linked-etag")
            theirs = linked if _SHA256.fullmatch(linked) else ""
            if self.remote.sha256 and theirs not in ("", self.remote.sha256):
                raise self._failed(
                    f"the server has a file with SHA-256 {theirs}, and {self.remote.sha256} was "
                    "published"
                )
            expected = self.remote.sha256 or theirs
            start, total = self._extent(response, offset)
            identity = linked or _header([response], "etag") or _header([response], "last-modified")
            name = f"{self.remote.name}.{_short(f'{identity} {total}')}.part"
            if start and (part is None or part.name != name):
                self._discard()
                raise _TryAgain("the server's file has changed since the download began")
            part = self._path.with_name(name)
            if response.status_code != 416:
                self._receive(response, part, start, total)
        self._accept(part, expected)

    def _extent(self, response: httpx2.Response, offset: int) -> tuple[int, int | None]:
        """Where the bytes of a response begin, and the size of the whole file if it is known."""
        status = response.status_code
        if status == 200:
            length = response.headers.get("content-length", "")
            return 0, int(length) if length.isdecimal() else None
        if status in (206, 416):
            match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            total = int(match[2]) if match else -1
            if match and (int(match[1]) if match[1] else total) == offset:
                return offset, total
            self._discard()
            raise _TryAgain(f"the server answers a request from byte {offset} on with others")
        reason = f"HTTP {status} {response.reason_phrase}".strip()
        if status in _RETRIED:
            raise _TryAgain(reason, _retry_after(response.headers.get("retry-after", "")))
        raise self._failed(reason)

    def _receive(
        self, response: httpx2.Response, part: Path, start: int, total: int | None
    ) -> None:
        if not start:
            self._discard()
        size = start
        with part.open("ab") as file:
            for chunk in response.iter_raw():
                if self._stop.is_set():
                    raise _Stopped
                file.write(chunk)
                size += len(chunk)
                self.share = min(1.0, size / total) if total else 0.0
            file.flush()
            os.fsync(file.fileno())
        if total is not None and size != total:
            raise _TryAgain(f"{size} of {total} bytes came")

    def _accept(self, part: Path, expected: str) -> None:
        """Rename the complete partial file to its final name, if its SHA-256 is right."""
        digest = _digest(part)
        if digest != (expected or digest):
            part.unlink()
            raise _WrongBytes(f"its SHA-256 is {digest} and should be {expected}")
        self._sums.write_text(f"{digest}  {self.remote.name}\n")
        part.replace(self._path)
        self.sha256 = digest

    def _part(self) -> Path | None:
        """The partial file that an earlier attempt left."""
        parts = sorted(self._path.parent.glob(f"{self.remote.name}.*.part"))
        return parts[0] if len(parts) == 1 else None

    def _size(self) -> int:
        part = self._part()
        return part.stat().st_size if part else 0

    def _discard(self) -> None:
        for part in self._path.parent.glob(f"{self.remote.name}.*.part"):
            part.unlink()

    def _failed(self, reason: str) -> DataError:
        return DataError(f"cannot download {self.remote.url}: {reason}; {self._remedy}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _header(responses: Sequence[httpx2.Response], name: str) -> str:
    """A header from the first of the responses that has it; quotes removed."""
    found = (response.headers[name] for response in responses if name in response.headers)
    return next(found, "").strip('"')


def _retry_after(value: str) -> float:
    """Seconds, from a number or a date (RFC 9110, 10.2.3); 0 for anything else."""
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())
