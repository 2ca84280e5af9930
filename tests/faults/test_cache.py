"""A cache that is deleted, damaged, full or read-only at any time: the same data, or one line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import RUN, agent, as_json, clone, events, start, wait_until
from texts import documents

from trainer.data.prepare import Corpus, DataError, prepare
from trainer.measure import Measurement, heat, measure

pytestmark = pytest.mark.process

TEXTS = documents(700)
ROOT = Path(__file__).parents[2]
PREPARE = """
import sys
from trainer.data.prepare import prepare
from trainer.errors import UserError
def told(stage, share):
    print(stage, flush=True)
try:
    print(prepare(sys.argv[1], vocab_size=512, progress=told).fingerprint)
except UserError as error:
    sys.exit(f"error: {error}")
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(cache: Path, tmp_path: Path) -> str:
    lines = [json.dumps({"text": text}) + "\n" for text in TEXTS]
    (tmp_path / "mine.jsonl").write_text("".join(lines))
    return f"files:{tmp_path / 'mine.jsonl'}"


def prepared(source: str, **how: Any) -> Corpus:
    return prepare(source, vocab_size=512, val_bytes=20_000, **how)


STAGES = (
    "surveying the files",
    "writing the text",
    "training the tokenizer",
    "encoding the training text",
    "encoding the held-out text",
)


@pytest.mark.parametrize("stage", STAGES)
def test_a_cache_emptied_while_it_is_filled_is_filled_again(
    stage: str, source: str, cache: Path
) -> None:
    whole = prepared(source)
    shutil.rmtree(cache)
    deleted = []

    def delete(now: str, share: float) -> None:
        if now == stage and not deleted:
            deleted.append(now)
            shutil.rmtree(cache)

    assert prepared(source, progress=delete) == whole
    assert deleted and prepared(source) == whole


def test_a_cache_emptied_each_time_is_one_line(source: str, cache: Path) -> None:
    def delete(now: str, share: float) -> None:
        if now == "training the tokenizer":
            shutil.rmtree(cache)

    with pytest.raises(
        DataError, match=r"^cannot prepare data in .*: No such file or directory; set"
    ):
        prepared(source, progress=delete)


def test_the_next_preparation_removes_what_a_killed_one_left(
    source: str, cache: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PREPARE, source]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any(line.startswith("writing the text") for line in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(cache.rglob(".making-*"))
    with (tmp_path / "mine.jsonl").open("a") as file:  # another version of the same source
        file.write(json.dumps({"text": "more"}) + "\n")
    prepared(source)
    assert not list(cache.rglob(".making-*"))


@pytest.mark.parametrize(
    ("size", "before", "words"),
    [
        ("300k", "", "No space left on device; free some"),
        ("300k", "mount -o remount,ro", "Read-only file system; set AUTORESEARCH_CACHE"),
    ],
)
def test_a_full_or_read_only_disk_is_one_line(
    size: str, before: str, words: str, source: str, cache: Path
) -> None:
    cache.mkdir()
    mount = f"mount -t tmpfs -o size={size} none {cache} && {before or 'true'} {cache}"
    if subprocess.run(["unshare", "-Urm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this system lets no user mount a small file system")
    command = f"{mount} && {sys.executable} -c '{PREPARE}' {source}; echo $?; ls -A {cache}/files/*"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    errors = [line for line in done.stderr.splitlines() if not line.startswith("ls:")]
    assert len(errors) == 1 and errors[0].startswith("error: cannot prepare data in "), done
    assert words in errors[0]
    assert "\n1\n" in f"\n{done.stdout}" and ".making" not in done.stdout


def test_a_whole_cache_is_used_where_nothing_can_be_written(source: str, cache: Path) -> None:
    whole = prepare(source, vocab_size=512)
    mount = f"mount --bind {cache} {cache} && mount -o remount,bind,ro {cache}"
    if subprocess.run(["unshare", "-Urm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this system lets no user mount a file system")
    command = f"{mount} && {sys.executable} -c '{PREPARE}' {source}"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == whole.fingerprint, done.stderr


def numbers(measured: list[Measurement]) -> list[tuple[str, float | None, str]]:
    return [(one.status, one.val_bpb, one.weights_sha256) for one in measured]


@pytest.mark.parametrize("when", ["ready", pytest.param("scoring", marks=pytest.mark.slow)])
def test_a_cache_deleted_during_a_heat_changes_no_number(
    when: str, source: str, cache: Path, tiny_source: str
) -> None:
    def delete(event: dict[str, Any]) -> None:
        if event["event"] == when and not deleted:
            deleted.append(event)
            shutil.rmtree(cache)

    deleted: list[dict[str, Any]] = []
    how = {"budget": "20000tok", "data": source, "isolation": "off", "preset": "cpu"}
    whole = heat([tiny_source, tiny_source], seed=[3, 4], **how)
    found = heat([tiny_source, tiny_source], seed=[3, 4], on_event=delete, **how)
    assert deleted
    assert numbers(found) == numbers(whole)
    assert all(one.status == "ok" for one in found)


@pytest.mark.parametrize(
    "part",
    ["text.tokens"]
    + [pytest.param(part, marks=pytest.mark.slow) for part in ("val.tokens", "manifest.json")],
)
def test_a_file_cut_off_during_a_training_is_no_fault_of_the_edit(
    part: str, source: str, cache: Path, tiny_source: str
) -> None:
    def cut(event: dict[str, Any]) -> None:
        if event["event"] == "log" and not files:
            files.extend(cache.rglob(part))
            for path in files:
                os.truncate(path, 4096 if part == "text.tokens" else 3)

    files: list[Path] = []
    how = {"budget": "400000tok", "data": source, "isolation": "off", "preset": "cpu"}
    try:
        found = measure(tiny_source, on_event=cut, **how)
    except DataError as error:
        assert part == "text.tokens" and "damaged during a training" in str(error)
    else:
        assert numbers([found]) == numbers([measure(tiny_source, **how)])
        assert found.status == "ok"
    assert files


def test_a_file_of_ones_own_that_changes_during_a_training_is_told(
    source: str, cache: Path, tiny_source: str, tmp_path: Path
) -> None:
    def change(event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            shutil.rmtree(cache)
            with (tmp_path / "mine.jsonl").open("a") as file:
                file.write(json.dumps({"text": "more"}) + "\n")

    with pytest.raises(DataError, match="is another text now: bring it back"):
        measure(tiny_source, budget="20000tok", data=source, isolation="off", on_event=change)


@pytest.mark.slow  # the others lose a cache within one training
def test_a_campaign_goes_on_as_long_as_its_files_or_its_cache_are_there(
    source: str, cache: Path, tmp_path: Path
) -> None:
    run = (*RUN, "--proposer", "tuner", "--keep", "greedy")
    folder = clone(tmp_path / "mine")
    process = start(folder, *run, "--trials", "1", "--data", source)

    def happened(name: str) -> bool:
        return any(event["event"] == name for event in events(folder))

    wait_until(lambda: happened("training_started"), process)
    shutil.rmtree(cache, ignore_errors=True)  # it may be made again meanwhile
    wait_until(lambda: happened("verdict"), process)
    mine = tmp_path / "mine.jsonl"
    mine.unlink()
    out, _ = process.communicate()
    assert process.returncode == 0 and "Traceback" not in out, out
    assert [entry["status"] for entry in as_json(folder, "log")] == ["ok", "ok"]
    agent(folder, *run, "--trials", "1")

    shutil.rmtree(cache)
    done = agent(folder, *run, "--trials", "1", check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"there is no file or folder {mine}" in done.stderr
