"""Trains a decoder-only transformer as a textbook has it: a plain start for a campaign.

    python -m agent run --tag plain --start examples/plain.py

Learned positions, layer norm before each part of a block, a GELU MLP, dropout, one AdamW with one
constant learning rate for all weights. Nothing is tuned and there is no trick, so there is as much
to find as in a file of your own; the shipped trainer/train.py shows how far it can come.

The harness calls ``train(session)`` for the weights and ``build_model(spec)`` to score them. A
section holds the constants of one kind of edit and the code that they act on. A comment that ends
in ``range LO..HI`` or ``choice A B`` says what may be tried without touching code. What means the
same as in the shipped file has the same name, and so the same preset sets it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from trainer.session import Session, Source, Spec

# === architecture ===

DEPTH = 1  # transformer blocks; range 1..24 int
WIDTH = 128  # channels of the stream, a multiple of HEAD_DIM; choice 64 128 192 256 384 512 768
HEAD_DIM = 64  # channels of an attention head; choice 32 64 128
MLP_RATIO = 4  # hidden channels of the MLP per channel of the stream; range 1..8 int
ACTIVATION = "gelu"  # of the MLP; choice relu2 gelu silu

ACTIVATIONS = {"relu2": lambda x: F.relu(x).square(), "gelu": F.gelu, "silu": F.silu}


class Attention(nn.Module):
    """Causal self-attention with several heads (arXiv:1706.03762)."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, WIDTH] -> the same shape."""
        heads = (*x.shape[:2], -1, HEAD_DIM)
        q = self.query(x).view(heads).transpose(1, 2)
        k = self.key(x).view(heads).transpose(1, 2)
        v = self.value(x).view(heads).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(x.shape))


class MLP(nn.Module):
    """Two layers, position by position."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, MLP_RATIO * WIDTH, bias=False)
        self.down = nn.Linear(MLP_RATIO * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(ACTIVATIONS[ACTIVATION](self.up(x)))


class Block(nn.Module):
    """Attention, then the MLP; each adds to the stream what it makes of its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.mlp_norm = nn.LayerNorm(WIDTH)
        self.mlp = MLP()
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Model(nn.Module):
    """Token ids, int64 [B, T], to the logits of each next token, float32 [B, T, vocab_size]."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.embedding = nn.Embedding(spec.vocab_size, WIDTH)
        self.positions = nn.Embedding(spec.seq_len, WIDTH)
        self.dropout = nn.Dropout(DROPOUT)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, spec.vocab_size, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        places = torch.arange(ids.size(1), device=ids.device)
        x = self.dropout(self.embedding(ids) + self.positions(places))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).float()


def build_model(spec: Spec) -> nn.Module:
    """A model with fresh weights, on the CPU."""
    model = Model(spec)
    initialise(model)
    return model


def loss(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, nats per token. inputs, targets [B, T]"""
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


# === initialisation ===

EMBEDDING_STD = 0.02  # of the token embedding; range 0.01..2 log
POSITION_STD = 0.02  # of the embedding of positions; range 0.001..1 log
MATRIX_STD = 0.02  # of the matrices of the blocks; range 0.001..0.2 log
HEAD_STD = 0.02  # of the head: training starts near a uniform guess; range 0.0001..0.1 log


@torch.no_grad()
def initialise(model: Model) -> None:
    """Small normal numbers everywhere, as in GPT-2; the norms start as they are."""
    nn.init.normal_(model.embedding.weight, std=EMBEDDING_STD)
    nn.init.normal_(model.positions.weight, std=POSITION_STD)
    nn.init.normal_(model.head.weight, std=HEAD_STD)
    for block in model.blocks:
        for layer in block.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=MATRIX_STD)


# === regularisation ===

DROPOUT = 0.1  # share of the channels that are zeroed in training; range 0..0.5
WEIGHT_DECAY = 0.01  # of all weights, a step, times the learning rate; range 0..1

# === hyperparameters ===

BATCH_ROWS = 8  # rows of SEQ_LEN tokens in an optimizer step; choice 1 2 4 8 16 32 64 128 256 512
LEARNING_RATE = 0.001  # of all weights, AdamW; range 0.0001..0.1 log

# === optimizer ===

ADAM_BETA1 = 0.9  # decay of AdamW's mean of gradients, a step; range 0.5..0.95
ADAM_BETA2 = 0.999  # decay of AdamW's mean of squares, a step; range 0.9..0.999


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """One AdamW for every weight."""
    betas = (ADAM_BETA1, ADAM_BETA2)
    return torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=betas, weight_decay=WEIGHT_DECAY
    )


# === schedule ===

WARMUP_SHARE = 0.0  # of the budget, in which the rate rises from zero; range 0..0.3
WARMDOWN_SHARE = 0.0  # of the budget, in which it falls to zero at the end; range 0..1


def learning_rate_scale(progress: float) -> float:
    """Share of the learning rate at ``progress`` of the budget: up, level, down."""
    up = progress / WARMUP_SHARE if WARMUP_SHARE else 1.0
    down = (1 - progress) / WARMDOWN_SHARE if WARMDOWN_SHARE else 1.0
    return min(1.0, up, down)


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
    texts = {n: s.tokens for n, s in session.data.sources.items() if shares.get(n, 0) > 0}
    texts = {name: text for name, text in texts.items() if len(text) > SEQ_LEN}
    if not texts:
        raise ValueError(f"no source has the {SEQ_LEN + 1} tokens of a row")
    streams = [rows(text, rng) for text in texts.values()]
    weights = np.array([shares[name] for name in texts])
    while True:
        drawn = rng.choice(len(streams), size=count, p=weights / weights.sum())
        session.consumed(count * SEQ_LEN)
        yield session.batch(np.stack([next(streams[i]) for i in drawn]))


# === efficiency ===

MICRO_ROWS = 8  # rows in a pass forward and back, divides BATCH_ROWS; choice 1 2 4 8 16 32 64 128

# --- training ---


def train(session: Session) -> nn.Module:
    """Train within the session's budget.

    Raises:
        FloatingPointError: the loss is not a finite number any more.
    """
    torch.manual_seed(session.seed)
    model = build_model(session.spec).to(session.device)
    optimizer = make_optimizer(model)
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

    # A pass over random tokens before the clock runs: the first one is slow, and may compile.
    noise = np.random.default_rng(0).integers(session.spec.vocab_size, size=(count, SEQ_LEN + 1))
    add_gradients(iter([session.batch(noise)]), 1)
    model.zero_grad()
    session.ready()

    batches = packed(session, mixture(session.data.sources), count)
    passes = BATCH_ROWS // count
    mean_loss = torch.zeros(())
    number = 0
    while not session.done():
        progress = session.progress()
        scale = learning_rate_scale(progress)
        mean_loss = add_gradients(batches, passes)
        for group in optimizer.param_groups:
            group["lr"] = scale * LEARNING_RATE
        optimizer.step()
        model.zero_grad()
        number += 1
        session.log(number - 1, loss=mean_loss, lr_scale=scale)
    if not math.isfinite(mean_loss):
        raise FloatingPointError(f"the loss is {mean_loss} at step {number}")
    return model
