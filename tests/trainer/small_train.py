"""The shipped train.py at a size that trains in a second, on made-up tokens."""

import types
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch

from trainer.presets import Budget
from trainer.session import Clock, Session, Source, Spec

SMALL = {
    "VOCAB_SIZE": 257, "SEQ_LEN": 32, "WIDTH": 64, "HEAD_DIM": 32, "PAIR_ROWS": 4096,
    "BATCH_ROWS": 4, "MICRO_ROWS": 4,
}  # fmt: skip
SMALL_SPEC = Spec(vocab_size=257, seq_len=32)


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
    module: types.ModuleType,
    *,
    seed: int = 0,
    budget: Budget | None = None,
    spec: Spec = SMALL_SPEC,
    compiles: bool = False,
    on_ready: Callable[[], object] = lambda: None,
    dtype: torch.dtype | None = None,
) -> tuple[torch.nn.Module, list[float]]:
    """Train on the CPU, with products in ``dtype`` if given; returns the model and all losses."""
    losses: list[float] = []

    class Recording(Session):
        def ready(self) -> None:
            super().ready()
            on_ready()

        def precision(self) -> AbstractContextManager[object]:
            if dtype is None:
                return super().precision()
            enabled = dtype == torch.bfloat16
            return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)

        def log(self, step: int, loss: object = None, **metrics: object) -> None:
            assert isinstance(loss, torch.Tensor)
            losses.append(loss.item())

    session = Recording(
        spec=spec,
        device=torch.device("cpu"),
        seed=seed,
        clock=Clock(budget or Budget(tokens=128 * 60)),
        await_data=sources,
        emit=lambda message: None,
        compiles=compiles,
    )
    return module.train(session), losses
