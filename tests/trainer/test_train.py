"""The shipped train.py: its model, its optimizer, and short real trainings."""

import math

import numpy as np
import pytest
import torch
from shipped import load
from small_train import SMALL, SMALL_SPEC, filled_model, training

from trainer.presets import Budget
from trainer.session import Spec

# Trains, for seconds in all.
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.process]


def test_forward_gives_float_logits_per_token() -> None:
    module = load()
    spec = Spec(module.VOCAB_SIZE, module.SEQ_LEN)
    model = filled_model(module, spec)
    logits = model(torch.randint(spec.vocab_size, (2, spec.seq_len)))
    assert logits.shape == (2, spec.seq_len, spec.vocab_size)
    assert logits.dtype == torch.float32
    short = model(torch.randint(spec.vocab_size, (1, 5)))
    assert short.shape == (1, 5, spec.vocab_size)


@pytest.mark.parametrize("depth", [1, 2])
def test_logits_do_not_depend_on_what_comes_later(depth: int) -> None:
    model = filled_model(load(**SMALL, DEPTH=depth), SMALL_SPEC)
    ids = torch.randint(257, (3, 32))
    expected = model(ids)
    for t in (0, 1, 17, 30):
        changed = ids.clone()
        changed[:, t + 1 :] = torch.randint(257, (3, 31 - t))
        answer = model(changed)
        torch.testing.assert_close(answer[:, : t + 1], expected[:, : t + 1], atol=1e-5, rtol=0)
        assert not torch.allclose(answer[:, t + 1 :], expected[:, t + 1 :], atol=1e-2)


def test_logits_depend_on_all_that_came_before_and_on_its_order() -> None:
    model = filled_model(load(**SMALL, DEPTH=2), SMALL_SPEC)
    ids = torch.arange(32).unsqueeze(0)
    last = model(ids)[:, -1]
    other = ids.clone()
    other[0, 0] = 99
    assert (model(other)[:, -1] - last).abs().max() > 1e-4
    swapped = ids.clone()
    swapped[0, [3, 9]] = swapped[0, [9, 3]]
    assert (model(swapped)[:, -1] - last).abs().max() > 1e-4


def test_rows_of_a_batch_do_not_see_each_other() -> None:
    model = filled_model(load(**SMALL), SMALL_SPEC)
    ids = torch.randint(257, (3, 32))
    alone = torch.cat([model(row.unsqueeze(0)) for row in ids])
    torch.testing.assert_close(model(ids), alone, atol=1e-5, rtol=0)


def test_one_block_finds_what_followed_a_token_last_time() -> None:
    """What the keys of the token before are for: random texts, each said twice."""
    module = load(**SMALL, SHIFT_LR=0.0, PAIR_LR=0.0)
    torch.manual_seed(0)
    model = module.build_model(SMALL_SPEC)
    optimizer = module.Optimizer(model)

    def texts(count: int) -> torch.Tensor:
        half = torch.rand(count, 256).argsort(dim=-1)[:, :17]
        return torch.cat([half, half], dim=-1)[:, :33]

    for _ in range(80):  # without them it takes more than three times as many
        rows = texts(32)
        module.loss(model, rows[:, :-1], rows[:, 1:]).backward()
        optimizer.step(1.0, 0.95, 0.1)
        model.zero_grad()
    rows = texts(32)
    with torch.no_grad():
        hits = model(rows[:, :-1]).argmax(-1) == rows[:, 1:]
    assert hits[:, 18:].float().mean() > 0.5
    assert hits[:, :15].float().mean() < 0.1


def test_rows_of_pairs_depend_on_two_tokens_and_their_order() -> None:
    module = load(**SMALL)
    rows = module.pair_rows(torch.tensor([[3, 4, 3, 4, 4], [9, 4, 3, 9, 9]]))
    assert rows[0, 1] == rows[0, 3] != rows[0, 2] and rows[1, 2] == rows[0, 2]
    assert rows[0, 4] not in (rows[0, 3], rows[0, 0])
    assert rows.min() >= 0 and rows.max() < module.PAIR_ROWS


def test_rotary_keeps_lengths_and_only_the_distance_of_two_positions_counts() -> None:
    module = load(**SMALL)
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 32)
    turned_q, turned_k = (module.Rotary(32)(x.expand(1, 32, 1, 32))[0, :, 0] for x in (q, k))
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(32))
    products = turned_q @ turned_k.T
    torch.testing.assert_close(products[1:, 1:], products[:-1, :-1])
    assert products[0].std() > 0.1


def test_weights_load_strictly_and_give_the_same_logits() -> None:
    module = load(**SMALL)
    trained, _ = training(module)
    state = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    fresh = module.build_model(SMALL_SPEC)
    fresh.load_state_dict(state, strict=True)
    ids = torch.randint(257, (2, 32))
    assert torch.equal(fresh.eval()(ids), trained.eval()(ids))


def test_micro_batches_make_the_step_of_one_batch() -> None:
    rows = np.random.default_rng(0).integers(257, size=(12, 33))
    trained = []
    for micro in (4, 2):
        module = load(**SMALL | {"MICRO_ROWS": micro})
        module.packed = lambda session, shares, count: map(
            session.batch, np.split(rows, len(rows) // count)
        )
        trained.append(training(module, budget=Budget(steps=3), dtype=torch.float32))
    (whole, losses), (halves, losses_of_halves) = trained
    assert losses == pytest.approx(losses_of_halves, abs=1e-3)
    for p, q in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-2, rtol=1e-2)


def test_a_short_window_sees_so_many_positions_before() -> None:
    module = load(**SMALL, DEPTH=2, WINDOWS="SL", SHORT_SHARE=0.25)
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 32, 2, 32)
    first, last = (a.window for a in module.build_model(SMALL_SPEC).attentions)
    assert (first, last) == (8, 32)
    for window in (8, 32):
        y = module.attend(q, k, v, window)
        for moved, seen in ((20 - window, True), (20 - window - 1, False), (21, False)):
            if moved >= 0:
                changed = v.clone()
                changed[:, moved] += 1.0
                assert (module.attend(q, k, changed, window)[:, 20] != y[:, 20]).any() == seen


@pytest.mark.parametrize(
    ("every", "depth", "expected"), [(1, 3, [0, 1, 2]), (2, 4, [1, 3]), (2, 3, [0, 2]), (4, 2, [1])]
)
def test_value_embeddings_are_in_every_so_many_blocks_and_in_the_last(
    every: int, depth: int, expected: list[int]
) -> None:
    model = load(**SMALL, DEPTH=depth, VALUE_EVERY=every).build_model(SMALL_SPEC)
    assert [i for i, a in enumerate(model.attentions) if a.values is not None] == expected


def test_logits_stay_within_their_cap() -> None:
    model = filled_model(load(**SMALL, LOGIT_CAP=5.0), SMALL_SPEC)
    with torch.no_grad():
        model.head.weight.mul_(1000)
    assert 4.9 < model(torch.randint(257, (2, 32))).abs().max() <= 5.0


@pytest.mark.parametrize(("batch", "micro"), [(4, 4), (4, 2), (2, 4)])
def test_a_step_takes_the_rows_of_a_batch(batch: int, micro: int) -> None:
    module = load(**SMALL | {"BATCH_ROWS": batch, "MICRO_ROWS": micro})
    _, losses = training(module, budget=Budget(tokens=batch * 32 * 5))
    assert len(losses) == 5


def test_orthogonalise_brings_singular_values_near_one() -> None:
    module = load(MUON_STEPS=5)
    torch.manual_seed(0)
    values = torch.linalg.svdvals(module.orthogonalise(torch.randn(3, 64, 256)))
    assert values.min() > 0.8 and values.max() < 1.2


def test_row_adagrad_moves_the_rows_looked_up_and_slows_down_where_it_has_been() -> None:
    table = torch.nn.Embedding(5, 4, sparse=True)
    optimizer = load().RowAdagrad(table.weight)
    moves = []
    for _ in range(2):
        start = table.weight.detach().clone()
        table(torch.tensor([1, 3])).sum().backward()
        optimizer.step(0.5)
        table.zero_grad()
        moves.append(start - table.weight.detach())
    torch.testing.assert_close(moves[0][[1, 3]], torch.full((2, 4), 0.5))
    torch.testing.assert_close(moves[1][[1, 3]], torch.full((2, 4), 0.5 / math.sqrt(2)))
    assert not torch.stack(moves)[:, [0, 2, 4]].any()


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("batch", [1, 100, 100_000])
def test_no_row_of_pairs_moves_further_in_a_larger_batch(batch: int, sparse: bool) -> None:
    """A row that is seen k times in a step moves by its rate, not by sqrt(k) times that."""
    torch.manual_seed(0)
    table = torch.nn.Embedding(5, 4, sparse=sparse)
    optimizer = load().RowAdagrad(table.weight)
    for _ in range(3):
        start = table.weight.detach().clone()
        ids = torch.zeros(batch, dtype=torch.int64)
        (table(ids) * (1 + torch.rand(batch, 1))).sum().backward()
        optimizer.step(0.5)
        table.zero_grad()
        moved = (table.weight.detach() - start).square().mean(-1).sqrt()
        assert 0.2 < moved[0] <= 0.5001
        assert not moved[1:].any()


@pytest.mark.parametrize("kind", ["table", "matrix", "vector", "stack of matrices"])
def test_what_an_edit_adds_to_the_model_is_trained(kind: str) -> None:
    module = load(**SMALL)

    class Larger(module.Model):
        def __init__(self, spec: Spec) -> None:
            super().__init__(spec)
            shape = {"matrix": (64, 64), "vector": (64,), "stack of matrices": (2, 64, 64)}
            if kind == "table":
                self.added = torch.nn.Embedding(257, 64).weight
                self.owner = torch.nn.Embedding(257, 64)
                self.owner.weight = self.added
            else:
                self.added = torch.nn.Parameter(0.1 * torch.randn(shape[kind]))

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return super().forward(ids) + self.added.square().sum() * 0.01 * super().forward(ids)

    module.Model = Larger
    torch.manual_seed(0)
    before = module.build_model(SMALL_SPEC).added.detach().clone()
    trained, _ = training(module, budget=Budget(steps=3))
    assert not torch.equal(trained.added, before)


def test_a_parameter_that_is_in_no_loss_is_named_before_the_clock_runs() -> None:
    module = load(**SMALL)

    class Larger(module.Model):
        def __init__(self, spec: Spec) -> None:
            super().__init__(spec)
            self.gain = torch.nn.Parameter(torch.ones(3))

    module.Model = Larger
    started = []
    with pytest.raises(ValueError, match=r"^gain: not in the loss, so never trained"):
        training(module, on_ready=lambda: started.append(True))
    assert not started


def test_training_learns_and_is_the_same_again_for_the_same_seed() -> None:
    module = load(**SMALL)
    model, losses = training(module)
    assert losses[0] == pytest.approx(math.log(257), abs=0.1)
    assert np.mean(losses[-10:]) < 0.5 * losses[0]
    again, losses_again = training(module)
    assert losses_again == losses
    other, _ = training(module, seed=1)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    same = [torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True)]
    assert not any(same)
    # Token 200 is not in the data: its row is as it was drawn.
    assert not torch.equal(model.embedding.weight[200], other.embedding.weight[200])
    assert all(p.grad is None for p in model.parameters())


def test_every_parameter_moves() -> None:
    module = load(**SMALL)
    torch.manual_seed(0)
    fresh = module.build_model(SMALL_SPEC)
    trained, _ = training(module)
    for (name, p), q in zip(trained.named_parameters(), fresh.parameters(), strict=True):
        assert not torch.equal(p, q), name


def test_the_learning_rate_rises_stays_and_falls_to_the_end() -> None:
    module = load(WARMUP_SHARE=0.1, WARMDOWN_SHARE=0.4, FINAL_LR_SHARE=0.2)
    points = (0.0, 0.05, 0.1, 0.5, 0.6, 0.8, 1.0)
    scales = [module.learning_rate_scale(p) for p in points]
    assert scales == pytest.approx([0.0, 0.5, 1.0, 1.0, 1.0, 0.6, 0.2])
    level = load(WARMUP_SHARE=0.0, WARMDOWN_SHARE=0.0)
    assert [level.learning_rate_scale(p) for p in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


def test_momentum_rises_with_the_budget() -> None:
    module = load(MOMENTUM_SHARE=0.2, MUON_MOMENTUM=0.95)
    assert [module.momentum(p) for p in (0.0, 0.1, 0.2, 1.0)] == pytest.approx(
        [0.85, 0.9, 0.95, 0.95]
    )
    assert load(MUON_MOMENTUM=0.9).momentum(0.0) == pytest.approx(0.9)


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_other_choices_train_too(activation: str) -> None:
    module = load(**SMALL, ACTIVATION=activation, DEPTH=3, VALUE_EVERY=2, WINDOWS="SL")
    _, losses = training(module)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("steps", [3, 50])
def test_a_diverged_training_says_so(steps: int) -> None:
    module = load(**SMALL)
    module.EMBEDDING_SCALE = math.nan
    with pytest.raises(FloatingPointError, match=rf"the loss is nan at step {steps}"):
        training(module, budget=Budget(steps=steps if steps < 50 else 200))
