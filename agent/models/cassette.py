"""Recorded replies: ``cassette:FILE+SPEC`` records what SPEC answers, ``cassette:FILE`` replays it.

One JSON object a line: a digest of each part of the request, and the reply. The prompts themselves
stay with their trials.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import asdict
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import Any

from agent.models.base import Misconfigured, Model, OnText, Prompt, Reply, Usage

Request = tuple[tuple[str, str], ...]
"""Name and digest of each part, then the bound on tokens."""


class Recorder:
    """Another model, whose replies are written down."""

    def __init__(self, path: Path, model: Model) -> None:
        """
        Raises:
            Misconfigured: the file cannot be written.
        """
        self.name = model.name
        self._path = path
        self._model = model
        self._append("")

    def __repr__(self) -> str:
        return f"<cassette:{self._path}+{self.name}>"

    def complete(
        self,
        prompt: Prompt,
        *,
        max_tokens: int,
        on_text: OnText | None = None,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """See ``Model.complete``."""
        reply = self._model.complete(prompt, max_tokens=max_tokens, on_text=on_text, cancel=cancel)
        entry = {"request": _request(prompt, max_tokens), "reply": asdict(reply)}
        self._append(json.dumps(entry, ensure_ascii=False) + "\n")
        return reply

    def _append(self, line: str) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Misconfigured(
                f"the cassette {self._path} cannot be written: {error.strerror}"
            ) from None


class Player:
    """Answers as recorded; the same request again gets the next of its replies."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            Misconfigured: the file cannot be read or is no cassette.
        """
        self.name = f"cassette:{path}"
        self._path = path
        self._recorded: list[tuple[Request, Reply]] = []
        self._used: set[int] = set()
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise Misconfigured(f"the cassette {path} cannot be read: {why}") from None
        for number, line in enumerate(lines, 1):
            try:
                self._recorded.append(_entry(json.loads(line)))
            except (ValueError, KeyError, TypeError):
                raise Misconfigured(
                    f"the cassette {path}, line {number}, is not a recorded reply; remove it"
                ) from None

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
        """See ``Model.complete``.

        Raises:
            Misconfigured: no such request was recorded, or not as often.
        """
        asked = _request(prompt, max_tokens)
        same = [i for i, (request, _) in enumerate(self._recorded) if request == asked]
        fresh = [i for i in same if i not in self._used]
        if not fresh:
            raise Misconfigured(f"the cassette {self._path} {self._why(asked, len(same))}")
        self._used.add(fresh[0])
        reply = self._recorded[fresh[0]][1]
        if on_text is not None:
            on_text(reply.text)
        return reply

    def _why(self, asked: Request, times: int) -> str:
        if times:
            return f"has this request {times} times, and it was asked once more"
        unused = [i for i in range(len(self._recorded)) if i not in self._used]
        if not unused:
            return f"is at its end: {len(self._recorded)} replies, all used"
        nearest = max(unused, key=lambda i: _common(asked, self._recorded[i][0]))
        request = self._recorded[nearest][0]
        pairs = zip_longest(request, asked, fillvalue=("nothing", ""))
        old, new = next(pair for pair in pairs if pair[0] != pair[1])
        names = old[0] if old[0] == new[0] else f"{old[0]}, now {new[0]}"
        return (
            f"does not have this request; its request {nearest + 1}, the nearest, differs from "
            f"the part {names!r} on. Record again, or restore what it was recorded with"
        )


def _request(prompt: Prompt, max_tokens: int) -> Request:
    parts = [(p.name, hashlib.sha256(p.text.encode()).hexdigest()[:16]) for p in prompt.parts]
    return (*parts, ("max_tokens", str(max_tokens)))


def _common(a: Request, b: Request) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _entry(line: dict[str, Any]) -> tuple[Request, Reply]:
    reply = dict(line["reply"])
    usage = reply.pop("usage")
    request = tuple((str(name), str(digest)) for name, digest in line["request"])
    return request, Reply(**reply, usage=Usage(**usage) if usage else None)
