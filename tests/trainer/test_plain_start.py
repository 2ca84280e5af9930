"""examples/plain.py: it keeps the contract, learns, and is worse than the shipped file."""

from __future__ import annotations

import re
import types

import pytest
import torch
from shipped import FILE, SOURCE, block_applied
from small_train import SMALL, SMALL_SPEC, training

from agent.edits.constants import constants, set_constants
from trainer import contract
from trainer.presets import Budget, load_presets

PLAIN = (FILE.parents[1] / "examples/plain.py").read_text()
KNOWN = {c.name: c for c in constants(PLAIN)}
TRICKS = (
    "muon",
    "rotary",
    "orthogonal",
    "pairs",
    "shift",
    "stream_scales",
    "rms_norm",
    "self.values",
)


def load(**values: object) -> types.ModuleType:
    source = PLAIN
    for block in set_constants(PLAIN, {k: v for k, v in values.items() if k in KNOWN}):
        source = block_applied(source, block)
    module = types.ModuleType("train")
    exec(compile(source, "train.py", "exec"), module.__dict__)
    return module


def test_it_is_a_short_file_with_the_sections_of_the_shipped_one_and_no_trick() -> None:
    shapes = contract.read(PLAIN, load_presets()["cpu"].max_seq_len)
    assert (shapes.vocab_size, shapes.seq_len) == (2048, 512)
    assert len(PLAIN.splitlines()) <= 300
    banners = [set(re.findall(r"^# === (.+) ===$", text, re.MULTILINE)) for text in (PLAIN, SOURCE)]
    assert banners[0] == banners[1]
    assert not [word for word in TRICKS if word in PLAIN.lower()]
    for section in banners[0]:
        assert [c for c in KNOWN.values() if c.section == section and c.domain], section


def test_what_means_the_same_as_in_the_shipped_file_has_its_name_place_and_range() -> None:
    shipped = {c.name: c for c in constants(SOURCE)}
    both = sorted(KNOWN.keys() & shipped.keys())
    assert len(both) >= 16
    for name in both:
        own, other = KNOWN[name], shipped[name]
        assert (own.section, own.domain) == (other.section, other.domain), name
    for name, value in load_presets()["cpu"].constants.items():
        assert KNOWN[name].value == value, "as trial 0 has it"


@pytest.mark.process
@pytest.mark.usefixtures("one_thread")
def test_it_learns_on_every_shape_that_its_constants_allow() -> None:
    """Tokens of which eight in ten follow from the one before; a guess costs 2.08 nats."""
    budget = Budget(tokens=128 * 100)
    model, losses = training(load(**SMALL, DEPTH=2, LEARNING_RATE=0.01), budget=budget)
    assert losses[0] == pytest.approx(5.55, abs=0.1), "a uniform guess over 257 tokens"
    assert sum(losses[-20:]) / 20 < 1.6
    ids = torch.randint(257, (2, 32))
    changed = ids.clone()
    changed[:, 20:] = torch.randint(257, (2, 12))
    with torch.no_grad():
        model.eval()
        torch.testing.assert_close(model(ids)[:, :20], model(changed)[:, :20], atol=1e-5, rtol=0)
        assert model(ids[:, :5]).shape == (2, 5, SMALL_SPEC.vocab_size)


@pytest.mark.process
@pytest.mark.usefixtures("one_thread")
def test_a_seed_repeats_with_dropout_and_a_batch_in_parts() -> None:
    module, budget = load(**{**SMALL, "MICRO_ROWS": 2}, DROPOUT=0.1), Budget(tokens=128 * 3)
    (one, losses), (two, same) = (training(module, budget=budget) for _ in range(2))
    assert losses == same and len(losses) == 3
    for first, second in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(first, second)


def test_the_rate_goes_up_stays_and_goes_down_as_its_shares_say() -> None:
    flat = load().learning_rate_scale
    assert [flat(p) for p in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]
    shaped = load(WARMUP_SHARE=0.2, WARMDOWN_SHARE=0.5).learning_rate_scale
    told = [shaped(p) for p in (0.0, 0.1, 0.2, 0.5, 0.75, 1.0)]
    assert told == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.5, 0.0])


@pytest.mark.process
@pytest.mark.slow
def test_it_is_clearly_worse_than_the_shipped_file_on_equal_tokens() -> None:
    from trainer import measure

    pair = measure.heat([SOURCE, PLAIN], seed=0, budget="100000tok", preset="cpu")
    assert [one.status for one in pair] == ["ok", "ok"]
    assert pair[1].val_bpb - pair[0].val_bpb > 0.2
