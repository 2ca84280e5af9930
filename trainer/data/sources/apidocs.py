"""Source ``apidocs``: the documentation strings in one pinned release of botocore (Apache-2.0).

Everyone who has the wheel gets the same bytes and downloads nothing else. Text is split by service:
whole families of services are held out for validation and test. Parts for training: ``reference``
(operations and structures with their members), ``guides`` (service overviews and long
descriptions), and ``python``, the running interpreter's own standard library, out of domain.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import itertools
import json
import platform
import re
import sys
import sysconfig
import tokenize
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer.data.sources.base import CorpusSource, Progress, Text
from trainer.data.store import DataError
from trainer.data.text import from_html, normalise, novel, shuffled

BOTOCORE_VERSION = "1.44.5"
RECIPE = 1
"""Goes up with every change to this module or ``text`` that changes a document."""
_OF_ANY_PYTHON = f"botocore-{BOTOCORE_VERSION}-r{RECIPE}-python-"
VERSION = f"{_OF_ANY_PYTHON}{platform.python_version()}"

IN_DOMAIN = {"reference": True, "guides": True, "python": False}

GUIDE_CHARS = 800
"""A description longer than this is a document of its own."""
MIN_DOCUMENT_CHARS = 200
CLOSE_CHARS, MAX_CHARS = 1_500, 12_000
"""Reference documents end at a new section after CLOSE_CHARS, or anywhere after MAX_CHARS."""
HELD_OUT_PERCENT = {"val": 5, "test": 5}
SPLIT_SALT = 42
"""Chosen before any training, so that each held-out split is near 1 MB from some 20 services."""
NOT_TAKEN = {"test", "tests", "idlelib", "lib2to3", "encodings", "pydoc_data", "_bundled"}
"""Parts of the standard library that some builds lack, or that are tables or third-party code."""
MAX_PYTHON_BYTES = 150_000

_ByService = dict[str, list[str]]


class _Entry(NamedTuple):
    """One documentation string and its place."""

    service: str
    title: str
    """The service's full name."""
    section: str
    """Heading of the operation or structure; the title for the service's overview."""
    name: str
    """Name of the member or error; empty for the section's own description."""
    text: str


def build(progress: Progress, _: Path) -> Text:
    """The parts of ``IN_DOMAIN``, ``val`` and ``test``.

    Held-out text takes precedence: text that is mostly a copy of val is dropped from test, and text
    that is mostly a copy of either is dropped from training.

    Raises:
        DataError: botocore is missing or of another release, or there is no standard library.
    """
    files = _service_files()
    entries: dict[str, list[_Entry]] = {"val": [], "test": [], "train": []}
    seen: set[str] = set()
    names = sorted(files, key=lambda name: (list(entries).index(split_of(name)), name))
    for i, name in enumerate(names):
        progress("reading documentation", i / len(names))
        entries[split_of(name)] += _entries(name, _model(files[name]), seen)
    progress("removing near-duplicates", 0.0)
    _drop_copies(entries)
    progress("reading the standard library", 0.0)
    python = _python_documents()

    reference, guides = _documents(entries["train"])
    parts: dict[str, Iterable[str]] = {
        "reference": shuffled(itertools.chain(*reference.values())),
        "guides": shuffled(itertools.chain(*guides.values())),
        "python": python,
    }
    for split in ("val", "test"):
        reference, guides = _documents(entries[split])
        parts[split] = _interleaved(
            [shuffled(reference[name] + guides[name]) for name in sorted(reference | guides)]
        )
    return Text(parts, IN_DOMAIN)


def split_of(service: str) -> str:
    """``val``, ``test`` or ``train``, by a hash of the service's family.

    Siblings (``iot``, ``iot-data``, ...) describe the same things, so they stay together.
    """
    family = service.split("-")[0]
    percent = int(hashlib.sha256(f"{SPLIT_SALT}:{family}".encode()).hexdigest(), 16) % 100
    for split, share in HELD_OUT_PERCENT.items():
        if percent < share:
            return split
        percent -= share
    return "train"


_REMEDY = f"run: pip install botocore=={BOTOCORE_VERSION}"


def _service_files() -> dict[str, Path]:
    """Model file by service, the newest API version of each. Does not import botocore."""
    try:
        botocore = importlib.metadata.distribution("botocore")
    except importlib.metadata.PackageNotFoundError as exc:
        raise DataError(f"botocore, the source of apidocs, is not installed; {_REMEDY}") from exc
    if botocore.version != BOTOCORE_VERSION:
        raise DataError(
            f"botocore {botocore.version} is installed, apidocs is made of {BOTOCORE_VERSION}; "
            f"{_REMEDY}"
        )
    root = Path(str(botocore.locate_file("botocore/data")))
    files = {path.parts[-3]: path for path in sorted(root.glob("*/*/service-2.json.gz"))}
    if not files:
        raise DataError(f"no service models under {root}; {_REMEDY} --force-reinstall")
    return files


def _model(path: Path) -> dict[str, Any]:
    try:
        model: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, ValueError) as exc:
        raise DataError(f"cannot read {path}: {exc}; {_REMEDY} --force-reinstall") from exc
    return model


def _entries(service: str, model: dict[str, Any], seen: set[str]) -> Iterator[_Entry]:
    """All documentation of a service in reading order, each string once (``seen`` is updated).

    An operation is followed by the structures first reached from it.
    """
    title = model["metadata"].get("serviceFullName") or model["metadata"]["serviceId"]
    shapes = model["shapes"]

    def entry(section: str, name: str, html: str | None) -> Iterator[_Entry]:
        if not html or html in seen:
            return
        seen.add(html)
        if text := from_html(html):
            yield _Entry(service, title, section, name, text)

    def members(section: str, shape: dict[str, Any]) -> Iterator[_Entry]:
        for name, member in shape.get("members", {}).items():
            html = member.get("documentation") or shapes[member["shape"]].get("documentation")
            yield from entry(section, name, html)

    yield from entry(title, "", model.get("documentation"))
    reached: set[str] = set()
    for name, operation in sorted(model["operations"].items()):
        section = f"{name} ({title})"
        yield from entry(section, "", operation.get("documentation"))
        ends = [operation[end]["shape"] for end in ("input", "output") if end in operation]
        errors = [error["shape"] for error in operation.get("errors", ())]
        for shape in ends:
            yield from members(section, shapes[shape])
        for shape in errors:
            yield from entry(section, shape, shapes[shape].get("documentation"))
        reached.update(ends)
        queue = ends + errors
        for shape in queue:
            if shape not in ends and shapes[shape]["type"] == "structure":
                section = f"{shape} ({title})"
                yield from entry(section, "", shapes[shape].get("documentation"))
                yield from members(section, shapes[shape])
            for target in _targets(shapes[shape]):
                if target not in reached:
                    reached.add(target)
                    queue.append(target)


def _targets(shape: dict[str, Any]) -> list[str]:
    """Shapes that a shape is made of."""
    made_of = [*shape.get("members", {}).values()]
    made_of += [shape[key] for key in ("member", "key", "value") if key in shape]
    return [member["shape"] for member in made_of]


def _drop_copies(entries: dict[str, list[_Entry]]) -> None:
    """Remove, in place, paragraphs that are mostly a copy of earlier ones, in order of splits."""
    paragraphs = [
        paragraph
        for split in entries.values()
        for entry in split
        for paragraph in entry.text.split("\n\n")
    ]
    keep = iter(novel(paragraphs).tolist())
    for split, before in entries.items():
        kept = (
            entry._replace(text="\n\n".join(p for p in entry.text.split("\n\n") if next(keep)))
            for entry in before
        )
        entries[split] = [entry for entry in kept if entry.text]


def _documents(entries: Sequence[_Entry]) -> tuple[_ByService, _ByService]:
    """Reference documents and guides, by service."""
    reference: _ByService = {}
    guides: _ByService = {}
    for service, group in itertools.groupby(entries, key=lambda entry: entry.service):
        of_service = list(group)
        long = [entry for entry in of_service if _is_guide(entry)]
        short = [entry for entry in of_service if not _is_guide(entry)]
        guides[service] = _large_enough(f"{entry.section}\n\n{entry.text}" for entry in long)
        reference[service] = _large_enough(_packed(short))
    return reference, guides


def _is_guide(entry: _Entry) -> bool:
    is_overview = entry.section == entry.title
    return is_overview or (not entry.name and len(entry.text) > GUIDE_CHARS)


def _large_enough(documents: Iterable[str]) -> list[str]:
    return [document for document in documents if len(document) >= MIN_DOCUMENT_CHARS]


def _packed(entries: Sequence[_Entry]) -> Iterator[str]:
    """Sections combined into documents that are neither very small nor very large."""
    paragraphs: list[str] = []
    chars = 0
    section = ""
    for entry in entries:
        opens = entry.section != section
        if paragraphs and chars > (CLOSE_CHARS if opens else MAX_CHARS):
            yield "\n\n".join(paragraphs)
            paragraphs, chars, opens = [], 0, True
        if opens:
            paragraphs.append(entry.section)
        section = entry.section
        paragraphs.append(f"{entry.name}: {entry.text}" if entry.name else entry.text)
        chars += len(paragraphs[-1])
    if paragraphs:
        yield "\n\n".join(paragraphs)


def _interleaved(groups: Sequence[list[str]]) -> list[str]:
    """One document of each group in turn, so that the first few already come from many groups."""
    rounds = itertools.zip_longest(*groups)
    return [document for documents in rounds for document in documents if document is not None]


def _service_of(document: str) -> str:
    """The full name of a document's service: it begins with that, or with "SECTION (NAME)"."""
    return re.sub(r"^\w+ \((.*)\)$", r"\1", document.partition("\n")[0])


def _python_documents() -> list[str]:
    """The standard library's sources, one document per file; no tests, no generated tables."""
    root = Path(sysconfig.get_path("stdlib"))
    documents = []
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root).parts
        if inside[0].removesuffix(".py") not in sys.stdlib_module_names:
            continue
        if NOT_TAKEN.intersection(inside) or path.stat().st_size > MAX_PYTHON_BYTES:
            continue
        try:
            with tokenize.open(path) as file:
                text = normalise(file.read())
        except (OSError, SyntaxError, UnicodeDecodeError) as exc:
            raise DataError(f"cannot read {path}: {exc}; repair the Python installation") from exc
        if len(text) >= MIN_DOCUMENT_CHARS:
            documents.append(text)
    if not documents:
        raise DataError(
            f"no sources of the standard library under {root}; use a Python that comes with them"
        )
    return shuffled(documents)


SOURCE = CorpusSource(
    name="apidocs",
    version=VERSION,
    megabytes=24,
    build=build,
    group_of=_service_of,
    alike=f"{_OF_ANY_PYTHON}*",
)
