"""Which corpus is trained on where nobody asked for one."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.data.prepare import DataError, ignore, prepare
from trainer.data.sources.base import Progress
from trainer.presets import Preset
from trainer.untrusted import one_line

AUTO = "auto"
"""The preset's corpus or, if that cannot be had, the one that needs no download."""
WITHOUT_DOWNLOAD = "apidocs"

WHY_CHARACTERS = 240


@dataclass(frozen=True)
class Choice:
    """A corpus, and what is to be said of it."""

    source: str
    note: str = ""
    """One line: why it is not the preset's."""


def choose(asked: str, preset: Preset, progress: Progress = ignore) -> Choice:
    """The corpus to train on; the preset's is prepared on the way, which may download it.

    What was asked for by name is not replaced: whoever prepares it is told why it cannot be had.
    """
    if asked != AUTO:
        return Choice(asked)
    if preset.data == WITHOUT_DOWNLOAD:
        return Choice(preset.data)
    try:
        prepare(
            preset.data,
            vocab_size=preset.constants["VOCAB_SIZE"],
            val_bytes=preset.val_bytes,
            progress=progress,
        )
    except DataError as error:
        why = one_line(error, WHY_CHARACTERS)
        note = f"{preset.data} cannot be had, going on with {WITHOUT_DOWNLOAD}: {why}"
        return Choice(WITHOUT_DOWNLOAD, f"{note} (--data {preset.data} says it in full)")
    return Choice(preset.data)
