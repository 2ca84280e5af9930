"""Settings of a run: the command line overrides program.md's front matter, that the preset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from trainer.data import absolute

PROPOSERS = ("llm", "deck", "tuner", "hybrid")
KEEP_RULES = ("confirm", "strict", "greedy")


class SettingsError(Exception):
    """A setting that is not possible; the message says which are."""


@dataclass(frozen=True)
class Settings:
    """What a run was asked for."""

    FIXED: ClassVar = ("preset", "budget", "data", "isolation", "seed")
    """Every training of a campaign shares these, or its numbers could not be compared."""

    preset: str = "auto"
    budget: str = ""
    """"" for the preset's."""
    data: str = "apidocs"
    isolation: str = "auto"
    seed: int = 0
    keep: str = "confirm"
    proposer: str = "hybrid"
    llm: str = "auto"
    trials: int | None = None
    """Total of the campaign, the baseline not counted; None for no end."""
    hours: float | None = None
    """From the start of this run."""
    max_cost: float | None = None
    """US dollars, over the campaign."""
    max_tokens: int | None = None
    """Tokens to and from the model, over the campaign."""

    def fixed(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.FIXED}

    def measured_as(self, preset: str, budget: str) -> Settings:
        """With ``auto`` resolved, as the journal keeps it."""
        return replace(self, preset=preset, budget=budget)

    def free(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k not in self.FIXED}


NAMES = tuple(f.name for f in fields(Settings))


def resolve(
    command_line: Mapping[str, Any], program: Mapping[str, Any], campaign: Mapping[str, Any]
) -> Settings:
    """Settings for a run.

    Args:
        command_line: what was given, None for what was not.
        program: the front matter.
        campaign: the settings of the campaign that goes on, empty for a new one.

    Raises:
        SettingsError: a value out of range, or one that a running campaign cannot change.
        DataError: a path to data that cannot be one.
    """
    program = _with_absolute_data(program)
    given = _with_absolute_data({k: v for k, v in command_line.items() if v is not None})
    wanted = replace(Settings(), **{k: v for k, v in {**program, **given}.items() if k in NAMES})
    if wanted.keep not in KEEP_RULES:
        raise SettingsError(f"--keep {wanted.keep!r}: choose {', '.join(KEEP_RULES)}")
    if wanted.proposer not in PROPOSERS:
        raise SettingsError(f"--proposer {wanted.proposer!r}: choose {', '.join(PROPOSERS)}")
    for name in ("trials", "hours", "max_cost", "max_tokens"):
        value = getattr(wanted, name)
        if value is not None and not 0 <= value < math.inf:
            raise SettingsError(f"--{name.replace('_', '-')} {value}: give a number from 0 up")
    if not campaign:
        return wanted
    kept = {name: campaign[name] for name in Settings.FIXED}
    for name in Settings.FIXED:
        if name in given and given[name] not in (kept[name], "auto"):
            raise SettingsError(
                f"this campaign measures with --{name} {kept[name]}, and scores under "
                f"--{name} {given[name]} could not be compared; use another --tag"
            )
    return replace(wanted, **kept)


def _with_absolute_data(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A campaign goes on from any folder, so that a path to data has to be absolute."""
    return {k: absolute(v) if k == "data" else v for k, v in settings.items()}
