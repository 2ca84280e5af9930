"""The state of a long campaign in a file, so that not all of its journal has to be read again.

It is the fold of the journal up to a ``Place``. It is used only if its own checksum is right, if
the journal still begins with the same bytes, and if this version folds as the one that wrote it;
else the whole journal is read. It can be deleted at any time.

Records are stored as JSON by column, equal values once: that is several times faster to read, and
half of a training is the fingerprint of its machine. Losses, most of the numbers, are behind it as
they are in memory.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import inspect
import itertools
import json
import os
import sys
import zlib
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic_core import from_json

from agent.campaign import (
    device_time,
    events,
    findings,
    formats,
    happened,
    lines,
    notebook,
    records,
    state,
)
from agent.campaign.files import write_atomically
from agent.campaign.lines import START, JournalError, Place, Reader
from agent.campaign.notebook import Notebook
from agent.campaign.records import Audit, FailedCandidate, Training, Transfer, Trial
from agent.campaign.state import State, fold

SNAPSHOT = "snapshot"
EVENTS = 1000
"""After so many events, which are read in 0.1 s, there is another snapshot; of a long campaign
after a tenth of all, as all of it is written each time."""
_CHUNK = 1 << 20
_TRIED = 100
"""After so many values a column is known to have distinct ones."""
_PARTS: Mapping[str, type[Any]] = {
    "trainings": Training,
    "audits": Audit,
    "sent_back": FailedCandidate,
    "transfers": Transfer,
}
"""The fields of a trial that hold records."""
Column = tuple[Sequence[Any], Sequence[int] | int | None]
"""Values; or distinct values, and for each record the number of its own; or the only value, and how
many records there are."""
R = TypeVar("R")


def events_between(lines: int) -> int:
    """How many events there are from a snapshot of so many to the next."""
    return max(EVENTS, lines // 10)


def read_state(journal: Path) -> State:
    """The state of a campaign, from its snapshot where that serves; empty without a journal.

    Raises:
        JournalError: the journal cannot be read, is damaged, or is shorter than it was.
    """
    found, place = restore(journal)
    return fold(Reader(journal, place), found)


def restore(journal: Path) -> tuple[State, Place]:
    """The state of the snapshot beside a journal, and from where on the journal is to be read.

    Raises:
        JournalError: the journal is shorter than it was.
    """
    path = journal.with_name(SNAPSHOT)
    stored = _read(path)
    if stored is None or stored["version"] != _version():
        return State(), START
    place = Place(**stored["place"])
    crc, size = 0, 0
    with contextlib.suppress(FileNotFoundError), journal.open("rb") as file:
        while chunk := file.read(min(_CHUNK, place.size - size)):
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    if size < place.size:
        raise JournalError(
            f"{journal} has {size:,} bytes, but had {place.size:,}: it was cut; restore it from a "
            f"copy, or delete {path.name} beside it, to go on from what is left"
        )
    if crc != place.crc:
        return State(), START
    with _no_collection():
        found = _state(stored)
        gc.freeze()  # it stays for as long as the process: no collection need look at it
        return found, place


def save(journal: Path, found: State, place: Place) -> None:
    """Write the snapshot beside a journal, whose state at ``place`` is ``found``.

    Raises:
        Unwritable: a snapshot from before is as it was.
    """
    content, losses = _stored(found)
    content |= {"version": _version(), "place": asdict(place)}
    text = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")
    body = b"%09d\n%b%b" % (len(text), text, losses.tobytes())
    write_atomically(journal.with_name(SNAPSHOT), b"%08x\n%b" % (zlib.crc32(body), body))


def _read(path: Path) -> dict[str, Any] | None:
    """What a whole snapshot holds; None if there is none."""
    try:
        with path.open("rb", buffering=0) as file:  # a buffer would copy all of it
            checksum, size = file.read(9), file.read(10)
            text, losses = file.read(int(size)), file.read()
    except (OSError, ValueError):
        return None
    if checksum != b"%08x\n" % zlib.crc32(losses, zlib.crc32(text, zlib.crc32(size))):
        return None
    with _no_collection():
        try:
            stored: dict[str, Any] = from_json(text, cache_strings="keys")
        except ValueError:  # lone surrogates of a reply, which only the slower one reads
            stored = json.loads(text)
    return stored | {"losses": losses}


@functools.cache
def _version() -> str:
    """A digest of the code that makes a state of events and a snapshot of a state."""
    modules = (device_time, events, findings, formats, happened, lines, notebook, records, state)
    try:
        text = "".join([sys.byteorder, *map(inspect.getsource, (*modules, sys.modules[__name__]))])
    except OSError:  # installed without source: then no snapshot is of this version
        text = os.urandom(16).hex()
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without garbage collections, which take most of the time where nothing is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _stored(found: State) -> tuple[dict[str, Any], array[float]]:
    """What is stored of a state as JSON, and all losses one after the other."""
    parts = {name: [p for t in found.trials for p in getattr(t, name)] for name in _PARTS}
    losses = [loss for training in parts["trainings"] for loss in training.losses]
    numbers = {id(training): i for i, training in enumerate(parts["trainings"])}
    plain = {f.name: getattr(found, f.name) for f in fields(State)}
    plain["trials"] = _columns(Trial, found.trials, _PARTS)
    plain["notebook"] = asdict(found.notebook)
    plain["champion_runs"] = {
        commit: [numbers[id(run)] for run in runs] for commit, runs in found.champion_runs.items()
    }
    stored = {n: _columns(c, parts[n], ["losses"]) for n, c in _PARTS.items()}
    none = [i for i, loss in enumerate(losses) if loss is None]
    floats = array("d", [0.0 if loss is None else loss for loss in losses])
    return {"state": plain, "parts": stored, "none": none}, floats


def _state(stored: Mapping[str, Any]) -> State:
    plain, parts = stored["state"], stored["parts"]
    losses = array("d", stored["losses"]).tolist()
    for i in stored["none"]:
        losses[i] = None
    parts["trainings"]["losses"] = _grouped(losses, parts["trainings"]["losses"])
    for name, kind in _PARTS.items():
        parts[name] = _records(kind, parts[name])
        plain["trials"][name] = _grouped(parts[name], plain["trials"][name])
    plain["trials"] = _records(Trial, plain["trials"])
    plain["champion_runs"] = {
        commit: [parts["trainings"][i] for i in runs]
        for commit, runs in plain["champion_runs"].items()
    }
    plain["notebook"] = Notebook(**plain["notebook"])
    return State(**plain)


def _columns(kind: type[Any], found: Sequence[Any], grouped: Collection[str]) -> dict[str, Column]:
    """By field of a kind of record: its values; of ``grouped`` ones, how many each record has."""
    names = [f.name for f in fields(kind)]
    columns = {name: [getattr(record, name) for record in found] for name in names}
    return {n: _column(list(map(len, c)) if n in grouped else c) for n, c in columns.items()}


def _grouped(values: Iterable[Any], counts: Column) -> Column:
    left = iter(values)
    return [tuple(itertools.islice(left, count)) for count in _values(counts)], None


def _column(values: Sequence[Any]) -> Column:
    distinct: dict[str, tuple[int, Any]] = {}  # by what tells -0.0 from 0.0, and 1.0 from 1
    index: list[int] = []
    for value in values:
        if len(index) >= _TRIED and 2 * len(distinct) > len(index):
            return values, None
        index.append(distinct.setdefault(repr(value), (len(distinct), value))[0])
    return [value for _, value in distinct.values()], index if len(distinct) > 1 else len(index)


def _values(column: Column) -> Sequence[Any]:
    """Of each record. A list was a tuple: JSON has none, and no field of a record is a list."""
    distinct, index = column
    if list in set(map(type, distinct)):
        distinct = [tuple(v) if type(v) is list else v for v in distinct]
    if isinstance(index, int):
        return list(distinct) * index
    return distinct if index is None else [distinct[i] for i in index]


def _records(kind: type[R], columns: Mapping[str, Column]) -> list[R]:
    """The records, made without the checks that their events have passed.

    Most fields have one value in all records, often the default. That one their class has, too: not
    to copy it is much of the speed.
    """
    found: list[R] = []
    for name, column in columns.items():
        values = _values(column)
        if not found:
            found = [object.__new__(kind) for _ in values]
            inside = [record.__dict__ for record in found]
        if len(column[0]) != 1 or repr(values[0]) != repr(getattr(kind, name, kind)):
            for record, value in zip(inside, values, strict=True):
                record[name] = value
    return found
