"""From what the caller of a measurement asks for to the training that is run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer import contract
from trainer.data.choice import choose
from trainer.data.prepare import prepare
from trainer.data.sources.base import Progress
from trainer.presets import BadSetting, Budget
from trainer.source import plain
from trainer.training.job import Job, OnEvent, Trained
from trainer.training.machine import Setting, resolve

MOST_TRAININGS = 8
"""In one heat."""


def setting_of(
    preset: str, device: str, isolation: str, data: str, on_event: OnEvent | None = None
) -> Setting:
    """The settings of a measurement; ``auto`` is the preset's corpus, or what can be had."""
    emit = on_event or (lambda event: None)
    setting = resolve(preset, device, isolation, data)
    choice = choose(data, setting.preset, progress_to(emit))
    if choice.note:
        emit({"event": "note", "text": choice.note})
    return replace(setting, data=choice.source)


def progress_to(emit: OnEvent) -> Progress:
    return lambda stage, fraction: emit(
        {"event": "preparing", "stage": stage, "fraction": fraction}
    )


def refuse_impossible(
    count: int,
    seeds: Sequence[int],
    traces: Sequence[str | None],
    paths: Sequence[Path | None],
    split: str,
) -> None:
    if split not in ("val", "test"):
        raise BadSetting(f"split {split!r}: there is val, and test, which is sealed")
    if not 1 <= count <= MOST_TRAININGS:
        raise BadSetting(f"a heat of {count} trainings: give 1 to {MOST_TRAININGS} files")
    each = {"seeds for": seeds, "recorded clocks for": traces, "places for weights of": paths}
    for what, given in each.items():
        if len(given) != count:
            raise BadSetting(f"{len(given)} {what} {count} files: give one for each")
    for seed in seeds:
        if not 0 <= seed < 1 << 63:
            raise BadSetting(f"seed {seed}: choose a whole number from 0 to 2**63 - 1")


def job_of(
    setting: Setting,
    budget: Budget,
    source: str,
    seed: int = 0,
    trace: str | None = None,
    number: int | None = None,
    on_event: OnEvent | None = None,
    cancel: threading.Event | None = None,
) -> Job | Trained:
    """The training of a source; already its result if the source breaks the contract.

    Args:
        number: of the training in its heat, which each event then tells.
    """
    try:
        spec = contract.read(source, setting.preset.max_seq_len)
    except contract.ContractBroken as error:
        return Trained("invalid", f"contract: {error}")

    emit = on_event or (lambda event: None)

    def tell(event: dict[str, Any]) -> None:
        emit(event if number is None else {**event, "training": number})

    return Job(
        code=contract.Code(plain(source), spec, setting.device, setting.threads),
        corpus=prepare(
            setting.data,
            vocab_size=spec.vocab_size,
            val_bytes=setting.preset.val_bytes,
            progress=progress_to(emit),
        ),
        budget=budget,
        seed=seed,
        setting=setting,
        trace=trace,
        on_event=tell,
        cancelled=cancel.is_set if cancel is not None else lambda: False,
    )
