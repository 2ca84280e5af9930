"""The process that runs the local model and serves Chat Completions on a port of this machine.

Run by path, with the model's file as its argument, so that nothing else of the agent is loaded. It
writes its address and the key for it as one line of JSON. It ends when its standard input closes,
so it ends with its parent, even if that is killed.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
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
    """Load the model, say where it is, and serve until standard input ends."""
    # llama.cpp may print to stdout, so stdout becomes stderr and the address goes to a copy.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    key = secrets.token_urlsafe()
    server = xllamacpp.Server(_parameters(model, key))
    address = {"base_url": f"{server.listening_address}/v1", "api_key": key}
    print(json.dumps(address), file=out, flush=True)
    sys.stdin.read()
    # It may be in the middle of a reply that nobody waits for any more.
    os._exit(0)


def _parameters(model: str, key: str) -> Any:
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
    parameters.api_keys = [key]
    parameters.endpoint_slots = False
    parameters.n_threads_http = 1
    return parameters


if __name__ == "__main__":
    main(sys.argv[1])
