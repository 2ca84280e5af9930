"""A real campaign: real git, real trainings in the real sandbox, the command line as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import RUN, agent, as_json, clone, events, git, start, wait_until

pytestmark = pytest.mark.process

TRAILERS = {
    "Trial",
    "Category",
    "Hypothesis",
    "Proposer",
    "Val-Bpb",
    "Gain",
    "Seeds",
    "Program",
    "Parent",
}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign of two trials in a repository whose checkout is dirty and detached."""
    folder = clone(tmp_path_factory.mktemp("project"))
    git(folder, "checkout", "-q", "--detach")
    (folder / "notes.txt").write_text("mine, not committed\n")
    (folder / "program.md").write_text((folder / "program.md").read_text() + "\n")
    before = git(folder, "status", "--porcelain=v2", "--branch")
    done = agent(folder, *RUN, "--trials", "2", "--keep", "greedy")  # a heat a trial
    assert git(folder, "status", "--porcelain=v2", "--branch") == before
    (folder / "first-run.txt").write_text(done.stdout)
    return folder


def test_every_trial_has_a_verdict_and_a_reason(campaign: Path) -> None:
    log = as_json(campaign, "log")
    assert [entry["trial"] for entry in log] == [0, 1, 2]
    assert log[0]["verdict"] == "keep"
    assert {entry["verdict"] for entry in log[1:]} <= {"keep", "revert", "rejected"}
    for entry in log:
        assert entry["hypothesis"]
        assert entry["category"]
        if entry["verdict"] != "rejected" and entry["status"] == "ok":
            assert entry["scores"]
            assert entry["val_bpb"] > 0
            assert len(entry["differences"]) == (len(entry["scores"]) if entry["trial"] else 0)


def test_status_counts_what_the_log_holds(campaign: Path) -> None:
    status, log = as_json(campaign, "status"), as_json(campaign, "log")
    verdicts = [entry["verdict"] for entry in log[1:]]
    assert status["tag"] == "t"
    assert status["state"] == "stopped"
    assert status["trials"] == 2
    assert status["kept"] == verdicts.count("keep")
    assert status["reverted"] == verdicts.count("revert")
    assert status["champion"] == git(campaign, "rev-parse", "autoresearch/t")
    assert sum(status["prior"].values()) == pytest.approx(1.0)
    assert status["cost_usd"] == 0


def test_the_branch_holds_baseline_and_kept_trials_only(campaign: Path) -> None:
    kept = [e for e in as_json(campaign, "log") if e["verdict"] == "keep"]
    base = git(campaign, "rev-parse", "HEAD")
    commits = git(campaign, "rev-list", "--reverse", f"{base}..autoresearch/t").split()
    assert commits == [entry["commit"] for entry in kept]
    for commit in commits:
        changed = git(campaign, "diff-tree", "--no-commit-id", "--name-only", "-r", commit)
        assert changed in ("trainer/train.py", "")
    assert "val_bpb" in git(campaign, "log", "-1", "--format=%s", "autoresearch/t")


def test_every_trained_trial_has_a_ref_with_its_numbers(campaign: Path) -> None:
    for entry in as_json(campaign, "log"):
        ref = f"refs/autoresearch/t/trials/{entry['trial']}"
        if entry["verdict"] == "rejected":
            assert ref not in git(campaign, "for-each-ref", "--format=%(refname)")
            continue
        assert git(campaign, "rev-parse", ref) == entry["commit"]
        text = git(campaign, "show", "-s", "--format=%(trailers:only,unfold)", ref)
        trailers = dict(line.split(": ", 1) for line in text.splitlines())
        for key in [
            "Trial",
            "Category",
            "Hypothesis",
            "Proposer",
            "Val-Bpb",
            "Gain",
            "Seeds",
            "Program",
            "Parent",
        ]:
            assert trailers[key]
        assert trailers["Trial"] == str(entry["trial"])
        assert trailers["Parent"] == entry["parent"]


def test_results_tsv_has_the_ancestors_columns(campaign: Path) -> None:
    rows = (campaign / "campaigns/t/results.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["commit", "val_bpb", "memory_gb", "status", "description"]
    trained = [e for e in as_json(campaign, "log") if e["verdict"] != "rejected"]
    assert len(rows) == 1 + len(trained)
    assert all(len(row.split("\t")) == 5 for row in rows)


def test_plain_output_tells_the_story(campaign: Path) -> None:
    text = (campaign / "first-run.txt").read_text()
    assert "\x1b" not in text
    for word in ("isolation", "apidocs", "forecast", "deck", "tuner", "val_bpb"):
        assert word in text


def test_the_log_has_the_settings_and_every_event(campaign: Path) -> None:
    text = (campaign / "campaigns/t/run.log").read_text()
    for setting in ("budget: 6000tok", "preset: cpu", "llm: none"):
        assert f"INFO agent.steps.start: {setting}\n" in text
    assert "INFO agent.steps.start: isolation: " in text
    assert all(f"event {event['n']}, {event['event']}" in text for event in events(campaign))


def test_show_tells_one_trial(campaign: Path) -> None:
    text = agent(campaign, "show", "1").stdout
    assert "<<<<<<< SEARCH" in text
    assert agent(campaign, "show", "99", check=False).returncode == 2


def test_report_writes_picture_and_page(campaign: Path) -> None:
    files = as_json(campaign, "report")["files"]
    assert [Path(name).name for name in files] == ["progress.png", "report.html"]
    assert all(Path(name).stat().st_size > 1000 for name in files)
    assert agent(campaign, "report", "--markdown").stdout.startswith("#")


def test_replay_of_the_champion_is_bit_exact(campaign: Path) -> None:
    champion = as_json(campaign, "status")["champion"]
    replayed = as_json(campaign, "replay", champion)
    assert replayed["commit"] == champion
    assert replayed["verdict"] == "bit-exact", replayed
    assert replayed["recorded_bpb"] == replayed["replayed_bpb"]
    assert replayed["differences"] == []


def test_replay_from_the_notes_alone(campaign: Path, tmp_path: Path) -> None:
    """Whoever has the refs can replay: the campaign's folder is not needed."""
    other = tmp_path / "elsewhere"
    git(campaign, "clone", "-q", str(campaign), str(other))
    git(other, "fetch", "-q", "origin", "refs/notes/autoresearch/*:refs/notes/autoresearch/*")
    replayed = as_json(other, "replay", "origin/autoresearch/t")
    assert replayed["verdict"] == "bit-exact", replayed


def test_adopt_prints_a_patch_that_applies(campaign: Path, tmp_path: Path) -> None:
    if as_json(campaign, "status")["kept"] == 0:
        assert git(campaign, "diff", "HEAD", "autoresearch/t", "--stat") == ""
        return
    patch = tmp_path / "kept.patch"
    patch.write_text(agent(campaign, "adopt", "--patch").stdout)
    git(campaign, "apply", "--check", str(patch))


def test_another_budget_is_refused(campaign: Path) -> None:
    done = agent(campaign, "run", "--tag", "t", "--budget", "30000tok", check=False)
    assert done.returncode == 2
    assert "could not be compared" in done.stderr


def training_of(folder: Path, trial: int) -> bool:
    begun = ("training_started", "heat_started")
    return any(e["event"] in begun and e["trial"] == trial for e in events(folder))


def test_a_train_py_without_the_presets_constants_is_a_starting_point(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    own = (Path(__file__).parents[1] / "tiny_train.py").read_text()
    (folder / "trainer" / "train.py").write_text(own)
    git(folder, "commit", "-qam", "a training file of my own")
    (folder / "trainer" / "train.py").write_text(own + "# not committed\n")
    said = agent(folder, *RUN, "--trials", "0").stdout
    head = git(folder, "rev-parse", "HEAD")[:12]
    assert (
        f"uncommitted changes, which are not used: the campaign starts from the committed "
        f"one ({head})" in said
    )
    assert [row["verdict"] for row in as_json(folder, "log")] == ["keep"]
    kept = git(folder, "show", "autoresearch/t:trainer/train.py")
    named = own.replace("VOCAB_SIZE = 257", "VOCAB_SIZE = 2048").replace("LEN = 256", "LEN = 512")
    assert kept == named.strip()


def test_stop_ends_a_run_in_order(tmp_path: Path) -> None:
    folder = clone(tmp_path)
    process = start(folder, "run", "--tag", "t", "--budget", "60s", "--llm", "none")
    wait_until(lambda: training_of(folder, 0), process)
    assert as_json(folder, "status")["state"] == "running"
    busy = agent(folder, "run", "--tag", "t", check=False)
    assert busy.returncode == 2
    agent(folder, "stop")
    process.communicate()
    assert process.returncode == 0
    assert events(folder)[-1]["event"] == "stop"
    assert not (folder / "campaigns/t/stop").exists()
