"""``harvest`` on a real repository; scores are the test's, since no file is trained."""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commands import run_here
from grown import BASE, EDITS, HELPER, LABELS, Grown, Killed, Trainings
from project import trailers
from staged import measured

from agent.campaign.store import Campaign
from agent.campaign.submissions import waiting
from agent.git.repo import Repo
from trainer import measure

if TYPE_CHECKING:
    from tests.agent.conftest import Git

pytestmark = pytest.mark.process  # seconds, for git


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    stand_in = Trainings()
    monkeypatch.setattr(measure, "heat", stand_in.heat)
    monkeypatch.setattr(measure, "check", stand_in.check)
    return stand_in


@pytest.fixture
def begun(user_repo: Path, git: Git) -> Iterator[Grown]:
    grown = Grown(user_repo, git)
    yield grown
    grown.campaign.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that needs all of the edits kept leaves its repository to the others."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def grown(template: Path, user_repo: Path, git: Git, trainings: Trainings) -> Grown:
    made = template / "repo"
    if not made.exists():
        shutil.copytree(Grown(user_repo, git).keep_all(EDITS).root, made)
    grown = Grown.__new__(Grown)
    grown.root, grown.git = user_repo, git
    shutil.rmtree(user_repo)
    shutil.copytree(made, user_repo)
    git(user_repo, "status")  # refreshes the index, whose times are those of the other files
    return grown


def by_trial(found: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {keep["trial"]: keep for keep in found["keeps"]}


def test_each_kept_change_has_its_label_and_its_numbers(grown: Grown, trainings: Trainings) -> None:
    found = grown.found()
    keeps = by_trial(found)
    assert {number: keep["label"] for number, keep in keeps.items()} == LABELS
    assert found["split"] == "val" and {o["split"] for o in trainings.options} == {"val"}
    assert len(found["seeds"]) == 5 and min(found["seeds"]) >= 1 << 40
    assert keeps[1]["alone"]["mean"] == pytest.approx(0.03, abs=1e-3)
    assert keeps[1]["left_out"]["mean"] == pytest.approx(0.05, abs=1e-3)
    assert keeps[2]["alone"]["low"] < 0 < keeps[2]["alone"]["high"]
    assert keeps[2]["left_out"]["low"] > 0.015
    assert keeps[4]["left_out"] is None and "conflict" in keeps[4]["notes"][0]
    assert keeps[5]["needs"] == [4] and keeps[5]["alone"] is None
    assert "conflict" in keeps[5]["notes"][0] and "needs trial 4" in keeps[5]["notes"][0]
    assert keeps[8]["needs"] == [6] and "NameError: SCALE" in keeps[8]["notes"][0]
    assert keeps[6]["left_out"] is None and "NameError: SCALE" in keeps[6]["notes"][0]
    for seed in found["seeds"]:
        first = [sources[0] for own, sources in trainings.heats if own == seed]
        assert set(first) == {BASE, grown.text("autoresearch/t")}


def test_a_branch_is_the_change_alone_on_the_users_commit(grown: Grown) -> None:
    found = grown.found()
    keeps, branches = by_trial(found), grown.branches()
    assert branches == {keep["branch"]: keep["made"] for keep in keeps.values() if keep["branch"]}
    assert set(branches) == {
        f"autoresearch-harvest/t/{name}"
        for name in (
            "01-wider", "02-a-faster-optimizer", "05-warm-down-of-most", "08-smooth",
        )
    }  # fmt: skip
    for name, sha in branches.items():
        assert grown.git(grown.root, "rev-parse", f"{name}^").strip() == found["base"]
        changed = grown.git(grown.root, "diff", "--name-only", found["base"], name)
        assert changed.split() == ["trainer/train.py"]
        who = grown.git(grown.root, "show", "-s", "--format=%an %cn %ad", sha)
        assert who.startswith("autoresearch autoresearch ")
    assert grown.text(keeps[1]["branch"]) == EDITS[0][1](BASE)
    assert grown.text(keeps[2]["branch"]) == EDITS[1][1](BASE)
    assert grown.text(keeps[5]["branch"]) == BASE.replace("WARMDOWN = 0.3", "WARMDOWN = 0.7")
    assert grown.text(keeps[8]["branch"]) == BASE.replace("0.9\n", "0.9\nSCALE = 2\n") + HELPER
    message = Repo.open(grown.root).commit_for(keeps[5]["branch"]).message
    told = trailers(message)
    assert message.startswith("schedule: warm-down of most\n") and "change of trial 4" in message
    assert told["Harvest"].startswith("only with: trial 4") and told["Claimed-Gain"] == "+0.010000"
    assert told["Alone"] == "not measured" and re.match(r"\+0\.0\d+ \(", told["Left-Out"])
    assert "20s, cpu, " in told["Measured"] and "Some_CPU" in told["Measured"]


def test_the_checkout_of_the_user_is_untouched(
    grown: Grown, snapshot: Callable[[Path], dict[str, object]], hostile_hooks: Callable[..., None]
) -> None:
    (grown.root / "trainer/train.py").write_text("# mine\n")
    grown.git(grown.root, "add", "-A")
    (grown.root / "README.md").write_text("mine, too\n")
    hostile_hooks(grown.root)
    before = snapshot(grown.root)
    grown.found()
    assert snapshot(grown.root) == before
    assert len(grown.branches()) == 4


def test_it_is_the_same_again_and_measures_nothing_twice(
    grown: Grown, trainings: Trainings
) -> None:
    first, branches, text = grown.found(), grown.branches(), page(grown)
    count = len(trainings.heats)
    again = grown.found()
    assert (again["keeps"], grown.branches(), page(grown)) == (first["keeps"], branches, text)
    assert len(trainings.heats) == count
    assert len(waiting(grown.root / "campaigns/t")) == 2, "what no longer carries, once each"
    here = by_trial(first)[1]["branch"]
    grown.git(grown.root, "switch", "-q", here)
    more = grown.found("--seeds", "6")
    assert f"{here} is checked out, and left alone" in "\n".join(more["said"])
    assert grown.branches()[here] == branches.pop(here)
    assert more["seeds"][:5] == first["seeds"] and len(trainings.heats) > count
    assert {seed for seed, _ in trainings.heats[count:]} == {more["seeds"][5]}
    after = grown.branches()
    assert set(after) - {here} == set(branches), "updated, not doubled"
    assert not {after[name] for name in branches} & set(branches.values())


def page(grown: Grown) -> str:
    return (grown.root / "campaigns/t/harvest.md").read_text()


def test_a_kill_between_heats_loses_none(grown: Grown, trainings: Trainings) -> None:
    trainings.die_at = 3
    with pytest.raises(Killed):
        grown.harvest()
    trainings.die_at = -1
    found = grown.found()
    assert len(trainings.heats) == len(set(trainings.heats)) == 10
    assert {n: keep["label"] for n, keep in by_trial(found).items()} == LABELS


def test_ctrl_c_drops_the_heat_under_way_only(
    grown: Grown, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(sources: Sequence[str], *, cancel: threading.Event, **how: Any) -> Any:
        if len(trainings.heats) < 3:
            return trainings.heat(sources, cancel=cancel, **how)
        os.kill(os.getpid(), signal.SIGINT)
        assert cancel.wait(60)
        return [measured({"status": "killed"}, how["seed"]) for _ in sources]

    with monkeypatch.context() as patch:
        patch.setattr(measure, "heat", interrupted)
        done = grown.harvest()
    assert done.returncode == 2 and "asked to stop" in done.stderr and done.stdout == ""
    assert grown.branches() == {}
    assert by_trial(grown.found())[1]["label"] == "carries"
    assert len(trainings.heats) == len(set(trainings.heats)) == 10


def test_what_no_longer_carries_is_offered_to_the_loop(grown: Grown) -> None:
    said = grown.found()["said"]
    offers = {one.title: one for one in waiting(grown.root / "campaigns/t")}
    assert set(offers) == {"without: a longer memory", "without: a spare"}
    memory, spare = offers["without: a longer memory"], offers["without: a spare"]
    champion = grown.text("autoresearch/t")
    assert memory.source == champion.replace("BETA = 0.95", "BETA = 0.9")
    assert memory.base == champion and memory.origin == "harvest" and memory.category == ""
    assert memory.claimed is not None and abs(memory.claimed) < 0.002
    assert spare.source == champion.replace("SPARE = 1\n", "")
    assert spare.category == "simplification"
    assert sum("the next run tries first without it" in line for line in said) == 2


def test_a_branch_that_is_the_users_is_left_alone_and_said(grown: Grown) -> None:
    folder = "autoresearch-harvest/t"
    grown.git(grown.root, "branch", f"{folder}/01-wider", "main~1")
    grown.git(grown.root, "switch", "-qc", f"{folder}/02-a-faster-optimizer", "main")
    before = grown.branches()
    found = grown.found()
    said = "\n".join(found["said"])
    assert f"{folder}/01-wider is not as a harvest made it" in said
    assert f"{folder}/02-a-faster-optimizer is checked out" in said
    after = grown.branches()
    assert {name: after[name] for name in before} == before and len(after) == 4
    grown.git(grown.root, "switch", "-q", "main")
    grown.git(grown.root, "branch", "-f", f"{folder}/08-smooth", "main")  # moved by the user
    grown.git(grown.root, "branch", "-D", "-q", f"{folder}/05-warm-down-of-most")
    again = grown.found()
    assert f"{folder}/08-smooth is not as a harvest made it" in "\n".join(again["said"])
    assert grown.branches()[f"{folder}/05-warm-down-of-most"] == by_trial(again)[5]["made"]
    grown.git(grown.root, "branch", "-D", "-q", f"{folder}/08-smooth")
    assert not [line for line in grown.found()["said"] if "08-smooth is not" in line]


def test_a_branch_where_the_folder_would_be_is_said(grown: Grown) -> None:
    grown.git(grown.root, "branch", "autoresearch-harvest")
    found = grown.found()
    assert sum("could not be made" in line for line in found["said"]) == 4
    assert (grown.root / "campaigns/t/harvest.md").exists()


def test_the_text_for_a_pull_request(grown: Grown) -> None:
    done = grown.harvest("--seeds", "3")
    text = page(grown)
    assert done.stdout.startswith(text.strip()) and str(grown.root / "campaigns/t") in done.stdout
    assert (grown.root / "campaigns/t/harvest.png").read_bytes().startswith(b"\x89PNG")
    for words in (
        "3 seeds", "20s a training", "preset cpu", r"Some\_CPU", "all 12 intervals",
        "](harvest.png)", "## wider", "claimed gain", "+0.0100", r"Because \`it\` helps 1.",
        "autoresearch-harvest/t/01-wider", "## Not shown to carry its weight", "memory (trial 3)",
        "python -m trainer --file base.py", "python -m agent harvest --tag t --seeds 3",
    ):  # fmt: skip
        assert words in text, words
    assert "## a longer memory" not in text
    report = run_here(grown.root, "report", "--markdown").stdout
    assert "## Harvest" in report and "only with: trial 4" in report
    run_here(grown.root, "report")
    assert "only with: trial 4" in (grown.root / "campaigns/t/report.html").read_text()


def test_clean_says_and_removes_the_branches(grown: Grown) -> None:
    grown.found()
    said = run_here(grown.root, "clean").stdout
    assert "YOURS" not in said, said
    grown.git(grown.root, "switch", "-q", "autoresearch-harvest/t/01-wider")
    refused = run_here(grown.root, "clean", "--yes")
    assert refused.returncode == 2 and "is checked out" in refused.stderr
    grown.git(grown.root, "switch", "-q", "main")
    tip = grown.git(grown.root, "commit-tree", "-m", "mine", "HEAD^{tree}").strip()
    ref = "refs/heads/autoresearch-harvest/t/01-wider"
    grown.git(grown.root, "update-ref", ref, tip)
    assert f"YOURS, and removed as well: commit {tip[:12]} ({ref})" in (
        run_here(grown.root, "clean").stdout
    )
    assert run_here(grown.root, "clean", "--yes").returncode == 0
    assert grown.branches() == {}


def test_a_change_that_fails_in_a_heat_is_not_tried_again(
    begun: Grown, trainings: Trainings
) -> None:
    begun.keep_all(EDITS[:2])
    trainings.fails = lambda source: "RATE = 0.02" in source and "WIDTH = 64" in source
    keeps = by_trial(begun.found())
    assert keeps[2]["alone"] is None and "crashed (crash: RuntimeError" in keeps[2]["notes"][0]
    assert keeps[2]["label"] == "only with" and keeps[2]["needs"] == [1]
    assert begun.text(keeps[2]["branch"]) == begun.text("autoresearch/t")
    assert "left out it crashed" in keeps[1]["notes"][0] and keeps[1]["label"] == "carries"
    failing = EDITS[1][1](BASE)
    assert sum(failing in sources for _, sources in trainings.heats) == 2, "alone, and left out"


def test_a_failure_of_the_machine_is_tried_again_by_the_next_harvest(
    begun: Grown, trainings: Trainings
) -> None:
    begun.keep_all(EDITS[:1])
    fails, trainings.fails = trainings.fails, lambda source: True
    assert begun.found()["keeps"][0]["label"] == "undecided"
    trainings.fails = fails
    (keep,) = begun.found()["keeps"]
    assert keep["label"] == "carries" and keep["notes"] == []
    count = len(trainings.heats)
    begun.found()
    assert len(trainings.heats) == count


def test_a_kept_file_with_an_empty_last_line_is_taken_as_it_was_kept(
    begun: Grown, trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = BASE.replace("WIDTH = 64", "WIDTH = 96") + "\n"
    begun.keep_all([("wider", lambda t: source)])
    monkeypatch.setattr(measure, "check", lambda *_, **__: measure.CheckResult("crashed", "hangs"))
    (keep,) = begun.found()["keeps"]
    assert keep["label"] == "carries" and begun.text(keep["branch"]) == source


def test_a_tie_is_not_offered_back_to_the_loop(begun: Grown, trainings: Trainings) -> None:
    begun.keep("shorter", BASE.replace("BETA = 0.9\n", ""), gain=0.005, tie=True)
    begun.keep_all(EDITS[:1])
    tie = begun.found()["keeps"][0]
    assert tie["label"] == "no longer" and "kept because it is shorter" in tie["notes"][0]
    assert waiting(begun.root / "campaigns/t") == []


def test_another_champion_is_measured_anew_and_old_branches_are_said(
    begun: Grown, trainings: Trainings
) -> None:
    begun.keep_all(EDITS[:2])
    first = by_trial(begun.found())
    begun.campaign = Campaign(Repo.open(begun.root), "t")
    begun.keep_all([("narrower", lambda t: t.replace("WIDTH = 96", "WIDTH = 64"))])
    before = {seed for seed, _ in trainings.heats}
    found = begun.found()
    assert {n: keep["label"] for n, keep in by_trial(found).items()} == {
        1: "carries", 2: "no longer", 3: "no longer",
    }  # fmt: skip
    said = "\n".join(found["said"])
    assert "without trial 2 was tried before" in said and "without trial 3 was tried before" in said
    assert waiting(begun.root / "campaigns/t") == []
    assert not before & set(found["seeds"])
    assert f"{first[2]['branch']} is of an earlier harvest" in said
    assert begun.branches() == {
        by_trial(found)[1]["branch"]: by_trial(found)[1]["made"],
        first[2]["branch"]: first[2]["made"],
    }


def test_a_single_keep_is_trained_once_a_seed(begun: Grown, trainings: Trainings) -> None:
    begun.keep("reverted", BASE.replace("0.9", "0.8"), verdict="revert")
    begun.keep_all(EDITS[:1])
    (keep,) = begun.found("--seeds", "2")["keeps"]
    assert keep["trial"] == 2 and keep["label"] == "carries"
    assert keep["alone"] == keep["left_out"]
    assert len(trainings.heats) == 2


def test_more_kept_changes_than_a_heat_has_room_for(begun: Grown, trainings: Trainings) -> None:
    source = BASE + "".join(f"C{n} = 0\n" for n in range(10))
    edits = [
        (f"constant {n}", lambda t, n=n: t.replace(f"C{n} = 0\n", f"C{n} = 1\n")) for n in range(10)
    ]
    begun.keep_all([("constants", lambda t: source), *edits])
    found = begun.found("--seeds", "2")
    assert len(found["keeps"]) == 11 and len(trainings.heats) == 2 * (1 + 2)
    assert all(keep["left_out"] for keep in found["keeps"][1:]), "neighbouring lines merge"
    assert all(keep["needs"] == [1] for keep in found["keeps"][1:])


def test_nothing_kept_is_said(begun: Grown, trainings: Trainings) -> None:
    begun.keep("worse", BASE.replace("0.9", "0.8"), verdict="revert")
    begun.campaign.close()
    done = begun.harvest()
    assert done.returncode == 0 and "kept nothing to harvest" in done.stdout
    assert begun.found()["keeps"] == [] and trainings.heats == []


def test_a_run_under_way_is_said_on_one_line(begun: Grown, trainings: Trainings) -> None:
    done = begun.harvest()
    assert done.returncode == 2 and "is running" in done.stderr
    assert done.stderr.count("\n") == 1 and trainings.heats == []


def test_what_is_no_seed_is_refused(grown: Grown, trainings: Trainings) -> None:
    assert grown.harvest("--seeds", "1").returncode == 2
    assert grown.harvest("--tag", "other").returncode == 2
    assert trainings.heats == []


def test_a_branch_has_the_line_ends_of_the_users_file(
    user_repo: Path, git: Git, trainings: Trainings
) -> None:
    crlf = BASE.replace("\n", "\r\n")
    grown = Grown(user_repo, git, crlf).keep_all(EDITS[:2])
    blob = Repo.open(user_repo).read_file(grown.found()["keeps"][0]["branch"])
    assert blob == crlf.replace("WIDTH = 64", "WIDTH = 96")


def test_a_branch_leaves_the_presets_constants_out_where_it_can(
    user_repo: Path, git: Git, trainings: Trainings
) -> None:
    of_preset = BASE.replace("BETA = 0.9", "BETA = 0.8").replace("WIDTH = 64", "WIDTH = 32")
    grown = Grown(user_repo, git, first=of_preset).keep_all(
        [
            ("wider", lambda t: t.replace("WIDTH = 32", "WIDTH = 96")),
            ("warm-down", lambda t: t.replace("WARMDOWN = 0.3", "WARMDOWN = 0.7")),
        ]
    )
    found = grown.found()
    assert found["starts_as_base"] is False
    wider, warmdown = found["keeps"]
    assert grown.text(warmdown["branch"]) == BASE.replace("WARMDOWN = 0.3", "WARMDOWN = 0.7")
    assert grown.text(wider["branch"]) == of_preset.replace("WIDTH = 32", "WIDTH = 96")
    holds = "Holds the constants of the preset, too."
    messages = [Repo.open(user_repo).commit_for(keep["made"]).message for keep in found["keeps"]]
    assert [holds in message for message in messages] == [True, False]
    assert "constants of the preset" in page(grown) and "--file base.py" not in page(grown)
