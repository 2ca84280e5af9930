"""What a reply settles beside its edit: which of the categories drawn, a follow-up, an end."""

from __future__ import annotations

from typing import Any

import pytest
from events import Story

from agent.campaign.state import State
from agent.edits import EditError
from agent.steps.choice import (
    FOLLOW_UPS,
    Choice,
    follow_ups_left,
    read_choice,
    read_exhausted,
)

TOLD = {"architecture": "d0", "schedule": "d1", "optimizer": "d2"}
DRAWN: dict[str, Any] = {
    "drawn": ("schedule", "optimizer"),
    "propensities": (0.4, 0.5),
    "categories": tuple(TOLD),
    "described": tuple(TOLD.values()),
}


def asked(finished: int = 5, followed: int = 0) -> State:
    """An open trial after so many, of which the last ones followed up another; one was a null."""
    story = Story()
    story.baseline()
    story.null([(1.3, 1.31)])
    for n in range(finished):
        number = story.draw("architecture", **DRAWN)
        if n >= finished - followed:
            said = {"category": "architecture", "follows": "trial 2, same"}
            story.add("proposed", trial=number, proposer="llm", reply="", **said)
        story.candidate(number, "an idea") if n != 1 else None
        story.end(number, "rejected" if n == 1 else "revert", "so it went")
    story.draw("schedule", **DRAWN)
    return story.state


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("category: optimizer", Choice("optimizer")),
        ("Category: **Optimizer**", Choice("optimizer")),
        ("category: schedule", Choice("schedule")),
        ("category: optimizer (the second), not schedule", Choice("optimizer")),
        ("**Category**: **optimizer** - as drawn", Choice("optimizer")),
        ("category: optimizers", Choice("schedule")),
        ("category: architecture", Choice("schedule")),
        ("no line at all", Choice("schedule")),
        ("category: optimizer\nfollow-up: none", Choice("optimizer")),
        ("category: optimizer\nfollow-up:", Choice("optimizer")),
        ("follow-up: trial 2, same", Choice("architecture", "trial 2, same")),
        ("follow-up: Trial #2 OPPOSITE direction", Choice("architecture", "trial 2, opposite")),
        ("follow-up: 2, in the opposite way", Choice("architecture", "trial 2, opposite")),
    ],
)
def test_what_is_chosen(reply: str, choice: Choice) -> None:
    assert read_choice(reply, "edits", asked(), TOLD) == choice


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("exhausted: Schedule: all ends\twere tried", {"schedule": "all ends were tried"}),
        ("exhausted: optimizer: one: two", {"optimizer": "one: two"}),
        ("exhausted: **Schedule**: done", {"schedule": "done"}),
        ("**exhausted**: `optimizer` - -3 % twice", {"optimizer": "-3 % twice"}),
        ("exhausted: optimizer-free: yes", {}),
        ("exhausted: schedule", {}),
        ("exhausted: none", {}),
        ("exhausted: everything: yes", {}),
        ("exhausted: optimizer: a\nexhausted: schedule: b", {"optimizer": "a"}),
        (f"exhausted: optimizer: {'long ' * 90}", {"optimizer": "long " * 38 + "long long…"}),
    ],
)
def test_what_has_nothing_left(reply: str, said: dict[str, str]) -> None:
    found = read_exhausted(reply, "edits", TOLD)
    assert found.keys() == said.keys()
    assert all(len(why) <= 200 and why.startswith(said[name][:150]) for name, why in found.items())


@pytest.mark.parametrize(
    ("text", "finished", "why"),
    [
        ("trial 2, same", 3, "no follow-up is left now, as at most one trial in 5 may be one"),
        ("trial 99, same", 5, "no trial 99 whose edit was tried: leave the line follow-up out"),
        ("trial 0, same", 5, "no trial 0"),
        ("trial 1, same", 5, "no trial 1"),  # a null trial
        ("trial 3, same", 5, "no trial 3"),  # rejected
        ("trial 7, same", 5, "no trial 7"),  # this one
        ("the one before", 5, "'the one before' is not read; write 'follow-up: trial 12, same'"),
        ("trial 2, sideways", 5, "is not read"),
    ],
)
def test_a_follow_up_that_may_not_be_is_refused_in_plain_words(
    text: str, finished: int, why: str
) -> None:
    with pytest.raises(EditError, match=why):
        read_choice(f"follow-up: {text}", "edits", asked(finished), TOLD)


def test_at_most_a_fifth_of_the_trials_are_follow_ups() -> None:
    assert FOLLOW_UPS == 0.2
    left = [follow_ups_left(asked(n, n // 5)) for n in range(12)]
    assert left == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]


def test_a_category_goes_by_its_name_of_today() -> None:
    renamed = {"shape": "d0", "schedule": "d1", "optimizer": "d2"}
    reply = "follow-up: trial 2, same"
    assert read_choice(reply, "edits", asked(), renamed).category == "shape"
    with pytest.raises(EditError, match="trial 2 is of no category that there is now"):
        read_choice(reply, "edits", asked(), {"schedule": "d1"})
