"""Recorded replies: ``cassette:FILE+SPEC`` records what SPEC answers, ``cassette:FILE`` replays it.

One JSON object per line: the model, the trial and attempt of the request, digests of the prompt,
and the reply. The prompts themselves are stored with their trials.

When a campaign is replayed, its prompts hold other measurements: no second run has the same tokens
per second. So the reply is found by the trial, the attempt, and the ``fixed`` parts of the prompt
(the program, the champion's source, the category). If several replies match, the one with exactly
the same prompt is used, else the last. Each request is looked up independently, so a campaign that
was killed and resumed gets the same replies as without the kill.

For the same reason a file holds the replies of one campaign only: those of another campaign would
be used instead. A campaign asks for its trials in order. So a request for an earlier trial or
attempt than the last reply, or a different first prompt, is from another campaign.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

from pydantic import TypeAdapter

from agent.models.types import Misconfigured, Model, Prompt, Reply

_BEGINNING = b'{"model": '
"""The beginning of every line that is written here."""


@dataclass(frozen=True)
class Request:
    """The recorded part of one request."""

    trial: int | None
    attempt: int
    parts: tuple[tuple[str, str, str], ...]
    """Name, digest of the text, and digest of its fixed part ("" if it has none)."""

    @property
    def fixed(self) -> tuple[tuple[str, str], ...]:
        """What a reply is found by: the fixed parts; outside of campaigns, all parts."""
        if self.trial is None:
            return tuple((name, text) for name, text, _ in self.parts)
        return (
            (f"trial {self.trial}, attempt {self.attempt + 1}", ""),
            *((name, fixed) for name, _, fixed in self.parts if fixed),
        )

    def common(self, other: Request) -> int:
        """Number of fixed parts, from the first on, that are the same."""
        same = (mine == its for mine, its in zip(self.fixed, other.fixed, strict=False))
        return len(list(takewhile(bool, same)))


@dataclass(frozen=True)
class Recording(Request):
    """One line: what was asked, the spec of the model, and what it answered."""

    model: str
    reply: Reply


_LINE = TypeAdapter(Recording)


class NotRecorded(Misconfigured):
    """A recording has no reply to a request."""


class Recorder:
    """Records the replies of another model."""

    def __init__(self, path: Path, model: Model) -> None:
        """
        Raises:
            Misconfigured: the file cannot be written, or is no cassette.
        """
        self.name = model.name
        self.model = model
        self._path = path
        self._torn: int | None = None
        self._append(b"")
        self._recorded, self._torn = _read(path)

    def complete(
        self, prompt: Prompt, *, max_tokens: int, cancel: threading.Event | None = None
    ) -> Reply:
        """See ``Model.complete``.

        Raises:
            Misconfigured: the file has the replies of another campaign.
        """
        request = _request(prompt, max_tokens)
        if any(_of_another_campaign(request, old) for old in self._recorded):
            raise Misconfigured(
                f"the cassette {self._path} has the replies of another campaign, which these would "
                "go before; record into a new file"
            )
        reply = self.model.complete(prompt, max_tokens=max_tokens, cancel=cancel)
        recording = Recording(request.trial, request.attempt, request.parts, self.name, reply)
        # ASCII, because a reply may hold lone surrogates, which UTF-8 cannot encode.
        line = json.dumps({"model": self.name, **asdict(recording)})
        self._append(line.encode() + b"\n")
        self._recorded.append(recording)
        return reply

    def _append(self, line: bytes) -> None:
        try:
            # Unbuffered: one call writes the line, so after a kill it is complete or absent.
            with self._path.open("ab", buffering=0) as file:
                if line and self._torn is not None:
                    file.truncate(self._torn)
                    self._torn = None
                file.write(line)
                os.fsync(file.fileno())
        except OSError as error:
            raise Misconfigured(
                f"the cassette {self._path} cannot be written: {error.strerror}"
            ) from None


class Player:
    """Answers with recorded replies."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            Misconfigured: the file cannot be read or is no cassette.
        """
        self.name = f"cassette:{path}"
        self._path = path
        self._recorded, _ = _read(path)
        models = {recording.model for recording in self._recorded}
        if len(models) > 1:
            raise Misconfigured(
                f"the cassette {path} holds replies of {' and of '.join(sorted(models))}; record "
                "one model a file"
            )
        self.recorded = next(iter(models), "")
        """The spec of the recorded model, which decides how prompts are written."""

    def complete(
        self, prompt: Prompt, *, max_tokens: int, cancel: threading.Event | None = None
    ) -> Reply:
        """See ``Model.complete``.

        Raises:
            NotRecorded: no such request was recorded.
        """
        asked = _request(prompt, max_tokens)
        same = [recording for recording in self._recorded if recording.fixed == asked.fixed]
        if not same:
            raise NotRecorded(f"the cassette {self._path} {self._why(asked)}")
        exact = [recording for recording in same if recording.parts == asked.parts]
        return (exact or same)[-1].reply

    def _why(self, asked: Request) -> str:
        if not self._recorded:
            return "is empty"
        last = max((r.trial for r in self._recorded if r.trial is not None), default=None)
        if asked.trial is not None and last is not None and asked.trial > last:
            return f"ends with trial {last}; record more, or ask for no more --trials"
        common = [recording.common(asked) for recording in self._recorded]
        at = max(common)
        nearest = common.index(at)
        old, new = (
            request.fixed[at][0] if at < len(request.fixed) else "nothing"
            for request in (self._recorded[nearest], asked)
        )
        names = old if old == new else f"{old}, now {new}"
        return (
            f"does not have this request; its request {nearest + 1}, the nearest, differs from "
            f"the part {names!r} on. Record again, or restore what it was recorded with"
        )


def _request(prompt: Prompt, max_tokens: int) -> Request:
    parts = [(p.name, _digest(p.text), _digest(p.fixed)) for p in prompt.parts]
    if prompt.schema:
        parts.append(("schema", _digest(prompt.schema), ""))
    return Request(prompt.trial, prompt.attempt, (*parts, ("max_tokens", str(max_tokens), "")))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


def _of_another_campaign(asked: Request, old: Request) -> bool:
    if asked.trial is None or old.trial is None:
        return False
    now, then = (asked.trial, asked.attempt), (old.trial, old.attempt)
    # A campaign that was killed after its reply was recorded asks for it again. For trial 1 its
    # prompt is then the same, because the measurements of the baseline are already in the journal.
    return now < then or (now == then == (1, 0) and asked.parts != old.parts)


def _read(path: Path) -> tuple[list[Recording], int | None]:
    """The recordings, and the offset of a last line that a full disk or a crash cut off, if any.

    Raises:
        Misconfigured: the file cannot be read or is no cassette.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"the cassette {path} cannot be read: {error.strerror}") from None
    recordings: list[Recording] = []
    start = 0
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        if not line.endswith(b"\n") and line.startswith(_BEGINNING[: len(line)]):
            return recordings, start
        try:
            recordings.append(_LINE.validate_python(json.loads(line)))
        except ValueError:  # no JSON, or pydantic's, which is one
            raise Misconfigured(
                f"the cassette {path}, line {number}, is not a recorded reply; remove it"
            ) from None
        start += len(line)
    return recordings, None
