"""From a reply to a candidate: what goes back, what is mended, what a kill cuts off.

The model and the trainings are stood in for; journal, git and checks are real.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from model_server import Answer, Server
from replies import FILES, HEAD, PARENT, REPLIES, block
from shown import log_json
from staged import Score, answer

from agent import loop
from agent.campaign.events import Concluded, Known, RunBegun
from agent.campaign.journal import read_events
from agent.campaign.learning import rebuild_prior
from agent.campaign.records import Trial
from agent.campaign.state import fold
from agent.campaign.store import Campaign
from agent.models.choose import open_model
from agent.models.types import Model, Prompt
from agent.models.types import Reply as ModelReply
from agent.proposers.llm import LLMProposer
from agent.report.details import show_text
from agent.steps import propose
from agent.steps.runtime import Runtime
from trainer import measure
from trainer.measure import CheckResult

PROMPTS = Path(__file__).parents[3] / "prompts"
PLACE = "    session.ready()\n"
TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 7\nValueError: wide'
MODEL = "fake:m"


@dataclasses.dataclass
class Scripted:
    """A model whose reply follows from the prompt; its edits are in the category asked for."""

    answer: Callable[[Prompt], str]
    name: str = MODEL
    asked: list[Prompt] = dataclasses.field(default_factory=list)

    def complete(self, prompt: Prompt, **_: Any) -> ModelReply:
        self.asked.append(prompt)
        category = re.findall(r"in the category \*\*(\w+)\*\*", prompt.text)[-1]
        head = f"category: {category}\nhypothesis: it may help\n"
        return ModelReply(head + self.answer(prompt), "end", None, "fake")


def edit(name: str) -> str:
    """A block that adds a statement, which the stand-in for trainings reads."""
    return block(PLACE, f"{PLACE}    kind = {name!r}\n    del kind\n")


def use(runtime: Runtime, answer: Callable[[Prompt], str] | Iterable[str]) -> Scripted:
    """Let a model propose; several answers come one after the other."""
    if not callable(answer):
        left = iter(answer)
        model = Scripted(lambda prompt: next(left))
    else:
        model = Scripted(answer)
    runtime.proposer = LLMProposer(model, PROMPTS)
    runtime.campaign.record(RunBegun(settings={"llm": MODEL}))
    return model


@pytest.fixture(autouse=True)
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each training comes to what its source says; returns the sources, as they are trained."""
    seen: list[str] = []

    def score(source: str, seed: int) -> Score:
        seen.append(source)
        kind = (re.findall(r"kind = '(\w+)'", source) or [""])[-1]
        before = sum(source == past for past in seen[:-1])
        if kind == "broken_audit":
            return {"status": "invalid", "reason": "causality: later ids change the loss"}
        if kind.startswith("broken") or (kind == "flaky" and before > 0):
            failed = {"status": "crashed", "reason": "crash: ValueError: wide"}
            return {**failed, "detail": TRACEBACK}
        return 1.5 if source in (seen[0], PARENT) else 1.49 if kind == "flaky" else 1.9

    answer(monkeypatch, score)
    return seen


def one_trial(runtime: Runtime) -> Trial:
    loop.baseline(runtime)
    loop.one_trial(runtime)
    return runtime.campaign.state.trials[-1]


def statuses(trial: Trial) -> list[str]:
    return [training.status for training in trial.of("candidate")]


def told(runtime: Runtime, *names: str) -> list[dict[str, Any]]:
    """The journal's events of these names, as its lines say them."""
    lines = runtime.campaign.journal.path.read_text().splitlines()
    return [e for e in map(json.loads, lines) if e["event"] in names]


# --- crashes ---


def test_a_crash_goes_back_with_its_traceback_and_is_mended(runtime: Runtime) -> None:
    model = use(runtime, [edit("broken"), edit("mended")])
    trial = one_trial(runtime)
    assert (trial.verdict, trial.status) == ("revert", "ok")
    assert statuses(trial) == ["crashed", "ok"], "the crash still shows"
    crashed, mended = (training.commit for training in trial.of("candidate"))
    assert [sent.candidate for sent in trial.sent_back] == [crashed]
    assert trial.candidate == mended != crashed
    asked = model.asked[1].parts[-1].text
    data = re.findall(r"<data>\n(.*?)\n</data>", asked, re.DOTALL)
    assert "kind = 'broken'" in data[0], "its own reply"
    assert data[1].startswith("the training failed, crashed: crash: ValueError: wide")
    assert data[1].endswith(TRACEBACK)
    assert model.asked[1].parts[:-1] == model.asked[0].parts[:-1], "the cache still holds"

    repo = runtime.campaign.repo
    assert repo.resolve(repo.trial_ref("t", 1)) == trial.commit
    assert repo.read_file(trial.commit) == repo.read_file(mended)
    assert repo.resolve(f"{mended}^") == runtime.champion.commit, "not made on top of the crash"
    assert len(set(trial.tried)) == 2, "neither is worth another budget"


def test_two_repairs_and_no_more(runtime: Runtime) -> None:
    model = use(runtime, [edit(f"broken{i}") for i in range(9)])
    trial = one_trial(runtime)
    assert (trial.verdict, trial.status) == ("revert", "crashed")
    assert statuses(trial) == ["crashed"] * 3
    assert len(model.asked) == 3
    assert trial.reward == pytest.approx(-0.2)


def test_a_crash_that_nobody_mends_is_a_crash(runtime: Runtime) -> None:
    model = use(runtime, lambda prompt: edit("broken"))
    trial = one_trial(runtime)
    assert (trial.verdict, trial.status) == ("revert", "crashed"), "it was trained: not rejected"
    assert statuses(trial) == ["crashed"]
    assert len(model.asked) == 1 + runtime.proposer.attempts
    assert "already tried" in trial.rejections[-1]
    repo = runtime.campaign.repo
    assert "broken" in repo.read_file(trial.commit)
    assert repo.resolve(repo.trial_ref("t", 1)) == trial.commit


@pytest.mark.parametrize(("kind", "status"), [("flaky", "crashed"), ("broken_audit", "invalid")])
def test_what_is_a_result_is_not_mended(runtime: Runtime, kind: str, status: str) -> None:
    """A crash with the second seed, and what an audit found."""
    model = use(runtime, [edit(kind)])
    trial = one_trial(runtime)
    assert (trial.verdict, trial.status) == ("revert", status)
    assert trial.sent_back == ()
    assert len(model.asked) == 1


def test_only_a_model_is_asked_to_mend(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    use(runtime, [edit("broken")])
    monkeypatch.setattr(runtime.proposer, "name", "deck")
    trial = one_trial(runtime)
    assert (trial.status, trial.sent_back) == ("crashed", ())


class Killed(BaseException):
    """Stands in for kill -9: whatever was not on disk is lost."""


def die_after(monkeypatch: pytest.MonkeyPatch, event: str, nth: int) -> None:
    record, seen = Campaign.record, [0]

    def dying(self: Campaign, recorded: Known) -> None:
        record(self, recorded)
        seen[0] += recorded.event == event
        if recorded.event == event and seen[0] == nth:
            raise Killed

    monkeypatch.setattr(Campaign, "record", dying)


MOMENTS = [
    ("proposed", 1), ("candidate", 1), ("heat_started", 1), ("heat", 1), ("repair", 1),
    ("proposed", 2), ("turned_down", 1), ("proposed", 3), ("candidate", 2), ("heat", 2),
    ("verdict", 1),
]  # fmt: skip


@pytest.mark.process
@pytest.mark.parametrize(("event", "nth"), MOMENTS)
def test_a_kill_during_a_repair_loses_nothing(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, event: str, nth: int
) -> None:
    answers = [edit("broken"), "no block at all", edit("mended")]
    use(runtime, lambda prompt: answers[prompt.attempt])
    loop.baseline(runtime)
    with monkeypatch.context() as patch:
        die_after(patch, event, nth)
        with pytest.raises(Killed):
            loop.one_trial(runtime)
    runtime.campaign.close()
    campaign = Campaign(runtime.campaign.repo, "t")
    campaign.reconcile()
    resumed = dataclasses.replace(runtime, campaign=campaign)
    model = use(resumed, lambda prompt: answers[prompt.attempt])
    if campaign.state.open_trial is not None:
        loop.one_trial(resumed)
    campaign.close()

    (trial,) = campaign.state.trials[1:]
    assert (trial.verdict, trial.status) == ("revert", "ok")
    assert statuses(trial) == ["crashed", "ok"]
    assert len(trial.sent_back) == 1
    assert len(trial.rejections) == 2
    assert trial == fold(read_events(campaign.journal.path)).trials[1]
    assert len({training.seed for training in trial.of("candidate")}) == 2
    assert len(trial.heats) == 1, "that of the mended candidate"
    repo = campaign.repo
    assert repo.resolve(repo.trial_ref("t", 1)) == trial.commit
    assert "mended" in repo.read_file(trial.commit)
    assert len(model.asked) <= 3 - (event != "training_started"), "what was answered is not asked"


# --- what does not apply ---


def test_what_does_not_apply_goes_back_three_times(runtime: Runtime) -> None:
    model = use(runtime, lambda prompt: block("    session.redy()\n", "    pass\n"))
    trial = one_trial(runtime)
    assert (trial.verdict, len(trial.rejections), trial.misapplied) == ("rejected", 3, 3)
    assert len(model.asked) == 3
    assert PLACE.strip() in trial.rejections[0], "the nearest real line"
    assert trial.candidate == trial.commit == ""


def test_what_fails_its_trial_steps_goes_back_with_the_traceback(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(source: str, **options: Any) -> CheckResult:
        if "'wide'" in source:
            return CheckResult("crashed", "crash: ValueError: wide", detail=TRACEBACK)
        return CheckResult("ok")

    monkeypatch.setattr(measure, "check", check)
    model = use(runtime, [edit("wide"), edit("narrow")])
    trial = one_trial(runtime)
    assert (trial.status, len(trial.rejections), trial.misapplied) == ("ok", 1, 0)
    data = re.findall(r"<data>\n(.*?)\n</data>", model.asked[1].parts[-1].text, re.DOTALL)
    assert data[1] == f"two trial steps failed: crash: ValueError: wide\n{TRACEBACK}"
    assert statuses(trial) == ["ok"], "no budget was spent on it"


def test_a_model_that_cannot_quote_is_asked_for_the_whole_file(
    runtime: Runtime, tmp_path: Path
) -> None:
    whole = runtime.campaign.source("HEAD")  # not yet with the preset's constants: another program

    def answer(prompt: Prompt) -> str:
        if "in one code fence" not in prompt.parts[-1].text:
            return block("no such line\n", "x = 1\n")
        return f"```python\n{whole.replace(PLACE, PLACE + '    del session.ready' + chr(10))}```\n"

    model = use(runtime, answer)
    loop.baseline(runtime)
    for _ in range(propose.MISAPPLIED_TRIALS):
        loop.one_trial(runtime)
    assert [t.verdict for t in runtime.campaign.state.trials[1:]] == ["rejected"] * 3
    assert not runtime.campaign.state.envelopes
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[-1]
    assert (trial.verdict, trial.envelope, trial.misapplied) == ("revert", "file", 0)
    assert "SEARCH" not in model.asked[-1].text, "blocks are not spoken of any more"
    assert fold(read_events(runtime.campaign.journal.path)).envelopes == {MODEL: "file"}
    assert len(told(runtime, "envelope")) == 1
    assert "asked for the whole of train.py" in (tmp_path / "out.txt").read_text()


def test_replies_that_are_no_experiments_are_no_reason_to_ask_for_files(runtime: Runtime) -> None:
    use(runtime, lambda prompt: block(PLACE, PLACE + "    # a comment\n"))
    loop.baseline(runtime)
    for _ in range(propose.MISAPPLIED_TRIALS + 1):
        loop.one_trial(runtime)
    assert runtime.campaign.state.trials[-1].verdict == "rejected"
    assert not runtime.campaign.state.envelopes


# --- what was tried before ---


def test_the_same_edit_is_not_trained_twice(runtime: Runtime, trainings: list[str]) -> None:
    use(runtime, lambda prompt: edit("worse"))
    assert one_trial(runtime).verdict == "revert"
    count = len(trainings)
    loop.one_trial(runtime)
    again = runtime.campaign.state.trials[-1]
    assert again.verdict == "rejected"
    assert again.rejections[0].startswith("already tried")
    assert len(trainings) == count


def test_an_edit_that_was_not_judged_may_be_tried_again(runtime: Runtime) -> None:
    use(runtime, lambda prompt: edit("worse"))
    loop.baseline(runtime)
    loop.draw(runtime)
    propose.propose_edit(runtime)
    runtime.campaign.conclude(
        Concluded(trial=1, verdict="revert", words="not judged", status="unjudged")
    )
    loop.one_trial(runtime)
    again = runtime.campaign.state.trials[-1]
    assert (again.verdict, again.status, again.rejections) == ("revert", "ok", ())


def test_what_lost_does_not_come_back_beside_something_else(runtime: Runtime) -> None:
    line = "    while not session.done():\n"
    more = block(line, f"    other = 1\n    del other\n{line}")
    use(runtime, [edit("worse"), edit("worse") + more, more])
    lost = one_trial(runtime)
    assert lost.gain is not None and lost.gain_half is not None
    assert lost.gain + lost.gain_half < 0
    loop.one_trial(runtime)
    second = runtime.campaign.state.trials[-1]
    assert "trial 1" in second.rejections[0]
    assert second.rejections[0].startswith("already reverted")
    assert second.status == "ok", "without it, what is left is an experiment of its own"


# --- what an edit counts for ---


def test_an_edit_counts_for_the_category_that_its_diff_shows(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for a schedule, a model widens the network."""
    loop.baseline(runtime)
    line = next(s for s in runtime.campaign.source("HEAD").splitlines() if s[:5] == "WIDTH")
    use(runtime, [block(f"{line}\n", f"{line.replace('128', '192')}\n")])
    monkeypatch.setattr(runtime.prior, "draw", lambda *args, **options: {"schedule": 0.1})
    trial, state = one_trial(runtime), runtime.campaign.state
    assert (trial.category, trial.shows) == ("schedule", "architecture")
    shares = runtime.prior.probabilities()
    assert shares["architecture"] < shares["schedule"]
    rebuilt = rebuild_prior(runtime.program.described, runtime.settings.seed, state.finished)
    assert rebuilt.probabilities() == shares
    assert "counts as architecture" in show_text(state, 1, runtime.campaign.folder)
    assert log_json(state)[1]["credited"] == "architecture"


# --- every reply of the tables, over the wire ---


@pytest.mark.parametrize("kind", [pytest.param("anthropic", marks=pytest.mark.slow), "own server"])
@pytest.mark.process
def test_no_reply_stops_the_loop(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    last = (
        HEAD
        + block("SEQ_LEN = 64\n", "SEQ_LEN = 96\n")
        + block("    return model\n", "    return model.eval()\n")
    )
    replies = [reply for reply, _ in (REPLIES | FILES).values()]
    with Server(*map(Answer, replies), Answer(last)) as server:
        spec = "anthropic:m" if kind == "anthropic" else f"openai:m@{server.url}"
        keys = {"ANTHROPIC_API_KEY": "sk-fake-0123456789", "ANTHROPIC_BASE_URL": server.url}
        model: Model | None = open_model(spec, {"HOME": str(tmp_path), **keys})[0]
        assert model is not None
        runtime.proposer = LLMProposer(model, PROMPTS)
        runtime.settings = runtime.settings.model_copy(update={"notebook": False})  # edits alone
        loop.baseline(runtime)
        monkeypatch.setattr(runtime.proposer, "attempts", 12)
        monkeypatch.setattr(runtime.prior, "draw", lambda *args, **options: {"schedule": 0.1})
        source, champion = Campaign.source, runtime.champion.commit
        monkeypatch.setattr(
            Campaign, "source",
            lambda self, commit: PARENT if commit == champion else source(self, commit),
        )  # fmt: skip
        while len(server.posts) <= len(replies):
            loop.one_trial(runtime)
        assert len(server.posts) == len(replies) + 1
    assert len(told(runtime, "proposed")) == len(replies) + 1
    outcomes = told(runtime, "turned_down", "candidate")[1:]  # the baseline is a candidate, too
    assert len(outcomes) == len(replies) + 1, "each came to something"
