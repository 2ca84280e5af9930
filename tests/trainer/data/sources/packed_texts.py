"""The same texts in all the files that people keep texts in."""

import bz2
import csv
import functools
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from texts import documents

TEXTS = [text.replace("a", "é", 3) for text in documents(60)]
PLAIN = "\n\n".join(TEXTS)
BINARY = b"\x89PNG\r\n\x1a\n" + random.Random(0).randbytes(3000)


def jsonl(records: Sequence[object], encoding: str = "utf-8") -> bytes:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    return "".join(lines).encode(encoding)


def under(wrap: Callable[[str], object]) -> bytes:
    return jsonl([wrap(text) for text in TEXTS])


def table(names: str, delimiter: str) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerows([names.split(), *([str(i), text] for i, text in enumerate(TEXTS))])
    return file.getvalue().encode()


def parquet(**columns: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"folder/{name}", content)
            archive.writestr(f"__MACOSX/._{name}", BINARY)
    return file.getvalue()


def tarred(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO(content))
    return file.getvalue()


RECORDS = under(lambda text: {"id": 1, "text": text})
HALVES = [{"role": "user", "content": text[:300]} for text in TEXTS]
ZSTD = pa.compress(RECORDS, "zstd").to_pybytes()

READ = {
    "bom.jsonl": b"\xef\xbb\xbf" + RECORDS,
    "crlf.jsonl": RECORDS.replace(b"\n", b"\r\n"),
    "utf16.jsonl": RECORDS.decode().encode("utf-16"),
    "latin.jsonl": jsonl([{"text": text} for text in TEXTS], "latin-1"),
    "nested.jsonl": under(lambda text: {"meta": {"n": 1}, "data": {"text": text}}),
    "null.jsonl": under(lambda text: {"text": None, "Content": text}),
    "body.ndjson": under(lambda text: {"title": "t", "body": text}),
    "chat.jsonl": under(lambda text: {"messages": [{"role": "user", "content": text}]}),
    "parts.jsonl": under(lambda t: {"messages": [{"content": [{"type": "text", "text": t}]}]}),
    "sharegpt.jsonl": under(lambda text: {"conversations": [{"from": "human", "value": text}]}),
    "task.jsonl": under(lambda text: {"instruction": "", "input": "", "output": text}),
    "list.json": json.dumps([{"text": text} for text in TEXTS]).encode(),
    "inner.json": json.dumps({"version": 1, "data": [{"text": t} for t in TEXTS]}).encode(),
    "minified.json": json.dumps({"a": "b" * 70_000, "data": [{"text": t} for t in TEXTS]}).encode(),
    "lines.json": RECORDS,
    "gzip-unnamed.jsonl": gzip.compress(RECORDS),
    "a.jsonl.gz": gzip.compress(RECORDS[:5000]) + gzip.compress(RECORDS[5000:]),
    "a.jsonl.bz2": bz2.compress(RECORDS),
    "a.jsonl.xz": lzma.compress(RECORDS),
    "a.jsonl.zst": ZSTD + pa.compress(b"\n", "zstd").to_pybytes(),
    "plain.jsonl.gz": RECORDS,
    "a.zip": zipped(**{"a.jsonl": RECORDS}),
    "a.zip.gz": gzip.compress(zipped(**{"a.jsonl": RECORDS})),
    "strings.jsonl": jsonl(TEXTS),
    "strings.json": json.dumps(TEXTS, indent=1).encode(),
    "lines.jsonl": under(lambda text: {"text": text.splitlines()}),
    "links.jsonl": under(lambda t: {"text": [t[:9], {"type": "link", "text": t[9:30]}, t[30:]]}),
    "image.jsonl": under(lambda t: {"messages": [{"content": [{"image_url": {"url": "x"}}, t]}]}),
    "array.jsonl": json.dumps([{"text": text} for text in TEXTS]).encode() + b"\n",
    "short-array.jsonl": b"[" + b",\n".join(RECORDS.splitlines()) + b"]",
    "indented.jsonl": json.dumps([{"text": text} for text in TEXTS], indent=2).encode(),
    "one-a-line.ndjson": b"[\n" + b",\n".join(RECORDS.splitlines()) + b"\n]\n",
    "commas.jsonl": b",\n".join(RECORDS.splitlines()),
    "pretty.jsonl": "\n".join(json.dumps({"text": t}, indent=2) for t in TEXTS).encode(),
    "pretty.json": "".join(json.dumps({"text": t}, indent=2) for t in TEXTS).encode(),
    "odd-start.jsonl": b"\n \n" + RECORDS,
    "array-without-ending": json.dumps([{"text": text} for text in TEXTS]).encode(),
    "telegram.json": json.dumps(
        {"about": "a", "chats": {"list": [{"id": 1, "messages": [{"text": [t]}]} for t in TEXTS]}}
    ).encode(),
    "hub-rows.json": json.dumps(
        {"features": [{"name": "text"}], "rows": [{"row": {"text": text}} for text in TEXTS]}
    ).encode(),
    "reddit.json": json.dumps(
        {
            "kind": "Listing",
            "data": {"children": [{"kind": "t1", "data": {"body": t}} for t in TEXTS]},
        }
    ).encode(),
    "reddit-posts.ndjson": under(lambda text: {"title": "t", "selftext": text}),
    "batch.jsonl": under(
        lambda t: {"response": {"body": {"choices": [{"message": {"content": t}}]}}}
    ),
    "empty-first.jsonl": under(lambda text: {"text": "", "content": text}),
    "empty-task.jsonl": under(lambda text: {"body": "", "output": text}),
    "sep.csv": b"sep=;\r\n" + table("id text", ";"),
    "sep-tab.csv": b'\xef\xbb\xbf"sep=\t"\r\n' + table("id text", "\t"),
    "spaced.csv": table("id text", ",").replace(b"id,text", b"id, text", 1).replace(b',"', b', "'),
    "spaced-and-quoted.csv": table("id text", ",").replace(b"id,text", b'"id", "text"', 1),
    "excel.csv": table("id text", "\t").decode().encode("utf-16"),
    "list.parquet": parquet(text=[text.splitlines() for text in TEXTS]),
    "spaced.parquet": parquet(**{" Text": TEXTS}),
    "part-00000": RECORDS,
    "a.jl": RECORDS,
    "a.jsonl.1": RECORDS,
    "a.jsonl.txt": gzip.compress(RECORDS),
    "task-and-data.jsonl": under(lambda text: {"data": "alpaca v1", "value": 1, "output": text}),
    "comma.csv": table("id text", ","),
    "semicolon.csv": b"\xef\xbb\xbf" + table("id Text", ";"),
    "tab.tsv": table("id content", "\t"),
    "a.parquet": parquet(text=TEXTS),
    "unnamed": parquet(text=TEXTS),
    "dictionary.parquet": parquet(content=pa.array(TEXTS).dictionary_encode()),
    "bytes.parquet": parquet(text=[text.encode() for text in TEXTS]),
    "struct.parquet": parquet(id=[1] * len(TEXTS), data=[{"text": text} for text in TEXTS]),
    "chat.parquet": parquet(messages=[[{"role": "u", "content": text}] for text in TEXTS]),
    "packed.parquet.gz": gzip.compress(parquet(text=TEXTS)),
}

AS_ONE = {
    "utf8.txt": PLAIN.encode(),
    "bom.txt": PLAIN.encode("utf-8-sig"),
    "utf16.txt": PLAIN.encode("utf-16"),
    "big-endian.txt": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "utf16-without-bom.txt": PLAIN.encode("utf-16-le"),
    "utf32.txt": PLAIN.encode("utf-32"),
    "latin.txt": PLAIN.encode("latin-1"),
    "windows.txt": PLAIN.encode("cp1252"),
    "nul.txt": PLAIN.encode().replace(b" ", b"\0 ", 5),
    "a.txt.zst": pa.compress(PLAIN.encode(), "zstd").to_pybytes(),
    "unnamed.tgz": gzip.compress(PLAIN.encode()),
}


def named(names: Sequence[str], *texts: str) -> dict[str, str]:
    return dict(zip(names, texts, strict=True))


PARTS: dict[str, Callable[[str, str], object]] = {
    **{
        f"{'-'.join(names)}.jsonl": functools.partial(named, names)
        for names in (
            *(("prompt", "chosen"), ("question", "answers"), ("query", "response")),
            *(("problem", "solution"), ("reasoning", "answer")),
        )
    },
    "answers.jsonl": lambda a, b: {"question": a, "answers": {"text": [b], "answer_start": [0]}},
    "reasoning.jsonl": lambda a, b: {"response": b, "prompt": a[:9], "reasoning": a[9:]},
    "tree.jsonl": lambda a, b: {"prompt": {"text": a, "replies": [{"text": b, "replies": []}]}},
    "comments.jsonl": lambda a, b: {"text": a, "replies": [{"text": b}, {"likes": 3}]},
}
"""Records that have their text in more than one place."""
