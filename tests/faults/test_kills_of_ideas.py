"""kill -9 between the ideas of one reply: none is lost, none is asked for or tried twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kills_campaign, kills_compare
from benchmarks.kills_campaign import Kill, Site

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

TRIALS = 3
KILLS: tuple[Kill, ...] = (
    {"kind": "proposed", "side": "before"},  # the reply that nobody has recorded is asked for again
    {"kind": "proposed", "side": "after"},
    {"kind": "verdict", "side": "after"},  # two ideas wait
    {"kind": "trial", "side": "after"},  # the second idea is taken from the queue
    {"kind": "turned_down", "side": "after"},  # and goes back to be mended
    {"kind": "candidate", "side": "before"},
    {"kind": "verdict", "side": "after"},  # one idea waits
)
MODEL = r"""
import re, sys

prompt = sys.stdin.read()
category = re.search(r"category \*\*(\w+)\*\*", prompt)[1]
rate = re.search(r"^RATE = ([\d.e-]+).*$", prompt, re.MULTILINE)
floor = re.search(r"^FLOOR = .*$", prompt, re.MULTILINE)[0]
changes = [
    (rate[0], f"RATE = {float(rate[1]) * 2.7:.4g}  # higher"),
    ("what no file has", ""),
    (re.search(r"^WIDTH = .*$", prompt, re.MULTILINE)[0], "WIDTH = 24"),
]
if "You replied:" in prompt:
    changes = [(floor, "FLOOR = 0.4  # mended")]
for number, (search, new) in enumerate(changes):
    print(f"title: idea {number}\ncategory: {category}\nhypothesis: idea {number}")
    print(f"<<<<<<< SEARCH\n{search}\n=======\n{new}\n>>>>>>> REPLACE\n")
"""


def make(folder: Path, shared: Path) -> Site:
    site = kills_campaign.make(folder, shared, TRIALS)
    (shared / "model.py").write_text(MODEL)
    program = site.repo / "program.md"
    program.write_text(program.read_text().replace("nulls: 0.25", "nulls: 0\nideas: 3"))
    me = ("-c", "user.name=A User", "-c", "user.email=a@example.org")
    kills_campaign.git(site, *me, "commit", "-qam", "three ideas a reply")
    return site


def events(site: Site) -> list[dict[str, Any]]:
    text = (site.campaign / "journal.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_one_reply_is_three_trials_whatever_is_killed(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    undisturbed, site = make(tmp_path / "calm", shared), make(tmp_path / "killed", shared)
    status, output = kills_campaign.run(undisturbed)
    assert status == 0, output
    for moment in KILLS:
        status, output = kills_campaign.run(site, moment)
        assert status == -9, f"{moment}: {output}"
    status, output = kills_campaign.run(site)
    assert status == 0, output
    assert not kills_compare.left(site)
    before, after = map(kills_compare.outcome, (undisturbed, site))
    assert list(kills_compare.differences(before, after)) == []
    for one in (undisturbed, site):
        replies = [event for event in events(one) if event["event"] == "proposed"]
        assert [reply["trial"] for reply in replies] == [1, 2, 2, 3]
        assert [len(reply["ideas"]) for reply in replies] == [2, 0, 0, 0]
        verdicts = [event["verdict"] for event in events(one) if event["event"] == "verdict"]
        assert len(verdicts) == 1 + TRIALS and "rejected" not in verdicts
