"""What people submit: merged into the champion, judged like any other, lost by no kill."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from grown import Grown
from project import git
from shown import log_json, log_text
from staged import audits, play

from agent import loop
from agent.campaign.events import Known, RunBegun, RunEnded
from agent.campaign.files import write_atomically
from agent.campaign.journal import read_events
from agent.campaign.learning import rebuild_prior
from agent.campaign.records import Trial
from agent.campaign.snapshot import read_state, save
from agent.campaign.state import fold
from agent.campaign.store import Campaign
from agent.campaign.submissions import FOLDER, Submission, discard, submit, waiting
from agent.edits.checks import check
from agent.edits.constants import constants
from agent.edits.facts import edit_facts
from agent.report.details import show_text
from agent.steps import take
from agent.steps.clean import remains_of
from agent.steps.runtime import Runtime, Stopped
from trainer import measure
from trainer.measure import CheckResult
from trainer.presets import find_preset

BETTER = [(1.7, 1.66)] * 2


def submitted(source: str, **fields: Any) -> Submission:
    given = {"title": "an idea", "hypothesis": "It helps.", "origin": "person"} | fields
    return Submission(source, **given)


def changed(source: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert source.count(old) == 1
        source = source.replace(old, new)
    return source


def champion(runtime: Runtime) -> str:
    return runtime.campaign.source(runtime.champion.commit)


def try_it(runtime: Runtime, submission: Submission) -> Trial:
    name = submit(runtime.campaign.folder, submission)
    loop.run_campaign(runtime, [name])
    assert not waiting(runtime.campaign.folder)
    return runtime.campaign.state.trials[-1]


@pytest.fixture
def begun(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """A campaign with its baseline; the next heats are a keep."""
    play(monkeypatch, 1.5, *BETTER, *BETTER)
    audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    return runtime


WIDTH = ("WIDTH = 128", "WIDTH = 256")
RATE = ("MATRIX_LR = 0.02", "MATRIX_LR = 0.04")


@pytest.mark.process
def test_a_submission_is_the_next_trial_and_like_any_other(begun: Runtime, tmp_path: Path) -> None:
    before = begun.prior.probabilities()
    source = changed(champion(begun), WIDTH)
    trial = try_it(begun, submitted(source, claimed=0.05))
    state = begun.campaign.state
    assert (trial.verdict, trial.category, trial.proposer) == ("keep", "architecture", "person")
    assert (trial.title, trial.hypothesis, trial.propensity) == ("an idea", "It helps.", 0.0)
    assert champion(begun) == source
    assert trial.level is not None and trial.is_audited and len(trial.differences) == 2
    assert trial.reward is None
    assert begun.prior.probabilities() == before
    names, seed = begun.program.names, begun.settings.seed
    assert rebuild_prior(names, seed, state.finished).probabilities() == before
    assert trial.words.startswith("claimed +0.0500, here kept: better by 0.0400")
    assert trial.words in log_text(state)
    assert log_json(state)[1]["claimed"] == 0.05
    assert "claimed    +0.0500" in show_text(state, 1, begun.campaign.folder)
    message = git(tmp_path, "log", "-1", "--format=%B", "autoresearch/t")
    assert (
        message.startswith("architecture: an idea (val_bpb 1.6600") and "Claimed: 0.05" in message
    )
    journal = begun.campaign.journal
    assert state == fold(read_events(journal.path))
    save(journal.path, state, journal.place)
    assert read_state(journal.path) == state
    assert "source" not in trial.submitted, "it is in the journal and in git, not in memory"
    begun.campaign.close()
    assert not remains_of(begun.campaign.repo, "t").yours


@pytest.mark.process
def test_a_file_made_from_an_earlier_one_is_merged_into_the_champion(
    begun: Runtime, tmp_path: Path
) -> None:
    first = champion(begun)
    try_it(begun, submitted(changed(first, RATE)))
    second = try_it(begun, submitted(changed(first, WIDTH), base=None))
    assert champion(begun) == changed(first, RATE, WIDTH)
    assert second.lines_added == 1
    said = (tmp_path / "out.txt").read_text()
    how = "trial 0, merged into trial 1's file"
    assert f"an idea: made from {how}" in said and second.hypothesis == f"From {how}: It helps."


@pytest.mark.process
@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("MATRIX_LR = 0.02", "MATRIX_LR = 0.03")], "'MATRIX_LR = 0.03"),
        ([("    session.ready()", "    session.ready(")], "does not compile: train.py line 129"),
        ([("    session.ready()", "    session.redy()\n    nobody()")], "undefined name"),
        ([], "the edit changes nothing"),
        ([("    session.ready()", "    two = 2\n    del two\n    session.ready()")], "two trial"),
    ],
    ids=["conflict", "syntax", "name", "nothing", "two steps"],
)
def test_what_cannot_be_tried_is_rejected_with_the_reason(
    begun: Runtime, monkeypatch: pytest.MonkeyPatch, pairs: list[tuple[str, str]], reason: str
) -> None:
    first = champion(begun)
    try_it(begun, submitted(changed(first, RATE)))

    def check(source: str, **options: Any) -> CheckResult:
        return CheckResult("crashed" if "two = 2" in source else "ok", "crash: of its own")

    monkeypatch.setattr(measure, "check", check)
    trial = try_it(begun, submitted(changed(first, *pairs), base=first, claimed=0.01))
    assert (trial.verdict, trial.reward, trial.candidate) == ("rejected", None, "")
    assert trial.words.startswith("claimed +0.0100, here rejected before training: ")
    assert reason in trial.words
    assert trial.title == "an idea"


@pytest.mark.process
def test_a_file_of_its_own_is_taken_as_it_stands_and_the_same_is_not_tried_twice(
    begun: Runtime, tmp_path: Path
) -> None:
    whole = (Path(__file__).parents[2] / "tiny_train.py").read_text()
    trial = try_it(begun, submitted(whole))
    assert (trial.verdict, trial.category) == ("keep", "submitted")
    assert champion(begun) == whole
    assert "made from no train.py that the campaign knows" in (tmp_path / "out.txt").read_text()
    assert trial.hypothesis == "From no train.py that the campaign knows, as it stands: It helps."
    assert "changes nothing" in try_it(begun, submitted(whole)).words


def test_people_come_before_the_rest_and_before_null_trials(
    begun: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "null_is_due", lambda runtime: True)
    source = champion(begun)
    for origin in ("import", "harvest", "person"):
        submit(begun.campaign.folder, submitted(source, title=origin, origin=origin))
    begun.settings = begun.settings.model_copy(update={"trials": 0})
    loop.draw(begun)
    trial = begun.campaign.state.open_trial
    assert trial is not None and (trial.title, trial.proposer) == ("person", "person")
    assert [one.title for one in waiting(begun.campaign.folder)] == ["import", "harvest"]


def test_a_category_is_the_submissions_own_and_odd_files_are_left_out(begun: Runtime) -> None:
    folder = begun.campaign.folder
    with pytest.raises(Stopped):
        loop.draw(begun, ["nothing is called so"])
    submit(folder, submitted(champion(begun), category="simplification", title="\udcff"))
    write_atomically(folder / FOLDER / "000000-x.json", b'{"source": 1}')
    loop.draw(begun)
    trial = begun.campaign.state.trials[1]
    assert (trial.category, trial.title) == ("simplification", "\udcff")
    assert len(list((folder / FOLDER).iterdir())) == 1, "the odd one"


class Killed(BaseException):
    """Stands in for kill -9."""


MOMENTS = [
    "nothing", "trial before", "trial", "discarded", "proposed", "candidate", "heat", "verdict",
]  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_neither_loses_it_nor_tries_it_twice(
    begun: Runtime, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    name = submit(begun.campaign.folder, submitted(changed(champion(begun), WIDTH)))
    record = Campaign.record

    def dying(self: Campaign, event: Known) -> None:
        if event.event == moment.removesuffix(" before") and moment.endswith(" before"):
            raise Killed
        record(self, event)
        if event.event == moment:
            raise Killed

    def discarding(folder: Path, gone: str) -> None:
        discard(folder, gone)
        if moment == "discarded":
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Campaign, "record", dying)
        patch.setattr(take, "discard", discarding)
        with pytest.raises(Killed):
            loop.run_campaign(begun, [name])
            raise Killed
    begun.campaign.close()
    campaign = Campaign(begun.campaign.repo, "t")
    campaign.reconcile()
    resumed = dataclasses.replace(begun, campaign=campaign)
    loop.run_campaign(resumed, [name])
    campaign.close()
    (trial,) = campaign.state.trials[1:]
    assert trial.submitted["name"] == name
    assert trial.verdict == "keep"
    assert not list((campaign.folder / FOLDER).iterdir())
    events = [json.loads(line)["event"] for line in campaign.journal.path.open()]
    assert events.count("candidate") == events.count("verdict") == 2


@pytest.mark.parametrize("said", ["", " \n", "wide \n and so on"])
def test_a_file_has_a_title_and_a_hypothesis(tmp_path: Path, said: str) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes((Path(__file__).parents[2] / "tiny_train.py").read_bytes())
    one = take.read_file(path, said, 1024)
    assert (one.title, one.origin) == ("wide and so on" if said.strip() else "mine.py", "person")
    assert one.hypothesis.startswith("wide" if said.strip() else "mine.py, edited by hand")


def test_the_example_is_the_shipped_file_with_one_idea() -> None:
    root = Path(__file__).parents[3]
    shipped = (root / "trainer/train.py").read_text()
    better = (root / "examples/better.py").read_text()
    facts = edit_facts(shipped, better)
    assert (facts.size_delta, facts.sets_numbers) == (0, True)
    values = [{c.name: c.value for c in constants(text)} for text in (shipped, better)]
    changed_ones = {name for name in values[0] if values[0][name] != values[1][name]}
    assert changed_ones == {"BATCH_ROWS", "MICRO_ROWS"}
    kept = set(shipped.splitlines()) & set(better.splitlines())
    assert len(set(shipped.splitlines()) - kept) == 2, "its comments are the same, too"
    check(shipped, better, max_seq_len=find_preset("cpu").max_seq_len)


@pytest.mark.process
def test_what_is_handed_in_waits_for_a_run_unless_one_is_under_way(
    user_repo: Path, git: Callable[..., str]
) -> None:
    begun = Grown(user_repo, git)
    edit = str(Path(__file__).parents[2] / "tiny_train.py")
    done = run_here(begun.root, "try", edit)  # beside a harvest, say
    waits = f"for the next run, as process {os.getpid()} is none: python -m agent run --tag t"
    assert f"1 submitted, {waits}" in done.stdout and done.returncode == 0
    status = ("status", "--json")
    assert '"state": "stopped"' in run_here(begun.root, *status).stdout
    begun.campaign.record(RunBegun(pid=os.getpid(), settings={}))
    assert '"state": "running"' in run_here(begun.root, *status).stdout
    assert "1 submitted, to be tried next" in run_here(begun.root, "try", edit).stdout
    begun.campaign.record(RunEnded(reason="--trials"))
    assert waits in run_here(begun.root, "try", edit).stdout
    assert len(waiting(begun.root / "campaigns/t")) == 3
    begun.campaign.close()
