"""Whether a server reads a whole prompt.

Some servers cut what is longer than their context from its beginning and say nothing. The rules of
a prompt stand there, and with them what a reply has to look like. So a word is put at the very
beginning of a prompt as long as a grown campaign's, and asked for at its end.
"""

from __future__ import annotations

import secrets
import threading

from agent.models.types import Model, Part, Prompt
from agent.proposers.llm import CHARACTERS_PER_TOKEN, HISTORY_TOKENS

RULES_AND_FILE_CHARACTERS = 35_000
REPLY_TOKENS = 4_000
"""Some models reason before they say a word."""
MOST_CHARACTERS_PER_TOKEN = 8
"""Of the filling; a server that counts fewer tokens than that allows has not read it all."""

_FILLING = "The loss of step {n} was {loss:.3f} nats per token, and nothing else happened there.\n"


def cut_short(model: Model, cancel: threading.Event | None = None) -> str:
    """Ask; returns what is wrong, "" if the model knows how its prompt began.

    Raises:
        Unavailable, Misconfigured, Cancelled: see ``agent.models.types``.
    """
    word = secrets.token_hex(4)
    prompt = Prompt(
        (
            Part("canary", f"The codeword is {word}. You will be asked for it at the end.\n"),
            Part("filling", filling(RULES_AND_FILE_CHARACTERS, HISTORY_TOKENS)),
            Part("question", "What is the codeword, given before all else? Reply with it only.\n"),
        )
    )
    reply = model.complete(prompt, max_tokens=REPLY_TOKENS, cancel=cancel)
    about = len(prompt.text) // CHARACTERS_PER_TOKEN // 1000
    read = reply.usage.prompt if reply.usage is not None else None
    if read is not None and read < len(prompt.text) // MOST_CHARACTERS_PER_TOKEN:
        return (
            f"{model.name} read {read:,} tokens of a prompt of some {about}k: its context is cut; "
            "raise it (Ollama: OLLAMA_CONTEXT_LENGTH=32768, llama.cpp: --ctx-size 32768)"
        )
    if word not in reply.text:
        return (
            f"{model.name} did not know how a prompt of some {about}k tokens began: its server may "
            "cut the context (Ollama: OLLAMA_CONTEXT_LENGTH=32768), or the model is too weak"
        )
    return ""


def filling(characters: int, history_tokens: int) -> str:
    """Text as long as the rules, a train.py and a full history."""
    length = characters + history_tokens * CHARACTERS_PER_TOKEN
    lines: list[str] = []
    while length > 0:
        lines.append(_FILLING.format(n=len(lines), loss=7.6 / (1 + len(lines) / 100)))
        length -= len(lines[-1])
    return "".join(lines)
