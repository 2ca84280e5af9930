"""``doctor``: tests what works on this machine.

Some servers silently cut off the beginning of a prompt that is longer than their context. The rules
are at the beginning, and with them the format of a reply. So doctor puts a word at the very
beginning of a prompt as long as one late in a campaign, and asks for the word at its end.
"""

from __future__ import annotations

import platform
import secrets
import shlex
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.edits.blocks import Edit
from agent.edits.constants import constants, set_constants
from agent.executors.workers import possible
from agent.git.command import inherited_environment, run_git
from agent.git.repo import Repo
from agent.models.cassette import Player, Recorder
from agent.models.choose import open_model
from agent.models.secrets import redact, secret_values
from agent.models.types import Model, Part, Prompt
from agent.program import load_program
from agent.proposers.llm import CHARACTERS_PER_TOKEN, HISTORY_TOKENS
from agent.steps.start import MB_PER_TRIAL, NIGHT_HOURS, TRAININGS_PER_TRIAL
from trainer import sandbox
from trainer.data.choice import AUTO, WITHOUT_DOWNLOAD
from trainer.data.prepare import DataError, cache_dir, prepare, prepared, reach
from trainer.errors import UserError
from trainer.measure import MACHINE, measure, resolve
from trainer.presets import Preset
from trainer.sandbox.confine import available
from trainer.untrusted import one_line

_ESCAPES = Path(sandbox.__file__).parent / "escapes.py"
_FREE_GB = 2.0
PACE_BUDGET = "3s"
DETAIL_LENGTH = 700
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


Look = Callable[[], "str | Iterator[Check]"]
"""Tests one thing: what it found, or several checks; an exception says what is wrong."""


def checks(start: Path, llm: str = "auto") -> Iterator[Check]:
    """All checks, in the order in which a run would need what they test. None stops another.

    Args:
        llm: a model, to test whether it reads long prompts from their beginning; ``auto`` tests
            only a server of the user's own, which costs nothing.
    """
    looks: dict[str, Look] = {
        "python": lambda: f"{platform.python_version()} on {platform.platform()}",
        "git": _git,
        "repository": partial(_repository, start),
        "filters": partial(_filters, start),
        "identity": partial(_identity, start),
        "program": partial(_program, start),
        "cache": _cache,
        "disk": partial(_disk, start),
        "device": _device,
        "workers": _workers,
        "corpus": lambda: _corpus(resolve().preset),
        "isolation": _isolation,
        "pace": partial(_pace, start),
        "llm": partial(_llm, llm),
    }
    hidden, told = secret_values(inherited_environment()), dict[str, str]()
    for name, look in looks.items():
        for check in _looked(name, look):
            detail = one_line(redact(check.detail, hidden), DETAIL_LENGTH)
            if not check.ok and (before := told.setdefault(detail, name)) != name:
                yield Check(check.check, True, f"not looked at, since {before} failed")
            else:
                yield Check(check.check, check.ok, detail)


def _looked(name: str, look: Look) -> Iterator[Check]:
    try:
        found = look()
        yield from [Check(name, True, found)] if isinstance(found, str) else found
    except UserError as error:
        yield Check(name, False, str(error))
    except Exception as error:  # noqa: BLE001  whatever a check runs into is what it found
        yield Check(name, False, f"{type(error).__name__}: {error}")


def _git() -> str:
    return run_git("version", cwd=Path("/")).stdout.decode(errors="replace").strip()


def _repository(start: Path) -> str:
    repo = Repo.open(start)
    repo.read_file(repo.head())
    repo.git("worktree", "list")
    return f"{repo.root} at {repo.head()[:12]}"


def _filters(start: Path) -> str:
    """Programs of filters that git must run to check a file out, as that of LFS."""
    key = r"^filter\..*\.(smudge|process)$"
    found = run_git("config", "-z", "--get-regexp", key, cwd=start).stdout.decode(errors="replace")
    lost, filters = [], [entry.partition("\n") for entry in found.split("\0")[:-1]]
    for name, _, command in filters:
        try:
            lost += [f"{name} ({p})" for p in shlex.split(command)[:1] if not shutil.which(p)]
        except ValueError as error:  # as quotes that do not end
            lost.append(f"{name}, which no shell can read ({command}: {error}; git config --edit)")
    if lost:
        return f"not usable: {', '.join(lost)}; a run does without, adopt and checkouts need it"
    return f"{len(filters)} set up" if filters else "none"


def _identity(start: Path) -> str:
    strict = ("-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT")
    done = run_git(*strict, cwd=start, as_user=True)
    if done.returncode:
        return "none; a run needs none, adopt does: git config --global user.name and user.email"
    return done.stdout.decode(errors="replace").rpartition(" <")[0]


def _program(start: Path) -> str:
    here = start / "program.md"
    program = load_program(here if here.exists() else Repo.open(start).root / here.name)
    given = ", ".join(program.settings) or "none, so the defaults hold"
    objective = f"; objective: {program.objective.words()}" if program.objective.recorded() else ""
    return f"settings: {given}{objective}; categories: {', '.join(program.names)}"


def _cache() -> str:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            size = sum(path.lstat().st_size for path in folder.rglob("*")) / 1e9
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; set AUTORESEARCH_CACHE") from None
    return f"{folder}, {size:.1f} GB in it, {_free(folder, _FREE_GB, 'set AUTORESEARCH_CACHE')}"


def _free(folder: Path, least: float, remedy: str) -> str:
    free = shutil.disk_usage(folder).free / 1e9
    if free <= least:
        raise DataError(
            f"{folder}: {free:.1f} GB free, {least:.1f} GB needed; free some, or {remedy}"
        )
    return f"{free:.1f} GB free"


def _disk(start: Path) -> str:
    """Where campaigns lie, and where trainings write."""
    scratch = Path(tempfile.gettempdir())
    preset = resolve().preset
    trials = NIGHT_HOURS * 3600 / (TRAININGS_PER_TRIAL * (preset.budget.seconds or 20.0))
    night = trials * MB_PER_TRIAL / 1000
    here = _free(start, 0.5 + night, "move the repository")
    there = _free(scratch, 0.5 + 2 * preset.scratch_mb / 1000, "set TMPDIR to another disk")
    return f"{here} for campaigns, of which a night takes {night:.1f} GB; {there} in {scratch}"


def _device() -> str:
    probe, setting = MACHINE.probe(), resolve()
    memory = f", {probe['device_memory_mb']:,} MB" if "device_memory_mb" in probe else ""
    device = f"{probe['device']} {probe['name']}".strip() + memory
    return (
        f"{device}, preset {setting.preset.name}, {setting.threads} threads, torch {probe['torch']}"
    )


def _workers() -> str:
    most, why = possible()
    return f"1 unless --workers asks for more, at most {most}: {why}"


def _corpus(preset: Preset) -> str:
    """The preset's corpus. One that is downloaded is only asked for: it takes long to prepare."""
    source, note = preset.data, ""
    how = {"vocab_size": preset.constants["VOCAB_SIZE"], "val_bytes": preset.val_bytes}
    if source != WITHOUT_DOWNLOAD and not prepared(source, **how):
        try:
            reach(source)
            return f"{source}, which the first run downloads"
        except UserError as error:
            note = f"; a run takes it, since {source} cannot be had: {error}"
            source = WITHOUT_DOWNLOAD
    corpus = prepare(source, **how)
    size = sum(part.n_bytes for part in corpus.train) / 1e6
    return f"{source}, {size:.1f} MB to train on, {corpus.fingerprint[:12]}{note}"


def _isolation() -> Iterator[Check]:
    """What confinement there is, and each way out of it, with what the device needs readable."""
    level, why = available()
    yield Check("isolation", level == "os", f"{level}: {why.partition(' (')[0]}")
    if level != "os":
        return
    try:
        tried = measure(_ESCAPES.read_text(), budget="1tok", preset="cpu", device=resolve().device)
    except UserError as error:
        yield Check("doors", False, f"could not be tried: {error}")
        return
    tries = [line.rpartition(": ") for line in tried.output.splitlines() if ": " in line]
    for name, _, state in tries:
        yield Check(f"door: {name}", state != "open", state)
    if not tries:
        yield Check("doors", False, f"could not be tried: {tried.status} {tried.reason}")


def _pace(start: Path) -> Iterator[Check]:
    """A short training of the file that a run would begin with, and what a night would hold."""
    repo, preset = Repo.open(start), resolve().preset
    source = repo.read_file(repo.head())
    named = {one.name for one in constants(source)} & set(preset.constants)
    blocks = set_constants(source, {name: preset.constants[name] for name in named})
    source = Edit("baseline", "", "", blocks).apply(source) if blocks else source
    done = measure(source, budget=PACE_BUDGET, data=WITHOUT_DOWNLOAD)
    if not done.steps or not done.train_seconds:
        yield Check("pace", False, f"train.py does not train: {done.status} ({done.reason})")
        return
    steps, tokens = (count / done.train_seconds for count in (done.steps, done.tokens))
    yield Check("pace", True, f"{steps:,.1f} steps, {tokens:,.0f} tokens a second")
    around = done.wall_seconds - done.train_seconds
    budget = preset.budget.seconds or (preset.budget.tokens or 0) / tokens
    trials = NIGHT_HOURS * 3600 / (TRAININGS_PER_TRIAL * (budget + around))
    yield Check(
        "night",
        trials >= 1,
        f"{NIGHT_HOURS:g} h hold about {trials:,.0f} trials, of {TRAININGS_PER_TRIAL:g} trainings "
        f"of {budget:.0f} s and {around:.1f} s around each; less what a model takes to answer",
    )


def _llm(spec: str) -> Iterator[Check]:
    model, why = open_model(spec, inherited_environment())
    yield Check("llm", True, why.splitlines()[0])
    if model is None:
        return
    if spec == AUTO and "@" not in model.name:
        asking = f"python -m agent doctor --llm {model.name}"
        yield Check("prompt", True, f"not asked, since that costs money; {asking} does")
        return
    # This request is not part of a campaign and must not be recorded in its cassette.
    asked = model.model if isinstance(model, Recorder) else model
    if isinstance(asked, Player):
        yield Check("prompt", True, "not asked: a cassette answers what was recorded only")
    elif asked.name == "local":
        yield Check("prompt", True, "not asked: local is given short prompts of its own only")
    else:
        fault = cut_short(asked)
        yield Check("prompt", not fault, fault or "a long prompt is read from its beginning")


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
