"""``doctor``: what works on this machine, found out by trying it."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.git.repo import Repo, RepoError
from agent.models.cassette import Player, Recorder
from agent.models.choose import open_model
from agent.models.types import ModelError
from agent.steps.canary import cut_short
from trainer import sandbox
from trainer.data.prepare import DataError, cache_dir, prepare
from trainer.measure import MACHINE, measure, resolve
from trainer.sandbox.confine import available

_DOORS = Path(sandbox.__file__).parent / "escapes.py"
_FREE_GB = 2.0


@dataclass(frozen=True)
class Check:
    check: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def checks(start: Path, llm: str = "auto") -> Iterator[Check]:
    """Every check, in the order in which a run would meet what it looks at.

    Args:
        llm: a model to ask whether it reads long prompts to their beginning; ``auto`` asks only
            what costs nothing, a server of the user's own.
    """
    yield Check("python", True, f"{platform.python_version()} on {platform.platform()}")
    yield _repository(start)
    yield _cache()
    yield _corpus()
    probe = MACHINE.probe()
    setting = resolve()
    yield Check(
        "device", True, f"{probe['device']} {probe['name']}".strip()
        + f", preset {setting.preset.name}, {setting.threads} threads, torch {probe['torch']}",
    )  # fmt: skip
    yield from _isolation()
    yield from _llm(llm)


def _llm(spec: str) -> Iterator[Check]:
    try:
        model, why = open_model(spec, os.environ)
        yield Check("llm", True, why.splitlines()[0])
        if model is None:
            return
        if spec == "auto" and "@" not in model.name:
            asking = f"python -m agent doctor --llm {model.name}"
            yield Check("prompt", True, f"not asked, since that costs money; {asking} does")
            return
        # What is asked here is no part of a campaign and must not go onto its tape.
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


def _repository(start: Path) -> Check:
    try:
        repo = Repo.open(start)
        repo.read_file(repo.head())
    except RepoError as error:
        return Check("repository", False, str(error))
    return Check("repository", True, f"{repo.root} at {repo.head()[:12]}")


def _cache() -> Check:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        return Check("cache", False, f"{folder}: {error.strerror}; set AUTORESEARCH_CACHE")
    enough = free > _FREE_GB
    return Check(
        "cache", enough, f"{folder}, {free:.1f} GB free" + ("" if enough else ": too little")
    )


def _corpus() -> Check:
    try:
        corpus = prepare("apidocs")
    except DataError as error:
        return Check("corpus", False, str(error))
    size = sum(part.n_bytes for part in corpus.train) / 1e6
    return Check("corpus", True, f"apidocs, {size:.1f} MB to train on, {corpus.fingerprint[:12]}")


def _isolation() -> Iterator[Check]:
    level, why = available()
    yield Check("isolation", level == "os", f"{level}: {why.partition(' (')[0]}")
    if level != "os":
        return
    tried = measure(_DOORS.read_text(), budget="1tok", preset="cpu", device="cpu")
    doors = [line.rpartition(": ") for line in tried.output.splitlines() if ": " in line]
    for name, _, state in doors:
        yield Check(f"door: {name}", state != "open", state)
    if not doors:
        yield Check("doors", False, f"could not be tried: {tried.status} {tried.reason}")
