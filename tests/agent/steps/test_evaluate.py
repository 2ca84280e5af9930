"""How a trial is judged by heats; measurements are stood in for, git is real."""

from __future__ import annotations

import dataclasses

import pytest
from staged import audits, play

from agent import loop
from agent.campaign.chain import chain
from agent.campaign.evidence import level_of
from agent.campaign.journal import read_events
from agent.campaign.reading import CampaignError
from agent.campaign.records import Training, Trial
from agent.campaign.state import fold
from agent.campaign.store import Campaign
from agent.forecast import PARTS
from agent.judge import trial_level
from agent.steps import start
from agent.steps.next_action import MAX_FAULTS
from agent.steps.runtime import Runtime, Stopped
from trainer import measure
from trainer.measure import CheckResult

FAILED = {"status": "crashed", "reason": "crash: RuntimeError: shapes"}
BEHIND = tuple(3.0 - 0.05 * part for part in range(PARTS))
ABANDONED = {
    "status": "abandoned",
    "reason": "hopeless after 25% of a heat",
    "losses": (*(loss + 0.5 for loss in BEHIND[:5]), *[None] * 15),
}
ENDED = {"status": "abandoned", "reason": "no candidate is left", "losses": BEHIND}


def one_trial(runtime: Runtime) -> None:
    loop.baseline(runtime)
    loop.one_trial(runtime)


def test_champion_and_candidate_share_one_seed_and_each_heat_has_another(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = play(monkeypatch, 1.5, (1.6, 1.56), (1.4, 1.36), (1.5, 1.46), (1.5, 1.46))
    audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert trial.verdict == "keep"
    assert trial.differences == pytest.approx([0.04] * len(trial.heats))
    assert [len(seeds) for seeds in played.seeds] == [1, *[2] * len(trial.heats)]
    assert all(len(set(seeds)) == 1 for seeds in played.seeds)
    assert len({seeds[0] for seeds in played.seeds}) == len(played.seeds)
    champion, candidate = played.sources[1]
    assert champion == played.sources[0][0] != candidate
    assert [o["champion_first"] for o in played.options[1:]] == [True, False] * 1


def test_a_slow_machine_is_no_gain_and_no_loss(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores of the same file wander by a third; the differences are small."""
    play(monkeypatch, 1.5, (1.9, 1.901), (1.2, 1.2005), (1.7, 1.7), (1.3, 1.2999), (1.6, 1.6002))
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert trial.verdict == "revert" and abs(trial.gain) < 0.002  # type: ignore[arg-type]
    assert abs(trial.reward) < 0.02  # type: ignore[arg-type]


def test_what_people_see_is_chained_by_gains(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, *[(1.7, 1.66)] * 2, (1.65, 1.75))
    audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    loop.one_trial(runtime)
    state, preset = runtime.campaign.state, runtime.preset
    baseline, kept, lost = (chain(state, preset)[n] for n in range(3))
    assert baseline.mean == pytest.approx((1.5 + 1.7 + 1.7) / 3)
    assert kept.mean == pytest.approx(baseline.mean - state.trials[1].gain)  # type: ignore[operator]
    assert lost.mean == pytest.approx(kept.mean + 0.1)
    assert state.trials[1].val_bpb == pytest.approx(1.66), "val_bpb stays what was measured"
    table = (runtime.campaign.folder / "results.tsv").read_text().splitlines()
    assert [row.split("\t")[1] for row in table[1:]] == [
        f"{value.mean:.6f}" for value in (baseline, kept, lost)
    ]


def test_greedy_keeps_one_lucky_heat(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.settings = runtime.settings.model_copy(update={"keep": "greedy"})
    play(monkeypatch, 1.5, (1.5, 1.499), (1.7, 1.6999))
    audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    loop.one_trial(runtime)
    assert [trial.verdict for trial in runtime.campaign.state.trials] == ["keep"] * 3


GONE = {"status": "oom", "reason": "memory: none left"}


def test_a_champion_that_always_fails_stops_the_run_and_burns_nothing(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, *[(GONE, 1.4)] * MAX_FAULTS)
    with pytest.raises(
        CampaignError, match=r"the champion failed, oom \(memory: none left\)"
    ) as why:
        loop.run_campaign(runtime)
    assert "doctor" in str(why.value) and "--tag t goes on with trial 1" in str(why.value)
    assert runtime.campaign.state.stop_reason == str(why.value), "the journal says it, too"
    assert runtime.open_trial.trial == 1

    runtime = dataclasses.replace(runtime)  # as another run has it
    play(monkeypatch, (GONE, 1.4), (1.5, 1.9))
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert (trial.verdict, trial.status) == ("revert", "ok")
    assert len(runtime.campaign.state.trials) == 2


def test_a_champion_that_fails_now_and_then_stops_nothing(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = [(GONE, 1.4)] * (MAX_FAULTS - 1)
    play(monkeypatch, 1.5, *often, (1.5, 1.499), *often, (1.5, 1.9))
    one_trial(runtime)
    assert runtime.campaign.state.trials[1].verdict == "revert"


def test_a_candidate_that_is_killed_leaves_the_trial_unjudged(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = {"status": "killed", "reason": "signal 9"}
    play(monkeypatch, 1.5, *[(1.5, killed)] * MAX_FAULTS)
    loop.baseline(runtime)
    before = runtime.prior.probabilities()
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert (trial.verdict, trial.status, trial.reward) == ("revert", "unjudged", None)
    assert "not judged: the candidate was killed (signal 9)" in trial.words
    assert runtime.prior.probabilities() == before
    assert trial.tried == ()


def test_audits_that_cannot_be_carried_out_stop_the_run_before_the_third_loss(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime.settings = runtime.settings.model_copy(update={"keep": "greedy"})
    play(monkeypatch, 1.5, *[(1.5, 1.49)] * MAX_FAULTS)
    audits(monkeypatch, 0.0, reason="no memory", status="crashed")
    loop.baseline(runtime)
    for _ in range(MAX_FAULTS - 1):
        loop.one_trial(runtime)
    with pytest.raises(CampaignError, match=r"audit could not be carried out \(no memory\)"):
        loop.one_trial(runtime)
    runtime = dataclasses.replace(runtime)
    audits(monkeypatch, bound=0.0)
    loop.one_trial(runtime)
    statuses = [trial.status for trial in runtime.campaign.state.trials[1:]]
    assert statuses == ["unjudged", "unjudged", "ok"]
    assert runtime.campaign.state.trials[-1].verdict == "keep"


def test_trial_steps_that_fail_for_the_champion_as_well_are_no_edit_s_fault(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5)
    loop.baseline(runtime)
    broken = CheckResult("crashed", "driver: gone")
    monkeypatch.setattr(measure, "check", lambda source, **options: broken)
    with pytest.raises(CampaignError, match="the champion's as well: driver: gone"):
        for _ in range(MAX_FAULTS):
            loop.one_trial(runtime)
    assert runtime.campaign.state.open_trial is not None


def test_a_candidate_that_fails_is_reverted_by_name(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, (1.5, FAILED))
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert (trial.verdict, trial.status, trial.reward) == ("revert", "crashed", -0.2)
    assert trial.words == "crashed (crash: RuntimeError: shapes), reverted"


def test_one_that_fails_in_a_later_heat_is_reverted(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, (1.5, 1.46), (1.5, FAILED))
    one_trial(runtime)
    assert runtime.campaign.state.trials[1].status == "crashed"


def test_an_abandoned_candidate_has_a_forecast_and_no_score(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, (ENDED, ABANDONED))
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert (trial.verdict, trial.status, trial.val_bpb) == ("revert", "abandoned", None)
    assert trial.gain == pytest.approx(-0.5)
    assert trial.gain_half > 0.1 and trial.reward == -0.2  # type: ignore[operator]
    assert "hopeless after 25% of a heat" in trial.words
    assert trial.outcome == "reverted"
    row = (runtime.campaign.folder / "results.tsv").read_text().splitlines()[-1].split("\t")
    assert row[1] == "2.000000" and row[3] == "discard"
    noise = runtime.make_judge("structure").noise
    assert noise.scale == pytest.approx(runtime.preset.noise_structure), "no part in the noise"


def test_a_heat_says_that_the_machine_changed_its_pace(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, ({"val_bpb": 1.5, "pace": 1.8}, 1.7))
    told: list[str] = []
    monkeypatch.setattr(runtime.display, "message", told.append)
    one_trial(runtime)
    assert any("changed by 80%" in text and "met both alike" in text for text in told)


def test_a_heat_that_was_cut_off_is_run_again_under_its_seed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5)
    loop.baseline(runtime)
    with pytest.raises(IndexError):  # as a kill in the middle of the heat
        loop.one_trial(runtime)
    begun = runtime.open_trial.open_seeds
    assert len(begun) == 2
    played = play(monkeypatch, (1.5, 1.7))
    loop.one_trial(runtime)
    assert played.seeds == [list(begun)]
    assert fold(read_events(runtime.campaign.journal.path)).trials == runtime.campaign.state.trials


def test_new_tags_are_free_ones(runtime: Runtime) -> None:
    first = start.new_tag(runtime.campaign.repo)
    Campaign(runtime.campaign.repo, first).close()
    assert start.new_tag(runtime.campaign.repo) == f"{first}-2"


def test_limits_written_into_program_md_hold_before_the_next_trial(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, (1.5, 1.9))
    one_trial(runtime)
    path = runtime.program.path
    path.write_text(path.read_text().replace("---\n", "---\ntrials: 1\n", 1))
    with pytest.raises(Stopped):
        loop.one_trial(runtime)
    runtime.settings = runtime.settings.model_copy(update={"trials": 9, "hours": 0.0})
    with pytest.raises(Stopped, match="time is up"):
        loop.one_trial(runtime)


def test_a_score_on_other_text_is_not_recorded(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = ({"val_bpb": 1.5, "fingerprint": {"text": f"files:a {n}"}} for n in (1, 2))
    play(monkeypatch, first, (other, other))
    loop.baseline(runtime)
    with pytest.raises(CampaignError, match="text was files:a 1 and is files:a 2 now"):
        loop.one_trial(runtime)
    assert runtime.open_trial.trainings == ()
    play(monkeypatch, (first, {**first, "val_bpb": 1.7}))
    loop.one_trial(runtime)
    assert runtime.campaign.state.trials[1].verdict == "revert"


def test_a_constant_that_changes_the_number_of_parameters_is_structure(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known before the first heat, since the noise is what the heat is watched with."""
    for params, kind in ((1000, "numbers"), (1001, "structure")):
        checked = CheckResult("ok", params=params)
        monkeypatch.setattr(measure, "check", lambda *a, found=checked, **o: found)
        play(monkeypatch, 1.5, (1.5, 1.9))
        loop.baseline(runtime)
        if params > 1000:
            play(monkeypatch, (1.5, 1.9))
        loop.one_trial(runtime)
        trial = runtime.campaign.state.trials[-1]
        assert trial.proposer == "tuner"
        assert trial.kind == kind


def test_an_abandoned_candidate_has_saved_no_time(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = runtime.program.path.read_text()
    runtime.program.path.write_text(text.replace("---\n", "---\nobjective: {time: 0.1}\n", 1))
    runtime.read_program()
    short = {**ABANDONED, "train_seconds": 75.0}
    play(monkeypatch, 1.5, ({**ENDED, "train_seconds": 300.0}, short))
    one_trial(runtime)
    assert runtime.campaign.state.trials[1].reward < 0  # type: ignore[operator]


def test_what_an_edit_may_keep_by_luck_goes_by_heats_that_counted(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = ({"status": "oom", "reason": "memory: none left"}, 1.4)
    play(monkeypatch, 1.5, fault, fault, (1.5, 1.9))
    one_trial(runtime)
    assert level_of(runtime.campaign.state, "confirm") == 0.05, "its only real heat was lost"
    play(monkeypatch, (1.5, 1.4999), (1.5, 1.501), (1.5, 1.6))
    loop.one_trial(runtime)
    assert level_of(runtime.campaign.state, "confirm") < 0.05  # type: ignore[operator]


def test_greedy_keeps_earn_no_level(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = runtime.settings
    runtime.settings = settings.model_copy(update={"keep": "greedy"})
    play(monkeypatch, 1.5, (1.5, 1.49))
    audits(monkeypatch, bound=0.0)
    one_trial(runtime)
    assert runtime.campaign.state.trials[1].level is None
    state = runtime.campaign.state
    lost = dataclasses.replace(
        state.trials[1], verdict="revert", level=0.05,
        trainings=(*state.trials[1].trainings, *_another(state.trials[1])),
    )  # fmt: skip
    state.trials.extend(dataclasses.replace(lost, trial=n) for n in range(2, 8))
    state.ended.extend(range(2, 8))
    expected = trial_level("confirm", [(True, False)] * 6)
    assert level_of(state, "confirm") == expected


def _another(trial: Trial) -> list[Training]:
    """The trial's trainings once more, as a second heat."""
    return [dataclasses.replace(training, heat=1) for training in trial.trainings]


def test_one_overtime_is_forgiven(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    late = {"status": "overtime", "reason": "overtime: no weights after 20.4 s"}
    play(monkeypatch, 1.5, (1.5, late), (1.5, 1.9))
    one_trial(runtime)
    assert runtime.campaign.state.trials[1].status == "ok"
    play(monkeypatch, (1.5, late), (1.5, late))
    loop.one_trial(runtime)
    assert runtime.campaign.state.trials[2].status == "overtime"


def test_a_forecast_after_earlier_heats_is_one_difference_among_them(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, (1.5, 1.499), (ENDED, ABANDONED))
    one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert trial.status == "abandoned" and trial.differences == pytest.approx((0.001,))
    assert trial.gain == pytest.approx((0.001 - 0.5) / 2)


BUSY = [
    {"status": "overtime", "reason": "overtime: no ready after 7.0 s"},
    {"status": "invalid", "reason": "movement: the model scores as well without its training"},
]
"""A baseline on a machine on which any file is late, or comes to a step or two."""


@pytest.mark.parametrize("busy", BUSY)
def test_a_baseline_on_a_busy_machine_is_tried_again_then_stops_the_run_to_be_resumed(
    busy: dict[str, str], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, *[busy] * MAX_FAULTS, busy, 1.5)
    with pytest.raises(CampaignError, match=rf"{MAX_FAULTS} times.*busy for its --budget.*goes on"):
        loop.baseline(runtime)
    runtime.in_vain.clear()  # as in another process
    loop.baseline(runtime)
    assert runtime.champion.val_bpb == 1.5
