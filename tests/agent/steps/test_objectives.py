"""Trials judged by the objective of program.md; measurements are stood in for, git is real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import git
from runtimes import running
from shown import log_json, status_text
from staged import Score, answer, audits, play

from agent import loop
from agent.campaign.journal import read_events
from agent.campaign.records import Trial
from agent.campaign.state import fold
from agent.campaign.submissions import Submission, submit
from agent.edits.blocks import Edit
from agent.edits.constants import constants, set_constants
from agent.executors.local import Local
from agent.objective import GB
from agent.proposers.base import NothingToPropose, Proposal
from agent.report.summary import paragraph, status_json
from agent.report.verification import verified_text
from agent.steps.harvest import _Harvest
from agent.steps.runtime import Runtime
from agent.steps.transfer import elsewhere, transfer
from agent.steps.verify import Asked, Keeps, verify
from agent.steps.watch import HeatWatch
from trainer import measure

TARGET = {"target": 1.5, "doubling": 0.08}


def aim(runtime: Runtime, objective: str) -> None:
    """Write the objective into program.md; "" takes it out."""
    path = runtime.program.path
    lines = [one for one in path.read_text().splitlines() if not one.startswith("objective")]
    path.write_text("\n".join(["---", objective, *lines[1:]]) if objective else "\n".join(lines))
    if runtime.campaign.state.trials == []:
        runtime.read_program()


def took(score: float, gb: float = 1.0, seconds: float = 20.0, **more: Any) -> Score:
    used = {"peak_memory_mb": gb * GB, "train_seconds": seconds, "spent": seconds / 20}
    return {"val_bpb": score, **used, **more}


@pytest.fixture
def told(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    monkeypatch.setattr(runtime.display, "message", heard.append)
    monkeypatch.setattr(runtime.display, "close", lambda: None)
    audits(monkeypatch, bound=0.0)
    return heard


def last(runtime: Runtime, trials: int = 1) -> Trial:
    loop.baseline(runtime)
    for _ in range(trials):
        loop.one_trial(runtime)
    state = runtime.campaign.state
    assert fold(read_events(runtime.campaign.journal.path)).trials == state.trials
    return state.trials[-1]


def test_a_candidate_above_the_bound_is_reverted_at_once(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aim(runtime, "objective: {memory_limit: 4 GB}")
    played = play(monkeypatch, took(1.5, 3.9), (took(1.5, 3.9), took(1.46, 4.3)))
    trial = last(runtime)
    assert len(played.seeds) == 2, "one heat tells it"
    assert trial.words == "takes 4.3 GB, above the objective's 4 GB, reverted"
    assert (trial.verdict, trial.status, trial.outcome) == ("revert", "oversize", "reverted")
    assert trial.reward == -0.2 and not trial.reward_is_clipped
    assert trial.val_bpb == 1.46 and trial.gain == pytest.approx(0.04), "it is on the chart"
    assert trial.objective == {"memory_limit": 4.0}
    message = runtime.campaign.repo.commit_for(trial.commit).message
    assert "Objective: val_bpb, at most 4 GB" in message
    play(monkeypatch, *[(took(1.5, 3.9), took(1.457, 4.0))] * 6)
    assert last(runtime).kept
    assert not any("above" in text for text in told)


def test_a_bound_is_not_judged_by_a_heat_whose_champion_failed(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aim(runtime, "objective: {memory_limit: 4 GB}")
    failed = {"status": "crashed", "reason": "a full disk"}
    fat = took(1.46, 4.3)
    play(monkeypatch, took(1.5, 3.9), (failed, fat), (took(1.5, 3.9), fat))
    trial = last(runtime)
    assert (trial.status, len(trial.heats)) == ("oversize", 2)
    assert trial.gain == pytest.approx(0.04)


def test_a_champion_above_the_bound_is_itself_the_bound(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aim(runtime, "objective: {memory_limit: 4 GB}")
    play(monkeypatch, took(1.5, 5.0), (took(1.5, 4.99), took(1.46, 5.2)))
    trial = last(runtime)
    assert trial.words == (
        "takes 5.2 GB, above the objective's 4 GB and the 5.05 GB of the champion, which is above "
        "it, too, reverted"
    )
    play(monkeypatch, *[(took(1.5, 5.0), took(1.457, 4.6))] * 6)
    assert last(runtime).kept
    play(monkeypatch, (took(1.4, 4.6), took(1.36, 4.8)))
    assert last(runtime).status == "oversize"
    assert sum("the champion takes 4.6 GB, above" in text for text in told) == 1
    assert sum("an edit may take no more" in text for text in told) == 2, "once for each champion"


def test_a_limit_that_comes_later_is_the_champion_s_where_that_is_above_it(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the baseline's, which is within it."""
    play(monkeypatch, took(1.5, 3.0), *[(took(1.5, 3.0), took(1.457, 5.0))] * 6)
    assert last(runtime).kept
    aim(runtime, "objective: {memory_limit: 4 GB}")
    play(monkeypatch, *[(took(1.457, 5.0), took(1.5, 5.0))] * 3)
    assert last(runtime).status == "ok"
    play(monkeypatch, (took(1.457, 5.0), took(1.42, 5.1)))
    assert last(runtime).status == "oversize"


def test_under_a_target_a_worse_score_in_less_time_is_kept(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aim(runtime, "objective: {target: 1.5, doubling: 0.2}")
    heat = took(1.4, seconds=20.0), took(1.49, seconds=12.0)
    play(monkeypatch, took(1.4), heat, heat)
    trial = last(runtime)
    assert trial.verdict == "keep"
    assert trial.words.endswith("in 2 heats; reaches 1.5 in 12.0 s, champion in 20.0 s")
    assert trial.differences == pytest.approx([0.1474] * 2, abs=1e-4)
    assert not any(t.quarantined for t in trial.trainings), "time is measured, not claimed"
    # Better than good enough pays nothing any more.
    play(monkeypatch, *[(took(1.49, seconds=12.0), took(1.3, seconds=12.0))] * 6)
    level = last(runtime)
    assert (level.verdict, level.gain) == ("revert", 0.0)


def test_a_champion_at_the_target_is_not_left_for_one_that_misses_it(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aim(runtime, "objective: {target: 1.5, doubling: 0.2}")
    play(monkeypatch, took(1.49), (took(1.49), took(1.52, seconds=5.0)))
    trial = last(runtime)
    assert trial.verdict == "revert" and trial.differences == pytest.approx([-0.02])
    assert trial.words.endswith("does not reach 1.5 yet, champion in 20.0 s")


@pytest.mark.parametrize(
    ("score", "seconds", "words"),
    [
        (1.60, 10.0, "does not reach 1.5 yet, nor does the champion"),
        (1.57, 2.0, "does not reach 1.5 yet, nor does the champion"),
        (1.58, 20.0, "does not reach 1.5 yet, nor does the champion"),
    ],
)
def test_short_of_the_target_only_quality_pays(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch,
    score: float, seconds: float, words: str,
) -> None:  # fmt: skip
    aim(runtime, "objective: {target: 1.5, doubling: 0.08}")
    heat = took(1.61), took(score, seconds=seconds)
    play(monkeypatch, took(1.61), *[heat] * 6)
    trial = last(runtime)
    assert trial.words.endswith(words)
    assert trial.differences == pytest.approx([1.61 - score] * len(trial.heats))


def test_what_was_recorded_stays_when_the_objective_changes(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, took(1.6), *[(took(1.6), took(bpb)) for bpb in (1.556, 1.564, 1.56, 1.56)])
    kept = last(runtime)
    assert kept.kept and kept.objective == {}
    aim(runtime, "objective: {target: 1.5, doubling: 0.08}")
    before = kept.differences, runtime.champion.trial
    play(monkeypatch, *[(took(1.4), took(1.4, seconds=10.0))] * 2)
    assert last(runtime).differences == pytest.approx([0.08] * 2)
    state = runtime.campaign.state
    assert (state.trials[1].differences, 1) == before
    assert [row["objective"] for row in log_json(state)] == [{}, {}, TARGET]
    (said,) = [text for text in told if "the objective was" in text]
    assert said.startswith("the objective was val_bpb; from now on trials are judged by time to")
    status = status_json(state, "t", None, {"a": 1.0})
    both = ["val_bpb", "time to val_bpb 1.5, a doubling of it costs 0.08"]
    assert (status["objective"], status["summed"]) == (TARGET, both)
    summed = f"a sum of gains by different objectives: {both[0]}; then {both[1]}"
    assert summed in status_text(state) and summed in paragraph(state)
    noise = runtime.make_judge("structure").noise, runtime.make_judge("numbers").noise
    aim(runtime, "")
    play(monkeypatch, (took(1.4), took(1.9)))
    last(runtime)
    assert noise != (runtime.make_judge("structure").noise, runtime.make_judge("numbers").noise)


def test_a_trial_that_a_kill_cut_off_between_two_edits_is_judged_by_its_own(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edited, killed in a heat, edited again, gone on with: what the journal has with it counts."""

    class Killed(BaseException):
        pass

    def kill(*args: Any, **options: Any) -> None:
        raise Killed

    heats = [took(1.4), took(1.4, seconds=10.0)]
    play(monkeypatch, took(1.4))
    loop.baseline(runtime)
    aim(runtime, "objective: {target: 1.5, doubling: 0.08}")
    monkeypatch.setattr(measure, "heat", kill)
    with pytest.raises(Killed):
        loop.one_trial(runtime)
    aim(runtime, "objective: {time: 0.6}")
    runtime.campaign.close()
    with running(runtime.campaign.repo.root, runtime.program.path.with_name("out-2.txt")) as again:
        monkeypatch.setattr(again.display, "message", told.append)
        assert again.program.objective.time == 0.6 and again.open_trial.objective == TARGET
        play(monkeypatch, *[tuple(heats)] * 2)
        first = last(again)
        assert (first.trial, first.objective) == (1, TARGET)
        assert first.differences == pytest.approx([0.08] * len(first.heats))
        play(monkeypatch, *[tuple(heats)] * 2)
        second = last(again)
        assert (second.trial, second.objective) == (2, {"time": 0.6})
        assert second.differences == pytest.approx([0.1] * len(second.heats))
        state = again.campaign.state
        assert [row["objective"] for row in log_json(state)] == [{}, TARGET, {"time": 0.6}]
    assert len([text for text in told if "from now on trials are judged by" in text]) == 2


def test_who_proposes_is_told_what_its_trial_is_judged_by(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """program.md is read before every reply; the objective is that of the trial's beginning."""
    seen: list[tuple[Any, ...]] = []

    class Heard:
        attempts, name = 1, "deck"

        def propose(self, context: Any) -> Any:
            seen.append(context.program.objective.recorded())
            raise NothingToPropose("enough")

        def choices(self, context: Any) -> int:
            return 1

        def covers(self, context: Any) -> bool:
            return True

    play(monkeypatch, took(1.4))
    loop.baseline(runtime)
    runtime.proposer = Heard()
    loop.draw(runtime)
    aim(runtime, "objective: {target: 1.5, doubling: 0.08}")
    for _ in range(2):
        loop.one_trial(runtime)
    assert seen == [{}, TARGET]
    assert [t.objective for t in runtime.campaign.state.trials] == [{}, {}, TARGET]


HEAVY = "{memory_limit: 4 GB}", 1.46, 5.0
CRASHED = "val_bpb", None, 1.0


@pytest.mark.parametrize(
    ("first", "then", "again"),
    [
        (("val_bpb", 1.6, 1.0), "val_bpb", False),
        (("val_bpb", 1.6, 1.0), "{memory_limit: 4 GB}", False),
        (("val_bpb", 1.6, 1.0), "{target: 1.7}", True),
        (HEAVY, "{memory_limit: 4 GB, doubling: 0.1, target: 9}", True),
        (HEAVY, "{memory_limit: 4 GB}", False),
        (HEAVY, "{memory_limit: 6 GB}", True),
        (HEAVY, "val_bpb", True),
        (CRASHED, "{target: 1.7}", False),
    ],
)
def test_what_lost_by_another_objective_may_be_tried_again(
    first: tuple[str, float | None, float], then: str, again: bool,
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    aim(runtime, f"objective: {first[0]}")
    own = took(first[1], first[2]) if first[1] else {"status": "crashed", "reason": "crash: x"}
    play(monkeypatch, took(1.5, 3.0), (took(1.5, 3.0), own))
    trial = last(runtime)
    assert trial.verdict == "revert"

    class Same:
        attempts, name = 1, "deck"

        def propose(self, context: Any) -> Proposal:
            return Proposal("deck", trial.reply.replace(trial.category, context.category, 1))

        def choices(self, context: Any) -> int:
            return 1

        def covers(self, context: Any) -> bool:
            return bool(context.category == trial.category)

    runtime.proposer = Same()
    aim(runtime, f"objective: {then}")
    play(monkeypatch, *[(took(1.5, 3.0), took(1.6, 3.0))] * 6)
    assert (last(runtime).verdict == "revert") == again, runtime.campaign.state.trials[-1].words


def test_an_abandoned_candidate_has_saved_no_time_and_one_that_may_yet_end_goes_on(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are behind after a quarter; only one of them too far for any time that it may save."""
    aim(runtime, "objective: {target: 1.5, doubling: 0.08}")
    course = tuple(3.0 - 0.05 * part for part in range(20))
    ended = {"status": "abandoned", "reason": "no candidate is left", "losses": course}
    for behind, goes_on in ((0.12, True), (0.9, False)):
        losses = (*(loss + behind for loss in course[:5]), *[None] * 15)
        own = {"status": "abandoned", "losses": losses, "train_seconds": 5.0, "spent": 0.25}
        heats = [] if runtime.campaign.state.trials else [took(1.4)]
        play(monkeypatch, *heats, (ended, own))
        if goes_on:
            with pytest.raises(AssertionError, match="would not have ended it"):
                last(runtime)
            continue
        trial = last(runtime, trials=1)
        assert (trial.status, trial.differences) == ("abandoned", ())
        assert trial.reward == -0.2 and trial.gain < -0.5  # type: ignore[operator]


@pytest.mark.parametrize(("budget", "saved"), [("20s", 15.0), ("1000tok", 20.0)])
def test_a_faster_candidate_may_save_all_the_time_of_its_tokens(
    budget: str, saved: float, runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    aim(runtime, "objective: {time: 0.6}")
    play(monkeypatch, took(1.5), (took(1.5), took(1.6)))
    last(runtime)
    loop.draw(runtime)
    runtime.settings = runtime.settings.model_copy(update={"budget": budget})
    watch = HeatWatch(runtime, runtime.open_trial, None)
    assert watch._worth(0.25, -0.1) == pytest.approx(0.01 * saved - 0.1)


def test_seconds_that_have_a_price_are_not_taken_from_an_earlier_training(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a token budget the champion's training is used again, unless its pace counts."""
    aim(runtime, "objective: {time: 0.1}")
    runtime.settings = runtime.settings.model_copy(update={"budget": "1000tok"})
    play(monkeypatch, took(1.5), *[(took(1.5), took(1.5, seconds=200.0))] * 3)
    for _ in range(2):  # after the first one it is known that a training repeats
        trial = last(runtime)
        assert trial.verdict == "revert" and not any(t.reused for t in trial.trainings)
        assert trial.differences[0] == pytest.approx(-0.3)


def test_a_claim_by_another_objective_labels_no_keep(
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its val_bpb is worth nothing below a target: that is not bound to the budget at home."""
    play(monkeypatch, took(1.5), *[(took(1.5), took(1.46))] * 6)
    assert last(runtime).kept
    aim(runtime, "objective: {target: 1.6, doubling: 0.08}")
    play(monkeypatch, *[(took(1.46), took(1.46))] * 6)
    last(runtime)
    campaign = runtime.campaign
    base = campaign.source(campaign.state.trials[0].commit)
    answer(monkeypatch, lambda source, seed: took(1.5 if source == base else 1.46))
    keeps = Keeps(
        campaign.repo, "t", campaign.state, campaign, runtime.display, runtime.stop, Local()
    )
    (row,) = transfer(keeps, Asked(2), elsewhere("4x", (), "20s"))["transfers"]
    assert (row["label"], row["gain"]["mean"]) == ("undecided", 0.0)
    assert row["claimed"]["mean"] > 0.03


@pytest.mark.parametrize(
    ("origin", "objective", "words"),
    [
        ("import", "{target: 1.6, doubling: 0.2}", "claimed +0.0400 of val_bpb, here level with"),
        ("import", "{memory_limit: 4 GB}", "claimed +0.0400, here worse by 0.1"),
        ("harvest", "{target: 1.6, doubling: 0.2}", "claimed +0.0400, here level with"),
    ],
)
def test_what_others_claim_is_of_val_bpb(
    origin: str, objective: str, words: str,
    runtime: Runtime, told: list[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    aim(runtime, f"objective: {objective}")
    play(monkeypatch, took(1.4), *[(took(1.4), took(1.5))] * 6)
    loop.baseline(runtime)
    base = runtime.campaign.source(runtime.champion.commit)
    (axis,) = constants(base)[:1]
    edited = Edit("a", "", "", set_constants(base, {axis.name: axis.value * 2})).apply(base)
    submit(runtime.campaign.folder, Submission(edited, "x", "y", origin, 0.04, base=base))
    assert last(runtime).words.startswith(words)


def test_verify_measures_by_the_objective_in_force(
    runtime: Runtime, told: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(home, "config", "user.name", "A User")
    git(home, "config", "user.email", "user@example.org")
    aim(runtime, "objective: {target: 1.5, doubling: 0.08, memory_limit: 1 GB}")
    play(monkeypatch, took(1.4), *[(took(1.4), took(1.45, seconds=10.0))] * 2)
    assert last(runtime).kept
    sources = [runtime.campaign.source(t.commit) for t in runtime.campaign.state.trials]

    def score(source: str, seed: int) -> Score:
        bpb = 1.4 + 0.001 * (seed % 5)
        return took(bpb, 1.5, 20.0 if source == sources[0] else 10.0)

    answer(monkeypatch, score)
    campaign = runtime.campaign
    keeps = Keeps(
        campaign.repo, "t", campaign.state, campaign, runtime.display, runtime.stop, Local()
    )
    found = verify(keeps, Asked(2), "verify")
    assert found["gain"]["mean"] == pytest.approx(0.08)
    assert found["champion"]["mean"] == pytest.approx(1.4, abs=0.005), "scores stay scores"
    assert found["used"]["champion"]["train_seconds"] == 10.0
    assert found["used"]["champion"]["over"].endswith("above the objective's 1 GB")
    text = verified_text(found)
    assert "champion takes 1.5 GB, above the objective's 1 GB (1.5 GB, 10.0 s" in text
    assert "by documents" not in text and "by time to val_bpb 1.5" in text
    assert found["claimed_gain"]["mean"] > 0.05
    there = transfer(keeps, Asked(2), elsewhere("4x", (), "20s"))
    (row,) = there["transfers"]
    assert (row["label"], row["gain"]["mean"]) == ("transfers", pytest.approx(0.08))
    assert "it takes 1.5 GB, above the objective's 1 GB" in verified_text(there)
    (keep,) = _Harvest(campaign, runtime.display, runtime.stop, Local()).run(2)["keeps"]
    assert keep["alone"]["mean"] == pytest.approx(0.08) and keep["label"] == "carries"
    assert {tuple(p["objective"]) for p in campaign.state.harvested["pairs"]} == {tuple(TARGET)}
    assert found["summed"] == ["time to val_bpb 1.5, a doubling of it costs 0.08"]
