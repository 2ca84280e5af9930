"""The process that runs the local model; it reads and writes one JSON object per line.

Run by path, with the model's file as its argument, so that nothing else of the agent is loaded. It
ends when its standard input closes, so it ends with its parent, even if that is killed.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import sys
import threading
from typing import Any

import xllamacpp

THREADS = 1
"""Two threads are twice as fast on an idle machine with two processors. On a busy one they wait for
each other at every layer and write 2 to 15 tokens per second; one thread writes 20 to 35."""
CONTEXT = 2048
"""Tokens of prompt and reply together; the cache takes 23 KB per token."""
BATCH = 128
"""Prompt tokens that are processed at a time; more would only take more memory."""


def main(model: str) -> None:
    """Load the model, say so, then answer until standard input ends."""
    # llama.cpp may print to stdout, so stdout becomes stderr and replies go to a copy.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    server = xllamacpp.Server(_parameters(model))
    answer: dict[str, Any] = {"ready": True}
    while True:
        print(json.dumps(answer), file=out, flush=True)
        try:
            answer = server.handle_chat_completions(json.loads(requests.get()))
        except (ValueError, RuntimeError) as error:
            answer = {"error": {"message": str(error)}}


def _parameters(model: str) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.n_ctx = CONTEXT
    parameters.n_batch = parameters.n_ubatch = BATCH
    parameters.n_parallel = 1
    parameters.cache_ram_mib = 0
    parameters.warmup = False
    parameters.verbosity = -1
    parameters.cpuparams.n_threads = THREADS
    parameters.cpuparams_batch.n_threads = THREADS
    # It also listens on a local port in any case; a random key protects that port.
    parameters.api_keys = [secrets.token_urlsafe()]
    parameters.endpoint_slots = False
    parameters.n_threads_http = 1
    return parameters


def _listen(requests: queue.Queue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    # The main thread may be in the middle of a reply that nobody waits for any more.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
