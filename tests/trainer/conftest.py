"""A cache of its own with apidocs, which the whole session shares; a number of threads."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from measuring import measure
from preparing import TRAIN, finish, start

from trainer.data.sources import apidocs
from trainer.measure import Measurement


@pytest.fixture(scope="session")
def both_outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """A cache that two processes prepared at once, and what they said."""
    cache = tmp_path_factory.mktemp("cache")
    processes = [start(cache, 4096, 150_000) for _ in range(2)]
    return cache, [finish(process) for process in processes]


@pytest.fixture
def cache(both_outputs: tuple[Path, list[list[str]]], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTORESEARCH_CACHE", str(both_outputs[0]))
    return both_outputs[0]


@pytest.fixture
def text(cache: Path) -> dict[str, list[str]]:
    """Documents of every part and split."""
    folder = cache / "apidocs" / apidocs.VERSION / "text"
    documents = {}
    for name in (*TRAIN, "val", "test"):
        raw = (folder / f"{name}.txt").read_bytes()
        ends = [*np.fromfile(folder / f"{name}.starts", dtype="<i8").tolist(), len(raw)]
        documents[name] = [raw[a:b].decode() for a, b in pairwise(ends)]
    return documents


@pytest.fixture(scope="session")
def plain(tiny_source: str) -> Measurement:
    """The tiny file, measured once."""
    return measure(tiny_source, seed=5)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Bit-equal trainings need a fixed number; one is the fastest at these sizes."""
    import torch  # the parent of a measurement has none, and most tests here are one

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
