"""climbmix and tinystories with small shards, from a server on loopback that stands for the Hub."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fileserver import Fault, FileServer
from texts import documents

from trainer.data import choice
from trainer.data import prepare as data
from trainer.data.choice import Choice, choose
from trainer.data.prepare import DataError
from trainer.data.sources import climbmix, tinystories
from trainer.data.sources import hub as downloads
from trainer.presets import Preset, find_preset

TRAIN = {f"shard_0000{i}.parquet": documents(400, 1000 * i) for i in range(2)}
HELD_OUT = documents(300, 5000)
COPIED = 250  # of the held-out shard, planted into training
STORIES = documents(700, 9000)
MAIN = """
import json, sys
from trainer.data import prepare as data
from trainer.data.sources import climbmix
climbmix.TRAIN, climbmix.HELD_OUT, climbmix.HELD_OUT_BYTES = json.loads(sys.argv[1])
print(data.prepare("climbmix", vocab_size=257, val_bytes=20_000).fingerprint)
"""


def parquet(texts: list[str], column: str = "text") -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({column: texts, "n": range(len(texts))}), sink, row_group_size=64)
    return sink.getvalue()


def small(name: str) -> Preset:
    constants = MappingProxyType({"VOCAB_SIZE": 257})
    return replace(find_preset(name), val_bytes=20_000, constants=constants)


def path_of(module: object, name: str) -> str:
    return f"/datasets/{module.REPOSITORY}/resolve/{module.REVISION}/{name}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path))
    with FileServer(links=True) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
        shards = {**TRAIN, "shard_00001.parquet": TRAIN["shard_00001.parquet"] + HELD_OUT[:COPIED]}
        bodies = {name: parquet(texts) for name, texts in shards.items()}
        bodies["shard_06542.parquet"] = parquet(HELD_OUT)
        server.files = {path_of(climbmix, name): body for name, body in bodies.items()}
        sums = {name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()}
        held_out = {"shard_06542.parquet": sums.pop("shard_06542.parquet")}
        monkeypatch.setattr(climbmix, "TRAIN", sums)
        monkeypatch.setattr(climbmix, "HELD_OUT", held_out)
        monkeypatch.setattr(climbmix, "HELD_OUT_BYTES", 100_000)
        server.files[path_of(tinystories, tinystories.FILE)] = parquet(STORIES)
        monkeypatch.setattr(tinystories, "HELD_OUT_ROWS", 60)
        monkeypatch.setattr(tinystories, "TRAIN_BYTES", 400_000)
        yield server


def text_of(source: str, part: str, cache: Path) -> str:
    return (cache / source / data.SOURCES[source].version / "text" / f"{part}.txt").read_text()


@pytest.mark.parametrize("source", ["climbmix", "tinystories"])
def test_opened_text_is_one_group(source: str, hub: FileServer) -> None:
    opened = data.prepare(source, vocab_size=257, val_bytes=20_000, split="test")
    assert {group for group, _ in opened.documents} == {"all"}
    assert len(opened.documents) == opened.val.n_docs > 10
    assert sum(size for _, size in opened.documents) == opened.val.n_bytes


def start() -> subprocess.Popen[str]:
    patched = json.dumps([climbmix.TRAIN, climbmix.HELD_OUT, climbmix.HELD_OUT_BYTES])
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, patched],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return out.splitlines()


def test_climbmix_is_one_part(hub: FileServer) -> None:
    said: list[tuple[str, float]] = []
    corpus = data.prepare(
        "climbmix",
        vocab_size=257,
        val_bytes=20_000,
        progress=lambda stage, share: said.append((stage, share)),
    )
    (part,) = corpus.train
    assert (part.name, part.in_domain) == ("climbmix", True)
    downloading = [share for stage, share in said if stage == "downloading climbmix"]
    assert downloading == sorted(downloading) and downloading[-1] == 1.0
    assert all(0 <= share <= 1 for _, share in said)


def test_climbmix_holds_out_whole_documents_of_the_last_shard(
    hub: FileServer, tmp_path: Path
) -> None:
    corpus = data.prepare("climbmix", vocab_size=257, val_bytes=20_000)
    val, test = (text_of("climbmix", part, tmp_path) for part in ("val", "test"))
    assert "".join(HELD_OUT).startswith(val + test)
    assert 100_000 <= len(val) < 102_000 and 100_000 <= len(test) < 102_000
    # Copies of what is held out are dropped, and those of the shard's unused rest are kept.
    held_out = {text for text in HELD_OUT if text in val + test}
    kept = [*TRAIN["shard_00000.parquet"], *TRAIN["shard_00001.parquet"]]
    kept += [text for text in HELD_OUT[:COPIED] if text not in held_out]
    assert 0 < len(held_out) < COPIED
    assert text_of("climbmix", "climbmix", tmp_path) == "".join(kept)
    (part,) = corpus.train
    assert part.n_docs == len(kept)


def test_manifest_names_the_downloads(hub: FileServer, tmp_path: Path) -> None:
    data.prepare("climbmix", vocab_size=257, val_bytes=20_000)
    folder = tmp_path / "climbmix"
    manifest = json.loads((folder / climbmix.SOURCE.version / "text/manifest.json").read_text())
    assert manifest["downloads"] == {**climbmix.TRAIN, **climbmix.HELD_OUT}
    assert {p.name for p in (folder / "downloads").glob("*.parquet")} == set(manifest["downloads"])


@pytest.mark.process
def test_of_two_at_a_time_one_downloads(hub: FileServer) -> None:
    said = [finish(process) for process in (start(), start())]
    assert said[0][-1] == said[1][-1]
    assert sorted(path for path, _ in hub.requests) == sorted(
        path_of(climbmix, name) for name in (*climbmix.TRAIN, *climbmix.HELD_OUT)
    )


@pytest.mark.process
def test_killed_while_downloading_it_goes_on(hub: FileServer, tmp_path: Path) -> None:
    stalled = path_of(climbmix, "shard_00001.parquet")
    hub.faults[stalled] = [Fault(stall_after=200_000)]
    process = start()
    downloads = tmp_path / "climbmix/downloads"
    deadline = time.monotonic() + 60
    while sum(part.stat().st_size for part in downloads.glob("*00001*.part")) < 100_000:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "climbmix" / climbmix.SOURCE.version / "text").exists()
    killed = finish(start())[-1]
    assert hub.ranges(stalled)[0] == "bytes=0-" and len(hub.ranges(stalled)) == 2
    assert killed == data.prepare("climbmix", vocab_size=257, val_bytes=20_000).fingerprint


def test_offline_says_what_to_do(
    hub: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.close()
    monkeypatch.setattr(downloads, "BACKOFF_SECONDS", 0.01)
    with pytest.raises(DataError) as error:
        data.prepare("climbmix", vocab_size=257)
    message = str(error.value)
    assert "\n" not in message
    for words in ("cannot download http://127.0.0.1", "refused", "HF_ENDPOINT", "apidocs"):
        assert words in message
    assert list((tmp_path / "climbmix" / climbmix.SOURCE.version).iterdir()) == []


def test_prepared_needs_no_network_and_no_download(hub: FileServer, tmp_path: Path) -> None:
    first = data.prepare("climbmix", vocab_size=257, val_bytes=20_000)
    hub.close()
    for file in (tmp_path / "climbmix/downloads").iterdir():
        file.unlink()
    assert data.prepare("climbmix", vocab_size=257, val_bytes=20_000) == first
    assert data.prepare("climbmix", vocab_size=512, val_bytes=20_000).vocab_size == 512


def test_shard_that_is_no_parquet(hub: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files[path_of(climbmix, "shard_00001.parquet")] = b"<html>sign in</html>"
    monkeypatch.setattr(climbmix, "TRAIN", dict.fromkeys(climbmix.TRAIN, ""))
    with pytest.raises(DataError, match=r"cannot read .*shard_00001.parquet as Parquet"):
        data.prepare("climbmix", vocab_size=257)


def test_tinystories_splits_by_rows(hub: FileServer, tmp_path: Path) -> None:
    corpus = data.prepare("tinystories", vocab_size=512, val_bytes=20_000)
    assert text_of("tinystories", "test", tmp_path) == "".join(STORIES[:60])
    assert text_of("tinystories", "val", tmp_path) == "".join(STORIES[60:120])
    train = text_of("tinystories", "tinystories", tmp_path)
    assert "".join(STORIES[120:]).startswith(train)
    assert 400_000 <= len(train) < 402_000
    (part,) = corpus.train
    assert part.name == "tinystories"
    (note,) = (tmp_path / "tinystories/downloads").glob("*.sha256")
    assert note.read_text().split()[1] == tinystories.FILE


def test_changed_upstream_is_another_fingerprint(
    hub: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data.prepare("tinystories", vocab_size=257, val_bytes=20_000)
    hub.files[path_of(tinystories, tinystories.FILE)] = parquet(documents(700, 20_000))
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "other"))
    second = data.prepare("tinystories", vocab_size=257, val_bytes=20_000)
    assert second.fingerprint != first.fingerprint


def test_a_gpus_corpus_is_climbmix(hub: FileServer) -> None:
    assert choose("auto", small("gpu")) == choose("auto", small("h100")) == Choice("climbmix")
    assert data.prepared("climbmix", 257, 20_000)
    assert choose("tinystories", small("gpu")) == Choice("tinystories")
    assert choose("auto", small("cpu")) == Choice("apidocs")


def test_what_cannot_be_had_is_replaced_with_a_line_that_says_so(
    hub: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(downloads.constants, "HF_HUB_OFFLINE", True)
    chosen = choose("auto", small("gpu"))
    assert chosen.source == "apidocs"
    assert chosen.note.startswith("climbmix cannot be had, going on with apidocs: cannot download")
    assert "\n" not in chosen.note
    assert choose("climbmix", small("gpu")) == Choice("climbmix"), "asked for: not replaced"
    assert not data.prepared("climbmix", 257, 20_000)


def test_the_host_is_asked_without_a_download(
    hub: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.reach("climbmix")
    data.reach("tinystories")
    data.reach("apidocs")
    assert hub.requests == []
    hub.close()
    for source in ("climbmix", "tinystories"):
        with pytest.raises(DataError, match=r"cannot download .*refused"):
            data.reach(source)


def test_packages_that_downloads_need_may_be_missing(
    hub: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trainer.data.sources.hub", None)
    monkeypatch.delattr("trainer.data.sources.hub")
    assert "is not installed" in choose("auto", small("gpu")).note


def test_the_line_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError("why " * 500)

    monkeypatch.setattr(choice, "prepare", fail)
    note = choose("auto", small("gpu")).note
    assert len(note) < 350 and note.endswith("(--data climbmix says it in full)")


def test_published_checksums_are_checksums() -> None:
    assert len(climbmix.TRAIN) == 9
    for digest in (*climbmix.TRAIN.values(), *climbmix.HELD_OUT.values()):
        assert len(digest) == 64 and int(digest, 16)
    assert climbmix.SOURCE.version.startswith(climbmix.REVISION[:12])
