"""``report --markdown``: what somebody pastes into a pull request."""

from __future__ import annotations

import re

from events import PRIOR, Story, campaign, sha

from agent.campaign.state import State
from agent.report.markdown import markdown
from agent.report.summary import repeat_command


def section(text: str, heading: str) -> list[str]:
    """The lines below a heading, up to the next one."""
    after = text.split(f"\n## {heading}\n")[1]
    return after.split("\n## ")[0].strip().splitlines()


def verified(story: Story, **of: object) -> State:
    champion = story.state.champion
    assert champion is not None
    gain = {"mean": 0.012, "low": 0.004, "high": 0.02}
    each = [{"trial": champion.trial, "gain": gain, "claimed": gain}]
    found = {"gain": gain, "claimed_gain": gain, "seeds": 5, "trial": champion.trial, "each": each}
    found |= {"commits": {"champion": champion.commit}, "objective": {}, "summed": []}
    story.add("verified", found=found | of)
    return story.state


def test_there_is_a_row_a_trial() -> None:
    rows = [x for x in section(markdown(campaign().state, PRIOR), "All trials") if x[:1] == "|"]
    assert len(rows) == 2 + 7
    assert rows[3] == (
        "| 1 | schedule | **longer warm-down, the last 60 % of the budget** | 1.2870 ± 0.0060 | "
        f"+0.0130 | kept: better by 0.0140 ± 0.0082 in 3 heats | `{sha('final 1')[:7]}` |"
    )
    words = r"forecast -0.0600 ± 0.0200, hopeless after 25% of a heat, reverted"
    assert rows[-1].startswith(
        f"| 6 | architecture | twice as wide | abandoned | -0.0600 | {words} |"
    )


def test_what_was_kept_comes_with_why_and_whether_it_was_seen_again() -> None:
    story = campaign()
    text = markdown(story.state, PRIOR)
    assert text.splitlines()[2] == "**not verified yet: python -m agent verify --tag t**"
    claimed = r"+0.0130 \(+0.0050 to +0.0210\)"
    row = f"| 1 | schedule | **longer warm-down, the last 60 % of the budget** | {claimed}"
    assert f"{row} | not verified | not tried | `{sha('final 1')[:7]}` |" in text
    assert "- **longer warm-down, the last 60 % of the budget** (trial 1): It may help." in text
    text = markdown(verified(story), PRIOR)
    assert text.splitlines()[2].startswith(r"**verified gain +0.0120 \(+0.0040 to +0.0200\) bits")
    assert rf"{row} | +0.0120 \(+0.0040 to +0.0200\) | not tried |" in text


def test_a_keep_has_its_own_commit_in_whatever_order_trials_ended() -> None:
    story = Story()
    story.baseline()
    first, second = (story.draw("schedule") for _ in range(2))
    for number in (first, second):
        story.candidate(number, f"idea {number}")
    story.heat(second, 1.30, 1.31)
    story.end(second, "revert", "so it went", gain=-0.01, gain_half=0.004)
    story.heat(first, 1.30, 1.28)
    story.end(first, "keep", "kept", gain=0.02, gain_half=0.004)
    (_, _, row, *_) = section(markdown(story.state, {}), "Kept")
    assert row.startswith(f"| {first} |") and row.endswith(f"| `{sha(f'final {first}')[:7]}` |")


def test_the_commands_that_repeat_it_are_there() -> None:
    lines = section(markdown(campaign().state, PRIOR), "Repeat it")
    assert lines[-5:] == [
        "```sh",
        "python -m agent run --preset cpu --budget 20s --data apidocs --llm none --trials 5",
        "python -m agent verify --tag t",
        "python -m agent adopt --tag t",
        "```",
    ]
    assert "no model was paid" in lines[0] and "of device time" in lines[0]
    story = Story(keep="strict", proposer="tuner")
    story.events[0]["start"] = "my file.py"
    command = repeat_command(story.state)
    assert command.startswith("python -m agent run --start 'my file.py' --preset cpu")
    assert command.endswith("--keep strict --proposer tuner --llm none --trials 0")


def test_a_null_trial_stands_apart_even_if_it_was_kept() -> None:
    story = Story()
    story.baseline()
    story.null([(1.30, 1.26)], verdict="keep")
    rows = section(markdown(story.state, {}), "All trials")
    assert rows[-1].startswith("| 1 | null |") and "**" not in rows[-1]
    assert "\n## Kept\n" not in markdown(story.state, {})


def test_what_a_model_wrote_is_escaped() -> None:
    story = Story()
    story.baseline()
    title = "a | b [x](y) <b> `c` *d*\n# e"
    story.trial(
        "schedule", title, [(1.30, 1.29)], "keep", "kept", title, gain=0.01, gain_half=0.004
    )
    text = markdown(verified(story), {})
    said = r"a \| b \[x\]\(y\) &lt;b&gt; \`c\` \*d\* \# e"
    assert text.count(said) == 4, "in both tables, in the list, and its hypothesis"
    for row in (line for line in text.splitlines() if line.startswith("| 1 ")):
        assert len(re.findall(r"(?<!\\)\|", row)) == 8
    assert "<b>" not in text


def test_the_notebook_is_quoted() -> None:
    story = campaign()
    assert "Notebook" not in markdown(story.state, {})
    text = "## What was learnt\n\n- <b>steps</b> | count\x1b[2J"
    story.add("notebook", text=text, model="m", usage={"input": 1}, cost_usd=0.0)
    lines = markdown(story.state, {}).splitlines()
    assert "> **What was learnt**" in lines
    assert r"> - &lt;b&gt;steps&lt;/b&gt; \| count" + "\ufffd" + r"\[2J" in lines
