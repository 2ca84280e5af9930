"""``files:PATH`` with the files that people really have: each is read, or is told in one line."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packed_texts import (
    AS_ONE,
    BINARY,
    PARTS,
    PLAIN,
    READ,
    RECORDS,
    TEXTS,
    jsonl,
    table,
    tarred,
    zipped,
)
from texts import documents

from trainer.data import prepare as data
from trainer.data.prepare import DataError
from trainer.data.sources.odd import Odd
from trainer.data.sources.reading import find


def read(path: Path) -> tuple[list[str], list[str]]:
    """The sections of a file or folder, and what is told."""
    odd = Odd()
    texts = [text for file in find(path) for text in file.sections(odd)]
    return texts, list(odd.notes())


@pytest.mark.parametrize("name", READ)
def test_records_are_read_whatever_they_are_packed_in(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(READ[name])
    found, told = read(tmp_path / name)
    assert found == TEXTS
    assert bool(told) == name.startswith("latin")


@pytest.mark.parametrize("name", AS_ONE)
def test_plain_text_is_read_in_every_common_encoding(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(AS_ONE[name])
    found, _ = read(tmp_path / name)
    assert "\n".join(found).split() == PLAIN.split()


@pytest.mark.parametrize("name", PARTS)
def test_a_record_is_read_with_all_its_parts(name: str, tmp_path: Path) -> None:
    halves = [(text[:40].rpartition(" ")[0], text[40:].partition(" ")[2]) for text in TEXTS]
    (tmp_path / name).write_bytes(jsonl([PARTS[name](*each) for each in halves]))
    found, told = read(tmp_path / name)
    assert "".join("".join(found).split()) == "".join("".join(a + b for a, b in halves).split())
    assert not told


ODD_ROWS = (b"nope", b"[1]", b"3", b"[]", b'{"x": 1}', b'{"text": null}', b'{"text": [1]}')


@pytest.mark.parametrize(
    "row",
    [
        *ODD_ROWS,
        b'{"text": {"a": 1}}',
        b'{"data":' * 900 + b"1" + b"}" * 900,
        b"[" * 5000,
        b'{"text": "a',
    ],
)
def test_an_odd_row_is_left_out_counted_and_told(row: bytes, tmp_path: Path) -> None:
    lines = RECORDS.splitlines()
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([*lines[:40], row, *lines[40:50], row, *lines[50:]]))
    found, (told,) = read(path)
    assert found == TEXTS
    assert told.startswith(
        "2 of 62 rows have no text and are left out, the first: a.jsonl, line 41: no"
    )
    path.write_bytes(b"\n".join([*lines[:40], *[row] * 9]))
    with pytest.raises(DataError, match=r"a\.jsonl: 9 of 49 rows.*line 41.*at most 10%"):
        read(path)


@pytest.mark.parametrize("nul", [b"\0", b"\\u0000"])
def test_a_nul_is_dropped_and_its_line_told(nul: bytes, tmp_path: Path) -> None:
    lines = RECORDS.splitlines()
    lines[40] = lines[40][:-10] + nul + lines[40][-10:]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    found, (told,) = read(tmp_path / "a.jsonl")
    assert found == TEXTS
    assert "1 of" in told and "a.jsonl, line 41: a NUL character" in told


def test_csv_rows_that_are_cut_off_are_odd(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(table("id text", ",") + b"77\n\n")
    found, (told,) = read(tmp_path / "a.csv")
    assert found == TEXTS and "1 of 61 rows" in told


LINES = [text.replace("\n", " ") for text in TEXTS]


def test_quotes_in_a_tsv_are_the_texts_own(tmp_path: Path) -> None:
    texts = ['"Open ' + LINES[0], *LINES[1:30], '"Said," ' + LINES[30], *LINES[31:]]
    rows = "".join(f"{i}\t{text}\n" for i, text in enumerate(texts))
    (tmp_path / "a.tsv").write_text(f"id\ttext\n{rows}" + '9\t"a ""b"" c"\n')
    assert read(tmp_path / "a.tsv") == ([*texts, 'a "b" c'], [])


def test_quotes_behind_a_backslash(tmp_path: Path) -> None:
    texts = [f'"Yes," he said, "{LINES[0]}"', rf"C:\new, {LINES[1]}", *LINES[2:]]
    rows = (text.replace('"', r"\"") for text in texts)
    lines = [f'{i},"{text}",x' for i, text in enumerate(rows)]
    (tmp_path / "a.csv").write_text("\n".join(["id,text,more", *lines]))
    assert read(tmp_path / "a.csv") == (texts, [])


def test_a_table_of_questions_and_answers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(table("question answer", ","))
    found, told = read(tmp_path / "a.csv")
    assert found == [f"{i}\n\n{text}" for i, text in enumerate(TEXTS)] and not told


def test_a_quote_that_does_not_end_swallows_no_rows(tmp_path: Path) -> None:
    lines = [f"{i},{text.replace(',', ';')}" for i, text in enumerate(LINES)]
    lines[58] = lines[58].replace(",", ',"')
    (tmp_path / "a.csv").write_text("\n".join(["id,text", *lines]))
    found, (told,) = read(tmp_path / "a.csv")
    assert len(found) == 58 and "2 of 60 rows" in told and "a.csv, row 60" in told
    lines[20] = lines[20].replace(",", ',"')
    del lines[58]
    (tmp_path / "a.csv").write_text("\n".join(["id,text", *lines]))
    with pytest.raises(DataError, match=r"39 of 59 rows.*row 22") as caught:
        read(tmp_path / "a.csv")
    assert "UTF-8" not in str(caught.value), "no encoding is to blame"


@pytest.mark.parametrize(
    "record",
    [{"data": "2024-01-01", "body_text": "x"}, {"code": "x", "lang": "y"}, {"value": "3", "id": 1}],
)
def test_a_field_that_is_not_the_text_is_not_taken(
    record: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl([record] * 9))
    with pytest.raises(DataError, match=f"only {', '.join(record)}: rename the one with the text"):
        read(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("magic", "remedy"),
    [
        (b"%PDF-1.4", "pdftotext"),
        (b"{\\rtf1", "plain text"),
        (b"ARROW1", "Parquet"),
        (b"PK\3\4", "plain text"),
        (b"7z\xbc\xaf", "unpack"),
        (b'\x04"M\x18', "unpack"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    ],
)
def test_what_begins_printable_and_is_no_text(magic: bytes, remedy: str, tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(magic + b"\n" + PLAIN.encode())
    with pytest.raises(DataError, match=f"a.dat: .*{remedy}"):
        read(tmp_path / "a.dat")


def test_tables_without_a_known_field_are_plain_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(table("id x", ","))
    (tmp_path / "b.json").write_text(json.dumps({"names": TEXTS}))
    (tmp_path / "c.json").write_text(repr([{"text": text} for text in TEXTS]))
    _, (told,) = read(tmp_path / "c.json")
    assert "c.json: not JSON (Expecting property name" in told and "read as plain text" in told
    (tmp_path / "c.json").unlink()
    found, (told,) = read(tmp_path)
    assert "id,x" in found[0]
    assert told.startswith(
        "2 of 2 files are not read as their names say, the first: a.csv: no text"
    )


def test_what_is_no_text_is_left_out_of_a_folder_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    (folder / "img").mkdir(parents=True)
    (folder / "text.md").write_text("\n\n".join(documents(700)))
    (folder / "img" / "logo.png").write_bytes(BINARY)
    (folder / "report.docx").write_bytes(zipped(document=PLAIN.encode()))
    (folder / "in.zip").write_bytes(zipped(picture=BINARY))
    (folder / "z.tgz").write_bytes(tarred(PLAIN.encode()))
    (folder / "empty").touch()
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("a name that is no UTF-8")
    source = f"files:{folder}"
    corpus = data.prepare(source, vocab_size=257, val_bytes=20_000)
    (told,) = data.notes(source)
    assert told.startswith("4 of 7 files are not read as their names say, the first: ")
    assert "img/logo.png: a picture is no text" in told
    assert str(tmp_path) not in told
    moved = folder.rename(tmp_path / "moved")
    assert data.prepare(f"files:{moved}", vocab_size=257, val_bytes=20_000).fingerprint == (
        corpus.fingerprint
    )
    with pytest.raises(DataError, match=r"logo\.png.*no text"):
        data.prepare(f"files:{moved}/img/logo.png", vocab_size=257)


def test_links_are_followed_once_and_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "shelf" / "deep").mkdir(parents=True)
    (tmp_path / "shelf" / "deep" / "a.txt").write_text(PLAIN)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "linked").symlink_to(tmp_path / "shelf")
    (mine / "again").symlink_to(mine)
    (mine / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(mine / "pipe")
    assert [file.name for file in find(mine)] == ["linked/deep/a.txt"]
    with pytest.raises(DataError, match="no file or folder"):
        find(mine / "pipe")


CONTENTS = {**READ, **AS_ONE, "": b""}


@settings(max_examples=150, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    name=st.sampled_from(["a", "a.jsonl", "a.json", "a.csv", "a.zip", "a.parquet", "a.txt.gz"]),
    start=st.sampled_from([*CONTENTS]),
    cut=st.integers(0, 3000),
    more=st.binary(max_size=300),
    rest=st.sampled_from([*CONTENTS]),
)
def test_any_bytes_are_read_or_refused_in_one_line(
    name: str,
    start: str,
    cut: int,
    more: bytes,
    rest: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(CONTENTS[start][:cut] + more + CONTENTS[rest][cut + len(more) :])
    try:
        found, told = read(path)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert all(text.encode() for text in found)
        assert not any("\n" in note for note in told)
