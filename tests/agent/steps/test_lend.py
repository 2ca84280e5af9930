"""--prior: what another campaign has learnt, by how alike the two are."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from events import Story
from project import clone_without_model

from agent.campaign import reading
from agent.campaign.events import read_event
from agent.campaign.learning import prior_course, rebuild_prior, teach_prior
from agent.campaign.lines import write_line
from agent.campaign.reading import CampaignError
from agent.campaign.state import State
from agent.git.repo import Repo
from agent.program import parse_program
from agent.report.display import Display
from agent.steps.lend import ELSEWHERE, START, lend, lender, published_start
from agent.steps.start import open_runtime
from benchmarks.prior.start import start

PROGRAM = "# A program\n\n## Categories\n\n- **a**: first\n- **b**: second\n- **c**: third\n"
HOME = {"device": "cpu", "preset": "cpu"}


def donor() -> Story:
    """A campaign that has learnt that ``a`` pays and ``b`` does not."""
    story = Story()
    story.add("program", sha256="0", text=PROGRAM)
    story.baseline()
    told = parse_program(PROGRAM).described
    names, digests = tuple(told), tuple(told.values())
    for category, reward in [("a", 0.8), ("b", -0.2)] * 3:
        number = story.draw(category, categories=names, described=digests, available=names)
        story.candidate(number, "an idea")
        story.end(number, "revert", "so it went", reward=reward)
    return story


def written(folder: Path, story: Story) -> None:
    folder.mkdir(parents=True)
    lines = (write_line(read_event(event)) for event in story.events)
    (folder / "journal.jsonl").write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("settings", "program", "alike"),
    [
        ({}, PROGRAM, 1.0),
        ({"device": "an H100"}, PROGRAM, ELSEWHERE),
        ({"preset": "h100"}, PROGRAM, ELSEWHERE),
        ({"device": "an H100", "preset": "h100"}, PROGRAM, ELSEWHERE**2),
        ({}, PROGRAM.replace("**a**", "**other**"), 1.0),
        ({}, PROGRAM.replace("**b**: second", "**d**: fourth"), 2 / 4),
        ({}, PROGRAM + "- **twin**: first\n", 3 / 4),
        ({"preset": "h100"}, PROGRAM.replace("- **c**: third\n", ""), ELSEWHERE * 2 / 3),
        ({}, "## Categories\n\n- **x**: y\n", 0.0),
    ],
)
def test_it_is_tempered_by_how_alike_they_are(
    settings: dict[str, str], program: str, alike: float
) -> None:
    state, told = donor().state, parse_program(program).described
    found = lend(state, "t", HOME | settings, told)
    assert found.alike == pytest.approx(alike)
    whole = lend(state, "t", HOME, parse_program(PROGRAM).described).logits
    same = {"other": "a", "twin": "a"}
    expected = {n: alike * whole.get(same.get(n, n), 0.0) for n in told}
    assert found.logits == pytest.approx(expected)
    assert whole["a"] > 0 > whole["b"]


def test_lent_as_a_whole_it_is_the_same_policy() -> None:
    state, told = donor().state, parse_program(PROGRAM).described
    theirs = rebuild_prior(told, 0, state.finished).probabilities()
    lent = lend(state, "t", HOME, told).logits
    assert rebuild_prior(told, 0, (), lent).probabilities() == pytest.approx(theirs)


@pytest.mark.parametrize("renamed_before_the_run", [True, False])
def test_a_category_that_gets_another_name_before_the_first_draw_keeps_what_was_lent(
    renamed_before_the_run: bool,
) -> None:
    told = parse_program(PROGRAM).described
    story = Story()
    story.add("prior", **lend(donor().state, "full", HOME, told).own)
    state, names = story.state, ("other", "b", "c")
    renamed = parse_program(PROGRAM.replace("**a**", "**other**")).described
    at_start = renamed if renamed_before_the_run else told
    live = rebuild_prior(at_start, 0, (), state.lent, state.lent_described)
    live.set_categories(renamed)
    shares = live.probabilities()
    assert shares["other"] > 1.2 * shares["b"]
    story.add("program", sha256="1", text=PROGRAM.replace("**a**", "**other**"))
    story.baseline()
    digests = tuple(renamed.values())
    number = story.draw("b", categories=names, described=digests, available=names)
    story.candidate(number, "an idea")
    assert reading.prior_of(story.state).probabilities() == shares
    assert prior_course(story.state) == []
    story.end(number, "revert", "so it went", reward=-0.1)
    teach_prior(live, story.state.trials[-1])
    assert reading.prior_of(story.state).probabilities() == live.probabilities()
    (row,) = prior_course(story.state)
    assert row["prior"] == live.probabilities()


@pytest.mark.process
def test_the_journal_alone_rebuilds_what_was_lent(tmp_path: Path) -> None:
    """Resumed with the other campaign gone, and with another option."""
    folder, said = clone_without_model(tmp_path), io.StringIO()
    repo, shares = Repo.open(folder), []
    written(repo.root / "campaigns" / "full", donor())
    (folder / "program.md").write_text(PROGRAM)
    for given in ({"prior": "full"}, {"prior": "gone"}):
        options = {"preset": "cpu", "llm": "none", "data": "apidocs", **given}
        with open_runtime(repo, "t", options, folder / "program.md", Display(said)) as runtime:
            shares.append(runtime.prior.probabilities())
            runtime.read_program()
        shutil.rmtree(repo.root / "campaigns" / "full", ignore_errors=True)
    assert shares[0] == shares[1] and shares[0]["a"] > 1.2 * shares[0]["b"]
    assert reading.prior_of(reading.load(repo, "t")).probabilities() == shares[0]
    assert said.getvalue().count("the prior starts from full, ") == 1
    assert "--prior gone: only a new campaign can start from it" in said.getvalue()


def test_there_has_to_be_something_to_lend(repo: Repo) -> None:
    story = donor()
    bare = Story()
    bare.baseline()
    written(repo.root / "campaigns" / "full", story)
    written(repo.root / "campaigns" / "bare", bare)
    assert lender(repo, "", State()) is None
    assert lender(repo, "gone", story.state) is None, "a campaign that has begun needs no other"
    assert lender(repo, "full", State()) == story.state
    with pytest.raises(CampaignError, match="no trial of that campaign has taught") as raised:
        lender(repo, "bare", State())
    assert "\n" not in str(raised.value)
    with pytest.raises(CampaignError, match=r"there is no campaign 'gone'.*bare, full"):
        lender(repo, "gone", State())
    odd = donor()
    odd.add("program", sha256="2", text="# without any\n")
    written(repo.root / "campaigns" / "odd", odd)
    with pytest.raises(CampaignError, match=r"--prior odd: program\.md.* has no categor") as raised:
        lender(repo, "odd", State())
    assert "\n" not in str(raised.value)


def test_it_starts_from_what_paid_early_in_published_campaigns() -> None:
    assert start() == START, "the constant is what the command prints"
    shares = rebuild_prior(START, 0, (), START).probabilities()
    even = 1 / len(START)
    assert all(even / 3 < share < 3 * even for share in shares.values())
    early = ("hyperparameters", "architecture", "preprocessing")
    assert min(map(shares.__getitem__, early)) > shares["initialisation"] > shares["schedule"]


def test_categories_of_ones_own_start_as_average_ones() -> None:
    assert published_start({"mine": "d", "yours": "e"}) is None
    first = published_start({"schedule": "d", "mine": "e"})
    assert first is not None and first.logits == {"schedule": START["schedule"], "mine": 0.0}
    half = lend(donor().state, "t", HOME | {"preset": "h100"}, {"schedule": "d"})
    assert half.logits == {"schedule": START["schedule"]}, "they have nothing in common"


@pytest.mark.process
def test_the_start_is_in_the_journal_once_and_fades(tmp_path: Path) -> None:
    folder = clone_without_model(tmp_path)
    repo, shares = Repo.open(folder), []
    for _ in range(2):
        options = {"preset": "cpu", "llm": "none", "data": "apidocs"}
        path = folder / "program.md"
        with open_runtime(repo, "t", options, path, Display(io.StringIO())) as runtime:
            shares.append(runtime.prior.probabilities())
            runtime.read_program()
    assert shares[0] == shares[1] and shares[0]["hyperparameters"] > 2 * shares[0]["dataset"]
    state = reading.load(repo, "t")
    assert (state.lent, state.lent_by) == (START, "")
    assert reading.prior_of(state).probabilities() == shares[0]
    journal = (repo.root / "campaigns" / "t" / "journal.jsonl").read_text()
    assert journal.count('"event":"prior"') == 1
    prior = rebuild_prior(START, 0, (), START)
    for n in range(200):
        prior.update(sorted(START)[n % len(START)], 0.0)
    assert np.abs(prior.learner.theta).max() < 0.1
