"""Limits on what the model may use, and what is known of the cost when replies are cut off.

The model and the trainings are stood in for; journal, git and program.md are real.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from events import Story
from replies import block
from shown import status_text
from staged import Score, answer

from agent import loop
from agent.campaign.events import Proposed, RunBegun, Waiting
from agent.campaign.journal import read_events
from agent.campaign.state import State, fold
from agent.campaign.store import Campaign
from agent.models.types import Misconfigured, Prompt, Unavailable, Usage
from agent.models.types import Reply as ModelReply
from agent.proposers.llm import MAX_TOKENS, LLMProposer
from agent.settings import Settings, SettingsError
from agent.steps import propose, start
from agent.steps.runtime import Runtime, Stopped

PROMPTS = Path(__file__).parents[3] / "prompts"
PLACE = "    session.ready()\n"
MODEL = "priced:m"
DOLLAR = Usage(1_000_000, 0)
"""What a dollar buys of it."""


@dataclasses.dataclass
class Scripted:
    """A model that does what is next on its list; an edit is in the category asked for."""

    answers: list[Callable[[], str]]
    name: str = MODEL
    asked: list[Prompt] = dataclasses.field(default_factory=list)

    def complete(self, prompt: Prompt, **_: Any) -> ModelReply:
        self.asked.append(prompt)
        category = re.findall(r"in the category \*\*([\w -]+)\*\*", prompt.text)[-1]
        head = f"category: {category}\nhypothesis: it may help\n"
        return ModelReply(head + self.answers.pop(0)(), "end", DOLLAR, "m")


def edit() -> str:
    return block(PLACE, f"{PLACE}    kind = 'worse'\n    del kind\n")


def useless() -> str:
    return "no block at all"


def broken() -> str:
    return edit().replace("worse", "broken")


def outage(**known: Any) -> Callable[[], str]:
    def fail() -> str:
        raise Unavailable("HTTP 529", **known)

    return fail


@pytest.fixture(autouse=True)
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "models.toml"
    own.write_text(f'[models."{MODEL}"]\ninput = 1.0\noutput = 1.0\n')
    monkeypatch.setenv("AUTORESEARCH_MODELS", str(own))


@pytest.fixture(autouse=True)
def trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    def score(source: str, seed: int) -> Score:
        if "'broken'" in source:
            return {"status": "crashed", "reason": "crash"}
        return 1.9 if "'worse'" in source else 1.5

    answer(monkeypatch, score)


def use(runtime: Runtime, *answers: Callable[[], str]) -> Scripted:
    model = Scripted(list(answers))
    runtime.proposer = LLMProposer(model, PROMPTS)
    runtime.campaign.record(RunBegun(settings={"llm": MODEL}))
    loop.baseline(runtime)
    return model


def limited(runtime: Runtime, **limits: Any) -> None:
    runtime.settings = runtime.settings.model_copy(update=limits)


def replayed(runtime: Runtime) -> State:
    return fold(read_events(runtime.campaign.journal.path))


# --- limits ---


@pytest.mark.parametrize(
    ("limits", "why"), [({"max_cost": 1.0}, "cost"), ({"max_tokens": 900_000}, "tokens")]
)
@pytest.mark.parametrize("first", [useless, broken])
def test_a_limit_holds_before_a_second_reply_and_a_repair(
    runtime: Runtime, limits: dict[str, Any], why: str, first: Callable[[], str]
) -> None:
    model = use(runtime, first, edit)
    limited(runtime, **limits)
    assert why in loop.run_campaign(runtime)
    assert len(model.asked) == 1
    assert runtime.campaign.state.open_trial is not None
    limited(runtime, max_cost=None, max_tokens=None)
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert (trial.verdict, trial.status, len(model.asked)) == ("revert", "ok", 2)


def test_a_limit_written_into_program_md_holds_before_the_next_reply(runtime: Runtime) -> None:
    path = runtime.program.path

    def write() -> str:
        path.write_text(path.read_text().replace("---\n", "---\nmax_tokens: 5\n", 1))
        return useless()

    model = use(runtime, write, edit)
    with pytest.raises(Stopped, match="tokens"):
        loop.one_trial(runtime)
    assert len(model.asked) == 1


def test_a_limit_deleted_from_program_md_is_lifted(runtime: Runtime) -> None:
    path = runtime.program.path
    text = path.read_text()
    path.write_text(text.replace("---\n", "---\nmax_tokens: 5\nnulls: 0\n", 1))

    def delete() -> str:
        path.write_text(text)
        return useless()

    model = use(runtime, delete, edit)
    assert (runtime.settings.max_tokens, runtime.settings.nulls) == (5, 0)
    loop.one_trial(runtime)
    assert len(model.asked) == 2
    assert (runtime.settings.max_tokens, runtime.settings.nulls) == (None, 0.05)


def test_a_price_limit_for_a_model_without_a_price_is_refused() -> None:
    settings = Settings(max_cost=1.0)
    start._refuse_unknown_price(settings, MODEL)
    start._refuse_unknown_price(settings.model_copy(update={"proposer": "deck"}), "openai:unheard")
    with pytest.raises(SettingsError, match="price of openai:unheard is not known"):
        start._refuse_unknown_price(settings, "openai:unheard")


# --- program.md ---


def test_program_md_is_read_before_every_reply(runtime: Runtime) -> None:
    path = runtime.program.path

    def note() -> str:
        path.write_text(path.read_text() + "\nTry the zigzag.\n")
        return useless()

    model = use(runtime, note, edit)
    loop.one_trial(runtime)
    first, second = (prompt.parts[-1].text for prompt in model.asked)
    assert "zigzag" not in first
    assert "zigzag" in second
    happened = read_events(runtime.campaign.journal.path)
    used = [event.program for event in happened if isinstance(event, Proposed)]
    assert used[0] != used[1] == runtime.program.sha256[:12]
    assert runtime.campaign.state.trials[1].program == used[1]


def test_a_category_that_is_gone_since_it_was_drawn_is_still_answered(runtime: Runtime) -> None:
    path = runtime.program.path

    def drop() -> str:
        category = runtime.open_trial.category
        path.write_text(path.read_text().replace(f"- **{category}**:", "- **other**:"))
        return useless()

    use(runtime, drop, edit)
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[1]
    assert trial.category not in runtime.program.names
    assert (trial.verdict, trial.status, len(trial.rejections)) == ("revert", "ok", 1)


# --- what is cut off ---


class Killed(BaseException):
    """A kill right after an event was written."""


def test_a_reply_that_a_kill_cut_off_is_counted_at_the_most_that_it_can_have_cost(
    runtime: Runtime,
) -> None:
    def die() -> str:
        raise Killed

    use(runtime, die)
    with pytest.raises(Killed):
        loop.one_trial(runtime)
    runtime.campaign.close()
    campaign = Campaign(runtime.campaign.repo, "t")
    assert campaign.state.asking
    campaign.reconcile()
    resumed = dataclasses.replace(runtime, campaign=campaign)
    model = use(resumed, edit)
    state = campaign.state
    dollars = state.capped_usd
    assert (state.capped, state.unanswered, state.asking, state.cost) == (1, 0, False, dollars)
    assert state.usage["output"] == MAX_TOKENS
    limited(resumed, max_cost=dollars)
    assert "the model has cost" in loop.run_campaign(resumed), "so that the limit holds"
    limited(resumed, max_cost=None)
    loop.one_trial(resumed)
    campaign.close()
    prompt = len(model.asked[0].text)
    assert dollars == pytest.approx((prompt / 3 + MAX_TOKENS) / 1e6, rel=1e-3), "at $1 a million"
    state = replayed(resumed)
    assert (state.capped, state.cost) == (1, 1.0 + dollars)
    told = status_text(state)
    (line,) = [line for line in told.splitlines() if "cut off" in line]
    assert f", at most: 1 ask cut off, counted as ${dollars:.2f}" in line


@pytest.mark.parametrize(
    ("name", "tokens", "cost"),
    [("openai:m@http://127.0.0.1:1/v1", True, None), ("command:cat", False, None),
     ("cassette:f", False, 0.0), ("local", False, 0.0)],
)  # fmt: skip
def test_what_is_free_or_has_no_price_is_counted_without_one(
    runtime: Runtime, name: str, tokens: bool, cost: float | None
) -> None:
    def die() -> str:
        raise Killed

    model = use(runtime, die)
    model.name = name
    with pytest.raises(Killed):
        loop.one_trial(runtime)
    runtime.campaign.record(RunBegun(settings={"llm": name}))
    state = replayed(runtime)
    assert (state.capped, state.tokens > 0, state.cost) == (1, tokens, cost)


def test_a_request_of_an_earlier_version_is_counted_as_it_was_then() -> None:
    story = Story(llm=MODEL)
    story.baseline()
    story.add("asking", trial=story.draw("schedule"), attempt=0)
    story.add("run", pid=2, llm=MODEL)
    assert (story.state.capped, story.state.unanswered, story.state.cost) == (0, 1, 0.0)


def test_what_the_server_refused_was_not_cut_off(runtime: Runtime) -> None:
    def refuse() -> str:
        raise Misconfigured("the key was refused")

    use(runtime, refuse)
    with pytest.raises(Misconfigured):
        loop.one_trial(runtime)
    use(runtime, edit)
    loop.one_trial(runtime)
    assert replayed(runtime).unanswered == 0


def test_an_outage_with_known_usage_costs_what_it_used(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(propose, "OUTAGE_SECONDS", (0.0, 0.0))
    use(runtime, outage(usage=DOLLAR), outage(), edit)
    loop.one_trial(runtime)
    state = replayed(runtime)
    assert (state.cost, state.unanswered, state.tokens) == (2.0, 1, 2_000_000)
    assert (state.outages, state.waiting) == (0, "")


# --- outages ---


def test_a_wait_is_bounded_counted_down_and_ends_with_the_time(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(runtime, outage(retry_after=86_400.0), edit)
    clock = [0.0]
    monkeypatch.setattr("agent.steps.runtime.since_boot", lambda: clock[0])
    runtime.began = 0.0

    def pass_by(seconds: float) -> bool:
        clock[0] += seconds
        return False

    monkeypatch.setattr(runtime.stop, "wait", pass_by)
    seen: list[int] = []
    display = runtime.display
    monkeypatch.setattr(display, "event", lambda event, trial: seen.append(event["seconds"]))
    limited(runtime, hours=5 / 60)
    assert loop.run_campaign(runtime) == "the time is up"
    longest = propose.OUTAGE_SECONDS[1]
    assert seen == [*(longest - k for k in range(300)), 0], "at last, that it is over"
    happened = read_events(runtime.campaign.journal.path)
    (waited,) = [event for event in happened if isinstance(event, Waiting)]
    assert waited.until is not None
    assert waited.until - waited.time == pytest.approx(longest, abs=2)
    assert runtime.campaign.state.until == waited.until
