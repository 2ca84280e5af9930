"""A campaign that has kept edits, in real git with a real journal, made without any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from project import git

from agent.campaign import events
from agent.campaign.records import Training
from agent.campaign.store import Campaign
from agent.edits.blocks import Edit
from agent.edits.changes import fingerprint
from agent.git.repo import Repo
from agent.settings import Settings

GAIN, HALF = 0.01, 0.004
"""Claimed of each."""
TINY = (
    (Path(__file__).parents[1] / "tiny_train.py")
    .read_text()
    .replace("ROWS = 8", "ROWS = 2\nRATE = 0.01\nWIDE = True")
    .replace("lr=0.1", "lr=RATE")
    .replace("0.1 * (1", "RATE * (1")
)
"""Two steps of it take some 1,000 tokens."""


def keep_edits(
    home: Path, sources: Sequence[str], *, budget: str = "20s", nulls: int = 0, tag: str = "t"
) -> Campaign:
    """The first source is the baseline, each other one a keep; the campaign is still open.

    Args:
        nulls: null trials, of which the first is kept falsely.
    """
    train = home / "trainer/train.py"
    if train.read_text() != sources[0]:
        train.write_text(sources[0])
        git(home, "commit", "-qam", "another train.py")
    campaign = Campaign(Repo.open(home), tag)
    settings = Settings(preset="cpu", budget=budget, data="apidocs", llm="none")
    campaign.begin(settings, {"device": "cpu"})
    campaign.record(events.RunBegun(pid=1, settings=settings.free()))
    campaign.record(events.ProgramRead(sha256="0", text=(home / "program.md").read_text()))
    campaign.reconcile()
    for number, source in enumerate(sources):
        _keep(campaign, number, source)
    for number in range(nulls):
        _null(campaign, len(sources) + number, "revert" if number else "keep")
    return campaign


def _keep(campaign: Campaign, number: int, source: str) -> None:
    champion = campaign.state.champion
    parent = campaign.state.settings["base"] if champion is None else champion.commit
    campaign.record(events.TrialBegun(trial=number, category="schedule" if number else "baseline"))
    edit = Edit(category="schedule", title=f"edit {number}", hypothesis="It may help.", blocks=())
    campaign.commit_candidate(parent, source, edit, fingerprint(source))
    score = 1.5 - GAIN * number
    if champion is None:
        commit = campaign.state.trials[-1].candidate
        run = Training(0, "candidate", commit, 1, "ok", val_bpb=score, wall_seconds=20.0)
        campaign.record(events.TrainingOver(training=run))
    else:
        campaign.record(
            events.HeatOver(trial=number, trainings=_heat(campaign, number, score + GAIN, score))
        )
    gain = {"gain": GAIN, "gain_half": HALF} if number else {}
    campaign.conclude(
        events.Concluded(
            trial=number, verdict="keep", words="kept", status="ok", val_bpb=score, **gain
        )
    )


def _null(campaign: Campaign, number: int, verdict: str) -> None:
    campaign.record(events.TrialBegun(trial=number, category="null", proposer="null"))
    campaign.record(events.HeatOver(trial=number, trainings=_heat(campaign, number, 1.4, 1.4)))
    campaign.conclude(
        events.Concluded(trial=number, verdict=verdict, words="null trial", status="ok")  # type: ignore[arg-type]
    )


def _heat(
    campaign: Campaign, number: int, first: float, second: float
) -> tuple[Training, Training]:
    champion = campaign.state.champion
    assert champion is not None
    of = campaign.state.trials[-1].candidate or champion.commit
    told = {"status": "ok", "heat": 0, "wall_seconds": 40.0, "seed": 10 + number}
    return (
        Training(number, "champion", champion.commit, val_bpb=first, **told),  # type: ignore[arg-type]
        Training(number, "candidate", of, val_bpb=second, **told),  # type: ignore[arg-type]
    )
