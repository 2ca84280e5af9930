"""A model that takes its time, beside trainings: how much of that a campaign hides.

The model is a server on loopback that speaks OpenAI's Chat Completions, and answers after so many
seconds with another value of a constant. The campaign is a real one of the shipped train.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agent.settings import Settings
from benchmarks.keep import make
from benchmarks.machine import ROOT
from benchmarks.throughput.between import between_heats

TAG = "hidden"
CONSTANTS = (
    "MATRIX_LR", "EMBEDDING_STD", "WARMDOWN_SHARE", "HEAD_LR", "MATRIX_DECAY", "EMBEDDING_LR",
    "ROTARY_BASE", "MATRIX_SCALE",
)  # fmt: skip
"""Answers take them one after the other; no two are next to each other, so that edits merge."""
STEP = 1.5
"""By which an answer multiplies its constant."""
WAYS: Mapping[str, str] = {
    "one after the other": "sequential: true\n",
    "drafted ahead": "heat: 1\n",
    "drafted ahead, heats of many": "",
}
"""Settings of program.md."""


def can_draft_ahead() -> bool:
    """Whether this version of the loop does."""
    return "sequential" in Settings.model_fields


def measured(way: str, answer: float, budget: float, trials: int) -> dict[str, Any]:
    """One campaign, with a model that answers after so many seconds.

    Raises:
        SystemExit: the campaign failed; it has said why.
    """
    front = f"nulls: 0\n{WAYS[way] if can_draft_ahead() else ''}"
    with tempfile.TemporaryDirectory(prefix="autoresearch-hidden-") as made, model(answer) as url:
        folder = Path(made)
        make(folder, constants={}, front_matter=front)
        command = [
            *(sys.executable, "-m", "agent", "run", "--tag", TAG, "--proposer", "llm"),
            *("--llm", f"openai:stub@{url}/v1", "--preset", "cpu", "--budget", f"{budget:g}s"),
            *("--trials", str(trials), "--seed", "1"),
        ]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environ, stdout=sys.stderr, check=False)
        if done.returncode != 0:
            raise SystemExit(f"error: {' '.join(command)} ended with {done.returncode}")
        found = between_heats(folder / "campaigns" / TAG / "journal.jsonl")
    return {"answer_seconds": answer, "budget_seconds": budget, "trials": trials, **found}


@contextmanager
def model(seconds: float) -> Iterator[str]:
    """The address of a model that answers after so many seconds, many requests at a time."""
    closing, asked, lock = threading.Event(), [0], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(json.dumps({"data": [{"id": "stub"}]}).encode(), "application/json")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                asked[0] += 1
                number = asked[0]
            closing.wait(seconds)
            prompt = "\n".join(_texts(body["messages"]))
            self._send(b"".join(_chunks(reply(prompt, number))), "text/event-stream")

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        closing.set()
        server.shutdown()
        server.server_close()


def reply(prompt: str, number: int) -> str:
    """The answer to the request of this number: one constant, in the category asked for."""
    name = CONSTANTS[(number - 1) % len(CONSTANTS)]
    category = re.findall(r"in the category \*\*([\w-]+)\*\*", prompt)[-1]
    line, now = re.findall(rf"^({name} = (\S+).*)$", prompt, re.MULTILINE)[0]
    value = f"{STEP * float(now):.6g}"
    new = re.sub(r"= \S+", f"= {value}", line, count=1)
    return (
        f"title: {name} {value}\ncategory: {category}\n"
        f"hypothesis: it may be too low, so the loss should be lower at {value}.\n"
        f"<<<<<<< SEARCH\n{line}\n=======\n{new}\n>>>>>>> REPLACE\n"
    )


def _texts(messages: list[dict[str, Any]]) -> Iterator[str]:
    for message in messages:
        content = message["content"]
        yield content if isinstance(content, str) else "".join(part["text"] for part in content)


def _chunks(text: str) -> Iterator[bytes]:
    """The answer as an event stream."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}

    def chunk(delta: dict[str, str], reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return b"data: %b\n\n" % json.dumps({**head, "choices": [choice], **more}).encode()

    yield chunk({"role": "assistant", "content": text})
    yield chunk({}, "stop")
    usage = {"prompt_tokens": 9000, "completion_tokens": 90, "total_tokens": 9090}
    yield b"data: %b\n\n" % json.dumps({**head, "choices": [], "usage": usage}).encode()
    yield b"data: [DONE]\n\n"
