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
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn

if TYPE_CHECKING:
    from trainer.session import Session, Source, Spec

# === architecture ===

DEPTH = 1  # transformer blocks; range 1..24 int
WIDTH = 128  # channels of the stream, a multiple of HEAD_DIM; choice 64 128 192 256 384 512 768
HEAD_DIM = 64  # channels of an attention head; choice 32 64 128
MLP_RATIO = 2  # hidden channels of the MLP per channel of the stream; range 1..8 int
ACTIVATION = "relu2"  # of the MLP; choice relu2 gelu silu
WINDOWS = "L"  # of attention, block by block, the last is L: long or short; choice L SL SSSL SSSSL
SHORT_SHARE = 0.125  # of the context that a short window sees; range 0.02..0.5 log
VALUE_EVERY = 1  # one block in so many, the last included, has value embeddings; range 1..4 int
ROTARY_BASE = 10000.0  # longest rotary wavelength over 2 pi, tokens; range 100..1000000 log
PAIR_ROWS = 32768  # rows of the table of token pairs; choice 4096 8192 16384 32768 65536 131072
LOGIT_CAP = 0.0  # logits stay within plus and minus this, by a tanh; 0: no bound; range 0..60

ACTIVATIONS = {"relu2": lambda x: F.relu(x).square(), "gelu": F.gelu, "silu": F.silu}


def norm(x: Tensor) -> Tensor:
    """Layer norm without parameters (arXiv:1607.06450)."""
    return F.layer_norm(x, (x.size(-1),)).to(x.dtype)


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
        return (x * self.cos[:length] + x.roll(HEAD_DIM // 2, -1) * self.sin[:length]).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attention to the own position and ``window`` before it; [B, T, heads, HEAD_DIM] each."""
    count, length = q.shape[:2]
    if q.is_cuda and q.dtype == torch.bfloat16:  # flash attention passes over what is masked
        starts = torch.arange(0, (count + 1) * length, length, device=q.device, dtype=torch.int32)
        q, k, v = (x.to(q.dtype).flatten(0, 1) for x in (q, k, v))
        seen = (-1 if window >= length else window, 0)
        y = varlen_attn(q, k, v, starts, starts, length, length, window_size=seen)
        return y.unflatten(0, (count, length))
    position = torch.arange(length, device=q.device)
    distance = position.unsqueeze(1) - position
    hidden = (distance < 0) | (distance > window)
    mask = q.new_zeros(length, length).masked_fill(hidden, -math.inf)
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (q, k, v))
    scores = torch.baddbmm(mask, q, k.mT, alpha=HEAD_DIM**-0.5)
    return (scores.softmax(-1) @ v).unflatten(0, (count, -1)).transpose(1, 2)


class Attention(nn.Module):
    """Causal self-attention with QK norm (arXiv:2010.04245).

    Half of the key channels come from the token before: "what followed when this token stood here
    last" is then one look-up, which otherwise takes two blocks (induction heads, arXiv:2209.11895).
    """

    def __init__(self, spec: Spec, block: int) -> None:
        super().__init__()
        long = block == DEPTH - 1 or WINDOWS[block % len(WINDOWS)] == "L"
        self.window = SEQ_LEN if long else max(1, int(SHORT_SHARE * SEQ_LEN))
        self.query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.values = None
        if (DEPTH - 1 - block) % VALUE_EVERY == 0:  # so the last block has it
            self.values = nn.Embedding(spec.vocab_size, WIDTH, dtype=getattr(torch, TABLE_DTYPE))

    def forward(self, x: Tensor, ids: Tensor, rotary: Rotary) -> Tensor:
        """x [B, T, WIDTH], ids [B, T] -> [B, T, WIDTH]"""
        heads = (*ids.shape, -1, HEAD_DIM)
        q = rotary(norm(self.query(x).view(heads)))
        own, before = self.key(x).chunk(2, dim=-1)
        k = rotary(norm(torch.cat([own, previous(before)], dim=-1).view(heads)))
        v = self.value(x) if self.values is None else self.value(x) + self.values(ids)
        return self.out(attend(q, k, v.view(heads), self.window).reshape(x.shape))


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
        self.embedding = nn.Embedding(spec.vocab_size, WIDTH, dtype=getattr(torch, TABLE_DTYPE))
        self.pairs = nn.Embedding(PAIR_ROWS, WIDTH)
        self.rotary = Rotary(spec.seq_len)
        self.attentions = nn.ModuleList(Attention(spec, block) for block in range(DEPTH))
        self.mlps = nn.ModuleList(MLP() for _ in range(DEPTH))
        # How much of the token before enters at each position, channel by channel.
        self.shift = nn.Parameter(torch.zeros(WIDTH))
        # How much of the stream, and of the embedding, enters each block.
        self.stream_scales = nn.Parameter(torch.ones(DEPTH))
        self.embedding_scales = nn.Parameter(torch.zeros(DEPTH))
        self.head = nn.Linear(WIDTH, spec.vocab_size, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        mixed = torch.is_autocast_enabled(ids.device.type)  # else all products are in float32
        x = norm(self.embedding(ids) + self.pairs(pair_rows(ids)))
        x = x + self.shift * previous(x)
        x = first = x.to(self.embedding.weight.dtype if mixed else torch.float32)
        for i, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            x = (self.stream_scales[i] * x + self.embedding_scales[i] * first).to(x.dtype)
            x = x + attention(norm(x), ids, self.rotary)
            x = x + mlp(norm(x))
        logits = self.head(norm(x)).float()
        return LOGIT_CAP * torch.tanh(logits / LOGIT_CAP) if LOGIT_CAP else logits


def build_model(spec: Spec) -> nn.Module:
    """A model with fresh weights, on the CPU."""
    model = Model(spec)
    initialise(model)
    return model


def loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, nats per token. inputs, targets [B, T]"""
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


# === initialisation ===

EMBEDDING_STD = 1.0  # of the token embedding; range 0.01..2 log
VALUE_STD = 0.1  # of the value embeddings; range 0.001..1 log
HEAD_STD = 0.02  # of the head: training starts near a uniform guess; range 0.0001..0.1 log
MATRIX_SCALE = 1.0  # of the input matrices, 1 keeps the variance of the stream; range 0.1..3 log
EMBEDDING_SCALE = 0.1  # share of the embedding that enters each block; range 0..1
SHIFT_SCALE = 0.0  # share of the previous token's embedding that is added; range 0..1


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

MATRIX_DECAY = 0.1  # weight decay of the matrices, times their rate, falls to 0; range 0..1
EMBEDDING_DECAY = 0.0  # weight decay of the token embedding, times its rate; range 0..0.1
VALUE_DECAY = 0.0  # weight decay of the value embeddings, times their rate; range 0..0.1
HEAD_DECAY = 0.0  # weight decay of the head, times its rate; range 0..0.1

# === hyperparameters ===

# Half as many as the shipped file, for a budget of a few seconds: twice as many optimizer steps.
BATCH_ROWS = 4  # rows of SEQ_LEN tokens in an optimizer step; choice 1 2 4 8 16 32 64 128 256 512
EMBEDDING_LR = 0.6  # peak learning rate of the token embedding, AdamW; range 0.01..3 log
PAIR_LR = 1.0  # peak learning rate of the table of token pairs, Adagrad; range 0.05..5 log
VALUE_LR = 0.6  # peak learning rate of the value embeddings, AdamW; range 0.01..3 log
HEAD_LR = 0.01  # peak learning rate of the head, AdamW; range 0.0005..0.1 log
SCALAR_LR = 0.05  # peak learning rate of stream_scales and new vectors, AdamW; range 0.001..1 log
EMBEDDING_SCALE_LR = 0.05  # peak learning rate of embedding_scales, AdamW; range 0.001..1 log
SHIFT_LR = 0.05  # peak learning rate of the token shift, AdamW; range 0.001..1 log
MATRIX_LR = 0.02  # peak learning rate of the matrices, Muon; range 0.003..0.3 log

# === optimizer ===

ADAM_BETA1 = 0.8  # decay of AdamW's mean of gradients, a step; range 0.5..0.95
ADAM_BETA2 = 0.95  # decay of AdamW's mean of squares, a step; range 0.9..0.999
EMBEDDING_SCALE_BETA1 = 0.8  # ADAM_BETA1 of embedding_scales; range 0.5..0.99
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
    y = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS[:MUON_STEPS]:
        gram = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return y.to(x.dtype)


def wide(x: Tensor) -> list[Tensor]:
    """[..., R, C] -> views of its matrices, transposed to be at least as wide as high."""
    return [m.mT if m.size(0) > m.size(1) else m for m in x.reshape(-1, *x.shape[-2:])]


class Muon:
    """Momentum, then an orthogonal update, for all matrices of one shape at once.

    https://kellerjordan.github.io/posts/muon/
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for p in parameters:
            self.groups.setdefault(tuple(sorted(p.shape[-2:])), []).append(p)
        self.means, self.rates = {}, {}
        for shape, group in self.groups.items():
            matrices = [m for p in group for m in wide(p.detach())]
            self.means[shape] = torch.zeros_like(torch.stack(matrices))
            rates = [max(1.0, p.size(-2) / p.size(-1)) ** 0.5 for p in group for _ in wide(p)]
            self.rates[shape] = torch.tensor(rates, device=matrices[0].device).view(-1, 1, 1)

    @torch.no_grad()
    def step(self, lr: float, momentum: float, decay: float) -> None:
        """Move the matrices; the gradients are left as they are."""
        for shape, group in self.groups.items():
            grads = torch.stack([m for p in group for m in wide(p.grad)])
            mean = self.means[shape].lerp_(grads, 1 - momentum)
            updates = orthogonalise(grads.lerp_(mean, momentum))
            matrices = [m for p in group for m in wide(p)]
            # Cautious decay: only where it agrees with the update (arXiv:2411.16085).
            values = torch.stack(matrices)
            updates += decay * values * (values * updates > 0)
            torch._foreach_sub_(matrices, (lr * self.rates[shape] * updates).unbind())


class RowAdagrad:
    """Adagrad with one rate a row, for a table of which a step sees few rows (arXiv:1906.00091).

    No row moves by more than the rate in a step (root mean square), however often it was seen.
    """

    def __init__(self, table: nn.Parameter) -> None:
        self.table = table
        self.squares = torch.zeros(len(table), 1, device=table.device)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move the rows that have a gradient; the gradient is left as it is."""
        seen, grads = slice(None), self.table.grad
        if grads.is_sparse:
            grads = grads.coalesce()  # a row's gradients are added up before they are squared
            seen, grads = grads.indices()[0], grads.values()
        self.squares[seen] += grads.square().mean(-1, keepdim=True)
        self.table[seen] -= lr * grads / (self.squares[seen].sqrt() + 1e-10)


class Optimizer:
    """Adagrad for token pairs, Muon for matrices, AdamW for the rest: no parameter is left out.

    What an edit adds goes by its kind: a table, a vector, a matrix.
    """

    def __init__(self, model: Model) -> None:
        tables = {m.weight for m in model.modules() if isinstance(m, nn.Embedding)}
        rates = {  # peak learning rate, weight decay and beta1, by name or else by kind
            "embedding.weight": (EMBEDDING_LR, EMBEDDING_DECAY, ADAM_BETA1),
            "head.weight": (HEAD_LR, HEAD_DECAY, ADAM_BETA1),
            "embedding_scales": (EMBEDDING_SCALE_LR, 0.0, EMBEDDING_SCALE_BETA1),
            "shift": (SHIFT_LR, 0.0, ADAM_BETA1),
            "table": (VALUE_LR, VALUE_DECAY, ADAM_BETA1),
            "vector": (SCALAR_LR, 0.0, ADAM_BETA1),
        }
        self.adagrad, groups, matrices = [], [], []
        for name, p in model.named_parameters():
            kind = "table" if p in tables else "vector" if p.ndim < 2 else "matrix"
            if name == "pairs.weight":
                self.adagrad.append(RowAdagrad(p))
            elif name in rates or kind in rates:
                lr, decay, beta1 = rates.get(name) or rates[kind]
                betas = (beta1, ADAM_BETA2)
                groups.append({"params": [p], "peak": lr, "weight_decay": decay, "betas": betas})
            else:
                matrices.append(p)
        self.muon = Muon(matrices)
        self.adamw = torch.optim.AdamW(groups, eps=1e-10, fused=True)

    def step(self, scale: float, momentum: float, decay: float) -> None:
        """Take a step at ``scale`` times the peak learning rates; the rest is Muon's."""
        for group in self.adamw.param_groups:
            group["lr"] = scale * group["peak"]
        self.adamw.step()
        for table in self.adagrad:
            table.step(scale * PAIR_LR)
        self.muon.step(scale * MATRIX_LR, momentum, decay)


# === schedule ===

WARMUP_SHARE = 0.02  # of the budget, in which learning rates rise from zero; range 0..0.3
WARMDOWN_SHARE = 0.6  # of the budget, in which they fall at the end; range 0..1
FINAL_LR_SHARE = 0.0  # of the peak, what is left at the end; range 0..0.3
MOMENTUM_SHARE = 0.0  # of the budget, in which Muon's momentum rises from 0.85; range 0..0.5


def learning_rate_scale(progress: float) -> float:
    """Share of the peak learning rates at ``progress`` of the budget: up, level, down."""
    if progress < WARMUP_SHARE:
        return progress / WARMUP_SHARE
    if progress <= 1 - WARMDOWN_SHARE:
        return 1.0
    return FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * (1 - progress) / WARMDOWN_SHARE


def momentum(progress: float) -> float:
    """Muon's momentum: its mean of gradients is short while the loss falls fast."""
    risen = min(1.0, progress / MOMENTUM_SHARE) if MOMENTUM_SHARE else 1.0
    return 0.85 + risen * (MUON_MOMENTUM - 0.85)


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

VOCAB_SIZE = 2048  # tokens, a rung of the tokenizer ladder; choice 512 1024 2048 4096 8192 16384
SEQ_LEN = 512  # tokens of context, in training and in scoring; choice 128 256 512 1024 2048 4096
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
        session.consumed(count * SEQ_LEN)
        yield session.batch(np.stack([next(streams[i]) for i in drawn]))


# === efficiency ===

MICRO_ROWS = 4  # rows in a pass forward and back, divides BATCH_ROWS; choice 1 2 4 8 16 32 64 128
TABLE_DTYPE = "float32"  # of the embeddings, and so of the stream; choice float32 bfloat16

# --- training ---


def train(session: Session) -> nn.Module:
    """Train within the session's budget.

    Raises:
        ValueError: a parameter takes no part in the loss.
        FloatingPointError: the loss is not a finite number any more.
    """
    torch.manual_seed(session.seed)
    model = build_model(session.spec).to(session.device)
    # On a CPU the gradient holds the few rows that were seen; no compiler takes such a one.
    model.pairs.sparse = session.device.type == "cpu" and not session.compiles
    objective = torch.compile(loss, dynamic=False) if session.compiles else loss
    count = min(BATCH_ROWS, MICRO_ROWS)

    def add_gradients(batches: Iterator[tuple[Tensor, Tensor]], passes: int) -> Tensor:
        """Of the mean loss over the next ``passes`` batches; returns that loss, a 0-D tensor."""
        total = torch.zeros((), device=session.device)
        for _ in range(passes):
            inputs, targets = next(batches)
            with session.precision():
                part = objective(model, inputs, targets) / passes
            part.backward()
            total += part.detach()
        return total

    # A step on random tokens before the clock runs: it compiles, and at a rate of 0 moves nothing.
    noise = np.random.default_rng(0).integers(session.spec.vocab_size, size=(count, SEQ_LEN + 1))
    add_gradients(iter([session.batch(noise)]), 1)
    if unused := [name for name, p in model.named_parameters() if p.grad is None]:
        raise ValueError(f"{', '.join(unused)}: not in the loss, so never trained; use or remove")
    with session.precision():
        Optimizer(model).step(scale=0.0, momentum=0.0, decay=0.0)
    model.zero_grad()
    optimizer = Optimizer(model)
    session.ready()

    batches = packed(session, mixture(session.data.sources), count)
    passes = BATCH_ROWS // count
    mean_loss = torch.zeros(())
    number = 0
    while not session.done():
        progress = session.progress()
        scale = learning_rate_scale(progress)
        mean_loss = add_gradients(batches, passes)
        with session.precision():
            optimizer.step(scale, momentum(progress), MATRIX_DECAY * (1 - progress))
        model.zero_grad()
        number += 1
        session.log(number - 1, loss=mean_loss, lr_scale=scale)
        # Not at every step, because a look at the loss makes a GPU wait.
        if number % 50 == 0 and not math.isfinite(mean_loss):
            break
    if not math.isfinite(mean_loss):
        raise FloatingPointError(f"the loss is {mean_loss} at step {number}")
    return model
