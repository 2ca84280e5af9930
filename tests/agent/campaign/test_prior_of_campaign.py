"""The prior of a campaign is rebuilt from its journal: what was logged, credited, renamed, lent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from events import Story
from shown import status_text

from agent.campaign.events import read_event
from agent.campaign.learning import next_shares, prior_course, rebuild_prior, teach_prior
from agent.campaign.lines import START, Reader, write_line
from agent.campaign.reading import prior_of
from agent.campaign.snapshot import read_state, save
from agent.campaign.state import State, fold
from agent.learner import FEATURES, RISE
from agent.prior import Prior
from agent.report.summary import status_json
from agent.report.text import sparks

NAMES = ("architecture", "schedule", "optimizer")
TOLD = ("d0", "d1", "d2")


def tell(
    story: Story, category: str, reward: float | None, verdict: str = "revert", **fields: Any
) -> None:
    """A trial that was drawn, with propensity 0.125."""
    shows, status = fields.pop("shows", ""), fields.pop("status", "ok")
    said = {name: fields.pop(name) for name in ("follows", "exhausted") if name in fields}
    drawn = {"categories": NAMES, "described": TOLD, "available": NAMES, "spent": 0.25} | fields
    number = story.draw(category, **drawn)
    if said:
        story.add("proposed", trial=number, proposer="llm", reply="", category=category, **said)
    if verdict != "rejected":
        story.candidate(number, "an idea", shows=shows)
    story.end(
        number, verdict, "so it went", reward=reward, **({"status": status} if status else {})
    )


def campaign() -> Story:
    story = Story()
    story.baseline()
    tell(story, "schedule", 0.6, "keep")
    tell(story, "optimizer", -0.2, status="crashed")
    tell(story, "schedule", 0.1, available=NAMES[:2], spent=0.5)
    tell(story, "architecture", None, "rejected", status="")
    tell(story, "architecture", None, status="unjudged")
    story.null([(1.3, 1.31)])
    return story


def test_a_category_without_an_idea_has_no_share_in_the_next_trial() -> None:
    story = campaign()
    tell(story, "schedule", 0.1, available=NAMES[:2])
    prior = rebuild_prior(NAMES, 0, story.state.in_order)
    shares = next_shares(prior, story.state)
    assert shares["optimizer"] == 0 and sum(shares.values()) == pytest.approx(1)
    assert prior_course(story.state)[-1]["prior"] == shares
    assert prior.probabilities()["optimizer"] > 0, "it may have ideas again"


def test_it_learns_with_what_was_logged() -> None:
    weights = [0.1 * n for n in range(len(FEATURES))]
    prior, by_hand = Prior(NAMES, weights=weights), Prior(NAMES, weights=weights)
    for trial in campaign().state.finished:
        teach_prior(prior, trial)
    by_hand.learner.spent = 0.25
    by_hand.update("schedule", 0.6, propensity=0.125, kept=True)
    by_hand.update("optimizer", -0.2, propensity=0.125, kept=False, failed=True)
    by_hand.learner.spent = 0.5
    by_hand.update("schedule", 0.1, propensity=0.125, available=NAMES[:2], kept=False)
    by_hand.learner.spent = 0.25
    by_hand.update("architecture", None, failed=True)
    assert prior.probabilities() == by_hand.probabilities()


def test_a_run_that_goes_on_has_the_prior_of_one_that_never_stopped() -> None:
    story = campaign()
    trials = story.state.finished
    for cut in range(len(trials)):
        prior = rebuild_prior(dict(zip(NAMES, TOLD, strict=True)), 0, trials[:cut])
        for trial in trials[cut:]:
            teach_prior(prior, trial)
        assert prior.probabilities() == rebuild_prior(NAMES, 0, trials).probabilities()


def test_a_run_killed_before_the_proposal_goes_on_with_the_prior_of_the_draw() -> None:
    story = campaign()
    prior = rebuild_prior(NAMES, 0, story.state.trials)
    told = dict(zip((*NAMES, "dataset"), (*TOLD, "d3"), strict=True))
    prior.set_categories(told)
    prior.learner.spent = 0.75
    categories = {"categories": tuple(told), "described": tuple(told.values())}
    story.draw("schedule", **categories, available=NAMES, spent=0.75)
    program = "\n".join(f"- **{name}**: {digest}" for name, digest in told.items())
    story.add("program", sha256="0", text=f"## Categories\n\n{program}\n")
    assert prior_of(story.state).probabilities() == prior.probabilities()


def test_an_edit_counts_for_what_its_diff_shows() -> None:
    story = Story()
    story.baseline()
    tell(story, "schedule", 0.8, "keep", shows="optimizer")
    assert story.state.trials[1].credited == "optimizer"
    prior = rebuild_prior(NAMES, 0, story.state.finished)
    own = prior.probabilities()
    assert own["optimizer"] > own["schedule"] == own["architecture"]
    assert list(prior.learner.history[0]) == [0, 0, 1]


def test_a_category_is_known_by_its_description_when_it_has_another_name() -> None:
    story = campaign()
    before = rebuild_prior(NAMES, 0, story.state.finished).learner.theta
    renamed = ("shape", "schedule", "optimizer", "dataset")
    told = dict(zip(renamed, (*TOLD, "d3"), strict=True))
    prior = rebuild_prior(told, 0, story.state.finished)
    after = prior.probabilities()
    assert list(prior.learner.theta) == [*before, 0]
    assert after["schedule"] > 1.2 * after["shape"] > after["optimizer"]
    tell(story, "shape", 0.9, categories=renamed, described=(*TOLD, "d3"), available=renamed)
    later = rebuild_prior(told, 0, story.state.finished).probabilities()
    assert later["shape"] > after["shape"]


def test_a_category_that_came_later_keeps_what_was_learnt_under_another_name() -> None:
    """Nothing was lent, so a run that goes on has only the trials to tell what there was."""
    story = campaign()
    before = dict(zip((*NAMES, "dataset"), (*TOLD, "d3"), strict=True))
    drawn = {"categories": tuple(before), "described": tuple(before.values())}
    tell(story, "dataset", 0.9, **drawn, available=tuple(before))
    live = rebuild_prior(before, 0, story.state.finished)
    after = {("text" if name == "dataset" else name): told for name, told in before.items()}
    live.set_categories(after)
    tell(story, "text", 0.9, categories=tuple(after), described=drawn["described"])
    teach_prior(live, story.state.finished[-1])
    rebuilt = rebuild_prior(after, 0, story.state.finished)
    assert rebuilt.probabilities() == live.probabilities()


def test_a_category_with_another_name_is_shown_over_all_time() -> None:
    story, renamed = campaign(), ("architecture", "rates", "optimizer")
    before = prior_course(story.state)[-1]["prior"]
    tell(story, "rates", 0.9, categories=renamed, available=renamed)
    rows = [row["prior"] for row in prior_course(story.state)]
    assert {tuple(row) for row in rows} == {renamed}
    assert rows[-2]["rates"] == before["schedule"]
    assert list(sparks(prior_course(story.state))) == list(renamed)


def test_a_kept_submission_moves_the_champion_and_teaches_nothing_else() -> None:
    story = campaign()
    before = rebuild_prior(NAMES, 0, story.state.finished).learner
    number = story.draw("schedule", submitted={"origin": "person"})
    story.candidate(number, "by hand")
    story.end(number, "keep", "kept")
    after = rebuild_prior(NAMES, 0, story.state.finished).learner
    moved = FEATURES.index("champion moved since")
    assert list(after.features()[:, moved]) == [1, 1, 1] != list(before.features()[:, moved])
    assert list(after.theta) == list(before.theta)


def test_what_was_lent_is_in_the_journal(tmp_path: Path) -> None:
    story = Story()
    lent = {"architecture": 1.5, "schedule": -0.5, "optimizer": 0.0}
    story.add("prior", tag="other", alike=0.5, logits=lent)
    story.baseline()
    prior = rebuild_prior(NAMES, 0, story.state.finished, story.state.lent)
    shares = prior.probabilities()
    assert shares["architecture"] > 0.6 > 0.15 > shares["schedule"]
    assert story.state.lent_by == "other, 50% alike"
    tell(story, "architecture", -0.2)
    state = story.state
    assert rebuild_prior(NAMES, 0, state.finished, state.lent).probabilities() != shares
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"".join(write_line(read_event(e)) for e in story.events))
    stored = read_state(journal)
    assert stored == state
    reader = Reader(journal, START)
    assert fold(reader) == state
    save(journal, stored, reader.place)
    assert read_state(journal) == state


def test_it_is_shown_over_time() -> None:
    story = campaign()
    for n in range(20):
        tell(story, "schedule" if n % 2 else "optimizer", 0.8 if n % 2 else -0.2)
    course = prior_course(story.state)
    assert [row["trial"] for row in course] == [1, 5, 10, 14, 18, 22, 26]
    assert course[-1]["prior"] == rebuild_prior(NAMES, 0, story.state.finished).probabilities()
    status = status_json(story.state, "t", None, course[-1]["prior"])
    assert status["prior_over_time"] == course
    line = next(
        line
        for line in status_text(story.state, status["prior"], 80).splitlines()
        if "trials" in line and "█" in line
    )
    first, name, last, other = line.split(": ")[1].split()
    assert (name, len(first), other) == ("schedule", 7, "architecture") and first[-1] > last[-1]
    assert len(line) <= 80
    assert prior_course(State()) == [] == prior_course(Story().state)


ORDER = {"drawn": ("schedule", "optimizer"), "propensities": (0.4, 0.5)}


def test_an_ordered_draw_is_taught_as_a_whole_whichever_was_taken() -> None:
    story = Story()
    story.baseline()
    tell(story, "optimizer", 0.6, "keep", **ORDER)
    prior = rebuild_prior(NAMES, 0, story.state.finished)
    by_hand = Prior(NAMES)
    by_hand.learner.spent = 0.25
    drawn = dict(zip(*ORDER.values(), strict=True))
    by_hand.update("optimizer", 0.6, drawn=drawn, kept=True, rise=RISE)
    assert prior.probabilities() == by_hand.probabilities()
    assert list(prior.learner.history[0]) == [0, 0, 1], "no try of what was not taken"


def test_what_was_not_drawn_teaches_by_its_own_probability() -> None:
    """An edit that shows another category than those drawn, and a follow-up of one of them."""
    expected = Prior(NAMES)
    expected.learner.spent = 0.25
    expected.update("optimizer", 0.3, kept=False, rise=RISE)
    order = {"drawn": ("schedule", "architecture"), "propensities": (0.4, 0.5)}
    for category, fields in (
        ("schedule", {"shows": "optimizer", **order}),
        ("optimizer", {"follows": "trial 1, same", **ORDER}),
    ):
        story = Story()
        story.baseline()
        tell(story, category, 0.3, **fields)
        assert story.state.trials[1].credited == "optimizer"
        prior = rebuild_prior(NAMES, 0, story.state.finished)
        assert prior.probabilities() == expected.probabilities()


def test_earlier_versions_drew_one_and_let_it_rise() -> None:
    old, new = Story(), Story()
    for story, fields in ((old, {}), (new, {"drawn": ("schedule",), "propensities": (0.125,)})):
        story.baseline()
        tell(story, "schedule", 1.0, "keep", **fields)
    before, now = (rebuild_prior(NAMES, 0, s.state.finished).probabilities() for s in (old, new))
    assert before["schedule"] > 0.8 > 1.8 / 3 + 1e-9 > now["schedule"]


def test_what_is_said_to_have_nothing_left_holds_until_a_keep(tmp_path: Path) -> None:
    story = Story()
    story.baseline()
    said = {"exhausted": {"optimizer": "three rates tried"}}
    tell(story, "schedule", -0.1, **ORDER, **said)
    state = story.state
    assert state.exhausted == said["exhausted"]
    prior = rebuild_prior(NAMES, 0, state.finished)
    assert prior.learner.spared[2] > 0 == prior.learner.spared[0]
    tell(story, "schedule", None, "rejected", status="", **ORDER)
    story.null([(1.3, 1.2)], verdict="keep")
    assert story.state.exhausted == said["exhausted"], "a null trial moves nothing"
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b"".join(write_line(read_event(e)) for e in story.events))
    stored, reader = read_state(journal), Reader(journal, START)
    assert fold(reader) == stored == story.state
    save(journal, stored, reader.place)
    assert read_state(journal) == story.state
    tell(story, "architecture", 0.5, "keep", **ORDER)
    assert story.state.exhausted == {}
    assert not rebuild_prior(NAMES, 0, story.state.finished).learner.spared.any()
