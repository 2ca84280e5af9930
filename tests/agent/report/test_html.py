from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from agent.report.html import markdown, write_report
from events import PRIOR, Story, campaign, sha

from agent.campaign.state import State

VOID = {"meta", "img", "link", "br", "hr", "input"}
HOSTILE = '<script>alert(1)</script> " onload="x {{ 7*7 }} \x1b[31m'


class Page(HTMLParser):
    """Collects the page; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def written(folder: Path, state: State) -> Page:
    picture, page = write_report(folder, state, PRIOR)
    assert (picture.name, page.name) == ("progress.png", "report.html")
    text = page.read_text(encoding="utf-8")
    assert re.search(r"https?:|url\(|@import", text) is None
    return Page(text)


def test_the_page_tells_the_campaign(tmp_path: Path) -> None:
    page = written(tmp_path, campaign().state)
    for words in (
        "5 trials: 1 kept, 3 reverted, 1 rejected before training.",
        "val_bpb went from 1.3008 to 1.2878",
        "False-keep meter: 0 of 1 null kept",
        "1.2870 ± 0.0060",
        "+0.0130",
        "kept: better by 0.0140 ± 0.0082 in 3 heats",
        "1.285000",
        "for structure, bits per byte, of a difference",
        f"python -m agent replay {sha('final 1')[:12]}",
        "Some CPU",
        "apidocs",
    ):
        assert words in page.text
    assert [tag for tag, _ in page.tags].count("details") == 7
    bars = [a["style"] for tag, a in page.tags if tag == "i"]
    assert bars[:2] == ["width: 100%", "width: 63%"]
    assert len(bars) == len(PRIOR)


def test_the_picture_is_in_the_page_and_nothing_is_loaded(tmp_path: Path) -> None:
    page = written(tmp_path, campaign().state)
    sources = [a[name] for _, a in page.tags for name in ("src", "href", "action") if name in a]
    assert len(sources) == 1
    assert sources[0] is not None
    kind, _, data = sources[0].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == (tmp_path / "progress.png").read_bytes()
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}


def hostile(folder: Path) -> State:
    story = Story()
    story.baseline()
    number = story.trial(HOSTILE, HOSTILE, [(None, None)], words=HOSTILE, hypothesis=HOSTILE)
    trial = folder / "trials" / str(number)
    trial.mkdir(parents=True)
    (trial / "diff.patch").write_bytes(f"-a = 1\n+{HOSTILE}\n".encode() + b"\xff\xfe\n")
    return story.state


def test_what_a_model_wrote_is_text(tmp_path: Path) -> None:
    page = written(tmp_path, hostile(tmp_path))
    assert not [tag for tag, attributes in page.tags if tag == "script" or "onload" in attributes]
    assert page.text.count("<script>alert(1)</script>") == 5
    assert "{{ 7*7 }}" in page.text
    assert "\x1b" not in page.text
    kinds = [a.get("class") for tag, a in page.tags if tag == "span" and "class" in a]
    assert kinds[:2] == ["del", "add"]


def test_a_long_diff_is_cut(tmp_path: Path) -> None:
    state = campaign().state
    trial = tmp_path / "trials" / "1"
    trial.mkdir(parents=True)
    (trial / "diff.patch").write_text("+" + 300_000 * "x" + "\n+last line")
    page = written(tmp_path, state)
    assert "characters left out" in page.text
    assert "+last line"[1:] in page.text
    assert len(page.text) < 50_000


def test_a_campaign_without_a_training_has_a_page(tmp_path: Path) -> None:
    page = written(tmp_path, Story().state)
    assert "Nothing is measured yet." in page.text
    assert "Nothing is kept yet." in page.text


def test_a_folder_that_cannot_be_written_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_report(tmp_path / "missing", campaign().state, PRIOR)


def test_markdown_has_a_row_a_trial() -> None:
    lines = markdown(campaign().state, PRIOR).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 7
    assert rows[3] == (
        "| 1 | schedule | **longer warm-down, the last 60 % of the budget** | 1.2870 ± 0.0060 | "
        f"+0.0130 | kept: better by 0.0140 ± 0.0082 in 3 heats | `{sha('final 1')[:7]}` |"
    )
    assert "schedule 19%" in lines[-1]


def test_each_heat_is_told_with_both_its_trainings(tmp_path: Path) -> None:
    story = Story()
    story.baseline()
    story.trial("schedule", "x", [(1.3020, 1.2900), (1.3000, 1.2860)])
    written(tmp_path, story.state)
    page = (tmp_path / "report.html").read_text()
    rows = re.findall(
        r"<tr><td>(\d*)</td><td>(c\w+)</td><td>(\d+)</td><td>ok</td><td>([\d.]+)<", page
    )
    assert rows == [
        ("", "candidate", "1", "1.300000"),
        ("1", "champion", "2", "1.302000"),
        ("1", "candidate", "2", "1.290000"),
        ("2", "champion", "3", "1.300000"),
        ("2", "candidate", "3", "1.286000"),
    ]


def test_what_was_abandoned_has_a_forecast_and_no_score(tmp_path: Path) -> None:
    row = markdown(campaign().state, {}).splitlines()[-1]
    words = r"forecast -0.0600 ± 0.0200, hopeless after 25% of a heat, reverted"
    assert row.startswith(f"| 6 | architecture | twice as wide | abandoned | -0.0600 | {words} |")
    page = written(tmp_path, campaign().state)
    assert re.search(r"twice as wide\s+abandoned\s+-0\.0600\s+forecast", page.text)


def test_a_null_trial_stands_apart_even_if_it_was_kept(tmp_path: Path) -> None:
    story = Story()
    story.baseline()
    story.null([(1.30, 1.26)], verdict="keep")
    assert "**" not in markdown(story.state, {}).splitlines()[-1]
    page = written(tmp_path, story.state)
    classes = [a["class"] for tag, a in page.tags if tag == "td" and "class" in a]
    assert "null" in classes
    assert classes.count("kept") == 1, "the baseline's"
    assert "1 of 1 null kept" in page.text


def test_markdown_escapes_what_a_model_wrote(tmp_path: Path) -> None:
    story = Story()
    story.baseline()
    story.trial("schedule", "a | b [x](y) <b> `c` *d*", [(None, None)])
    row = next(line for line in markdown(story.state, {}).splitlines() if line.startswith("| 1 "))
    assert r"a \| b \[x\]\(y\) &lt;b&gt; \`c\` \*d\*" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 8


def test_the_notebook_is_shown_as_the_text_that_it_is(tmp_path: Path) -> None:
    story = campaign()
    assert "Notebook" not in markdown(story.state, {}) + written(tmp_path, story.state).text
    text = "## What was learnt\n\n- <b>steps</b> | count\x1b[2J"
    story.add("notebook", text=text, model="m", usage={"input": 1}, cost_usd=0.0)
    page = written(tmp_path, story.state)
    assert "## What was learnt\n\n- <b>steps</b> | count\ufffd[2J" in page.text
    assert not any(tag == "b" and "steps" in str(rest) for tag, rest in page.tags)
    lines = markdown(story.state, {}).splitlines()
    assert "> **What was learnt**" in lines
    assert r"> - &lt;b&gt;steps&lt;/b&gt; \| count" + "\ufffd" + r"\[2J" in lines
