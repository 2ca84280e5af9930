"""Trains one small language model within a budget: the file that experiments edit.

A decoder-only transformer in the manner of nanochat: rotary embeddings, norms without parameters,
QK norm, squared ReLU, Muon for the matrices and AdamW for the rest. What makes it learn much from
little text: half of the channels of an attention key come from the token before, and a table of
token pairs is looked up beside that of tokens. The score is bits per byte of held-out text, read in
windows of SEQ_LEN tokens that begin with an empty context.

The harness calls ``train(session)`` for the weights and ``build_model(spec)`` to score them. A
section holds the constants of one kind of edit and the code that they act on. A comment that ends
in ``range LO..HI`` or ``choice A B`` says what may be tried without touching code.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from trainer.session import Session, Source, Spec

# === dataset ===

OUT_OF_DOMAIN_SHARE = 0.0  # of the rows, from sources unlike the validation text; range 0..0.5
SIZE_EXPONENT = 1.0  # in-domain sources weigh tokens ** this: 0 equal, 1 by size; range 0..2


def mixture(sources: Mapping[str, Source]) -> dict[str, float]:
    """Each source's share of the training rows, by its size before documents are selected."""
    shares: dict[str, float] = {}
    for in_domain, total in ((True, 1.0 - OUT_OF_DOMAIN_SHARE), (False, OUT_OF_DOMAIN_SHARE)):
        sizes = {n: len(s.tokens) for n, s in sources.items() if s.in_domain == in_domain}
        weights = {name: size**SIZE_EXPONENT for name, size in sizes.items()}
        shares |= {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    return shares


# === preprocessing ===

VOCAB_SIZE = 2048  # tokens, a rung of the tokenizer ladder; choice 512 1024 2048 4096 8192
SEQ_LEN = 512  # tokens of context, in training and in scoring; choice 128 256 512 1024 2048
MIN_DOCUMENT = 0  # tokens; what is shorter is left out; choice 0 16 32 64 128 256 512
MAX_DOCUMENT = 1000000  # tokens kept, from a document's beginning; choice 256 512 1024 4096 1000000


def selected(source: Source) -> np.ndarray:
    """The documents to train on, whole or cropped, one after another; uint16 [N]."""
    tokens, starts = np.asarray(source.tokens), source.doc_starts
    ends = np.append(starts[1:], len(tokens))
    if (ends - starts).min() >= MIN_DOCUMENT and (ends - starts).max() <= MAX_DOCUMENT:
        return tokens
    documents = (tokens[a:b] for a, b in zip(starts, ends, strict=True) if b - a >= MIN_DOCUMENT)
    return np.concatenate([tokens[:0], *(document[:MAX_DOCUMENT] for document in documents)])


def rows(tokens: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of SEQ_LEN + 1 tokens, cut end to end, in a new order and phase each time round."""
    while True:
        phase = int(rng.integers(min(SEQ_LEN, len(tokens) - SEQ_LEN)))
        for k in rng.permutation((len(tokens) - 1 - phase) // SEQ_LEN):
            start = phase + k * SEQ_LEN
            yield tokens[start : start + SEQ_LEN + 1]


def packed(
    session: Session, shares: Mapping[str, float], count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets, int64 [count, SEQ_LEN] on the device, without end.

    Each row is of one source, drawn by the ``shares``, which need not sum to one.

    Raises:
        ValueError: no source has enough tokens for a row.
    """
    rng = np.random.default_rng(int(torch.randint(2**31, ())))  # by the seed, new for each stream
    texts = {name: selected(session.data.sources[name]) for name in shares if shares[name] > 0}
    texts = {name: text for name, text in texts.items() if len(text) > SEQ_LEN}
    if not texts:
        raise ValueError(f"no source has {SEQ_LEN + 1} tokens left for a row: see MIN_DOCUMENT")
    streams = [rows(text, rng) for text in texts.values()]
    weights = np.array([shares[name] for name in texts])
    while True:
        drawn = rng.choice(len(streams), size=count, p=weights / weights.sum())
        batch = torch.from_numpy(np.stack([next(streams[i]) for i in drawn]).astype("int64"))
        if session.device.type == "cuda":  # only a copy from pinned memory is not waited for
            batch = batch.pin_memory().to(session.device, non_blocking=True)
        batch = batch.to(session.device)
        session.consumed(count * SEQ_LEN)
        yield batch[:, :-1], batch[:, 1:]


# === architecture ===

DEPTH = 1  # transformer blocks; range 1..8 int
WIDTH = 128  # channels of the stream, a multiple of HEAD_DIM; choice 64 128 192 256 384 512
HEAD_DIM = 64  # channels of an attention head; choice 32 64 128
MLP_RATIO = 2  # hidden channels of the MLP per channel of the stream; range 1..8 int
ACTIVATION = "relu2"  # of the MLP; choice relu2 gelu silu
VALUE_EMBEDDINGS = True  # every block adds a second token embedding to its attention values
PAIR_ROWS = 32768  # rows of the table of token pairs; choice 4096 8192 16384 32768 65536
ROTARY_BASE = 10000.0  # longest wavelength of the rotary embedding, tokens; range 100..100000 log

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu2": lambda x: F.relu(x).square(),
    "gelu": F.gelu,
    "silu": F.silu,
}


def norm(x: Tensor) -> Tensor:
    """Layer norm without parameters (arXiv:1607.06450): one operation, RMS norm is six on a CPU."""
    return F.layer_norm(x, (x.size(-1),))


def previous(x: Tensor) -> Tensor:
    """x [B, T, C] -> what stands one position earlier; zeros at the first."""
    return F.pad(x, (0, 0, 1, 0))[:, :-1]


def pair_rows(ids: Tensor) -> Tensor:
    """ids [B, T] -> the row of each token and the one before it, by a hash (arXiv:2501.16975)."""
    before = F.pad(ids, (1, 0))[:, :-1]
    return (ids * 36313 + before * 27191) % PAIR_ROWS


class Rotary(nn.Module):
    """Turns pairs of channels by an angle that grows with the position (arXiv:2104.09864)."""

    def __init__(self, length: int) -> None:
        super().__init__()
        frequencies = ROTARY_BASE ** -torch.linspace(0, 1, HEAD_DIM // 2)
        angles = torch.outer(torch.arange(length).float(), frequencies)
        cos, sin = angles.cos(), angles.sin()
        self.register_buffer("cos", torch.cat([cos, cos], -1).unsqueeze(1), persistent=False)
        self.register_buffer("sin", torch.cat([sin, -sin], -1).unsqueeze(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, heads, HEAD_DIM] -> the same shape."""
        length = x.size(1)
        return x * self.cos[:length] + x.roll(HEAD_DIM // 2, -1) * self.sin[:length]


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention, [B, heads, T, HEAD_DIM] each."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    # On a CPU the fused kernel takes twice as long as this in bfloat16, a little longer in float32.
    later = q.new_full((q.size(2), q.size(2)), -math.inf).triu(1)
    scores = torch.baddbmm(later, q.flatten(0, 1), k.flatten(0, 1).mT, alpha=HEAD_DIM**-0.5)
    return (scores.softmax(-1) @ v.flatten(0, 1)).view(v.shape)


class Attention(nn.Module):
    """Causal self-attention with QK norm (arXiv:2010.04245).

    Half of the key channels come from the token before: "what followed when this token stood here
    last" is then one look-up, which otherwise takes two blocks (induction heads, arXiv:2209.11895).
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.values = nn.Embedding(spec.vocab_size, WIDTH) if VALUE_EMBEDDINGS else None

    def forward(self, x: Tensor, ids: Tensor, rotary: Rotary) -> Tensor:
        """x [B, T, WIDTH], ids [B, T] -> [B, T, WIDTH]"""
        heads = (*ids.shape, -1, HEAD_DIM)
        q = rotary(norm(self.query(x).view(heads)))
        own, before = self.key(x).chunk(2, dim=-1)
        k = rotary(norm(torch.cat([own, previous(before)], dim=-1).view(heads)))
        v = self.value(x) if self.values is None else self.value(x) + self.values(ids)
        y = attend(q.transpose(1, 2), k.transpose(1, 2), v.view(heads).transpose(1, 2))
        return self.out(y.transpose(1, 2).reshape(x.shape))


class MLP(nn.Module):
    """Two layers, position by position."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, MLP_RATIO * WIDTH, bias=False)
        self.down = nn.Linear(MLP_RATIO * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(ACTIVATIONS[ACTIVATION](self.up(x)))


class Model(nn.Module):
    """Token ids, int64 [B, T], to the logits of each next token, float32 [B, T, vocab_size]."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.embedding = nn.Embedding(spec.vocab_size, WIDTH)
        self.pairs = nn.Embedding(PAIR_ROWS, WIDTH, sparse=True)
        self.rotary = Rotary(spec.seq_len)
        self.attentions = nn.ModuleList(Attention(spec) for _ in range(DEPTH))
        self.mlps = nn.ModuleList(MLP() for _ in range(DEPTH))
        # How much of the token before enters at each position, channel by channel.
        self.shift = nn.Parameter(torch.zeros(WIDTH))
        # How much of the stream, and of the embedding, enters each block.
        self.stream_scales = nn.Parameter(torch.ones(DEPTH))
        self.embedding_scales = nn.Parameter(torch.zeros(DEPTH))
        self.head = nn.Linear(WIDTH, spec.vocab_size, bias=False)

    def embedded_pairs(self, ids: Tensor) -> Tensor:
        """ids [B, T] -> [B, T, WIDTH]; apart because a sparse gradient cannot be compiled."""
        return self.pairs(pair_rows(ids))

    def features(self, ids: Tensor, pairs: Tensor) -> Tensor:
        """ids [B, T], embedded pairs [B, T, WIDTH] -> what the head reads, [B, T, WIDTH]."""
        x = norm(self.embedding(ids) + pairs)
        x = first = x + self.shift * previous(x)
        for i, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            x = self.stream_scales[i] * x + self.embedding_scales[i] * first
            x = x + attention(norm(x), ids, self.rotary)
            x = x + mlp(norm(x))
        return norm(x)

    def logits(self, features: Tensor) -> Tensor:
        """features [..., WIDTH] -> float32 [..., vocab_size]"""
        return self.head(features).float()

    def forward(self, ids: Tensor) -> Tensor:
        with precision(ids.device):
            return self.logits(self.features(ids, self.embedded_pairs(ids)))


def build_model(spec: Spec) -> nn.Module:
    """A model with fresh weights, on the CPU."""
    model = Model(spec)
    initialise(model)
    return model


# === initialisation ===

EMBEDDING_STD = 1.0  # of the token embedding; range 0.01..2 log
VALUE_STD = 0.1  # of the value embeddings; range 0.001..1 log
HEAD_STD = 0.02  # of the head: training starts near a uniform guess; range 0.0001..0.1 log
MATRIX_SCALE = 1.0  # of the input matrices, 1 keeps the variance of the stream; range 0.1..3 log
EMBEDDING_SCALE = 0.1  # share of the embedding that enters each block; range 0..1
SHIFT_SCALE = 0.0  # share of the embedding before that is added to each embedding; range 0..1


@torch.no_grad()
def initialise(model: Model) -> None:
    """Every block starts as a no-op: the matrices that write to the stream are zero."""
    bound = MATRIX_SCALE * math.sqrt(3 / WIDTH)
    nn.init.normal_(model.embedding.weight, std=EMBEDDING_STD)
    nn.init.zeros_(model.pairs.weight)
    nn.init.normal_(model.head.weight, std=HEAD_STD)
    nn.init.constant_(model.embedding_scales, EMBEDDING_SCALE)
    nn.init.constant_(model.shift, SHIFT_SCALE)
    for attention, mlp in zip(model.attentions, model.mlps, strict=True):
        for layer in (attention.query, attention.key, attention.value, mlp.up):
            nn.init.uniform_(layer.weight, -bound, bound)
        for layer in (attention.out, mlp.down):
            nn.init.zeros_(layer.weight)
        if attention.values is not None:
            nn.init.normal_(attention.values.weight, std=VALUE_STD)


# === regularisation ===

MATRIX_DECAY = 0.1  # weight decay of the matrices, times their learning rate; range 0..1
EMBEDDING_DECAY = 0.0  # weight decay of embeddings and head, times their rate; range 0..1


# === hyperparameters ===

BATCH_ROWS = 8  # rows of SEQ_LEN tokens in an optimizer step; choice 1 2 4 8 16 32 64 128 256
EMBEDDING_LR = 0.6  # peak learning rate of the token embedding, AdamW; range 0.01..3 log
PAIR_LR = 2.0  # peak learning rate of the table of token pairs, Adagrad; range 0.05..5 log
VALUE_LR = 0.6  # peak learning rate of the value embeddings, AdamW; range 0.01..3 log
HEAD_LR = 0.01  # peak learning rate of the head, AdamW; range 0.0005..0.1 log
SCALAR_LR = 0.05  # peak learning rate of the scales per block, AdamW; range 0.001..1 log
SHIFT_LR = 0.05  # peak learning rate of the token shift, AdamW; range 0.001..1 log
MATRIX_LR = 0.02  # peak learning rate of the matrices, Muon; range 0.003..0.3 log


# === optimizer ===

ADAM_BETA1 = 0.8  # decay of AdamW's mean of gradients, a step; range 0.5..0.95
ADAM_BETA2 = 0.95  # decay of AdamW's mean of squares, a step; range 0.9..0.999
MUON_MOMENTUM = 0.95  # decay of Muon's mean of gradients, a step; range 0.8..0.99
MUON_STEPS = 3  # iterations towards an orthogonal update; range 1..5 int

# Coefficients of Polar Express (arXiv:2505.16932), for at most five iterations.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def orthogonalise(x: Tensor) -> Tensor:
    """The nearest matrices with singular values of 1, roughly. x [N, R, C] with R <= C."""
    y = (x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)).to(product_dtype(x.device))
    for a, b, c in POLAR_EXPRESS[:MUON_STEPS]:
        gram = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return y.to(x.dtype)


def as_wide(x: Tensor) -> Tensor:
    """[..., R, C] as matrices [N, r, c], r <= c, transposed where needed; a view."""
    x = x.reshape(-1, *x.shape[-2:])
    return x.mT if x.size(-2) > x.size(-1) else x


class Muon:
    """Momentum, then an orthogonal update, matrices of one shape in one batch.

    https://kellerjordan.github.io/posts/muon/
    """

    def __init__(self, matrices: Iterable[nn.Parameter]) -> None:
        self.groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for p in matrices:
            self.groups.setdefault(tuple(as_wide(p).shape[1:]), []).append(p)
        self.means = {
            shape: torch.zeros_like(torch.cat([as_wide(p) for p in group]))
            for shape, group in self.groups.items()
        }
        self.orthogonalise = orthogonalise

    def compile(self) -> None:
        """Compile the iterations for the shapes that there are, now."""
        self.orthogonalise = torch.compile(orthogonalise)
        for mean in self.means.values():
            self.orthogonalise(mean)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the matrices; the gradients are left as they are."""
        for shape, group in self.groups.items():
            grads = torch.cat([as_wide(p.grad) for p in group if p.grad is not None])
            mean = self.means[shape].lerp_(grads, 1 - MUON_MOMENTUM)
            updates = self.orthogonalise(grads.lerp_(mean, MUON_MOMENTUM))
            for p, update in zip(
                group, updates.split([len(as_wide(p)) for p in group]), strict=True
            ):
                rate = lr * max(1.0, p.size(-2) / p.size(-1)) ** 0.5
                matrices = as_wide(p)
                # Cautious decay: only where it agrees with the update (arXiv:2411.16085).
                agrees = matrices * update > 0
                update = update + MATRIX_DECAY * matrices * agrees
                matrices.sub_(update, alpha=rate)


class RowAdagrad:
    """Adagrad with one rate a row, for a table of which a step sees few rows (arXiv:1906.00091).

    Rows without a gradient cost nothing, so the table may be large. The sparse gradient is taken
    as it is, a row as often as it was looked up: adding such rows up would make a GPU wait.
    """

    def __init__(self, table: nn.Parameter) -> None:
        self.table = table
        self.squares = torch.zeros(len(table), device=table.device)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the rows that were looked up; the gradient is left as it is."""
        if self.table.grad is None:
            return
        rows, grads = self.table.grad._indices()[0], self.table.grad._values()
        self.squares.index_add_(0, rows, grads.square().mean(-1))
        rates = lr / (self.squares[rows].sqrt() + 1e-10)
        self.table.index_add_(0, rows, grads * rates.unsqueeze(-1), alpha=-1)


class Optimizer:
    """Muon for the blocks' matrices, Adagrad for token pairs, AdamW for all that is left."""

    def __init__(self, model: Model) -> None:
        blocks = [*model.attentions.named_parameters(), *model.mlps.named_parameters()]
        self.muon = Muon(p for name, p in blocks if "values" not in name)
        self.adagrad = RowAdagrad(model.pairs.weight)
        groups = [
            ([model.embedding.weight], EMBEDDING_LR, EMBEDDING_DECAY),
            ([p for name, p in blocks if "values" in name], VALUE_LR, EMBEDDING_DECAY),
            ([model.head.weight], HEAD_LR, EMBEDDING_DECAY),
            ([model.stream_scales, model.embedding_scales], SCALAR_LR, 0.0),
            ([model.shift], SHIFT_LR, 0.0),
        ]
        self.adamw = torch.optim.AdamW(
            [
                {"params": params, "lr": lr, "peak_lr": lr, "weight_decay": decay}
                for params, lr, decay in groups
                if params
            ],
            betas=(ADAM_BETA1, ADAM_BETA2),
            eps=1e-10,
            fused=True,
        )

    def step(self, scale: float) -> None:
        """Take a step at ``scale`` times the peak learning rates."""
        for group in self.adamw.param_groups:
            group["lr"] = scale * group["peak_lr"]
        self.adamw.step()
        self.adagrad.step(scale * PAIR_LR)
        self.muon.step(scale * MATRIX_LR)


# === schedule ===

WARMUP_SHARE = 0.02  # of the budget, in which learning rates rise from zero; range 0..0.3
WARMDOWN_SHARE = 0.6  # of the budget, in which they fall at the end; range 0..1
FINAL_LR_SHARE = 0.0  # of the peak, what is left at the end; range 0..0.3


def learning_rate_scale(progress: float) -> float:
    """Share of the peak learning rates at ``progress`` of the budget: up, level, down."""
    if progress < WARMUP_SHARE:
        return progress / WARMUP_SHARE
    if progress <= 1 - WARMDOWN_SHARE:
        return 1.0
    return FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * (1 - progress) / WARMDOWN_SHARE


# === efficiency ===

MICRO_ROWS = 8  # rows in a pass forward and back, divides BATCH_ROWS; choice 1 2 4 8 16 32 64 128
HEAD_CHUNK = 512  # tokens with logits in memory at a time; choice 128 256 512 1024 4096 32768
COMPILE = True  # compile on CUDA; elsewhere start-up would not be repaid
# FLOP/s of dense bfloat16 products by a part of the device's name, as its maker says (SXM).
PEAK_FLOPS = {
    "A100": 312e12, "L40S": 362e12, "H100": 989e12, "H200": 989e12, "B200": 2250e12,
}  # fmt: skip


def flops_per_token(model: Model) -> float:
    """Forward and backward: 6 a weight of a product, and attention (arXiv:2204.02311, app. B)."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return 6.0 * sum(x.weight.numel() for x in layers) + 12.0 * DEPTH * WIDTH * SEQ_LEN


def peak_flops(device: torch.device) -> float:
    """FLOP/s that the device can reach; not a number where the table does not know it."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for known, peak in PEAK_FLOPS.items() if known in name), math.nan)


def product_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on CUDA and on processors with AVX512-BF16 or AMX, float32 elsewhere."""
    native = device.type == "cuda"
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        native = has.get("avx512_bf16", False) or has.get("amx_bf16", False)
    return torch.bfloat16 if native else torch.float32


def precision(device: torch.device) -> AbstractContextManager[object]:
    """Products in ``product_dtype``; weights, the stream between blocks and losses in float32."""
    enabled = product_dtype(device) == torch.bfloat16
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


class Step:
    """Forward and backward over a micro-batch."""

    def __init__(self, model: Model, device: torch.device) -> None:
        self.model = model
        self.device = device
        self.features: Callable[[Tensor, Tensor], Tensor] = model.features
        self.head_loss: Callable[[Tensor, Tensor], Tensor] = self._head_loss

    def compile(self) -> None:
        """Compile both parts, at their next use."""
        self.features = torch.compile(self.features)
        self.head_loss = torch.compile(self.head_loss)

    def _head_loss(self, features: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self.model.logits(features), targets, reduction="sum")

    def backward(self, inputs: Tensor, targets: Tensor, weight: float) -> Tensor:
        """Add the gradients of ``weight`` times the mean loss; returns that, a 0-D tensor.

        The head goes forward and back a chunk at a time: all logits at once, vocab_size floats a
        token, would be most of the memory and fall out of the processor's cache.
        """
        total = torch.zeros((), device=self.device)
        with precision(self.device):
            pairs = self.model.embedded_pairs(inputs)
            features = self.features(inputs, pairs).flatten(0, 1)
        chunks = [chunk.detach().requires_grad_() for chunk in features.split(HEAD_CHUNK)]
        for chunk, wanted in zip(chunks, targets.flatten().split(HEAD_CHUNK), strict=True):
            with precision(self.device):
                loss = self.head_loss(chunk, wanted) * (weight / targets.numel())
            loss.backward()
            total += loss.detach()
        features.backward(torch.cat([chunk.grad for chunk in chunks if chunk.grad is not None]))
        return total


# --- training ---


def train(session: Session) -> nn.Module:
    """Train within the session's budget.

    Raises:
        FloatingPointError: the loss is not a finite number any more.
    """
    torch.manual_seed(session.seed)
    spec, device = session.spec, session.device
    model = Model(spec)
    initialise(model)
    model.to(device)
    optimizer, step = Optimizer(model), Step(model, device)
    if COMPILE and device.type == "cuda":
        optimizer.muon.compile()
        step.compile()
    count = min(BATCH_ROWS, MICRO_ROWS)
    dummy = torch.randint(spec.vocab_size, (count, spec.seq_len), device=device)
    step.backward(dummy, dummy, 1.0)
    model.zero_grad()
    session.ready()

    batches = packed(session, mixture(session.data.sources), count)
    passes = BATCH_ROWS // count
    flops, peak = flops_per_token(model) * passes * dummy.numel(), peak_flops(device)
    loss = torch.zeros(())
    number = 0
    began = time.monotonic()
    while not session.done():
        scale = learning_rate_scale(session.progress())
        loss = torch.zeros((), device=device)
        for _ in range(passes):
            inputs, targets = next(batches)
            loss += step.backward(inputs, targets, 1 / passes)
        optimizer.step(scale)
        model.zero_grad()
        number += 1
        mfu = flops * number / (time.monotonic() - began) / peak
        session.log(number - 1, loss=loss, lr_scale=scale, mfu=mfu)
        # Not at every step, because a look at the loss makes a GPU wait.
        if number % 50 == 0 and not math.isfinite(loss):
            break
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} at step {number}")
    return model
