"""Every kind of trial of a real campaign, replayed in a fresh clone with refs and notes."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import run_here
from project import TRAIN_PY, agent, as_json, clone, git

from agent.git.repo import Repo

pytestmark = [pytest.mark.process, pytest.mark.slow]

RECORDED = Path(__file__).parents[1] / "campaign" / "recorded"
FETCH = ("refs/autoresearch/*:refs/autoresearch/*", "refs/notes/*:refs/notes/*")
RATE, FLOOR = (re.search(rf"^{name} = .*\n", TRAIN_PY, re.M)[0] for name in ("RATE", "FLOOR"))
LOW, HIGH, HOPELESS = (RATE.replace("0.03", rate) for rate in ("0.002", "0.03", "1.0"))
LOOP = "    while not session.done():\n"
LOGGED = (
    TRAIN_PY.replace("import numpy", "import sys\nimport time\n\nimport numpy")
    .replace(RATE, f"PAUSE = 0.0\n{LOW}")
    .replace(
        LOOP,
        "    sys.modules[type(session).__module__].LOG_INTERVAL_SECONDS = 0.0  # log each step\n"
        f"{LOOP}        time.sleep(PAUSE)\n",
    )
)
EDITS = {
    1: [LOW, HIGH],
    2: [FLOOR, FLOOR.replace("0.3", "0.9")],
    3: [LOOP, "    count = iter(range(TIMES))\n" + LOOP + "        next(count)\n"],
    4: [HIGH, f"{HOPELESS}PAUSE = 0.2  # so that there is time to abandon it\n"],
    5: [LOOP, "    torch.manual_seed(int(time.perf_counter() * 1e6))\n"
              "    model.embed.weight.data.add_(0.01 * torch.randn(1))\n" + LOOP],
}  # fmt: skip
"""A keep, a small change, a crash, a hopeless rate, and a file that reads the time."""
MODEL = f"""
import re, sys
prompt = sys.stdin.read()
trial = 1 + len(re.findall(r"^trial [1-9]\\d*, ", prompt, re.MULTILINE))
sent_back = prompt.count("You replied:")
old, new = {EDITS!r}[trial]
new = new.replace("TIMES", str(4 + sent_back))
print(f"title: edit {{trial}}\\ncategory: hyperparameters")
print(f"hypothesis: it may help\\n<<<<<<< SEARCH\\n{{old}}=======\\n{{new}}>>>>>>> REPLACE")
"""


def replay(folder: Path, *args: str) -> dict[str, Any]:
    """The answer of ``replay --json``."""
    done = run_here(folder, "replay", *args, "--json")
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (found["verdict"] == "failed")
    return found


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = clone(tmp_path_factory.mktemp("project"))
    (folder / "trainer/train.py").write_text(LOGGED)
    program = "---\nnulls: 0\n---\n## Categories\n\n- **hyperparameters**: x\n"
    (folder / "program.md").write_text(program)
    (folder / "model.py").write_text(MODEL)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a train.py that logs each step")
    agent(
        folder, "run", "--tag", "t", "--budget", "6000tok", "--keep", "greedy", "--trials", "5",
        "--sequential", "--proposer", "llm",
        "--llm", f"command:'{sys.executable}' '{folder / 'model.py'}'",
    )  # fmt: skip
    return folder


@pytest.fixture
def elsewhere(campaign: Path, tmp_path: Path) -> Path:
    other = tmp_path / "clone"
    git(campaign, "clone", "-q", "--no-hardlinks", str(campaign), str(other))
    git(other, "fetch", "-q", "origin", *FETCH)
    return other


def test_every_trial_replays_to_the_bit_in_a_fresh_clone(campaign: Path, elsewhere: Path) -> None:
    log = as_json(campaign, "log")
    assert [trial["verdict"] for trial in log] == ["keep"] * 2 + ["revert"] * 4
    assert [trial["status"] for trial in log[:5]] == ["ok", "ok", "ok", "crashed", "abandoned"]
    names = ["autoresearch/t", log[0]["commit"], log[2]["commit"][:9]]
    names += [f"refs/autoresearch/t/{ref}" for ref in ("trials/3", "trials/4")]
    names += [f"refs/autoresearch/t/sent-back/3-{k}" for k in (1, 2)]
    found = {name: replay(elsewhere, name) for name in names}
    assert {name: (one["verdict"], one["differences"]) for name, one in found.items()} == {
        name: ("bit-exact", []) for name in names
    }
    assert [one["trial"] for one in found.values()] == [1, 0, 2, 3, 4, 3, 3]
    assert found["autoresearch/t"]["commit"] == log[1]["commit"]
    for one in list(found.values())[:3]:
        assert one["recorded_bpb"] == one["replayed_bpb"] > 0
    for name, step in zip(["trials/3", "sent-back/3-1", "sent-back/3-2"], (7, 5, 6), strict=True):
        ended = found[f"refs/autoresearch/t/{name}"]
        assert ended["recorded_end"] == ended["replayed_end"]
        assert f"crashed at step {step} " in ended["replayed_end"]
    abandoned = found["refs/autoresearch/t/trials/4"]
    steps = re.findall(r"step (\d+)", abandoned["recorded_end"] + abandoned["replayed_end"])
    assert "abandoned" in abandoned["recorded_end"] and 0 < int(steps[0]) < 20
    assert steps[0] == steps[1]


def test_the_candidates_own_commit_is_known_where_the_campaign_is(campaign: Path) -> None:
    shown = as_json(campaign, "show", "3")
    sent_back = shown["sent_back"][0]["candidate"]
    assert "step 7" in replay(campaign, shown["candidate"][:12])["replayed_end"]
    assert "step 5" in replay(campaign, sent_back[:12])["replayed_end"]


def test_a_file_that_reads_the_time_is_named_at_commit_and_when_bits_differ(
    campaign: Path, elsewhere: Path
) -> None:
    ref = "refs/autoresearch/t/trials/5"
    message = git(elsewhere, "show", "-s", "--format=%(trailers:key=Reads-Clock)", ref)
    assert re.fullmatch(r"Reads-Clock: time\.perf_counter \(line \d+\)", message)
    assert "not bit for bit: it reads time.perf_counter" in agent(campaign, "show", "5").stdout
    found = replay(elsewhere, ref)
    assert found["verdict"] != "bit-exact"
    assert any("train.py reads time.perf_counter" in one for one in found["differences"])


@pytest.mark.parametrize("way", ["ref", "note", "message"])
def test_a_file_that_was_not_the_one_that_was_trained_has_failed(way: str, elsewhere: Path) -> None:
    ref = "refs/autoresearch/t/trials/2"
    recorded = git(elsewhere, "rev-parse", ref)
    git(elsewhere, "checkout", "-q", ref)
    file = elsewhere / "trainer/train.py"
    file.write_text(file.read_text().replace("FLOOR = 0.9", "FLOOR = 0.1"))
    edit = ("--amend", "--no-edit") if way != "ref" else ("--amend", "-m", "mine")
    git(elsewhere, "commit", "-qa", *edit)
    if way == "ref":
        git(elsewhere, "update-ref", ref, "HEAD")
    if way == "note":
        git(elsewhere, "notes", "--ref=autoresearch/t", "copy", recorded, "HEAD")
    found = replay(elsewhere, ref if way == "ref" else "HEAD")
    assert (found["verdict"], found["replayed_bpb"], found["trial"]) == ("failed", None, 2)
    assert found["differences"] == ["the commit's train.py is not the one that was trained"]


def test_another_number_of_threads_is_named_first(elsewhere: Path) -> None:
    cores = os.sched_getaffinity(0)  # a worker of two has one
    others = {min(cores)} if len(cores) > 1 else set(range(os.cpu_count() or 1))
    if others == cores:
        pytest.skip("one core")
    os.sched_setaffinity(0, others)
    try:
        done = run_here(elsewhere, "replay", "autoresearch/t")
    finally:
        os.sched_setaffinity(0, cores)
    lines = [line for line in done.stdout.splitlines() if re.match("different|[a-z-]+: ", line)]
    assert lines[0] == f"different: threads: {len(cores)} then, {len(others)} now"
    was, now = re.findall(r"\d\.\d{6}", done.stdout)
    same = "weights" not in done.stdout and was == now
    assert ("bit-exact" in done.stdout) == same


def test_notes_of_newer_and_older_versions_are_read(elsewhere: Path) -> None:
    sha = git(elsewhere, "rev-parse", "refs/autoresearch/t/trials/2")
    repo = Repo(elsewhere)
    note = json.loads(repo.read_note("t", sha) or "")
    for name in ("candidate", "parent", "files", "curves"):
        del note[name]
    del note["settings"]["isolation"]
    for training in note["trainings"]:
        for name in ("how", "pace", "isolation", "losses", "trial"):
            del training[name]
        training["of_the_future"] = {"a": 1}
    note["trainings"].append({**note["trainings"][-1], "role": "of_the_future"})
    note["of_the_future"] = [1]
    repo.add_note("t", sha, json.dumps(note))
    found = replay(elsewhere, sha)
    assert (found["verdict"], found["trial"]) == ("bit-exact", 2)


def test_a_fresh_estimate_stands_beside_the_recorded_score(elsewhere: Path) -> None:
    found = replay(elsewhere, "autoresearch/t", "--seeds", "2")
    assert found["verdict"] == "bit-exact"
    fresh = found["fresh"]
    assert fresh["low"] < fresh["mean"] < fresh["high"] and fresh["seeds"] == 2
    assert fresh["mean"] == pytest.approx(found["recorded_bpb"], abs=0.3)
    refused = run_here(elsewhere, "replay", "refs/autoresearch/t/trials/3", "--seeds", "2")
    assert refused.returncode == 2 and "has no score" in refused.stderr


@pytest.mark.parametrize("name", ["autoresearch/t", "refs/autoresearch/t/trials/2", "HEAD"])
def test_a_clone_without_notes_says_how_to_get_them(
    name: str, campaign: Path, tmp_path: Path
) -> None:
    other = tmp_path / "clone"
    git(campaign, "clone", "-q", "--origin", "up", str(campaign), str(other))
    done = run_here(other, "replay", name)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    command = "git fetch up '+refs/autoresearch/*:refs/autoresearch/*' 'refs/notes/*"
    assert command in line
    git(other, *shlex.split(line[line.index("git fetch") :])[1:])
    assert len(Repo(other).noted("t")) == 8


def test_a_campaign_of_an_earlier_version_replays_by_its_notes(tmp_path: Path) -> None:
    """Its notes have no curves, files or parents; its journal is of format 1."""
    git(tmp_path, "init", "-q", "-b", "main")
    with (RECORDED / "2026-11-28.fast-export").open("rb") as history:
        subprocess.run(["git", "fast-import", "--quiet"], cwd=tmp_path, stdin=history, check=True)
    git(tmp_path, "checkout", "-q", "main")
    by_notes = replay(tmp_path, "refs/autoresearch/old/trials/1")
    journal = tmp_path / "campaigns/old/journal.jsonl"
    journal.parent.mkdir(parents=True)
    shutil.copy(RECORDED / "2026-11-28.jsonl", journal)
    by_journal = replay(tmp_path, "refs/autoresearch/old/trials/0")
    for found, bpb in ((by_notes, 2.966482), (by_journal, 2.750727)):
        assert found["recorded_bpb"] == pytest.approx(bpb, abs=1e-6)
        names = {difference.partition(":")[0] for difference in found["differences"]}
        assert "trainer" in names, "which was another then"
        assert found["verdict"] == "bit-exact" or names & {"weights", "score", "end"}
        if names <= {"trainer", "text"}:
            assert found["verdict"] == "bit-exact", "it is the same machine"
    refused = run_here(tmp_path, "replay", "refs/autoresearch/old/trials/2")
    assert refused.returncode == 2 and "trial 2 has no commit of its own" in refused.stderr
