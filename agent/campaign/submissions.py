"""Edits that a person, an import or a harvest hands to a campaign, one file each, until their turn.

The loop takes one at its next draw: the event that begins its trial holds all of it, and only then
the file is deleted. So a kill loses none, and one whose file is left over is known by its name.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from agent.campaign.files import sync_folder, write_atomically

FOLDER = "submissions"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Submission:
    """A train.py that is to be judged beside the champion."""

    source: str
    """The whole file, in its plain form."""
    title: str
    hypothesis: str
    origin: Literal["person", "import", "harvest"]
    claimed: float | None = None
    """The gain that its author states, bits per byte."""
    category: str = ""
    """"" for the section that it changes."""
    base: str | None = None
    """The file that it was made from: what differs is merged into the champion. None: found when
    its turn comes; "": there is none, and it is taken as it stands."""
    commit: str = ""
    """Full hash of the commit that it was in, "" if in none."""
    name: str = ""
    """Of its file; ``submit`` gives it one."""


_SUBMISSION: TypeAdapter[Submission] = TypeAdapter(Submission)


def submit(folder: Path, submission: Submission) -> str:
    """Write it into a campaign's folder, behind those that wait; returns its name."""
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    sync_folder(folder)
    last = max((int(path.stem[:6]) for path in place.glob("[0-9]*-*.json")), default=0)
    name = f"{last + 1:06}-{secrets.token_hex(4)}"  # a number that was used may come again
    content = json.dumps(asdict(replace(submission, name=name)))
    write_atomically(place / f"{name}.json", content.encode("ascii"))
    sync_folder(place)
    return name


def waiting(folder: Path) -> list[Submission]:
    """What waits, in the order of its turns: what people wait for comes before the rest."""
    found = []
    for path in sorted((folder / FOLDER).glob("[0-9]*-*.json")):
        try:
            found.append(_SUBMISSION.validate_python(json.loads(path.read_bytes())))
        except (ValueError, OSError) as error:  # or the loop has just taken it
            log.warning("%s is left out, since it is no submission: %s", path, error)
    return sorted(found, key=lambda one: one.origin != "person")


def discard(folder: Path, name: str) -> None:
    """Delete one, after the journal has it."""
    (folder / FOLDER / f"{name}.json").unlink(missing_ok=True)
