"""Facts of text, machine and champion: looked up for a model, a profile once a champion."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from staged import play

from agent import loop
from agent.campaign import snapshot
from agent.campaign.events import Profiled
from agent.campaign.journal import read_events
from agent.campaign.learning import rebuild_prior
from agent.campaign.state import fold
from agent.models.types import Prompt
from agent.models.types import Reply as ModelReply
from agent.proposers.choose import make
from agent.proposers.llm import LLMProposer
from agent.steps import cards
from agent.steps.propose import propose_edit
from agent.steps.runtime import Runtime, Stopped
from trainer import measure
from trainer.errors import UserError
from trainer.results import Profile, WeightGroup

FINGERPRINT = {
    "processor": "A Processor\x1b[2J 9", "cores": 4, "threads": 2, "device": "cpu",
    "instructions": "avx2 avx512_bf16 fma", "device_name": "",
}  # fmt: skip
BASELINE = {
    "val_bpb": 1.5, "train_seconds": 20.0, "losses": (3.0, 2.5, None, 2.0), "tokens": 4000,
    "fingerprint": FINGERPRINT,
}  # fmt: skip
FOUND = Profile(
    "ok",
    steps=16,
    seconds=0.0451,
    phases={"data": 0.004, "forward": 0.596, "backward": 0.4},
    groups=(WeightGroup("pairs", "the file's own rule", 4096, 7.25, None, 0.01),),
    rate="lr_scale",
    rates=tuple((k / 24, k / 24) for k in range(24)),
)


@dataclasses.dataclass
class Silent:
    """A model that has no edit to offer, and remembers its prompts."""

    name: str = "fake:m"
    asked: list[Prompt] = dataclasses.field(default_factory=list)

    def complete(self, prompt: Prompt, **_: Any) -> ModelReply:
        self.asked.append(prompt)
        return ModelReply("I have no idea.", "end", None, "fake")


class Profiler:
    """Stands in for ``measure.profile``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: Profile | Exception = FOUND) -> None:
        self.found, self.calls = found, list[str]()
        monkeypatch.setattr(measure, "profile", self)

    def __call__(self, source: str, **how: Any) -> Profile:
        self.calls.append(source)
        assert set(how) == {"seed", "preset", "data", "isolation", "cancel"}
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def begun(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
    play(monkeypatch, BASELINE)
    loop.baseline(runtime)
    return runtime


def profiled(runtime: Runtime) -> list[Profiled]:
    return [e for e in read_events(runtime.campaign.journal.path) if isinstance(e, Profiled)]


def said(tmp_path: Path, runtime: Runtime) -> str:
    return (tmp_path / "out.txt").read_text()


def test_a_model_is_told_of_a_profile_that_was_taken_once(
    begun: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiler, model = Profiler(monkeypatch), Silent()
    begun.proposer = LLMProposer(model)  # type: ignore[arg-type]
    loop.draw(begun)
    assert profiler.calls == [], "nobody is asked yet"
    propose_edit(begun)
    assert len(model.asked) == 3 and len(profiler.calls) == 1
    (event,) = profiled(begun)
    assert event.commit == begun.champion.commit
    told = [next(p.text for p in prompt.parts if p.name == "train.py") for prompt in model.asked]
    assert told[0] == told[1] == told[2], "else nothing of it would be cached"
    assert "where the 45.1 ms of a step go (not compiled, median of 16): data 0.4 %" in told[0]
    again = fold(read_events(begun.campaign.journal.path))
    assert again.profile == {"commit": event.commit, "found": FOUND.to_json()} | {
        "found": dict(event.found)
    }
    assert cards.look_up(begun) is not None and len(profiler.calls) == 1


def test_a_state_with_a_profile_comes_back_from_its_snapshot(
    begun: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    Profiler(monkeypatch)
    cards.look_up(begun)
    campaign = begun.campaign
    snapshot.save(campaign.journal.path, campaign.state, campaign.journal.place)
    restored, _ = snapshot.restore(campaign.journal.path)
    assert restored.profile == fold(read_events(campaign.journal.path)).profile != {}


def test_another_champion_is_profiled_anew(begun: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    profiler = Profiler(monkeypatch)
    begun.campaign.record(Profiled(commit="0" * 40, found=Profile("ok", steps=3).to_json()))
    looked = cards.look_up(begun)
    assert looked is not None and looked.profile["steps"] == 16
    assert len(profiler.calls) == 1


@pytest.mark.parametrize(
    "found",
    [
        Profile("crashed", "crash: NameError\nno such\x07"),
        UserError("no process starts"),
        OSError("no space"),
    ],
)
def test_a_profile_that_fails_is_one_line_and_is_not_taken_again(
    begun: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: Profile | Exception
) -> None:
    profiler, model = Profiler(monkeypatch, found), Silent()
    begun.proposer = LLMProposer(model)  # type: ignore[arg-type]
    loop.draw(begun)
    propose_edit(begun)
    assert len(profiler.calls) == 1 and len(model.asked) == 3, "the run goes on"
    lines = [line for line in said(tmp_path, begun).splitlines() if "no profile" in line]
    assert len(lines) == 1 and re.search("NameError no such|no process|no space", lines[0])
    assert "of a step go" not in model.asked[0].text and "# The machine" in model.asked[0].text


def test_one_that_is_cut_off_by_a_stop_is_no_profile(
    begun: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiler = Profiler(monkeypatch, Profile("killed", "cancelled"))
    begun.stop.set()
    with pytest.raises(Stopped):
        cards.look_up(begun)
    assert len(profiler.calls) == 1 and profiled(begun) == []


def test_a_champion_that_trains_in_a_moment_is_not_profiled(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, {**BASELINE, "train_seconds": 0.5})
    loop.baseline(runtime)
    profiler = Profiler(monkeypatch)
    looked = cards.look_up(runtime)
    assert looked is not None and looked.profile["status"] == "none"
    assert profiler.calls == [] and profiled(runtime) == []


def test_nobody_profiles_for_the_deck(begun: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    profiler = Profiler(monkeypatch)
    begun.proposer = make("hybrid", None, 0)
    loop.draw(begun)
    propose_edit(begun)
    assert begun.open_trial.proposer in ("deck", "tuner")
    assert profiler.calls == []


def test_facts_of_champion_and_machine(begun: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    Profiler(monkeypatch)
    looked = cards.look_up(begun)
    assert looked is not None
    assert (looked.vocab_size, looked.seq_len) == (2048, 512)
    assert len(looked.profile["rates"]) == 12
    assert looked.machine["processor"].startswith("A Processor\ufffd[2J 9, 4 cores, 2 threads")
    assert looked.machine["bfloat16"].startswith("native")
    assert looked.machine["memory"].endswith(" GB")
    facts = begun.context(1).facts
    assert facts["baseline's val_bpb"] == facts["champion's val_bpb"] == "1.500"
    assert facts["champion's tokens per second"] == "200"
    (curve,) = [v for k, v in facts.items() if "training loss" in k]
    assert curve == "25% 3.00, 50% 2.50, 100% 2.00"
    assert "preset" not in facts, "device tells it"
    assert begun.context(1).preset == "cpu", "by which what is known is told"


@pytest.mark.parametrize(
    ("device", "instructions", "begins"),
    [
        ("cpu", "avx2", "not native"),
        ("cpu", "amx_bf16 avx2", "native"),
        ("cuda", "", "from compute"),
        ("mps", "", None),
    ],
)
def test_bfloat16(device: str, instructions: str, begins: str | None) -> None:
    told = cards.machine({"device": device, "instructions": instructions, "device_name": "H9"})
    assert (told.get("bfloat16") or "").startswith(begins or "")
    assert ("bfloat16" in told) == (begins is not None)
    assert told["accelerator"] == "H9"


@pytest.mark.parametrize("budget", ["20s", "20000tok"])
def test_speed_is_no_category_where_tokens_are_counted(
    begun: Runtime, monkeypatch: pytest.MonkeyPatch, budget: str
) -> None:
    is_open = budget == "20s"
    begun.settings = begun.settings.model_copy(update={"budget": budget})
    begun.proposer = LLMProposer(Silent())  # type: ignore[arg-type]
    Profiler(monkeypatch)
    for _ in range(4):
        loop.draw(begun)
        trial = begun.open_trial
        assert ("efficiency" in trial.available) == is_open
        assert "efficiency" in trial.categories, "what it has learnt is kept"
        own = rebuild_prior(trial.known, 0, begun.campaign.state.trials[:-1], {})
        own.learner.spent = trial.spent
        shares = own.probabilities(trial.available)
        assert trial.propensity == pytest.approx(shares[trial.category])
        begun.in_vain.clear()
        propose_edit(begun)
        assert trial.category != "efficiency" or is_open
    context = begun.context(9)
    assert sum(context.prior.values()) == pytest.approx(1.0)
    assert ("efficiency" in context.prior) == ("efficiency" in context.program.names) == is_open
