"""A server on loopback that speaks Anthropic's Messages and OpenAI's Chat Completions, both as
event streams, with faults on demand. Also Ollama's list of models.

Each request takes the next of ``script``; the last one is repeated. Every request is kept.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

EDIT = """\
title: longer warm-down
category: schedule
hypothesis: the last steps average out more gradient noise
<<<<<<< SEARCH
WARMDOWN = 0.3  # range 0..1
=======
WARMDOWN = 0.5  # range 0..1
>>>>>>> REPLACE
"""


@dataclass(frozen=True)
class Answer:
    """What one request gets."""

    text: str = EDIT
    thinking: str = ""
    """Comes before the text, in whatever way the protocol has."""
    stop: str = "end"
    """end, length, refusal; cut: the connection closes in the middle of the text; ended: the stream
    closes there as if this were all; stalled: nothing more comes."""
    pause: float = 0.0
    """Seconds between two pieces."""
    why: str = ""
    """The explanation of a refusal."""
    input: int = 900
    output: int = 70
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    usage: bool = True
    model: str = "fake-1"
    in_stream: dict[str, Any] | None = None
    """An error that comes as an event after the first words."""


@dataclass(frozen=True)
class Failure:
    """An HTTP status other than 200, or a body that is not the protocol's."""

    status: int
    message: str = "something went wrong"
    type: str = "api_error"
    code: str | None = None
    headers: dict[str, str] = field(default_factory=lambda: {"retry-after-ms": "1"})
    body: bytes | None = None
    content_type: str = "application/json"


@dataclass(frozen=True)
class Raw:
    """An answer of any bytes, in these chunks."""

    chunks: tuple[bytes, ...]
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "text/event-stream"})
    pause: float = 0.0


@dataclass(frozen=True)
class Hang:
    """No answer until the server is closed."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name."""
    body: dict[str, Any]


Step = Answer | Failure | Raw | Hang


class Server:
    """``with Server(...) as server``: listens on ``server.url`` until the block ends."""

    def __init__(
        self,
        *script: Step,
        ollama: list[str] | None = None,
        lists: Mapping[str, list[str]] | None = None,
    ) -> None:
        """
        Args:
            ollama: names of Ollama's models, None if this is no Ollama.
            lists: by path, the names of models that a GET there tells.
        """
        self.script = list(script) or [Answer()]
        self.requests: list[Request] = []
        self.ollama = ollama
        self.lists = lists or {}
        self.closing = threading.Event()
        self.asked = threading.Event()
        """Set when the first request has arrived."""
        self.hung_up = threading.Event()
        """Set when a client closed the connection before its answer was whole."""
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()

    def next_step(self, request: Request) -> Step:
        with self._lock:
            self.requests.append(request)
            self.asked.set()
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the terminal; requests are in ``server.requests``."""

        def do_GET(self) -> None:
            server.requests.append(self._request({}))
            if self.path == "/api/tags" and server.ollama is not None:
                models = [{"name": name, "size": 1} for name in server.ollama]
                self._send(200, json.dumps({"models": models}).encode(), "application/json", {})
            elif self.path in server.lists:
                models = [{"id": name} for name in server.lists[self.path]]
                self._send(200, json.dumps({"data": models}).encode(), "application/json", {})
            else:
                self._send(404, b"not here", "text/plain", {})

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            step = server.next_step(self._request(json.loads(self.rfile.read(length))))
            if isinstance(step, Hang):
                self._hang()
            elif isinstance(step, Failure):
                body = step.body if step.body is not None else _error_body(self.path, step)
                self._send(step.status, body, step.content_type, step.headers)
            elif isinstance(step, Raw):
                self._stream(step.chunks, Answer(pause=step.pause), step.status, step.headers)
            else:
                chunks = _messages(step) if "messages" in self.path else _chat(step)
                self._stream(chunks, step)

        def _request(self, body: dict[str, Any]) -> Request:
            headers = {name.lower(): value for name, value in self.headers.items()}
            return Request(self.command, self.path, headers, body)

        def _hang(self) -> None:
            """Until the client has gone or the server closes."""
            self.connection.settimeout(0.05)
            while not server.closing.is_set():
                try:
                    if self.connection.recv(1) == b"":
                        server.hung_up.set()
                        break
                except TimeoutError:
                    continue
                except OSError:
                    server.hung_up.set()
                    break
            self.close_connection = True

        def _send(
            self, status: int, body: bytes, content_type: str, headers: dict[str, str]
        ) -> None:
            self.send_response(status)
            for name, value in {"content-type": content_type, **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(
            self,
            chunks: Sequence[bytes],
            answer: Answer,
            status: int = 200,
            headers: Mapping[str, str] = {"content-type": "text/event-stream"},
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for chunk in filter(None, chunks):  # an empty one would be the last
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                self.wfile.flush()
                server.closing.wait(answer.pause)
            if answer.stop == "stalled":
                self._hang()
            elif answer.stop == "cut":  # without the last chunk, which would say that this is all
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

    return Handler


def _error_body(path: str, failure: Failure) -> bytes:
    error = {"type": failure.type, "message": failure.message}
    if "messages" in path:
        return json.dumps({"type": "error", "error": error}).encode()
    return json.dumps({"error": error | {"param": None, "code": failure.code}}).encode()


def _pieces(text: str) -> list[str]:
    return [text[i : i + 40] for i in range(0, len(text), 40)]


def _messages(answer: Answer) -> list[bytes]:
    """Events of the Messages API: thinking block, text block, stop reason."""
    events: list[dict[str, Any]] = []
    told = {
        "input_tokens": answer.input,
        "output_tokens": 1,
        "cache_read_input_tokens": answer.cache_read,
        "cache_creation_input_tokens": answer.cache_write,
    }
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": told,
    }
    events.append({"type": "message_start", "message": message})
    events.append({"type": "ping"})
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if answer.thinking:
        deltas = [
            {"type": "thinking_delta", "thinking": piece} for piece in _pieces(answer.thinking)
        ]
        deltas.append({"type": "signature_delta", "signature": "c2lnbmF0dXJl"})
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, deltas))
    deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(answer.text)]
    blocks.append(({"type": "text", "text": ""}, deltas))
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        for delta in deltas:
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    if answer.stop in ("cut", "ended", "stalled"):
        events = events[:-2]
    elif answer.in_stream is not None:
        events = [*events[:-2], {"type": "error", "error": answer.in_stream}]
    else:
        reasons = {"end": "end_turn", "length": "max_tokens"}
        delta = {"stop_reason": reasons.get(answer.stop, answer.stop), "stop_sequence": None}
        if answer.stop == "refusal":
            delta["stop_details"] = {"type": "refusal", "category": None, "explanation": answer.why}
        usage = {
            "output_tokens": answer.output,
            "output_tokens_details": {"thinking_tokens": answer.reasoning},
        }
        events.append({"type": "message_delta", "delta": delta, "usage": usage})
        events.append({"type": "message_stop"})
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


def _chat(answer: Answer) -> list[bytes]:
    """Chunks of Chat Completions; reasoning in a field beside the content, as servers have it."""

    def chunk(**fields: Any) -> dict[str, Any]:
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": answer.model}
        return head | {"choices": []} | fields

    def choice(delta: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": reason}]

    chunks = [chunk(choices=choice({"role": "assistant", "content": ""}))]
    for piece in _pieces(answer.thinking):
        chunks.append(chunk(choices=choice({"reasoning_content": piece})))
    for piece in _pieces(answer.text):
        chunks.append(chunk(choices=choice({"content": piece})))
    done = False
    if answer.stop in ("cut", "ended", "stalled"):
        chunks = chunks[:-1]
    elif answer.in_stream is not None:
        chunks = [*chunks[:-1], {"error": answer.in_stream}]
    else:
        if answer.stop == "refusal":
            chunks.append(chunk(choices=choice({"refusal": answer.why})))
        reasons = {"end": "stop", "refusal": "stop"}
        chunks.append(chunk(choices=choice({}, reasons.get(answer.stop, answer.stop))))
        if answer.usage:
            prompt = answer.input + answer.cache_read + answer.cache_write
            usage = {
                "prompt_tokens": prompt,
                "completion_tokens": answer.output,
                "total_tokens": prompt + answer.output,
                "prompt_tokens_details": {
                    "cached_tokens": answer.cache_read,
                    "cache_write_tokens": answer.cache_write,
                },
                "completion_tokens_details": {"reasoning_tokens": answer.reasoning},
            }
            chunks.append(chunk(usage=usage))
        done = True
    lines = [f"data: {json.dumps(c)}\n\n".encode() for c in chunks]
    return [*lines, b"data: [DONE]\n\n"] if done else lines
