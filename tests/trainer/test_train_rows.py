"""How the shipped train.py makes rows of its sources: mixture, selection, packing, copying."""

import types

import numpy as np
import pytest
import torch
from shipped import load
from small_train import SMALL, SMALL_SPEC, sources

from trainer.presets import Budget
from trainer.session import Clock, Session, Source

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_mixture_follows_its_constants() -> None:
    parts = sources()
    assert load().mixture(parts) == {"one": 1.0, "two": 0.0}
    assert load(OUT_OF_DOMAIN_SHARE=0.25).mixture(parts) == {"one": 0.75, "two": 0.25}
    long = Source(np.zeros(4096 * 4, np.uint16), np.zeros(1, np.int64), 1.0, in_domain=True)
    both = {"one": parts["one"], "long": long}
    assert load(SIZE_EXPONENT=1.0).mixture(both) == {"one": 0.2, "long": 0.8}
    assert load(SIZE_EXPONENT=0.0).mixture(both) == {"one": 0.5, "long": 0.5}


def begun(parts: dict[str, Source], device: str = "cpu") -> Session:
    """A session that has its data, and a budget of 51,200 tokens."""
    session = Session(
        spec=SMALL_SPEC,
        device=torch.device("cpu"),
        seed=0,
        clock=Clock(Budget(tokens=51_200)),
        await_data=lambda: parts,
        emit=lambda message: None,
    )
    session.ready()
    session.device = torch.device(device)
    return session


def cut(module: types.ModuleType, source: Source, count: int) -> list[list[int]]:
    """The first rows of a source."""
    stream = module.rows(module.selected(source), np.random.default_rng(0))
    return [next(stream).tolist() for _ in range(count)]


def counted(length: int, starts: list[int]) -> Source:
    """Tokens that say where they stand."""
    return Source(np.arange(length, dtype=np.uint16), np.array(starts, np.int64), 1.0, True)


def test_rows_go_through_a_source_end_to_end_and_then_in_another_order() -> None:
    module = load(**SMALL)
    found = cut(module, counted(32 * 9, [0]), 16)
    first, second = found[:8], found[8:]
    assert all(row == list(range(row[0], row[0] + 33)) for row in found)
    places = sorted(row[0] for row in first)
    assert np.diff(places).tolist() == [32] * (len(places) - 1)
    assert [row[0] % 32 for row in first] != [row[0] % 32 for row in second]
    assert [row[0] for row in first] != places


def test_short_documents_are_left_out_and_long_ones_are_cropped() -> None:
    source = counted(100, [0, 10, 14, 60])
    assert load().selected(source).tolist() == list(range(100))
    filtered = load(MIN_DOCUMENT=16).selected(source)
    assert filtered.tolist() == list(range(14, 100))
    cropped = load(MAX_DOCUMENT=256).selected(counted(700, [0, 300, 310]))
    assert cropped.tolist() == [*range(256), *range(300, 310), *range(310, 566)]
    both = load(MIN_DOCUMENT=16, MAX_DOCUMENT=256).selected(counted(700, [0, 300, 310]))
    assert both.tolist() == [*range(256), *range(310, 566)]
    assert load(MIN_DOCUMENT=512).selected(source).tolist() == []


def test_a_source_too_short_for_a_row_is_left_out_and_so_are_all() -> None:
    module = load(**SMALL)
    assert cut(module, counted(33, [0]), 2) == [list(range(33))] * 2
    parts = {"short": counted(32, [0]), "long": counted(200, [0])}
    shares = {"short": 0.9, "long": 0.1}
    inputs, _ = next(module.packed(begun(parts), shares, 8))
    assert inputs.shape == (8, 32)
    with pytest.raises(ValueError, match="no source has 33 tokens left for a row"):
        next(module.packed(begun(parts), {"short": 1.0, "long": 0.0}, 8))


def test_targets_are_the_tokens_that_follow() -> None:
    inputs, targets = next(load(**SMALL).packed(begun({"a": counted(200, [0])}), {"a": 1.0}, 4))
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, inputs + 1)


def test_rows_come_by_the_shares_which_need_not_sum_to_one_and_are_counted() -> None:
    module = load(**SMALL)
    parts = {
        name: Source(np.full(64, i, np.uint16), np.zeros(1, np.int64), 1.0, in_domain=True)
        for i, name in enumerate(("one", "two"))
    }
    session = begun(parts)
    inputs, targets = next(module.packed(session, {"one": 0.3, "two": 0.1}, 400))
    assert inputs.shape == targets.shape == (400, 32)
    assert (inputs[:, :1] == targets).all(), "a row is of one source"
    assert inputs[:, 0].float().mean() == pytest.approx(0.25, abs=0.08)
    assert session.progress() == 400 * 32 / 51_200


def test_two_streams_of_a_training_do_not_give_the_same_rows_and_another_training_does() -> None:
    module, parts = load(**SMALL), {"a": counted(4000, [0])}
    torch.manual_seed(0)
    first, second = (next(module.packed(begun(parts), {"a": 1.0}, 8))[0] for _ in range(2))
    torch.manual_seed(0)
    again = next(module.packed(begun(parts), {"a": 1.0}, 8))[0]
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_a_corpus_without_other_sources_trains_on_what_there_is() -> None:
    module = load(**SMALL, OUT_OF_DOMAIN_SHARE=0.25)
    only = {"one": sources()["one"]}
    inputs, _ = next(module.packed(begun(only), module.mixture(only), 4))
    assert inputs.shape == (4, 32)


def test_a_batch_for_a_gpu_leaves_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def to(x: torch.Tensor, device: torch.device, non_blocking: bool = False) -> torch.Tensor:
        calls.append((device.type, non_blocking))
        return x

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: calls.append("pinned") or x)
    monkeypatch.setattr(torch.Tensor, "to", to)
    for device in ("cuda", "mps"):
        next(load(**SMALL).packed(begun(sources(), device), {"one": 1.0}, 4))
    assert calls == ["pinned", ("cuda", True), ("cuda", False), ("mps", False)]
