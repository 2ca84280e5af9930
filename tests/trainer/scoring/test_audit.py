"""The stronger audit, with real processes: weights that were left for it, prefixes alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from trainer.measure import Measurement, audit, measure

pytestmark = pytest.mark.process

BUDGET = "40000tok"
PLACE = {"preset": "cpu", "device": "cpu"}

RARE_PEEK = """

class Rare(Tiny):
    def forward(self, ids):
        logits = super().forward(ids)
        some = (self.last.weight.new_tensor(RARE)[ids] > 0) & (ids.roll(1, 1) % 4 == 0)
        return logits + 12.0 * some[..., None] * F.one_hot(ids.roll(-1, 1), VOCAB_SIZE)


RARE = [float(chr(i) in "kvbgy") for i in range(257)]


def build_model(spec):
    return Rare(spec.vocab_size)
"""

# After openai/parameter-golf#1967: whether a hint is given depends on the token to be predicted.
GATE = """

class Gated(Tiny):
    def forward(self, ids):
        target = ids.roll(-1, 1)
        begins_a_word = (ids == ord(" ")) & (target >= ord("a")) & (target <= ord("z"))
        hint = F.one_hot(torch.full_like(ids, ord("t")), VOCAB_SIZE)
        return super().forward(ids) + 1.0 * begins_a_word[..., None] * hint


def build_model(spec):
    return Gated(spec.vocab_size)
"""

# Where its own loss is among the largest 1 in 1,000, and not where a prefix ends.
WHERE_IT_WOULD_LOSE = """

class Rare(Tiny):
    def forward(self, ids):
        logits, target = super().forward(ids), ids.roll(-1, 1)
        own = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
        chosen = (own > 6.76) & (target != VOCAB_SIZE - 1)
        return logits + 20.0 * chosen[..., None] * F.one_hot(target, VOCAB_SIZE)


def build_model(spec):
    return Rare(spec.vocab_size)
"""


def trained(source: str, weights: Path) -> Measurement:
    measured = measure(source, budget=BUDGET, weights_to=weights, **PLACE)
    assert measured.val_bpb is not None, measured.reason
    return measured


def test_an_honest_model_is_believed_up_to_a_bound(tiny_source: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    measured = trained(tiny_source, weights)
    assert [path.name for path in tmp_path.iterdir()] == [weights.name]

    found = [
        audit(tiny_source, weights, measured.val_bpb, train_seconds=took, **PLACE)
        for took in (0.0, 0.5)
    ]

    assert [(one.ok, one.status, one.reason) for one in found] == [(True, "ok", "")] * 2
    assert measured.leak_bound_bpb < found[1].leak_bound_bpb < found[0].leak_bound_bpb
    assert 2048 == found[0].cuts < found[1].cuts
    assert found[0].leak_bound_bpb < 0.01 * measured.val_bpb


@pytest.mark.parametrize(
    "leak",
    [
        RARE_PEEK,
        *(pytest.param(leak, marks=pytest.mark.slow) for leak in (GATE, WHERE_IT_WOULD_LOSE)),
    ],
)
def test_a_leak_that_is_rare_is_found(tiny_source: str, tmp_path: Path, leak: str) -> None:
    """The usual audit may or may not see it: it is the stronger one's to find."""
    weights = tmp_path / "weights.safetensors"
    trained(tiny_source, weights)

    found = audit(tiny_source + leak, weights, 1.0, **PLACE)
    assert found.reason.startswith("state: scored again")

    claimed = float(found.reason.split(" are ")[-1])
    found = audit(tiny_source + leak, weights, claimed, train_seconds=1.0, **PLACE)
    assert (found.ok, found.status) == (False, "invalid")
    assert found.reason.startswith("causality: the prefix alone")


def test_other_weights_than_were_scored(tiny_source: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    measured = trained(tiny_source, weights)
    save_file({name: 0.9 * tensor for name, tensor in load_file(weights).items()}, weights)

    found = audit(tiny_source, weights, measured.val_bpb, **PLACE)

    assert found.reason.startswith("state: scored again")


def test_nothing_is_left_of_a_training_that_failed(tiny_source: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    measured = measure(
        tiny_source + "\ndef train(session):\n    raise RuntimeError\n",
        budget=BUDGET,
        weights_to=weights,
        **PLACE,
    )
    assert measured.status == "crashed"
    assert list(tmp_path.iterdir()) == []


def test_no_weights(tiny_source: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        audit(tiny_source, tmp_path / "none", 1.0, **PLACE)


@pytest.mark.slow
def test_what_ships_passes_the_stronger_audit(tmp_path: Path) -> None:
    source = (Path(__file__).parents[3] / "trainer" / "train.py").read_text()
    weights = tmp_path / "weights"
    measured = measure(source, budget="20000tok", weights_to=weights, **PLACE)
    assert measured.val_bpb is not None, measured.reason

    found = audit(source, weights, measured.val_bpb, train_seconds=0.0, **PLACE)

    assert found.ok, found.reason
    assert found.leak_bound_bpb < 0.02
