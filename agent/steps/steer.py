"""Steer a campaign from a page: each at a person's click, and never more than was clicked."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.campaign import reading
from agent.campaign.files import folder_of
from agent.campaign.reading import CampaignError
from agent.campaign.submissions import submit
from agent.git.repo import Repo
from agent.program import ProgramError, notes_of, with_notes
from agent.report.summary import preset_of
from agent.steps.pause import pause_run
from agent.steps.stop import stop_run
from agent.steps.take import read_file
from trainer.untrusted import one_line

IDEA_LENGTH = 2000


@dataclass(frozen=True)
class Steering:
    """What a person can do with one campaign; each returns what is said to them.

    Everything raises ``UserError``, with a message for the person, where it is not done.
    """

    repo: Repo
    tag: str
    program: Path
    """The program.md that its run reads."""

    def pause(self, on: bool) -> str:
        return pause_run(self.repo, self.tag, off=not on)

    def stop(self) -> str:
        return stop_run(self.repo, self.tag)

    def notes(self) -> dict[str, str]:
        """The notes of program.md as they are now, and by what to say which ones were seen."""
        text, _ = self._read()
        version = hashlib.sha256(self.program.read_bytes()).hexdigest()
        return {"notes": notes_of(text), "version": version, "path": str(self.program)}

    def write_notes(self, notes: str, version: str) -> dict[str, str]:
        """Replace the notes, and nothing else of the file, if it is still the ``version`` that was
        seen."""
        text, encoding = self._read()
        now = hashlib.sha256(self.program.read_bytes()).hexdigest()
        if now != version:
            raise CampaignError(
                f"{self.program.name} was changed meanwhile, so nothing was written: copy your "
                "text, read the notes again, and write it into them"
            )
        data = with_notes(text, notes, self.program).encode(encoding)
        _replace(self.program, data)
        said = "the notes are written; they are read before the next trial"
        return {"said": said, "version": hashlib.sha256(data).hexdigest()}

    def queue(self, idea: str, source: str) -> str:
        """An idea for the next trial: an edited train.py, which is tried as it is; or words, which
        the model that proposes edits reads in the notes."""
        state = reading.load(self.repo, self.tag)
        if source:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "train.py"
                path.write_bytes(source.encode(errors="replace"))
                one = read_file(path, idea[:IDEA_LENGTH], preset_of(state).max_seq_len)
            submit(folder_of(self.repo, self.tag), one)
            is_run = reading.run_of(state, reading.running(self.repo, self.tag)) is not None
            return f"train.py is queued: the next trial{'' if is_run else ' of the next run'}"
        words = one_line(idea, IDEA_LENGTH)
        if not words:
            raise CampaignError("say the idea in words, or give your edit of train.py")
        if state.settings.get("llm") in ("none", None):
            raise CampaignError(
                "no model proposes edits in this campaign, so nobody would read it: give your "
                "edit of train.py, or start a run with --llm"
            )
        seen = self.notes()
        line = f"- For the next trial: {words}"
        self.write_notes("\n".join(filter(None, (seen["notes"], line))), seen["version"])
        return "the idea is in the notes of program.md, which the next proposal gets"

    def _read(self) -> tuple[str, str]:
        """The file's text with its own line ends, and its encoding."""
        try:
            data = self.program.read_bytes()
            encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            raise ProgramError(self.program, 0, "is not UTF-8 text: save it as UTF-8") from None
        except OSError as error:
            raise ProgramError(self.program, 0, f"cannot be read: {error.strerror}") from None


def answers(steering: Steering) -> Mapping[str, Any]:
    """What the page may ask for, by name: functions of what it sends."""
    return {
        "pause": lambda sent: {"said": steering.pause(sent["on"] is True)},
        "stop": lambda sent: {"said": steering.stop()},
        "idea": lambda sent: {"said": steering.queue(str(sent["idea"]), str(sent["source"]))},
        "notes": lambda sent: steering.write_notes(str(sent["notes"]), str(sent["version"])),
    }


def _replace(path: Path, data: bytes) -> None:
    """Write a whole file beside it and put it in its place, with its mode, through links."""
    target = path.resolve()
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(target, name)
        Path(name).replace(target)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        why = error.strerror or str(error)
        raise CampaignError(f"{target} could not be written: {why}; it is as it was") from error
