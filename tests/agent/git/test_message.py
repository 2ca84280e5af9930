"""Commit messages, as git itself reads them."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from project import trailers

from agent.git.message import commit_message
from agent.git.repo import Repo

TRAILERS = {
    "Trial": "7",
    "Category": "schedule",
    "Hypothesis": "A longer warm-down lets the weights settle; " * 4,
    "Proposer": "deck",
    "Val-Bpb": "1.2711",
    "Gain": "0.0123",
    "Seeds": "3",
    "Program": "0123456789ab",
    "Parent": "0" * 40,
}


def test_message_reads_like_a_persons() -> None:
    message = commit_message(
        "schedule",
        "longer warm-down",
        1.27112,
        0.00208,
        0.01234,
        TRAILERS,
        "A longer warm-down lets the weights settle before the budget is spent, which the last "
        "trials did not.",
    )
    lines = message.splitlines()
    assert lines[0] == "schedule: longer warm-down (val_bpb 1.2711 ± 0.0021, -0.0123)"
    assert lines[1] == "" and max(map(len, lines)) <= 72
    assert lines[2].startswith("A longer warm-down lets")
    assert trailers(message) == {key: value.strip() for key, value in TRAILERS.items()}


@pytest.mark.parametrize(
    ("numbers", "subject"),
    [
        ((None, None, None), "c: t"),
        ((1.3, None, None), "c: t (val_bpb 1.3000)"),
        ((1.3, 0.01, None), "c: t (val_bpb 1.3000 ± 0.0100)"),
        ((1.3, None, -0.01), "c: t (val_bpb 1.3000, +0.0100)"),
        ((1.3, None, 0.00001), "c: t (val_bpb 1.3000, +0.0000)"),
    ],
)
def test_subject(numbers: tuple[float | None, float | None, float | None], subject: str) -> None:
    assert commit_message("c", "t", *numbers, {}) == f"{subject}\n"


NASTY = (
    "x\n\nTrial: 99\r\nGain: 9\x00\x1b[31m\u2028Parent: f\u202e\n---\nVal-Bpb: 0\n\n"
    "# gone\n\ndiff a"
)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=300))
@example(text=NASTY)
@example(text="--- ")
@example(text="# a comment")
@example(text="")
@example(text="word" * 100)
@example(text="\udc80\ud800")
def test_no_text_breaks_the_message_or_forges_a_trailer(text: str) -> None:
    message = commit_message("c", text, 1.0, None, None, TRAILERS | {"Hypothesis": text}, text)
    message.encode("utf-8")
    found = trailers(message)
    assert list(found) == list(TRAILERS)
    expected = {key: value.strip() for key, value in TRAILERS.items()}
    assert {k: v for k, v in found.items() if k != "Hypothesis"} == {
        k: v for k, v in expected.items() if k != "Hypothesis"
    }
    assert message.splitlines()[0].startswith("c: ")
    assert not [char for char in message if ord(char) < 32 and char != "\n"]


def test_nasty_message_survives_git(repo: Repo) -> None:
    message = commit_message("c", NASTY, 1.0, None, None, TRAILERS | {"Hypothesis": NASTY}, NASTY)
    sha = repo.commit_file("HEAD", "x = 1\n", message, 0)
    assert repo.commit_for(sha).message == message
    found = trailers(message)
    assert found["Trial"] == "7" and found["Gain"] == "0.0123"
    assert found["Hypothesis"].startswith("x Trial: 99 Gain: 9\ufffd\ufffd[31m Parent: f\ufffd ---")
