"""The shipped train.py: its form, its model, and short real trainings."""

import copy
import functools
import json
import math
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shipped import load

import trainer
from trainer.presets import Budget, presets
from trainer.session import Clock, Session, Source, Spec

SMALL = {
    "VOCAB_SIZE": 257, "SEQ_LEN": 32, "WIDTH": 64, "HEAD_DIM": 32, "PAIR_ROWS": 4096,
    "BATCH_ROWS": 4, "MICRO_ROWS": 4,
}  # fmt: skip
SMALL_SPEC = Spec(vocab_size=257, seq_len=32)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Bit-equal trainings need a fixed number; one is the fastest at these sizes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def filled_model(module: types.ModuleType, spec: Spec) -> torch.nn.Module:
    """A model none of whose matrices is zero, as after training."""
    torch.manual_seed(0)
    model = module.build_model(spec)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model.eval()


def sources(seed: int = 0) -> dict[str, Source]:
    """Two parts whose tokens mostly follow from the one before; the second is out of domain."""
    rng = np.random.default_rng(seed)
    parts = {}
    for name, in_domain in (("one", True), ("two", False)):
        tokens = rng.integers(0, 8, 4096).astype(np.uint16)
        for i in range(1, len(tokens)):
            if rng.random() < 0.8:
                tokens[i] = (tokens[i - 1] * 3 + 1) % 8
        starts = np.arange(0, len(tokens), 128, dtype=np.int64)
        tokens[starts] = SMALL_SPEC.vocab_size - 1
        parts[name] = Source(tokens, starts, bytes_per_token=1.0, in_domain=in_domain)
    return parts


def training(
    module: types.ModuleType, *, seed: int = 0, budget: Budget | None = None
) -> tuple[torch.nn.Module, list[float]]:
    """Train on the CPU; returns the model and all losses."""
    losses: list[float] = []

    class Recording(Session):
        def log(self, step: int, loss: object = None, **metrics: object) -> None:
            assert isinstance(loss, torch.Tensor)
            losses.append(loss.item())

    session = Recording(
        spec=SMALL_SPEC,
        device=torch.device("cpu"),
        seed=seed,
        clock=Clock(budget or Budget(tokens=128 * 60)),
        await_data=sources,
        emit=lambda message: None,
    )
    return module.train(session), losses


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
    optimizer, step = module.Optimizer(model), module.Step(model, torch.device("cpu"))

    def texts(count: int) -> torch.Tensor:
        half = torch.rand(count, 256).argsort(dim=-1)[:, :17]
        return torch.cat([half, half], dim=-1)[:, :33]

    for _ in range(80):  # without them it takes more than three times as many
        rows = texts(32)
        step.backward(rows[:, :-1], rows[:, 1:], 1.0)
        optimizer.step(1.0)
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


def test_gradients_of_the_chunked_head_are_those_of_the_plain_loss() -> None:
    module = load(**SMALL, HEAD_CHUNK=128)
    module.product_dtype = lambda device: torch.float32
    model = filled_model(module, SMALL_SPEC)
    plain = copy.deepcopy(model)
    ids, targets = torch.randint(257, (8, 32)), torch.randint(257, (8, 32))
    loss = module.Step(model, torch.device("cpu")).backward(ids, targets, 0.5)
    expected = 0.5 * F.cross_entropy(plain(ids).flatten(0, 1), targets.flatten())
    expected.backward()
    torch.testing.assert_close(loss, expected.detach())
    for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
        grads = [x.grad.to_dense() if x.grad.is_sparse else x.grad for x in (p, q)]
        torch.testing.assert_close(*grads, msg=lambda m, n=name: f"{n}: {m}")


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.grad.to_dense() for n, p in model.named_parameters() if p.grad is not None}


def test_accumulated_micro_batches_make_the_gradients_of_one_batch() -> None:
    module = load(**SMALL)
    module.product_dtype = lambda device: torch.float32
    model = filled_model(module, SMALL_SPEC)
    step = module.Step(model, torch.device("cpu"))
    ids, targets = torch.randint(257, (2, 4, 32))
    step.backward(ids, targets, 1.0)
    whole = gradients(model)
    model.zero_grad()
    for half in (slice(0, 2), slice(2, 4)):
        step.backward(ids[half], targets[half], 0.5)
    torch.testing.assert_close(gradients(model), whole)
    assert all(gradient.any() for gradient in whole.values())


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
    before = table.weight.detach().clone()
    optimizer = load().RowAdagrad(table.weight)
    optimizer.step(0.5)
    assert torch.equal(table.weight, before), "nothing was looked up"
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


@pytest.mark.parametrize("length", [1, 7, 32])
def test_attention_spelled_out_is_that_of_the_fused_kernel(length: int) -> None:
    module = load(HEAD_DIM=32)
    torch.manual_seed(0)
    given = [torch.randn(2, 4, length, 32, requires_grad=True) for _ in range(3)]
    weights = torch.randn(2, 4, length, 32)
    fused = F.scaled_dot_product_attention(*given, is_causal=True)
    spelled_out = module.attend(*given)
    torch.testing.assert_close(spelled_out, fused)
    expected = torch.autograd.grad(fused, given, weights)
    torch.testing.assert_close(torch.autograd.grad(spelled_out, given, weights), expected)


@pytest.mark.parametrize(
    ("has", "expected"),
    [
        ({}, torch.float32),
        ({"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
    ],
)
def test_products_are_in_bfloat16_only_where_the_processor_multiplies_it(
    has: dict[str, bool], expected: torch.dtype
) -> None:
    module = load()
    a = torch.randn(4, 4)
    with mock.patch("torch.cpu.get_capabilities", return_value=has):
        assert module.product_dtype(torch.device("cpu")) == expected
        assert module.product_dtype(torch.device("cuda")) == torch.bfloat16
        assert module.product_dtype(torch.device("mps")) == torch.float32
        with module.precision(torch.device("cpu")):
            assert (a @ a).dtype == expected


def test_what_is_compiled_on_a_device_is_one_graph_each(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load(**SMALL)
    monkeypatch.setitem(sys.modules, "train", module)
    module.product_dtype = lambda device: torch.float32  # asks the processor only on a CPU
    model = filled_model(module, SMALL_SPEC)
    step = module.Step(model, torch.device("cpu"))
    whole = functools.partial(torch.compile, backend="eager", fullgraph=True)
    ids = torch.randint(257, (2, 32))
    features = whole(model.features)(ids, model.embedded_pairs(ids)).flatten(0, 1)
    torch.testing.assert_close(
        whole(step.head_loss)(features, ids.flatten()), step.head_loss(features, ids.flatten())
    )
    matrices = torch.randn(2, 8, 16)
    torch.testing.assert_close(
        whole(module.orthogonalise)(matrices), module.orthogonalise(matrices)
    )


def test_training_in_bfloat16_follows_that_in_float32_and_its_weights_are_float32() -> None:
    curves = []
    for dtype in (torch.float32, torch.bfloat16):
        module = load(**SMALL)
        module.product_dtype = lambda device, dtype=dtype: dtype
        model, losses = training(module)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert model(torch.randint(257, (1, 32))).dtype == torch.float32
        curves.append(losses)
    assert curves[0] != curves[1]
    assert curves[1] == pytest.approx(curves[0], abs=0.1)


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_other_choices_train_too(activation: str) -> None:
    module = load(**SMALL, ACTIVATION=activation, DEPTH=3, VALUE_EMBEDDINGS=False)
    _, losses = training(module)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("steps", [3, 50])
def test_a_diverged_training_says_so(steps: int) -> None:
    module = load(**SMALL)
    module.EMBEDDING_SCALE = math.nan
    with pytest.raises(FloatingPointError, match=rf"the loss is nan at step {steps}"):
        training(module, budget=Budget(steps=steps if steps < 50 else 200))


def test_the_step_of_the_h100_preset_on_a_fake_device() -> None:
    """Without a GPU: bfloat16 products, float32 logits, no wait, FLOPs and memory."""
    script = Path(__file__).parent / "fake_cuda.py"
    root = Path(trainer.__file__).parents[1]
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    h100 = presets()["h100"].constants
    forward, backward = said["forward"], said["backward"]
    shape = [8, h100["SEQ_LEN"], h100["VOCAB_SIZE"]]
    assert forward["logits"] == ["torch.float32", "cuda:0", shape]
    assert forward["loss"] == backward["loss"] == "torch.float32"
    assert {name.split()[1] for name in forward["products"]} == {"torch.bfloat16"}
    assert forward["attention"] == ["torch.bfloat16"] * h100["DEPTH"]
    assert {name.split()[1] for name in backward["products"]} == {"torch.bfloat16"}
    assert forward["waits"] == backward["waits"] == []
    assert (backward["gradients"], backward["without_gradient"]) == (["torch.float32"], [])
    # Counted are matrix products alone; attention has a kernel of its own.
    expected = backward["flops_per_token"] - backward["attention_flops_per_token"]
    assert backward["product_flops_per_token"] == expected
    assert 1e8 < backward["flops_per_token"] < 5e8
    assert 5e7 < backward["parameters"] < 1e8
    assert 10 < backward["peak_gib"] < 70


def test_use_of_the_device_is_told_where_its_peak_is_known() -> None:
    module = load()
    assert math.isnan(module.peak_flops(torch.device("cpu")))
    with mock.patch("torch.cuda.get_device_name", return_value="NVIDIA H100 80GB HBM3"):
        assert module.peak_flops(torch.device("cuda:0")) == 989e12
