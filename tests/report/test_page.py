"""What report.html holds, before any browser sees it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from events import PRIOR, Story, campaign
from hypothesis import given
from hypothesis import strategies as st

from agent.campaign.state import State
from agent.report.page import build, texts
from agent.report.page.build import write_report
from agent.report.page.texts import PROMPTS_BYTES

HOSTILE = '</script><script>alert(1)</script><!-- " onload="x {{ 7*7 }} \x1b[31m\u2028'
LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n"]), max_size=12)


def data_of(folder: Path, state: State) -> dict:
    """The data of a page; all of it stands in one element, and nothing is loaded."""
    _, path = write_report(folder, state, PRIOR)
    text = path.read_text(encoding="utf-8")
    outside = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.S)
    assert not re.search(r"""https?://(?!www\.w3\.org/2000/svg)|\b(src|href)=["'](?!#)""", outside)
    assert text.count("<script") == 2
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])  # type: ignore[index]


@given(before=LINES, after=LINES)
def test_a_prompt_is_made_again_from_the_one_before(before, after):
    assert texts.restored(before, texts.difference(before, after)) == "".join(after)


def test_prompts_are_stored_as_what_differs_and_older_ones_by_their_path(tmp_path, monkeypatch):
    asked = ["".join(f"line {i}\n" for i in range(99)) + f"trial {n}\n" for n in range(5)]
    for n, text in enumerate(asked):
        (tmp_path / "trials" / str(n)).mkdir(parents=True)
        (tmp_path / "trials" / str(n) / "prompt.md").write_text(text)
    found = texts.prompts(tmp_path, range(5))
    before: list[str] = []
    for text, (number, name, parts) in zip(asked, found["kept"], strict=True):
        made = texts.restored(before, parts)
        assert (name, made) == ("prompt.md", text)
        assert number == 0 or len(json.dumps(parts)) < 60
        before = made.splitlines(keepends=True)
    assert found["older"] == {}
    monkeypatch.setattr(texts, "PROMPTS_BYTES", len(texts.in_script(asked[0])) + 120)
    found = texts.prompts(tmp_path, range(5))
    kept = [n for n, _, _ in found["kept"]]
    assert 0 < len(kept) < 5 and kept[-1] == 4
    assert texts.restored([], found["kept"][0][2]) == asked[kept[0]]
    assert found["older"][0] == ["trials/0/prompt.md"]


def test_hostile_texts_are_data(tmp_path):
    story = Story()
    story.baseline()
    number = story.trial(HOSTILE, HOSTILE, [(None, None)], words=HOSTILE, hypothesis=HOSTILE)
    folder = tmp_path / "trials" / str(number)
    folder.mkdir(parents=True)
    for name in ("diff.patch", "prompt.md", "reply.md", "training-1.log"):
        (folder / name).write_bytes(HOSTILE.encode() + b"\xff\xfe\n")
    found = data_of(tmp_path, story.state)
    assert "<script>alert(1)</script>" in found["rows"][1]["title"]
    assert "</script>" in found["details"][str(number)]["diff"]
    assert "\x1b" not in json.dumps(found, ensure_ascii=False)


def test_versions_of_the_program_are_told_with_what_changed(tmp_path):
    story = campaign()
    lines = [
        {"event": "program", "sha256": "abcdef012345" + 52 * "0", "text": "one\ntwo\n"},
        {"event": "program", "sha256": 64 * "f", "text": "one\nthree\n"},
    ]
    lines.append(lines[0])  # put back as it was
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (tmp_path / "journal.jsonl").write_text(text)
    first, second = data_of(tmp_path, story.state)["more"]["programs"]
    assert (first["trials"], first["text"]) == ("0-6", "one\ntwo\n")
    assert (second["trials"], second["is_diff"]) == ("", True)
    assert "-two\n+three" in second["text"]


def test_a_campaign_without_a_training_has_a_page(tmp_path):
    assert data_of(tmp_path, Story().state)["rows"] == []


def test_a_folder_that_cannot_be_written_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_report(tmp_path / "missing", campaign().state, PRIOR)


def test_the_policy_allows_nothing_but_the_page_itself():
    rules = build.policy(False)
    assert "default-src 'none'" in rules and "unsafe" not in rules and "http" not in rules
    assert "connect-src" not in rules and "connect-src 'self'" in build.policy(True)


def long_campaign(folder: Path, count: int) -> State:
    """So many trials, each with a diff, a prompt and a reply of a usual size."""
    story = Story()
    story.baseline()
    program = "".join(f"line {i} of what every prompt holds\n" for i in range(300))
    story.trial("schedule", "first", [(1.3, 1.29)], verdict="keep", gain=0.01, gain_half=0.005)
    trials = story.state.trials
    state = story.state
    state.trials, state.ended = [*trials], [*range(count + 1)]
    for n in range(2, count + 1):
        one = trials[1]
        kept = n % 40 == 0
        state.trials.append(
            type(one)(
                **{
                    **{name: getattr(one, name) for name in one.__dataclass_fields__},
                    "trial": n,
                    "title": f"edit number {n}",
                    "verdict": "keep" if kept else "revert",
                    "gain": 0.001 if kept else -0.002,
                }
            )
        )
        place = folder / "trials" / str(n)
        place.mkdir(parents=True)
        (place / "diff.patch").write_text("@@ -1 +1 @@\n" + 40 * "-a = 1\n+a = 2 # longer\n")
        (place / "prompt.md").write_text(f"{program}history up to trial {n}\n")
        (place / "reply.md").write_text(60 * "Because of this, I change that.\n")
    return state


def test_texts_that_are_longer_in_the_page_have_room_too(tmp_path):
    state = long_campaign(tmp_path, 300)
    for place in (tmp_path / "trials").iterdir():
        (place / "diff.patch").write_text(20_000 * "<")
        (place / "prompt.md").write_text(f"{place.name}\n" + 20_000 * "\u4e2d")
    data_of(tmp_path, state)
    assert (tmp_path / "report.html").stat().st_size < 15_000_000


def test_a_version_of_the_program_is_told_while_the_next_line_is_written(tmp_path):
    line = json.dumps(
        {"event": "program", "sha256": 64 * "a", "text": "one\n"}, separators=(",", ":")
    )
    (tmp_path / "journal.jsonl").write_text(f"{line}\n{line[:40]}")
    (told,) = data_of(tmp_path, campaign().state)["more"]["programs"]
    assert told["version"] == 12 * "a"


def test_a_thousand_trials_have_room(tmp_path):
    state = long_campaign(tmp_path, 1000)
    began = time.process_time()
    found = data_of(tmp_path, state)
    print(f"{time.process_time() - began:.1f} s of CPU")
    size = (tmp_path / "report.html").stat().st_size
    assert size < 15_000_000
    assert len(found["rows"]) == 1001 and len(found["details"]) == 1001
    assert len(json.dumps(found["prompts"])) < PROMPTS_BYTES
