"""How many FLOPs a token takes, and which share of a device's peak that is."""

import pytest
import torch
from shipped import load

from trainer.contract import Spec
from trainer.presets import load_presets
from trainer.training.child import flops_per_token
from trainer.training.utilisation import utilisation


def test_counted_are_products_with_weights() -> None:
    def build_model(spec: Spec) -> torch.nn.Module:
        return torch.nn.Sequential(
            torch.nn.Embedding(spec.vocab_size, 8),
            torch.nn.Linear(8, 32),
            torch.nn.Linear(32, spec.vocab_size, bias=False),
        )

    spec = Spec(vocab_size=257, seq_len=16)
    assert flops_per_token(build_model, spec) == 6 * (8 * 32 + 32 * 257)


def test_the_h100_preset_is_of_the_size_of_the_ancestors_best() -> None:
    """Its depth 8 has 239 million FLOPs a token, attention included, and 50 million parameters."""
    preset = load_presets()["h100"]
    module = load(**preset.constants)
    spec = Spec(module.VOCAB_SIZE, module.SEQ_LEN)
    with torch.device("meta"):
        parameters = sum(p.numel() for p in module.Model(spec).parameters())
    table_of_pairs = module.PAIR_ROWS * module.WIDTH
    assert 55e6 < parameters - table_of_pairs < 60e6  # a block and a value embedding more than it
    assert 190e6 < flops_per_token(module.build_model, spec) < 200e6
    shorts = [a.window for a in module.Model(spec).attentions]
    attention = 12 * module.WIDTH * sum(shorts)
    assert 215e6 < flops_per_token(module.build_model, spec) + attention < 245e6


def test_a_model_that_cannot_be_counted_is_trained_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def build_model(spec: Spec) -> torch.nn.Module:
        raise RuntimeError("not on fake tensors")

    assert flops_per_token(build_model, Spec(257, 16)) == 0.0
    assert capsys.readouterr().err == "FLOPs cannot be counted: RuntimeError\n"


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 0.2),
        ("NVIDIA H100 PCIe", 0.2 * 989 / 756),
        ("NVIDIA L40S", 0.2 * 989 / 362),
        ("NVIDIA A100-SXM4-80GB", 0.2 * 989 / 312),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("AMD EPYC", None),
        ("", None),
    ],
)
def test_utilisation_is_told_where_the_peak_is_known(device: str, expected: float | None) -> None:
    found = utilisation(200e6, 989e12 * 0.2 / 200e6, device)
    assert found == (None if expected is None else pytest.approx(expected))
    assert utilisation(0.0, 1e6, device) is None
