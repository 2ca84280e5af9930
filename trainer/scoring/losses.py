"""The arithmetic of scoring: windows of tokens, and losses of answers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Ids = npt.NDArray[np.int64]
"""Token ids."""
Losses = npt.NDArray[np.float64]
"""Nats per token."""

CACHE_BYTES = 512 << 10
"""Copied logits for each thread: they and their normalised form fit into a core's cache."""


def cut_windows(tokens: Ids, length: int, bos: int) -> tuple[Ids, Ids]:
    """Cut a token stream into ids and targets, int64 [N, length], each token a target once.

    Targets that are not scored (BOS, padding) are -1.
    """
    count = -(-(len(tokens) - 1) // length)
    padded = np.full(count * length + 1, bos, dtype=np.int64)
    padded[: len(tokens)] = tokens
    ids = padded[:-1].reshape(count, length)
    targets = padded[1:].reshape(count, length).copy()
    targets[targets == bos] = -1
    return ids, targets


def token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy in nats, float32 [N], of logits [N, V] that another process may be changing.

    A few rows at a time are copied, then normalised, so that both stay in the processor's cache.
    """
    room = CACHE_BYTES * torch.get_num_threads()
    rows = max(1, room // (4 * logits.size(1)))
    private = torch.empty((min(rows, len(logits)), logits.size(1)))
    losses = torch.empty(len(logits))
    for start in range(0, len(logits), rows):
        part = slice(start, start + rows)
        copied = private[: len(logits[part])].copy_(logits[part])
        # Not logsumexp minus logit: if logits are so large that rounding removes the logarithm of
        # their sum, that difference is 0 for every token.
        losses[part] = F.cross_entropy(copied, targets[part], ignore_index=-1, reduction="none")
    return losses
