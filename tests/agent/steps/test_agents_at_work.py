"""A trial whose model is a program that edits train.py: edits that fail go back and are mended.

The trainings are stood in for; the program, journal, git and checks are real.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from staged import answer

from agent import loop
from agent.campaign import notebook
from agent.campaign.events import RunBegun
from agent.models.choose import open_model
from agent.proposers.llm import LLMProposer
from agent.steps.notebook import keep_notebook
from agent.steps.runtime import Runtime

pytestmark = pytest.mark.process

PROMPTS = Path(__file__).parents[3] / "prompts"
PROGRAM = r"""
cat > $HOME/prompt
echo x >> $HOME/calls
case $(wc -l < $HOME/calls) in
1) echo 'def (' >> train.py; printf 'title: broken\nhypothesis: a\n' ;;
2) echo x > other.py ;;
*) grep -q "Reply 2 to this was turned down" $HOME/prompt && grep -q "other.py" $HOME/prompt &&
   sed -i 's/^    step = 0$/    step = 1/' train.py
   printf 'title: mended\nhypothesis: b\n' ;;
esac
"""


def use(program: str, runtime: Runtime, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    path = home / "agent.sh"
    path.write_text(program)
    spec = f"command:sh {path}"
    model, _ = open_model(spec, {"HOME": str(home), "PATH": "/usr/bin:/bin"})
    assert model is not None
    runtime.proposer = LLMProposer(model, PROMPTS)
    runtime.campaign.record(RunBegun(settings={"llm": spec}))


def test_edits_that_fail_go_back_with_the_reason(
    runtime: Runtime, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, lambda source, seed: 1.5)
    use(PROGRAM, runtime, tmp_path, monkeypatch)
    loop.baseline(runtime)
    champion = runtime.campaign.source(runtime.champion.commit)
    loop.one_trial(runtime)
    trial = runtime.campaign.state.trials[-1]
    assert [reason.split(":")[0] for reason in trial.rejections][1:] == [
        "train.py in your folder is as it was; of what you wrote beside it, nothing is read"
    ]
    assert "not Python" in trial.rejections[0] or "invalid syntax" in trial.rejections[0]
    assert (trial.title, trial.proposer, trial.envelope) == ("mended", "llm", "edits")
    assert trial.credited == trial.category
    source = runtime.campaign.source(trial.candidate)
    assert source == champion.replace("    step = 0\n", "    step = 1\n")
    assert runtime.champion.trial == 0
    assert len((tmp_path / "calls").read_text().split()) == 3
    assert not (home / "other.py").exists()


def test_a_program_that_can_only_edit_is_not_asked_for_the_notebook_again_and_again(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "TRIALS", 1)
    answer(monkeypatch, lambda source, seed: 1.5)
    program = "cat > $HOME/prompt; echo x >> $HOME/calls; sed -i s/0/1/ train.py"
    use(program, runtime, tmp_path, monkeypatch)
    loop.baseline(runtime)
    loop.one_trial(runtime)
    before = (tmp_path / "calls").read_text()
    for _ in range(2):
        keep_notebook(runtime)
    assert (tmp_path / "calls").read_text() == before + "x\n"
    asked = (tmp_path / "prompt").read_text().rpartition("# Now: the notebook")[2]
    assert "Your folder is empty this time" in asked
