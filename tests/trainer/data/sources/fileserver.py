"""A server on loopback that stands for the Hub and its store, and fails as it is told to.

Like the Hub, it answers HEAD with the file's size and SHA-256 and a redirect to another host, the
store, which serves ranges. Without ``links`` it is a plain file server, as a mirror may be one.
"""

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
    """``files`` by path; ``faults`` by path, one taken for each GET until there are none, and for
    a HEAD if it is a status."""

    def __init__(self, *, links: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.requests: list[tuple[str, str]] = []
        """Path and Range header of each GET of a file's bytes, and each request that failed."""
        self.links = links
        """Answer like the Hub: a redirect with X-Linked-ETag."""
        self.lengths = True
        """Say how long files are; otherwise only the end of the connection tells."""
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

            def do_HEAD(self) -> None:
                outer._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}"
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
        path = handler.path.removeprefix("/store")
        whole = self.files.get(path)
        if self.links and whole is not None and path == handler.path:
            self._redirect(handler, whole)
            return
        asked = handler.headers.get("Range", "")
        fault = Fault()
        with self._lock:
            waiting = self.faults[path]
            if waiting and (handler.command == "GET" or waiting[0].status):
                fault = waiting.pop(0)
            if handler.command == "GET" or fault.status or whole is None:
                self.requests.append((path, asked))
        if whole is None or fault.status:
            handler.send_response(fault.status or 404)
            for name, value in {**fault.headers, "Content-Length": "0"}.items():
                handler.send_header(name, value)
            handler.end_headers()
            return
        self._send(handler, whole, fault, asked)

    def _redirect(self, handler: BaseHTTPRequestHandler, whole: bytes) -> None:
        handler.send_response(302)
        handler.send_header("X-Repo-Commit", "0" * 40)
        handler.send_header("X-Linked-ETag", f'"{hashlib.sha256(whole).hexdigest()}"')
        handler.send_header("X-Linked-Size", str(len(whole)))
        handler.send_header("Location", f"http://localhost:{self._port}/store{handler.path}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def _send(
        self, handler: BaseHTTPRequestHandler, whole: bytes, fault: Fault, asked: str
    ) -> None:
        body = whole if fault.body is None else fault.body
        match = re.fullmatch(r"bytes=(\d+)-", asked)
        start = int(match[1]) if match and not fault.ignores_range else None
        if start is not None and start >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
        elif start is not None:
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            handler.send_response(200)
        handler.send_header("ETag", f'"{hashlib.md5(whole).hexdigest()}"')
        if self.lengths:
            handler.send_header("Content-Length", str(len(body[start:])))
        handler.end_headers()
        if handler.command == "HEAD":
            return
        most = fault.drop_after if fault.stall_after is None else fault.stall_after
        handler.wfile.write(body[start:] if most is None else body[start:][:most])
        handler.wfile.flush()
        if fault.stall_after is not None:
            self.closing.wait()
