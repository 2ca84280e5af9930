"""The prior of a campaign is rebuilt from its journal: what was logged, credited, renamed, lent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from events import Story

from agent.campaign.events import read_event
from agent.campaign.learning import prior_course, rebuild_prior, teach_prior
from agent.campaign.lines import START, Reader, write_line
from agent.campaign.reading import prior_of
from agent.campaign.snapshot import read_state, save
from agent.campaign.state import State, fold
from agent.learner import FEATURES
from agent.prior import Prior
from agent.report.summary import status_json, status_text
from agent.report.text import sparks

NAMES = ("architecture", "schedule", "optimizer")
TOLD = ("d0", "d1", "d2")


def tell(
    story: Story, category: str, reward: float | None, verdict: str = "revert", **fields: Any
) -> None:
    """A trial that was drawn, with propensity 0.125."""
    shows, status = fields.pop("shows", ""), fields.pop("status", "ok")
    drawn = {"categories": NAMES, "described": TOLD, "available": NAMES, "spent": 0.25} | fields
    number = story.draw(category, **drawn)
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
        line for line in status_text(status).splitlines() if "trials" in line and "▁" in line
    )
    first, name, last = line.split(": ")[1].split()[:3]
    assert (name, len(first)) == ("schedule", 7) and first[-1] > last[-1]
    assert len(line) <= 80
    assert prior_course(State()) == [] == prior_course(Story().state)
