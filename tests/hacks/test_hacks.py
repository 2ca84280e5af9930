"""Training files that cheat: each is refused by name, or gains nothing, and leaves nothing behind.

A file here is appended to tests/tiny_train.py. Its head says what must come of it: a status, and
how the reason begins (several lines where chance decides which). After ``ok`` nothing may have been
gained, and no door may have been open. ``# expect at keep`` is what the stronger audit must find
where the usual one lets a rare leak pass.

A machine that does not confine runs these files too, and one day the sandbox may have a hole: so
none of them may do harm where it succeeds. They open and ask; they move, remove, stop or overwrite
nothing that is not theirs.
"""

import ast
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import botocore
import psutil
import pytest

import trainer
from trainer.data.prepare import cache_dir, prepare
from trainer.measure import MACHINE, AuditResult, Measurement, audit, measure
from trainer.sandbox import confine, tree

pytestmark = pytest.mark.sandbox

FILES = sorted(p for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_"))
RARE = [path for path in FILES if "# expect at keep: " in path.read_text()]
HACKS = [path for path in FILES if path not in RARE]
BUDGET = "40000tok"
FILLS_LONG = ("memory_behind_a_dead_thread", "memory_of_many")
"""They take half a minute."""
LOOKS_LONG = "peek_where_it_would_lose"
CONFINED = confine.available()[0] == "os"


@pytest.fixture(scope="module")
def honest(tiny_source: str) -> Measurement:
    measured = measure(tiny_source, budget=BUDGET, preset="cpu", device="cpu")
    assert measured.status == "ok", measured.reason
    return measured


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A path that somebody listens on, as system daemons do."""
    path = tmp_path_factory.mktemp("daemon") / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        yield path


def filled(text: str, daemon: Path) -> str:
    """The places that a cheat would look at, filled in: it would find out where they are."""
    places = {
        "daemon": daemon,
        "home": Path.home(),
        "repo": Path(__file__).parents[2],
        "trainer": Path(trainer.__file__).parent,
        "cache": cache_dir(),
        "botocore": Path(botocore.__file__).parent,
        "val": prepare(vocab_size=257).val.tokens,
    }
    for name, path in places.items():
        text = text.replace(f"@{name}@", str(path))
    return text


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[pytest.mark.slow] if p.stem in FILLS_LONG else []) for p in HACKS],
    ids=lambda path: path.stem,
)
def test_gains_nothing(
    path: Path,
    tiny_source: str,
    honest: Measurement,
    daemon: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = path.read_text()
    expected = re.findall(r"^# expect: (\w+) ?(.*)$", text, re.MULTILINE)
    budget = re.search(r"^# budget: (\S+)$", text, re.MULTILINE)
    assert expected

    notes: list[str] = []
    measured = measure(
        tiny_source + filled(text, daemon),
        budget=budget[1] if budget else BUDGET,
        preset="cpu",
        device="cpu",
        on_event=lambda event: notes.append(str(event.get("text"))),
    )

    assert any(
        measured.status == status and measured.reason.startswith(reason)
        for status, reason in expected
    ), (measured.status, measured.reason + measured.detail)
    assert not any("from outside" in note for note in notes), "it got a second try"
    if measured.status == "ok":
        assert measured.val_bpb is not None and honest.val_bpb is not None
        assert measured.val_bpb >= honest.val_bpb - 1e-9
        assert measured.peak_memory_mb > 50
        if CONFINED:
            assert "open:" not in measured.output
    else:
        assert measured.val_bpb is None
    shown = measured.reason + measured.detail + measured.output
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    assert len(shown) < 20_000
    assert 0 <= measured.tokens < 1 << 62 and 0 <= measured.peak_memory_mb < 1e6
    for pid in re.findall(r"^pid (\d+)$", measured.output, re.MULTILINE):
        assert not psutil.pid_exists(int(pid))
    assert tree.usage(MACHINE.server().pid).processes == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[pytest.mark.slow] if p.stem == LOOKS_LONG else []) for p in RARE],
    ids=lambda path: path.stem,
)
def test_rare_leaks_are_not_kept(path: Path, tiny_source: str, tmp_path: Path) -> None:
    text = path.read_text()
    expected = re.search(r"^# expect at keep: (\w+) (.*)$", text, re.MULTILINE)
    assert expected is not None
    source, weights = tiny_source + text, tmp_path / "weights"
    longer = re.search(r"^# budget: (\S+)$", text, re.MULTILINE)
    place = {"preset": "cpu", "device": "cpu"}

    measured = measure(source, budget=longer[1] if longer else BUDGET, weights_to=weights, **place)
    found: Measurement | AuditResult = measured
    if measured.val_bpb is not None:
        took = measured.train_seconds
        found = audit(source, weights, measured.val_bpb, train_seconds=took, **place)

    assert (found.status, found.reason[: len(expected[2])]) == expected.groups()


@pytest.mark.parametrize("name", ["stash", "compile_cache_as_a_stash"])
def test_nothing_is_left_for_the_next_training(tiny_source: str, daemon: Path, name: str) -> None:
    source = tiny_source + filled((Path(__file__).parent / f"{name}.py").read_text(), daemon)

    trainings = [measure(source, budget=BUDGET, preset="cpu", device="cpu") for _ in range(2)]

    assert [training.status for training in trainings] == ["ok", "ok"]
    assert trainings[0].weights_sha256 == trainings[1].weights_sha256
    if CONFINED:
        assert "open:" not in trainings[1].output


def test_validation_text_is_not_in_what_a_failing_model_says(tiny_source: str) -> None:
    text = (Path(__file__).parent / "crash_when_scored.py").read_text()

    measured = measure(tiny_source + text, budget=BUDGET, preset="cpu", device="cpu")

    assert measured.reason == "eval-crash: the model failed before logits"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems confine by other means")
def test_confined_children_are_what_was_tried_here() -> None:
    """A machine that cannot confine passes the doors by not being asked: say so."""
    if os.environ.get("CI"):
        assert CONFINED, confine.available()


def test_what_a_cheat_looks_for_exists() -> None:
    """A class that has another name since would not be found, and the cheat would pass."""
    cheat = ast.parse((Path(__file__).parent / "frames_and_objects.py").read_text())
    (wanted,) = [
        ast.literal_eval(node.value)
        for node in cheat.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "WANTED"
    ]
    sources = [path.read_text() for path in Path(trainer.__file__).parent.rglob("*.py")]
    classes = {name for source in sources for name in re.findall(r"^class (\w+)", source, re.M)}
    assert len(wanted) > 5 and wanted <= classes
