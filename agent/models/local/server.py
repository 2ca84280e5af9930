"""The process that holds the local model: one JSON object a line in, one a line out.

Run by path, with the model's file as its argument, so that nothing else of the agent is loaded. It
ends when its standard input does, hence with its parent, however that ended.
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
"""Two are twice as fast on an idle machine with two processors, but on a busy one they wait for
each other at every layer: 2 to 15 tokens written a second, where one thread writes 20 to 35."""
CONTEXT = 2048
"""Tokens of prompt and reply; their cache takes 23 KB each."""
BATCH = 128
"""Tokens of the prompt that are worked on at a time; more would only take more memory."""


def main(model: str) -> None:
    """Load the model, say so, then answer until standard input ends."""
    # llama.cpp may print; what it prints is no reply.
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
    # It also listens on a port of this machine, whether one wants it or not.
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
