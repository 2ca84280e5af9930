from pathlib import Path

import pytest
from events import Story, campaign, sha

from agent.campaign.records import Trial
from agent.campaign.results import is_due, write_tsv
from agent.campaign.state import State
from trainer.errors import UserError


def rows(path: Path) -> list[list[str]]:
    text = path.read_text()
    assert text.endswith("\n")
    return [line.split("\t") for line in text[:-1].split("\n")]


def test_the_ancestors_columns(tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    write_tsv(path, campaign().state)
    assert rows(path) == [
        ["commit", "val_bpb", "memory_gb", "status", "description"],
        [sha("final 0")[:7], "1.300750", "1.5", "keep", "train.py as it stands, cpu preset"],
        [
            sha("final 1")[:7],
            "1.287750",
            "1.5",
            "keep",
            "longer warm-down, the last 60 % of the budget",
        ],
        [sha("final 2")[:7], "0.000000", "0.0", "crash", "heads of 32 instead of 64"],
        [
            sha("final 4")[:7],
            "1.288750",
            "1.5",
            "discard",
            "weight decay 0.1 on matrices, none on embeddings",
        ],
        [sha("final 6")[:7], "1.347750", "1.5", "discard", "twice as wide"],
    ]


def test_val_bpb_is_what_the_champion_was_less_the_gain(tmp_path: Path) -> None:
    """Not what was scored: the machine may have been slower by then."""
    story = Story()
    story.baseline(1.30)
    story.trial("schedule", "x", [(1.30, 1.28)], verdict="keep", gain=0.015)
    story.trial("optimizer", "y", [(1.48, 1.47)], gain=0.01)
    write_tsv(tmp_path / "results.tsv", story.state)
    assert [row[1] for row in rows(tmp_path / "results.tsv")[1:]] == [
        "1.300000",
        "1.285000",
        "1.275000",
    ]


def test_an_abandoned_trial_is_a_discard_at_its_forecast(tmp_path: Path) -> None:
    """A 0 would be a crash, which it was not."""
    story = Story()
    story.baseline(1.30)
    story.abandoned("architecture", "x", -0.05, 0.02)
    write_tsv(tmp_path / "results.tsv", story.state)
    assert rows(tmp_path / "results.tsv")[2] == [
        sha("final 1")[:7], "1.350000", "1.5", "discard", "x",
    ]  # fmt: skip
    assert story.state.trials[1].val_bpb is None


TARGET = {"target": 1.2, "doubling": 0.1}


@pytest.mark.parametrize(
    ("objectives", "scores"),
    [
        ([{}, {}, {}, {}], ["1.300000", "1.285000", "1.275000", "1.335000"]),
        ([{"memory_limit": 4.0}] * 4, ["1.300000", "1.285000", "1.275000", "1.335000"]),
        ([TARGET] * 4, ["1.300000", "1.280000", "1.470000"]),
        ([{}, TARGET, {}, {}], ["1.300000", "1.280000", "1.470000"]),
        ([{}, {}, {}, TARGET], ["1.300000", "1.280000", "1.470000"]),
    ],
)
def test_the_column_has_scores_where_the_chain_has_costs(
    objectives: list[dict[str, float]], scores: list[str], tmp_path: Path
) -> None:
    """Also after program.md was edited back; an abandoned trial has none, and 0 would be best."""
    story = Story()
    story.baseline(1.30)
    story.trial("schedule", "x", [(1.30, 1.28)], verdict="keep", gain=0.015)
    story.trial("optimizer", "y", [(1.48, 1.47)], gain=0.01)
    story.abandoned("architecture", "z", -0.05, 0.02)
    begun = [event for event in story.events if event["event"] == "trial"]
    for event, objective in zip(begun, objectives, strict=True):
        event["objective"] = objective
    write_tsv(tmp_path / "results.tsv", story.state)
    assert [row[1] for row in rows(tmp_path / "results.tsv")[1:]] == scores


def test_an_open_trial_is_not_listed(tmp_path: Path) -> None:
    story = campaign()
    story.candidate(story.draw("optimizer"), "still running")
    write_tsv(tmp_path / "results.tsv", story.state)
    assert "still running" not in (tmp_path / "results.tsv").read_text()


def test_a_title_cannot_add_columns_lines_or_control_codes(tmp_path: Path) -> None:
    story = Story()
    story.baseline()
    title = "a\tb\nc\r\x1b[31md\x00 \u2028e\u202ef"
    story.trial("schedule", title, [(1.30, 1.31)])
    path = tmp_path / "results.tsv"
    write_tsv(path, story.state)
    assert [len(row) for row in rows(path)] == [5, 5, 5]
    assert rows(path)[2][4] == "a b c [31md ef"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.tsv"
    write_tsv(path, campaign().state)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match=r"results\.tsv could not be written: No space.*free space"):
        write_tsv(path, Story().state)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("trials", "kept", "due"),
    [(2, False, True), (499, False, True), (500, False, True), (501, False, False),
     (501, True, True), (1_501, False, False), (1_515, False, True), (20_000, False, True),
     (20_008, False, False)],
)  # fmt: skip
def test_of_a_long_campaign_the_file_is_written_ever_more_seldom(
    trials: int, kept: bool, due: bool
) -> None:
    past = [Trial(n, verdict="revert") for n in range(trials - 1)]
    last = Trial(trials - 1, verdict="keep" if kept else "revert")
    assert is_due(State(trials=[*past, last], ended=[*range(trials)])) is due


def test_no_campaign_has_nothing_to_write_and_writes_it() -> None:
    assert is_due(State())
