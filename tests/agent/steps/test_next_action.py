"""What is to be done next with a candidate, by what has happened to it so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from events import Story, sha

from agent.judge import Decision
from agent.steps.next_action import MAX_FAULTS, Action, next_action

Happenings = Callable[[Story], None]


def heats(*scores: tuple[float | None, float | None], **candidate: Any) -> Happenings:
    def tell(story: Story) -> None:
        for champion, own in scores:
            story.heat(1, champion, own, **candidate)

    return tell


def audited(ok: bool, trainings: int = 1) -> Happenings:
    def tell(story: Story) -> None:
        status = "ok" if ok else "invalid"
        audit = {"commit": sha("candidate 1"), "ok": ok, "status": status, "trainings": trainings}
        story.add("audit", trial=1, **audit)

    return tell


def lost(times: int) -> Happenings:
    """Heats in which the champion failed."""

    def tell(story: Story) -> None:
        for _ in range(times):
            story.heat(1, None, 1.3, champion=KILLED)

    return tell


KILLED = {"status": "killed", "reason": "no memory"}
CRASH = {"status": "crashed", "reason": "crash: ValueError"}
OVERTIME = {"status": "overtime", "reason": "ran over"}
QUARANTINED = {"counted": False, "quarantined": True}

CASES: list[tuple[str, list[Happenings], Decision, Action]] = [
    ("nothing yet", [], "heat", "heat"),
    ("undecided", [heats((1.3, 1.29))], "heat", "heat"),
    ("worse", [heats((1.3, 1.4))], "revert", "revert"),
    ("better, not audited", [heats((1.3, 1.2))], "keep", "audit"),
    ("better and audited", [heats((1.3, 1.2)), audited(True)], "keep", "keep"),
    ("trained since its audit", [heats((1.3, 1.2)), audited(True, 0)], "keep", "audit"),
    ("failed its audit", [heats((1.3, 1.2)), audited(False)], "keep", "fail"),
    ("too good to be true", [heats((1.3, 0.2), **QUARANTINED)], "heat", "audit"),
    ("so, audited", [heats((1.3, 0.2), **QUARANTINED), audited(True)], "heat", "heat"),
    ("crashed", [heats((None, None), **CRASH)], "heat", "fail"),
    ("crashed at the second seed", [heats((1.3, 1.2)), heats((None, None), **CRASH)], "keep",
     "fail"),
    ("one overtime", [heats((None, None), **OVERTIME)], "heat", "heat"),
    ("two overtimes", [heats((None, None), (None, None), **OVERTIME)], "heat", "fail"),
    ("hopeless", [heats((None, None), status="abandoned")], "heat", "abandon"),
    ("the champion failed", [lost(MAX_FAULTS - 1)], "heat", "heat"),
    ("the champion fails again and again", [lost(MAX_FAULTS)], "heat", "heat"),
    ("the candidate is killed again and again", [heats(*[(1.3, None)] * MAX_FAULTS, **KILLED)],
     "heat", "give up"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("happened", "answer", "action"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_next_action(happened: list[Happenings], answer: Decision, action: Action) -> None:
    story = Story()
    story.baseline(1.3)
    story.candidate(story.draw("schedule"), "x")
    for tell in happened:
        tell(story)
    assert next_action(story.state.trials[1], answer, "confirm") == action


def test_only_a_model_mends_and_only_twice() -> None:
    story = Story()
    story.baseline(1.3)
    story.candidate(story.draw("schedule"), "x", proposer="llm")
    story.heat(1, None, None, **CRASH)
    trial = story.state.trials[1]
    assert next_action(trial, "heat", "confirm") == "repair"
    story.add("repair", trial=1, reason="it crashed")
    sent_back = story.state.trials[1].sent_back * 2
    assert next_action(replace(trial, sent_back=sent_back), "heat", "confirm") == "fail"


def test_a_shorter_program_is_proven_first_unless_luck_will_do() -> None:
    story = Story()
    story.baseline(1.3)
    story.candidate(story.draw("simplification"), "x", size_delta=-2)
    trial = story.state.trials[1]
    assert next_action(trial, "heat", "confirm") == "prove"
    assert next_action(trial, "heat", "greedy") == "heat"
    story.add("proof", trial=1, proof="other")
    assert next_action(story.state.trials[1], "heat", "confirm") == "heat"


def test_a_null_trial_is_kept_without_an_audit() -> None:
    story = Story()
    story.baseline(1.3)
    story.null([(1.3, 1.2)])
    trial = replace(story.state.trials[1], verdict=None)
    assert next_action(trial, "keep", "confirm") == "keep"
