"""``doctor``: tests what works on this machine.

Some servers silently cut off the beginning of a prompt that is longer than their context. The rules
are at the beginning, and with them the format of a reply. So doctor puts a word at the very
beginning of a prompt as long as one late in a campaign, and asks for the word at its end.
"""

from __future__ import annotations

import platform
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.git.command import inherited_environment
from agent.git.repo import Repo
from agent.models.cassette import Player, Recorder
from agent.models.choose import open_model
from agent.models.types import Model, ModelError, Part, Prompt
from agent.proposers.llm import CHARACTERS_PER_TOKEN, HISTORY_TOKENS
from trainer import sandbox
from trainer.data.choice import WITHOUT_DOWNLOAD
from trainer.data.prepare import DataError, cache_dir, prepare, prepared, reach
from trainer.errors import UserError
from trainer.measure import MACHINE, measure, resolve
from trainer.presets import Preset
from trainer.sandbox.confine import available

_ESCAPES = Path(sandbox.__file__).parent / "escapes.py"
_FREE_GB = 2.0
RULES_AND_FILE_CHARACTERS = 35_000
REPLY_TOKENS = 4_000
"""Some models reason before they answer."""
MOST_CHARACTERS_PER_TOKEN = 8
"""Limit for the filling; a server that counts fewer tokens than it implies has not read it all."""

_FILLING = "The loss of step {n} was {loss:.3f} nats per token, and nothing else happened there.\n"


@dataclass(frozen=True)
class Check:
    check: str
    ok: bool
    detail: str


def checks(start: Path, llm: str = "auto") -> Iterator[Check]:
    """All checks, in the order in which a run would need what they test.

    Args:
        llm: a model, to test whether it reads long prompts from their beginning; ``auto`` tests
            only a server of the user's own, which costs nothing.
    """
    yield Check("python", True, f"{platform.python_version()} on {platform.platform()}")
    looks = {"repository": lambda: _repository(start), "cache": _cache}
    for name, look in looks.items():
        try:
            yield Check(name, True, look())
        except UserError as error:
            yield Check(name, False, str(error))
    probe, setting = MACHINE.probe(), resolve()
    yield _corpus(setting.preset)
    memory = f", {probe['device_memory_mb']:,} MB" if "device_memory_mb" in probe else ""
    device = f"{probe['device']} {probe['name']}".strip() + memory
    preset = f"preset {setting.preset.name}, {setting.threads} threads, torch {probe['torch']}"
    yield Check("device", True, f"{device}, {preset}")
    yield from _isolation(setting.device)
    yield from _llm(llm)


def _llm(spec: str) -> Iterator[Check]:
    try:
        model, why = open_model(spec, inherited_environment())
        yield Check("llm", True, why.splitlines()[0])
        if model is None:
            return
        if spec == "auto" and "@" not in model.name:
            asking = f"python -m agent doctor --llm {model.name}"
            yield Check("prompt", True, f"not asked, since that costs money; {asking} does")
            return
        # This request is not part of a campaign and must not be recorded in its cassette.
        asked = model.model if isinstance(model, Recorder) else model
        if isinstance(asked, Player):
            yield Check("prompt", True, "not asked: a cassette answers what was recorded only")
            return
        if asked.name == "local":
            yield Check("prompt", True, "not asked: local is given short prompts of its own only")
            return
        fault = cut_short(asked)
        yield Check("prompt", not fault, fault or "a long prompt is read from its beginning")
    except ModelError as error:
        yield Check("llm", False, str(error))


def cut_short(model: Model, cancel: threading.Event | None = None) -> str:
    """Ask the model; returns what is wrong, "" if it knows the beginning of its prompt.

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


def _repository(start: Path) -> str:
    repo = Repo.open(start)
    repo.read_file(repo.head())
    return f"{repo.root} at {repo.head()[:12]}"


def _cache() -> str:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; set AUTORESEARCH_CACHE") from None
    if free <= _FREE_GB:
        raise DataError(f"{folder}, {free:.1f} GB free: too little")
    return f"{folder}, {free:.1f} GB free"


def _corpus(preset: Preset) -> Check:
    """The preset's corpus. One that is downloaded is only asked for: it takes long to prepare."""
    vocab_size = preset.constants["VOCAB_SIZE"]
    try:
        if preset.data != WITHOUT_DOWNLOAD and not prepared(
            preset.data, vocab_size, preset.val_bytes
        ):
            reach(preset.data)
            return Check("corpus", True, f"{preset.data}, which the first run downloads")
        corpus = prepare(preset.data, vocab_size=vocab_size, val_bytes=preset.val_bytes)
    except UserError as error:
        instead = "" if preset.data == WITHOUT_DOWNLOAD else f"; a run takes {WITHOUT_DOWNLOAD}"
        return Check("corpus", False, f"{error}{instead}")
    size = sum(part.n_bytes for part in corpus.train) / 1e6
    text = f"{corpus.source}, {size:.1f} MB to train on, {corpus.fingerprint[:12]}"
    return Check("corpus", True, text)


def _isolation(device: str) -> Iterator[Check]:
    """What confinement there is, and each way out of it, with what the device needs readable."""
    level, why = available()
    yield Check("isolation", level == "os", f"{level}: {why.partition(' (')[0]}")
    if level != "os":
        return
    try:
        tried = measure(_ESCAPES.read_text(), budget="1tok", preset="cpu", device=device)
    except UserError as error:
        yield Check("doors", False, f"could not be tried: {error}")
        return
    tries = [line.rpartition(": ") for line in tried.output.splitlines() if ": " in line]
    for name, _, state in tries:
        yield Check(f"door: {name}", state != "open", state)
    if not tries:
        yield Check("doors", False, f"could not be tried: {tried.status} {tried.reason}")
