"""A file server on loopback that serves ranges like the Hub's, and fails as it is told to."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request."""

    status: int = 0
    """Answer this, without a body."""
    headers: dict[str, str] = field(default_factory=dict)
    drop_after: int | None = None
    """Close the connection after so many bytes of the body."""
    stall_after: int | None = None
    """Send nothing more after so many bytes, until the server closes."""
    ignores_range: bool = False
    body: bytes | None = None
    """Send this instead of the file."""


class FileServer:
    """``files`` by path; ``faults`` by path, one taken for each request until there are none."""

    def __init__(self, *, links: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.requests: list[tuple[str, str]] = []
        """Path and Range header (or ``""``) of each."""
        self.links = links
        """Answer like the Hub: a redirect with X-Linked-ETag."""
        self.etags = True
        self.gate: threading.Barrier | None = None
        self.closing = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def end_headers(self) -> None:
                self.send_header("Connection", "close")
                super().end_headers()

            def do_GET(self) -> None:
                outer._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> FileServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ranges(self, path: str) -> list[str]:
        return [asked for requested, asked in self.requests if requested == path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        if self.links and not path.startswith("/cdn"):
            self._redirect(handler, path)
            return
        path = path.removeprefix("/cdn")
        asked = handler.headers.get("Range", "")
        with self._lock:
            self.requests.append((path, asked))
            fault = self.faults[path].pop(0) if self.faults[path] else Fault()
        if self.gate is not None:
            self.gate.wait(30)
        whole = self.files.get(path)
        if whole is None or fault.status:
            handler.send_response(fault.status or 404)
            for name, value in {**fault.headers, "Content-Length": "0"}.items():
                handler.send_header(name, value)
            handler.end_headers()
            return
        self._send(handler, whole, fault, asked)

    def _redirect(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        handler.send_response(302)
        if path in self.files:
            digest = hashlib.sha256(self.files[path]).hexdigest()
            handler.send_header("X-Linked-ETag", f'"{digest}"')
        handler.send_header("Location", f"/cdn{path}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def _send(
        self, handler: BaseHTTPRequestHandler, whole: bytes, fault: Fault, asked: str
    ) -> None:
        body = whole if fault.body is None else fault.body
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        start = int(match[1]) if match and not fault.ignores_range else 0
        if start and start >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
        elif start:
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            handler.send_response(200)
        if self.etags:
            handler.send_header("ETag", f'"{hashlib.md5(whole).hexdigest()}"')
        handler.send_header("Content-Length", str(len(body[start:])))
        handler.end_headers()
        most = fault.drop_after if fault.stall_after is None else fault.stall_after
        handler.wfile.write(body[start:] if most is None else body[start : start + most])
        handler.wfile.flush()
        if fault.stall_after is not None:
            self.closing.wait()
