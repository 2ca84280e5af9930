"""A run of a campaign as its steps have it, without the command line."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from agent.campaign.store import Campaign
from agent.git.repo import Repo
from agent.program import load_program
from agent.proposers.choose import make
from agent.report.display import Display
from agent.settings import Settings
from agent.steps.runtime import Runtime


@contextlib.contextmanager
def running(home: Path, out: Path) -> Iterator[Runtime]:
    """Of the campaign in the repository ``home``, which begins if there is none."""
    settings = Settings(preset="cpu", budget="20s", llm="none", sequential=True)
    campaign = Campaign(Repo.open(home), "t")
    if campaign.is_new:
        campaign.begin(settings, {"device": "cpu"})
    campaign.reconcile()
    program = load_program(home / "program.md")
    hybrid = make("hybrid", None, 0)
    with out.open("w") as file:
        yield Runtime(campaign, settings, program, hybrid, Display(file), threading.Event())
    campaign.close()
