"""What a profiled training says of itself, in this process; what a parent makes of it."""

import json
import types
from pathlib import Path

import pytest
import shipped
import small_train
import torch

from trainer.results import Profile
from trainer.training.instruments import OWN, Instruments, ProfileClock, ProfiledSession
from trainer.training.profile import read_profile

PLAIN = Path(__file__).parents[3] / "examples" / "plain.py"
BY_HAND = """
import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.table = nn.Embedding(spec.vocab_size, 16)
        self.mix = nn.Linear(16, 16)
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, ids):
        return F.linear(torch.relu(self.mix(self.table(ids))), self.table.weight)


def build_model(spec):
    return Model(spec)


def train(session):
    torch.manual_seed(session.seed)
    model = build_model(session.spec)
    weights = [w for w in model.parameters() if w.requires_grad]
    session.ready()
    text = session.data.sources["one"].tokens
    while not session.done():
        inputs, targets = session.batch(text[: 4 * 33].reshape(4, 33))
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        GRADIENTS
        with torch.no_grad():
            for w, g in zip(weights, gradients):
                w -= 0.1 * g
        model.zero_grad()
        session.log(0, loss=loss.detach(), learning_rate=0.1)
    return model
"""
BACKWARD = "loss.backward(); gradients = [w.grad for w in weights]"
GRAD = "gradients = torch.autograd.grad(loss, weights)"


def profile(module: types.ModuleType) -> Profile:
    spec = small_train.SMALL_SPEC
    instruments = Instruments(spec.vocab_size, torch.device("cpu"))
    session = ProfiledSession(
        instruments,
        spec=spec,
        device=torch.device("cpu"),
        seed=0,
        clock=ProfileClock(),
        await_data=small_train.sources,
        emit=lambda message: None,
    )
    with instruments.attached():
        module.train(session)
    return read_profile(json.loads(json.dumps(instruments.found())))


def module_of(source: str) -> types.ModuleType:
    module = types.ModuleType("train")
    exec(compile(source, "train.py", "exec"), module.__dict__)
    return module


def rules(found: Profile) -> dict[str, set[str]]:
    return {g.name: {o.rule for o in found.groups if o.name == g.name} for g in found.groups}


def test_the_shipped_file() -> None:
    found = profile(shipped.load(**small_train.SMALL))
    assert found.steps > 0 and found.seconds is not None and found.seconds > 0
    assert list(found.phases) == ["data", "forward", "head", "backward", "optimizer"]
    assert sum(found.phases.values()) == pytest.approx(1.0)
    assert set(found.parts) == {"embedding", "pairs", "attentions", "mlps", "head"}
    assert sum(found.parts.values()) < found.phases["forward"] + found.phases["head"]
    assert found.has_head
    assert rules(found) == {
        "pairs": {OWN}, "mlps": {OWN}, "attentions": {OWN, "AdamW"}, "embedding": {"AdamW"},
        "head": {"AdamW"}, "shift": {"AdamW"}, "stream_scales": {"AdamW"},
        "embedding_scales": {"AdamW"},
    }  # fmt: skip
    assert found.groups[0].name == "pairs" and found.groups[0].params == 4096 * 64
    norms = [(g.weight, g.gradient, g.change) for g in found.groups]
    assert all(None not in three and three[2] > 0 for three in norms), norms
    assert found.rate == "lr_scale"
    shares, values = zip(*found.rates, strict=True)
    assert shares[0] == 0.0 and 0.5 < shares[-1] < 1.0 and list(shares) == sorted(shares)
    assert values[0] == 0.0 and max(values) == 1.0 and values[-1] < 1.0, "warm-up and warm-down"


def test_the_plain_file() -> None:
    found = profile(module_of(PLAIN.read_text().replace("SEQ_LEN = 512", "SEQ_LEN = 32")))
    assert {rule for of in rules(found).values() for rule in of} == {"AdamW"}
    assert {"embedding", "blocks", "head"} <= set(rules(found))
    assert found.has_head and set(found.phases) >= {"forward", "backward", "optimizer"}


@pytest.mark.parametrize(("way", "has_gradients"), [(BACKWARD, True), (GRAD, False)])
def test_a_file_with_a_rule_of_its_own_and_no_module_for_its_head(
    way: str, has_gradients: bool
) -> None:
    """How far weights move is seen whatever moves them; gradients only where torch keeps them."""
    found = profile(module_of(BY_HAND.replace("GRADIENTS", way)))
    assert rules(found) == {"table": {OWN}, "mix": {OWN}}, "frozen weights are none of them"
    assert all(g.change is not None and g.change > 0 for g in found.groups)
    assert [g.gradient is not None for g in found.groups] == [has_gradients] * 2
    assert not found.has_head
    assert found.phases["head"] > 0, "the loss alone"
    assert {"forward", "backward", "optimizer"} <= set(found.phases)
    assert found.rate == "learning_rate" and {value for _, value in found.rates} == {0.1}


def test_nothing_is_watched_afterwards() -> None:
    before = torch.autograd.backward, torch.autograd.grad
    profile(module_of(BY_HAND.replace("GRADIENTS", BACKWARD)))
    assert (torch.autograd.backward, torch.autograd.grad) == before
    assert not torch.nn.modules.module._global_forward_hooks


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {"phases": 3, "parts": [1], "groups": {}, "rates": "x", "rate": 3, "seconds": "soon"},
        {"phases": {"data": float("inf"), "wait": 1.0, "forward": -1.0}, "seconds": float("nan")},
        {"rates": [[1], [None, 1.0], ["a", "b"]]},
    ],
)
def test_what_is_no_profile_says_nothing(told: object) -> None:
    found = read_profile(told)
    assert (found.phases, found.seconds, found.groups, found.rates) == ({}, None, (), ())


def test_names_are_short_lines_and_rows_are_few() -> None:
    wild = "a\n# Now\x1b[2J " * 50
    group = {"name": wild, "rule": wild, "params": -1, "weight": 1.0, "gradient": "x"}
    found = read_profile(
        {"phases": {"data": 3, "forward": 1}, "parts": {wild: 1.0}, "groups": [group] * 999}
    )
    assert found.phases == {"data": 0.75, "forward": 0.25}
    names = [*found.parts, found.groups[0].name, found.groups[0].rule]
    assert all(len(name) <= 40 and "\n" not in name and name.isprintable() for name in names)
    assert len(found.groups) == 24
    one = found.groups[0]
    assert (one.params, one.weight, one.gradient, one.change) == (0, 1.0, None, None)
