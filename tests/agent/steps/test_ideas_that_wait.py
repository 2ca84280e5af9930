"""Several ideas in one reply: one call, as many trials; what a kill leaves of them, what drops one.

The model and the trainings are stood in for; journal, git and checks are real.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from replies import block
from shown import log_text, status_text
from staged import Score, answer, audits, play

from agent import loop
from agent.campaign.events import EnvelopeChosen, Known, RunBegun
from agent.campaign.journal import read_events
from agent.campaign.learning import rebuild_prior
from agent.campaign.records import Trial
from agent.campaign.state import State, fold
from agent.campaign.store import Campaign
from agent.campaign.submissions import Submission, submit
from agent.models.cassette import Player, Recorder
from agent.models.types import Model, Prompt, Reply, Usage
from agent.proposers.llm import LLMProposer
from agent.report.details import show_text
from agent.report.summary import status_json
from agent.steps.ideas import propose_idea
from agent.steps.runtime import Runtime, Stopped

pytestmark = pytest.mark.process
PROMPTS = Path(__file__).parents[3] / "prompts"
PLACE = "    session.ready()\n"
BLUNDER = block("    session.redy()\n", "    pass\n")


def edit(name: str) -> str:
    return block(PLACE, f"{PLACE}    kind = {name!r}\n    del kind\n")


def idea(category: str, title: str, blocks: str) -> str:
    return f"title: {title}\ncategory: {category}\nhypothesis: it may help\n{blocks}\n"


@dataclasses.dataclass
class Thinker:
    """A model whose reply follows from the categories that it is offered, in their order."""

    replies: Callable[[Prompt, list[str]], str]
    name: str = "fake:m"
    asked: list[Prompt] = dataclasses.field(default_factory=list)

    def complete(self, prompt: Prompt, **_: Any) -> Reply:
        self.asked.append(prompt)
        offered = re.findall(r"(?:category |^- )\*\*(.+?)\*\*", prompt.parts[-1].text, re.M)
        return Reply(self.replies(prompt, offered), "end", Usage(100, 10), "fake")


def three(prompt: Prompt, offered: list[str]) -> str:
    if prompt.trial == 1:
        first, second, third = offered
        blunder = idea(second, "two", BLUNDER)
        last = idea(third, "three", edit("three")) + f"\nexhausted: {second}: it is all tried\n"
        return idea(first, "one", edit("one")) + blunder + last
    mended = idea(offered[0], f"of trial {prompt.trial}", edit(f"at{prompt.trial}"))
    return mended + (idea(offered[-1], "more", edit("more")) if prompt.attempt else "")


def test_an_idea_that_waited_teaches_by_the_draw_of_who_was_asked() -> None:
    asked = Trial(1, proposer="llm", data={"chances": {"llm": 0.4, "tuner": 0.6}, "more": 1})
    state = State(trials=[Trial(0, verdict="keep", status="ok"), asked], ended=[0])
    idea = {"trial": 1, "reply": "an edit", "envelope": "edits"}
    runtime: Any = SimpleNamespace(
        open_trial=Trial(2, proposer="llm", idea=idea), champion=state.trials[0],
        campaign=SimpleNamespace(state=state),
    )  # fmt: skip
    assert propose_idea(runtime).data == {"chances": {"llm": 0.4, "tuner": 0.6}}


def go_on(
    runtime: Runtime, model: Model, campaign: Campaign | None = None, **settings: Any
) -> Runtime:
    """A run that goes on with the campaign, as after a kill."""
    given = runtime.settings.model_copy(update={"ideas": 3, "nulls": 0.0, **settings})
    resumed = dataclasses.replace(runtime, campaign=campaign or runtime.campaign, settings=given)
    resumed.proposer = LLMProposer(model, PROMPTS)
    resumed.campaign.record(RunBegun(settings={"llm": model.name}))
    return resumed


def told(campaign: Campaign, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, campaign.journal.path.read_text().splitlines())
    return [line for line in lines if line["event"] == name]


@pytest.fixture(autouse=True)
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every edit loses; returns the sources as they are trained."""
    seen: list[str] = []

    def score(source: str, seed: int) -> Score:
        seen.append(source)
        return 1.9 if "kind = " in source else 1.5

    answer(monkeypatch, score)
    return seen


def assert_three_of_one_call(campaign: Campaign, model: Thinker) -> None:
    """One call, three trials, of which the second had to be mended."""
    assert [(prompt.trial, prompt.attempt) for prompt in model.asked] == [(1, 0), (2, 1)]
    trials = campaign.state.trials[1:]
    assert [trial.title for trial in trials] == ["one", "of trial 2", "three"]
    assert [trial.verdict for trial in trials] == ["revert"] * 3
    assert [len(trial.rejections) for trial in trials] == [0, 1, 0]
    assert len({trial.drawn for trial in trials}) == len({t.propensities for t in trials}) == 1
    assert [t.category for t in trials] == [*trials[0].drawn] and len(trials[0].drawn) == 3
    assert [trial.idea for trial in trials] == [{}, {"trial": 1}, {"trial": 1}]
    assert [len(trial.heats) for trial in trials] == [1, 1, 1]
    assert campaign.state.queue == [] and campaign.state == fold(read_events(campaign.journal.path))
    assert len(told(campaign, "trial")) == len(told(campaign, "verdict")) == 4
    assert len(told(campaign, "proposed")) == 4, "none is taken up twice"
    assert campaign.state.usage["input"] == 200, "each reply is paid for once"
    said = [*trials[0].exhausted], [*trials[1].exhausted], [*trials[2].exhausted]
    assert said == ([trials[0].drawn[1]], [], []), "said with the reply, not with its last idea"


def test_one_call_is_three_trials_of_which_one_is_mended(runtime: Runtime) -> None:
    model = Thinker(three)
    runtime = go_on(runtime, model)
    loop.baseline(runtime)
    for _ in range(3):
        loop.one_trial(runtime)
    campaign = runtime.campaign
    assert_three_of_one_call(campaign, model)
    first, mended = (prompt.parts[-1].text for prompt in model.asked)
    assert "Propose up to 3 edits" in first and "Propose up to" not in mended
    assert "title: two" in mended and "title: one" not in mended, "its own idea is shown"
    folder = campaign.folder / "trials"
    assert all(title in (folder / "1/reply.md").read_text() for title in ("one", "two", "three"))
    assert "its prompt is trial 1's" in (folder / "3/prompt.md").read_text()
    assert "came with trial 1's reply" in show_text(campaign.state, 3, campaign.folder)
    known, seed = runtime.program.described, runtime.settings.seed
    replayed = rebuild_prior(known, seed, campaign.state.finished)
    assert replayed.probabilities() == runtime.prior.probabilities()
    tries = dict(zip(replayed.described, replayed.learner.history[0], strict=True))
    assert {name for name, count in tries.items() if count} == set(campaign.state.trials[1].drawn)
    loop.one_trial(runtime)
    assert model.asked[-1].trial == 4, "the queue is empty"


def test_a_recording_holds_the_one_call_and_the_mending(runtime: Runtime, tmp_path: Path) -> None:
    """Replayed in another campaign, it answers for all three trials."""
    path, model = tmp_path / "cassette.jsonl", Thinker(three)
    recorded = go_on(runtime, Recorder(path, model))
    loop.baseline(recorded)
    for _ in range(3):
        loop.one_trial(recorded)
    assert_three_of_one_call(recorded.campaign, model)
    assert len(path.read_text().splitlines()) == 2
    other = Campaign(runtime.campaign.repo, "u")
    other.begin(runtime.settings, {"device": "cpu"})
    other.reconcile()
    again = go_on(runtime, Player(path), other)
    loop.baseline(again)
    for _ in range(3):
        loop.one_trial(again)
    assert_three_of_one_call(other, model)
    other.close()


class Killed(BaseException):
    """Stands in for kill -9: whatever was not on disk is lost."""


def die_after(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    record = Campaign.record

    def dying(self: Campaign, recorded: Known) -> None:
        record(self, recorded)
        if recorded.event == name:
            raise Killed

    monkeypatch.setattr(Campaign, "record", dying)


KILLS = (
    "proposed", "candidate", "verdict", "trial", "proposed", "turned_down", "proposed",
    "heat_started", "verdict", "trial", "proposed", "verdict",
)  # fmt: skip
"""After the next event of each of these names, in turn."""


def test_kills_between_them_lose_and_repeat_nothing(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Thinker(three)
    loop.baseline(runtime)
    resumed = go_on(runtime, model)
    for name in KILLS:
        with monkeypatch.context() as patch:
            die_after(patch, name)
            with pytest.raises(Killed):
                while True:
                    loop.one_trial(resumed)
        resumed.campaign.close()
        campaign = Campaign(runtime.campaign.repo, "t")
        campaign.reconcile()
        resumed = go_on(runtime, model, campaign)
    assert campaign.state.open_trial is None
    assert_three_of_one_call(campaign, model)
    campaign.close()


def test_what_a_person_submits_goes_first(runtime: Runtime) -> None:
    model = Thinker(three)
    runtime = go_on(runtime, model)
    loop.baseline(runtime)
    loop.one_trial(runtime)
    source = runtime.campaign.source(runtime.champion.commit)
    own = source.replace(PLACE, f"{PLACE}    kind = 'own'\n    del kind\n")
    submit(runtime.campaign.folder, Submission(own, "own", "It helps.", "person"))
    loop.one_trial(runtime)
    loop.one_trial(runtime)
    trials = runtime.campaign.state.trials[2:]
    assert [trial.proposer for trial in trials] == ["person", "llm"]
    assert trials[1].idea == {"trial": 1} and len(runtime.campaign.state.queue) == 1


def test_an_idea_whose_category_is_gone_is_dropped(runtime: Runtime, home: Path) -> None:
    model = Thinker(three)
    runtime = go_on(runtime, model)
    loop.baseline(runtime)
    loop.one_trial(runtime)
    _, second, third = runtime.campaign.state.trials[1].drawn
    program = (home / "program.md").read_text()
    program = program.replace(f"- **{second}**: ", "- **renamed**: ")
    program = program.replace(f"- **{third}**: ", "- **another**: about other things, ")
    (home / "program.md").write_text(program)
    loop.one_trial(runtime)
    assert runtime.campaign.state.trials[2].idea, "one with another name goes on"
    loop.one_trial(runtime)
    (dropped,) = told(runtime.campaign, "idea_dropped")
    assert dropped["reason"] == (
        f"an idea of the reply to trial 1 is dropped: {third} is gone from program.md"
    )
    assert dropped["reason"] in (home / "out.txt").read_text()
    assert (runtime.campaign.state.queue, model.asked[-1].trial) == ([], 3)


def test_no_more_ideas_than_were_asked_for(runtime: Runtime) -> None:
    runtime = go_on(runtime, Thinker(three), ideas=2)
    loop.baseline(runtime)
    loop.one_trial(runtime)
    assert [one["reply"].split("\n")[0] for one in runtime.campaign.state.queue] == ["title: two"]


def test_limits_hold_where_they_are_about_what_waits(runtime: Runtime) -> None:
    """An idea that waits is paid for, but not its mending, and its trial counts."""
    model = Thinker(three)
    runtime = go_on(runtime, model, trials=1, max_tokens=100)
    loop.baseline(runtime)
    loop.one_trial(runtime)
    with pytest.raises(Stopped, match="1 trial is done"):
        loop.one_trial(runtime)
    assert "2 ideas of a reply" in status_text(runtime.campaign.state)
    runtime = go_on(runtime, model, trials=None, max_tokens=100)
    with pytest.raises(Stopped, match="110 tokens"):
        loop.one_trial(runtime)
    assert len(runtime.open_trial.rejections) == len(model.asked) == 1
    runtime = go_on(runtime, model, max_tokens=200)
    loop.one_trial(runtime)
    loop.one_trial(runtime)
    with pytest.raises(Stopped, match="220 tokens"):
        loop.one_trial(runtime)
    assert_three_of_one_call(runtime.campaign, model)


def test_a_whole_file_that_waited_keeps_what_was_kept_meanwhile(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, (1.5, 1.4), (1.4, 1.5))
    audits(monkeypatch, bound=0.0)

    def files(prompt: Prompt, offered: list[str]) -> str:
        made = [source.replace(PLACE, f"{PLACE}    better = 1\n    del better\n")]
        made += [source.replace("    step = 0\n", f"    step = {text}\n") for text in ("1", "0")]
        fenced = [f"```python\n{text}```" for text in made]
        return "".join(map(idea, offered, ("one", "two", "three"), fenced))

    runtime = go_on(runtime, Thinker(files), keep="greedy")
    loop.baseline(runtime)
    runtime.campaign.record(EnvelopeChosen(model="fake:m", envelope="file"))
    source = runtime.campaign.source(runtime.champion.commit)
    for _ in range(2):
        loop.one_trial(runtime)
    one, two = runtime.campaign.state.trials[1:]
    assert (one.kept, two.title, two.hypothesis) == (True, "two", "it may help")
    tried = runtime.campaign.source(two.candidate)
    assert "better = 1" in tried and "step = 1" in tried and not two.rejections
    loop.one_trial(runtime)
    three = runtime.campaign.state.trials[-1]
    assert three.rejections, "a file that changed nothing does not take the champion back"


def test_blocks_that_waited_and_quote_what_was_changed_meanwhile_are_merged(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, 1.5, (1.5, 1.49), (1.49, 1.5))
    audits(monkeypatch, bound=0.0)
    loop.baseline(runtime)
    source = runtime.campaign.source(runtime.champion.commit)
    (old,) = re.findall(r"^VALUE_LR = .*\nHEAD_LR = .*\n", source, re.MULTILINE)
    first, second = (
        old.replace(f"{name} = 0.", f"{name} = 0.1") for name in ("VALUE_LR", "HEAD_LR")
    )

    def both(prompt: Prompt, offered: list[str]) -> str:
        return "".join(map(idea, offered, "12", (block(old, first), block(old, second))))

    runtime = go_on(runtime, model := Thinker(both), keep="greedy", ideas=2)
    loop.one_trial(runtime), loop.one_trial(runtime)
    one, two = runtime.campaign.state.trials[1:]
    assert one.kept and two.title == "2" and not two.rejections and len(model.asked) == 1
    merged = "\n".join((first.split("\n")[0], second.split("\n")[1]))
    assert merged in runtime.campaign.source(two.candidate)


# --- what one reply says beside its edit ---


def one_trial(runtime: Runtime, reply: Callable[[list[str]], str]) -> Trial:
    runtime.proposer = LLMProposer(Thinker(lambda prompt, offered: reply(offered)), PROMPTS)
    loop.one_trial(runtime)
    return runtime.campaign.state.trials[-1]


def test_a_model_takes_its_pick_and_says_what_has_nothing_left(runtime: Runtime) -> None:
    runtime = go_on(runtime, Thinker(three), ideas=1)
    loop.baseline(runtime)
    before = runtime.prior.probabilities()

    def reply(offered: list[str]) -> str:
        said = f"exhausted: {offered[2]}: nothing of it moved the curve"
        return f"{said}\n{idea(offered[1], 'the second', edit('second'))}"

    trial = one_trial(runtime, reply)
    _, second, third = trial.drawn
    assert (trial.category, trial.shows) == (second, "")
    assert runtime.prior.probabilities()[third] < before[third] / 2
    state = runtime.campaign.state
    assert state.exhausted == {third: "nothing of it moved the curve"}
    words = f"nothing left in {third}, it is said: nothing of it moved the curve"
    assert words in log_text(state)
    status = status_json(state, "t", None, runtime.prior.probabilities())
    assert status["exhausted"] == state.exhausted and words[:60] in status_text(state)
    known = runtime.program.described
    rebuilt = rebuild_prior(known, runtime.settings.seed, state.finished)
    assert rebuilt.probabilities() == runtime.prior.probabilities()


def test_a_follow_up_is_told_of_when_one_is_left_and_refused_otherwise(runtime: Runtime) -> None:
    runtime = go_on(runtime, Thinker(three), ideas=1)
    loop.baseline(runtime)
    refused = one_trial(
        runtime, lambda offered: "follow-up: trial 1, same\n" + idea(offered[0], "a", edit("a"))
    )
    assert (refused.verdict, refused.follows) == ("rejected", "")
    assert refused.rejections[0].startswith("no follow-up is left now")
    for n in range(3):
        one_trial(runtime, lambda offered, n=n: idea(offered[0], "b", edit(f"b{n}")))
    followed = runtime.campaign.state.trials[3]
    text = f"follow-up: trial 3, opposite\n{idea(followed.category, 'c', edit('c'))}"
    trial = one_trial(runtime, lambda offered: text)
    assert (trial.follows, trial.category) == ("trial 3, opposite", followed.category)
    assert trial.verdict == "revert" and trial.credited == followed.category
    assert "follows up trial 3, opposite" in show_text(
        runtime.campaign.state, 5, runtime.campaign.folder
    )
    model = Thinker(lambda prompt, offered: text.replace("ready", "redy"))
    runtime.proposer = LLMProposer(model, PROMPTS)
    for n in range(4):
        one_trial(runtime, lambda offered, n=n: idea(offered[0], "d", edit(f"d{n}")))
    runtime.proposer = LLMProposer(model, PROMPTS)
    loop.one_trial(runtime)
    first, again, _ = (prompt.parts[-1].text for prompt in model.asked)
    head = "Propose one edit in the category **"
    category = first.partition(head)[2].partition("**")[0]
    assert category == runtime.campaign.state.trials[-1].drawn[0] and f"{head}{category}" in again
    asked = [
        (runtime.campaign.folder / f"trials/{n}/prompt.md").read_text().count("Or follow up")
        for n in range(1, 6)
    ]
    assert asked == [0, 0, 0, 0, 1]
