"""Campaigns on disk that nobody runs, in a user's repository: enough for what looks at them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from events import Story

from agent.campaign.events import read_event
from agent.campaign.lines import write_line

PROGRAM = "## Categories\n- **optimizer**: rules\n- **schedule**: times\n"


def repository(folder: Path, **stories: Story) -> Path:
    """``folder`` as a repository with campaigns, by tag."""
    git = ["git", "-c", "user.name=A User", "-c", "user.email=user@example.org"]
    for command in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    for tag, story in stories.items():
        for event in story.events:
            if event["event"] == "program":
                event["text"] = PROGRAM
        lines = [write_line(read_event(event)) for event in story.events]
        (folder / "campaigns" / tag).mkdir(parents=True)
        (folder / "campaigns" / tag / "journal.jsonl").write_bytes(b"".join(lines))
    return folder
