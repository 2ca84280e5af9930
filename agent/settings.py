"""Settings of a run: the command line overrides program.md's front matter, that the preset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from agent.models.secrets import redact
from trainer.data.prepare import absolute

PROPOSERS = ("llm", "deck", "tuner", "hybrid")
KEEP_RULES = ("confirm", "strict", "greedy")


class SettingsError(Exception):
    """A setting that is not possible; the message says which are."""


@dataclass(frozen=True)
class Settings:
    """What a run was asked for."""

    FIXED: ClassVar = ("preset", "budget", "data", "isolation", "seed")
    """Every training of a campaign shares these, or its numbers could not be compared."""
    REMEMBERED: ClassVar = ("keep", "proposer", "llm", "max_cost", "max_tokens")
    """What the command line said of these holds when the campaign is taken up again; ``trials`` and
    ``hours`` say when one run ends."""

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
_HIDDEN = "[key]"
"""What ``redact`` writes in a secret's place."""


def remember(
    command_line: Mapping[str, Any], last: Mapping[str, Any], hidden: Iterable[str]
) -> dict[str, Any]:
    """What the journal keeps of the command line for the runs that follow.

    Args:
        last: what the journal kept when the run before began.
        hidden: secrets; where ``llm`` holds one, or what looks like one, it is kept without it.
    """
    given = {k: v for k, v in command_line.items() if k in Settings.REMEMBERED and v is not None}
    if "llm" in given:
        shown = redact(given["llm"], hidden)
        if shown != given["llm"]:
            given["llm"] = f"{_HIDDEN} {shown}"
    return {**last, **given}


def resolve(
    command_line: Mapping[str, Any],
    program: Mapping[str, Any],
    campaign: Mapping[str, Any],
    last: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings for a run.

    Args:
        command_line: what was given, None for what was not.
        program: the front matter.
        campaign: the settings of the campaign that goes on, empty for a new one.
        last: what ``remember`` kept of the command lines before.

    Raises:
        SettingsError: a value out of range, or one that a running campaign cannot change.
        DataError: a path to data that cannot be one.
    """
    program = _with_absolute_data(program)
    given = _with_absolute_data({k: v for k, v in command_line.items() if v is not None})
    merged = {**program, **(last or {}), **given}
    wanted = replace(Settings(), **{k: v for k, v in merged.items() if k in NAMES})
    if wanted.llm.startswith(_HIDDEN):
        raise SettingsError(
            f"the last run was given --llm {wanted.llm.removeprefix(_HIDDEN).strip()}, with a "
            "secret in it, which the journal does not keep: give --llm again"
        )
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
