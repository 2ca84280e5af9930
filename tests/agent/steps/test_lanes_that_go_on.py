"""Lanes after a stop, beside a ``try``, without ideas, and with devices that come; see
``test_lanes``."""

from __future__ import annotations

import dataclasses

import pytest
from lab import (
    ELSEWHERE,
    LAST,
    PLACE,
    Lab,
    Run,
    Told,
    check_invariants,
    closed,
    drafted,
    edit,
    journal,
    trials,
    use,
)

from agent import loop
from agent.campaign import events
from agent.campaign.submissions import Submission, submit
from agent.proposers.base import Context
from agent.steps.runtime import Runtime

pytestmark = pytest.mark.process


def stopped_with(runtime: Runtime, lab: Lab, drafts: int) -> None:
    """A run that was stopped while the first of so many drafts trained."""
    heats = closed(lab, 1)
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    with Run(runtime):
        drafted(lab, drafts)
        runtime.stop.set()
    runtime.stop.clear()
    heats.release(99)


def test_a_try_leaves_open_trials_to_the_next_run(runtime: Runtime, lab: Lab) -> None:
    stopped_with(runtime, lab, 3)
    lab.scores = lambda source: 1.1 if "own" in source else 1.9 if "kind" in source else 1.5
    source = runtime.campaign.baseline_source().replace(LAST, f"{LAST}    own = 1\n    del own\n")
    name = submit(runtime.campaign.folder, Submission(source, "own", "it may help", "person"))
    use(runtime, keep="greedy")
    assert loop.run_campaign(runtime, [name]) == "what was submitted has its verdict"
    own = trials(runtime)[4]
    assert own.kept and own.submitted["name"] == name
    assert [t.trial for t in runtime.campaign.state.open_trials] == [1, 2, 3]
    use(runtime, trials=4)
    loop.run_campaign(runtime)
    assert not runtime.campaign.state.open_trials
    assert all(t.carried for t in trials(runtime)[1:4])
    check_invariants(runtime)


def test_a_heat_that_was_cut_off_has_the_same_company_again(runtime: Runtime, lab: Lab) -> None:
    use(runtime, heat="3", keep="greedy")
    runtime.proposer = Told()
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    heats = closed(lab, 1)
    with Run(runtime):
        lab.wait_for("heat")
        assert len(lab.wait_for("heat")) == 4
        runtime.stop.set()
    (seeds,) = {trial.open_seeds for trial in runtime.campaign.state.open_trials}
    runtime.stop.clear()
    heats.release(99)
    lab.asked.clear()
    assert loop.run_campaign(runtime) == "3 trials are done"
    assert [len(of) for what, of in lab.asked if what == "heat"] == [4]
    assert {t.seed for trial in trials(runtime)[1:] for t in trial.trainings} == {*seeds}
    check_invariants(runtime)


@dataclasses.dataclass
class OneEach(Told):
    """Knows one edit of each champion, and ``first`` more of the baseline."""

    first: int = 1

    def covers(self, context: Context) -> bool:
        of_baseline = "kind" not in context.source
        begun = len(context.history) + len(context.pending) - 1
        return begun < self.first if of_baseline else begun < 3


def test_a_lane_without_an_idea_goes_on_after_the_next_verdict(runtime: Runtime, lab: Lab) -> None:
    """Of two devices one has nothing to do until there is another champion."""
    lab.slots = 2
    runtime.proposer = OneEach()
    use(runtime, keep="greedy", trials=9)
    lab.scores = lambda source: 1.5 - 0.1 * source.count("    kind = ")
    heats = closed(lab, 1)
    with Run(runtime) as run:
        lab.wait_for("heat"), lab.wait_for("heat")
        heats.release(1)
        lab.wait_for("heat"), lab.wait_for("heat")  # both, on the new champion
        heats.release(9)
    assert run.reason.startswith("no proposer has an untried idea left")
    assert [trial.kept for trial in trials(runtime)] == [True] * 4


def test_there_are_more_lanes_when_there_are_more_devices(runtime: Runtime, lab: Lab) -> None:
    """A node joins the cluster while the first trial trains."""
    runtime.proposer = Told()
    use(runtime, keep="greedy", ray="auto")
    lab.scores = lambda source: 1.9 if "kind" in source else 1.5
    heats = closed(lab, 1)
    with Run(runtime) as run:
        lab.wait_for("heat"), lab.wait_for("heat")
        lab.slots = 2
        heats.release(1)
        lab.wait_for("heat"), lab.wait_for("heat")
        heats.release(9)
    assert run.reason == "3 trials are done"


def test_a_trial_is_judged_by_the_rule_that_it_began_with(runtime: Runtime, lab: Lab) -> None:
    """program.md is edited, and read by another lane, while its first heat trains."""
    use(runtime, keep="greedy")
    lab.scores = lambda source: 1.5 - 0.1 * source.count("    kind = ")
    places = [PLACE, ELSEWHERE, LAST]
    lab.replies = lambda prompt: edit(f"at{prompt.trial}", places[prompt.trial % 3])
    heats = closed(lab, 1)
    with Run(runtime):
        drafted(lab, 3)
        use(runtime, keep="confirm")
        heats.release(99)
    began = [e.keep for e in journal(runtime) if isinstance(e, events.TrialBegun)]
    assert began == ["greedy"] * 4
    assert [(trial.kept, len(trial.differences)) for trial in trials(runtime)[1:]] == [
        (True, 1)
    ] * 3
