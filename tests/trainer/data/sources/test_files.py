"""``files:PATH`` with real files of every kind."""

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts import document, documents

from trainer.data import prepare as data
from trainer.data.prepare import Corpus, DataError
from trainer.data.sources import files
from trainer.data.sources.base import Text
from trainer.data.text import split
from trainer.measure import measure

TEXTS = documents(700)
Written = Callable[[Path], None]


def as_text(folder: Path) -> None:
    (folder / "all.txt").write_text("\n\n".join(TEXTS))


def as_many(folder: Path) -> None:
    for i, text in enumerate(TEXTS):
        (folder / f"{i}.md").write_text(text)


def as_jsonl(folder: Path) -> None:
    lines = [json.dumps({"id": i, "text": text}) for i, text in enumerate(TEXTS)]
    (folder / "all.jsonl").write_text("\n".join([*lines, ""]))


def as_gzip(folder: Path) -> None:
    with gzip.open(folder / "all.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"content": text}) + "\n" for text in TEXTS)


def as_parquet(folder: Path) -> None:
    table = pa.table({"url": ["x"] * (len(TEXTS) + 1), "content": [None, *TEXTS]})
    pq.write_table(table, folder / "all.parquet", row_group_size=100)


def layered(times: int) -> bytes:
    content = b"text"
    for _ in range(times):
        content = gzip.compress(content, mtime=0)
    return content


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def prepare(path: Path | str) -> Corpus:
    return data.prepare(f"files:{path}", vocab_size=257, val_bytes=20_000)


def refused(path: Path | str) -> str:
    with pytest.raises(DataError) as error:
        prepare(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def split_text(cache: Path) -> dict[str, str]:
    (text,) = cache.glob("files/*/text")
    return {path.stem: path.read_text() for path in text.glob("*.txt")}


def words(text: str) -> list[str]:
    return sorted(re.split(r"\W+", text))


@pytest.mark.parametrize("written", [as_text, as_many, as_jsonl, as_gzip, as_parquet])
def test_every_kind_is_read_whole_and_split(written: Written, folder: Path, cache: Path) -> None:
    written(folder)
    corpus = prepare(folder)
    assert [part.name for part in corpus.train] == ["text"]
    assert corpus.val.n_bytes == 20_000
    parts = split_text(cache)
    total = sum(map(len, TEXTS))
    assert 0.05 * total <= len(parts["val"]) < 0.05 * total + 50_000
    assert 0.05 * total <= len(parts["test"]) < 0.05 * total + 50_000
    kept = [text for text in TEXTS if any(text[100:200] in part for part in parts.values())]
    assert len(kept) >= (len(TEXTS) if written is not as_text else 0.98 * len(TEXTS))
    assert sum(map(len, parts.values())) > 0.98 * total


@pytest.mark.parametrize("written", [as_text, as_many, as_jsonl, as_gzip, as_parquet])
def test_groups_of_opened_text_are_files(
    written: Written, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each document has the file that it is from, the first of equal ones; kept with the text."""
    monkeypatch.setattr(data, "_HELD", {})
    written(folder)
    (folder / "empty.bin").write_bytes(bytes(range(256)))
    (first, *_) = sorted(folder.iterdir())
    shutil.copyfile(first, folder / f"z{first.name}")
    data.hold(f"files:{folder} {prepare(folder).version}")
    gone = shutil.move(folder, folder.with_name("gone"))

    opened = data.prepare(f"files:{folder}", vocab_size=257, val_bytes=20_000, split="test")

    text = split_text(cache)["test"].encode()
    whole = {path.name: path.read_bytes() for path in gone.glob("*.md")}
    start = 0
    for group, size in opened.documents:
        document, start = text[start : start + size], start + size
        assert (gone / group).is_file() and not group.startswith("z")
        assert not whole or document in whole[group]
    assert start == opened.val.n_bytes


def test_a_text_prepared_before_there_were_groups_is_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_jsonl(folder)
    with monkeypatch.context() as patch:
        patch.setattr(files, "Text", lambda *of, groups, **more: Text(*of, **more))
        before = prepare(folder)
    opened = data.prepare(f"files:{folder}", vocab_size=257, val_bytes=20_000, split="test")
    assert opened.version == before.version and prepare(folder) == before
    assert {group for group, _ in opened.documents} == {"all"}


@pytest.mark.process
def test_a_file_alone_and_a_glob(folder: Path) -> None:
    as_jsonl(folder)
    as_many(folder)
    alone = prepare(folder / "all.jsonl")
    assert prepare(f"{folder}/*.jsonl").fingerprint == alone.fingerprint
    everything = prepare(folder)
    assert everything.fingerprint != alone.fingerprint
    assert prepare(f"{folder}/**/*.md").fingerprint not in (
        alone.fingerprint,
        everything.fingerprint,
    )


def test_path_may_be_relative(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_jsonl(folder)
    monkeypatch.chdir(folder.parent)
    assert prepare("mine").fingerprint == prepare(folder).fingerprint
    assert data.absolute("files:mine/*.txt") == f"files:{folder}/*.txt"
    assert data.absolute("apidocs") == "apidocs"


@pytest.mark.process
def test_changed_files_are_another_corpus_and_moved_ones_are_not(folder: Path) -> None:
    as_many(folder)
    first = prepare(folder)
    moved = shutil.move(folder, folder.with_name("moved"))
    assert prepare(moved).fingerprint == first.fingerprint
    (moved / "7.md").write_text(TEXTS[7].upper())
    second = prepare(moved)
    assert second.fingerprint != first.fingerprint
    (moved / "7.md").rename(moved / "8000.md")
    assert prepare(moved).fingerprint not in (first.fingerprint, second.fingerprint)


def test_folders_are_parts_where_each_is_large_enough(folder: Path) -> None:
    for name, texts in (("code", TEXTS[:200]), ("val", TEXTS[200:400]), (".", TEXTS[400:])):
        (folder / name / "deep").mkdir(parents=True)
        (folder / name / "a.txt").write_text("\n\n".join(texts))
    corpus = prepare(folder)
    assert [part.name for part in corpus.train] == ["code", "text", "val-text"]
    assert all(part.in_domain and part.n_bytes > 100_000 for part in corpus.train)
    (folder / "small").mkdir()
    (folder / "small" / "a.txt").write_text(TEXTS[0])
    assert [part.name for part in prepare(folder).train] == ["text"]


def test_equal_and_nearly_equal_records_are_not_on_both_sides(folder: Path, cache: Path) -> None:
    nearly = [text.replace(" ", "  ", 3) + " Moreover." for text in TEXTS]
    lines = [json.dumps({"text": text}) + "\n" for text in (*TEXTS, *TEXTS, *nearly)]
    (folder / "all.jsonl").write_text("".join(lines))
    prepare(folder)
    parts = split_text(cache)
    inner = [text.split("\n")[5] for text in TEXTS]
    for line in inner:
        assert sum(line in parts[name] for name in ("val", "test", "text")) == 1
    assert sum(line in parts["val"] for line in inner) > 20


def test_hidden_files_are_not_read(folder: Path) -> None:
    as_jsonl(folder)
    plain = prepare(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "index").write_bytes(b"\xff\x00")
    (folder / ".notes").write_bytes(b"\xff\x00")
    assert prepare(folder).fingerprint == plain.fingerprint
    assert prepare(f"{folder}/*").fingerprint == plain.fingerprint


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("bad.jsonl", b'{"text": "a"}\n{"text": ', "bad.jsonl, line 2: not JSON"),
        ("deep.jsonl", b"[" * 200_000, "deep.jsonl, line 1: not JSON"),
        (
            "cut.json",
            json.dumps([{"text": text} for text in TEXTS]).encode()[:5000],
            "line 1 column",
        ),
        (
            "cut.jsonl",
            json.dumps([{"text": text} for text in TEXTS], indent=1).encode()[:-9],
            "line",
        ),
        ("number.jsonl", b'{"text": 3}\n', "line 1: no text under a usual name"),
        ("code.jsonl", b'[\n{"code": "x", "lang": "y"}]', "row 1: no text under a usual name"),
        ("list.jsonl", b"[1]\n", "line 1: no text under a usual name"),
        ("late.txt", b"a" * 70_000 + b"\0" * 70_000, "at most 10% of a file"),
        ("cut.txt.gz", gzip.compress(b"text" * 1000, mtime=0)[:-9], "cannot read"),
        ("bad.parquet", b"no parquet", "as Parquet"),
        ("bad.zip", b"PK\3\4no zip", "not a zip file"),
        ("bomb.gz", layered(6), "packed more than 4 times"),
    ],
)
def test_bad_file_is_named(folder: Path, name: str, content: bytes, words: str) -> None:
    as_many(folder)
    (folder / name).write_bytes(content)
    message = refused(folder)
    assert str(folder / name) in message and words in message


@pytest.mark.parametrize("column", ["x", "text"])
def test_parquet_without_text_is_named(folder: Path, column: str) -> None:
    pq.write_table(pa.table({column: list(range(3))}), folder / "a.parquet")
    message = refused(folder)
    assert str(folder / "a.parquet") in message
    assert ("no column text, content" if column == "x" else "row 1: no text") in message


def test_what_is_not_there(folder: Path) -> None:
    assert "no file or folder" in refused(folder / "none")
    assert "no files in" in refused(folder)
    assert "no files in" in refused(f"{folder}/*.txt")
    assert "is no glob" in refused(f"{folder}/**.txt")
    assert "files:PATH" in refused("")
    assert "cannot read" in refused(folder / ("x" * 300))


def test_too_little_text_says_how_much_is_needed(folder: Path) -> None:
    (folder / "a.txt").write_text("\n\n".join(TEXTS[:100]))
    message = refused(folder)
    assert "500,000 are needed" in message and str(folder / "a.txt") in message


def test_text_that_only_repeats_itself_says_so(folder: Path) -> None:
    (folder / "a.jsonl").write_text((json.dumps({"text": document(1)}) + "\n") * 1000)
    assert "give more text" in refused(folder)


def test_file_that_changes_meanwhile_is_noticed(folder: Path) -> None:
    as_many(folder)

    def meddle(stage: str, share: float) -> None:
        if stage == "writing the text":
            (folder / "9.md").write_text("other")

    with pytest.raises(DataError, match=r"9\.md has changed while it was read"):
        data.prepare(f"files:{folder}", vocab_size=257, progress=meddle)


def changed(mine: Path, _: pytest.MonkeyPatch) -> None:
    mine.write_text(mine.read_text() + TEXTS[0])


def gone(mine: Path, _: pytest.MonkeyPatch) -> None:
    shutil.rmtree(mine.parent)


def read_in_another_way(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "RECIPE", files.RECIPE + 1)


@pytest.mark.parametrize("happens", [changed, gone, read_in_another_way])
def test_a_text_that_is_held_is_the_prepared_one_or_none(
    happens: Callable[[Path, pytest.MonkeyPatch], None],
    folder: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data, "_HELD", {})
    as_text(folder)
    first = prepare(folder)
    happens(folder / "all.txt", monkeypatch)
    data.hold(f"files:{folder} {first.version}")
    assert prepare(folder) == first
    assert data.prepare(f"files:{folder}", vocab_size=512).version == first.version
    shutil.rmtree(first.artifacts[0].path)
    assert prepare(folder) == first, "made again from the prepared text"
    shutil.rmtree(cache)
    words = "there is no file or folder" if happens is gone else "gives another text than"
    assert words in refused(folder)


DEBRIS = (
    "all",
    "files",
    "files/*",
    "files/*/*",
    "files/*/*/*",
    "files.lock",
    "files/*/.making-v257",
)


@pytest.mark.parametrize("place", DEBRIS)
@pytest.mark.parametrize("is_file", [True, False])
def test_debris_of_a_wrong_kind_is_replaced_or_named(
    place: str, is_file: bool, folder: Path, cache: Path
) -> None:
    as_text(folder)
    whole = prepare(folder)
    if place in ("files.lock", "files/*/.making-v257"):  # looked at only to make something
        shutil.rmtree(whole.artifacts[0].path)
    found = sorted(cache.glob(place)) or [*cache.glob("files/*")][:1]
    for path in found if place != "all" else [cache]:
        path = path / Path(place).name if ".making" in place else path
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.write_text("x") if is_file else path.mkdir()
    if is_file and place in ("all", "files", "files/*"):
        assert "remove what is there" in refused(folder)
    elif not is_file and place == "files.lock":
        assert "files.lock" in refused(folder)
    else:
        assert prepare(folder) == whole


def test_training_on_it(folder: Path, tiny_source: str) -> None:
    as_jsonl(folder)
    source = f"files:{folder}"
    done = measure(tiny_source, budget="20000tok", data=source, isolation="off")
    assert done.status == "ok", done.reason
    assert done.val_bpb is not None and 2 < done.val_bpb < 6


@given(st.text(alphabet="ab \n", max_size=400), st.integers(2, 50))
def test_pieces_are_the_text(text: str, limit: int) -> None:
    pieces = list(split(text, limit))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= limit for piece in pieces)


def test_pieces_are_cut_at_the_emptiest_place() -> None:
    assert list(split("aa bb\n\ncc\ndd ee", 10)) == ["aa bb\n\n", "cc\ndd ee"]
    assert list(split("aa bb\ncc dd", 8)) == ["aa bb\n", "cc dd"]
    assert list(split("aa bb cc dd", 8)) == ["aa bb ", "cc dd"]
    assert list(split("aabbccdd", 5)) == ["aabbc", "cdd"]
