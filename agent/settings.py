"""Settings of a run, from the command line, else program.md's front matter, else the preset."""

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
    """An invalid setting; the message says which values are valid."""


@dataclass(frozen=True)
class Settings:
    """The settings of a run."""

    FIXED: ClassVar = ("preset", "budget", "data", "isolation", "seed")
    """Every training of a campaign shares these, or its numbers could not be compared."""
    REMEMBERED: ClassVar = ("keep", "proposer", "llm", "max_cost", "max_tokens")
    """Command-line values of these also hold when the campaign is resumed. ``trials`` and ``hours``
    are not included, since they say when one run ends."""

    preset: str = "auto"
    budget: str = ""
    """Empty for the preset's."""
    data: str = "apidocs"
    isolation: str = "auto"
    seed: int = 0
    keep: str = "confirm"
    proposer: str = "hybrid"
    llm: str = "auto"
    trials: int | None = None
    """Total of the campaign, without the baseline; None for no limit."""
    hours: float | None = None
    """From the start of this run."""
    max_cost: float | None = None
    """US dollars, over the campaign."""
    max_tokens: int | None = None
    """Tokens to and from the model, over the campaign."""
    nulls: float = 0.05
    """Share of null trials."""

    def fixed(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.FIXED}

    def measured_as(self, preset: str, budget: str) -> Settings:
        """A copy with ``auto`` resolved, for the journal."""
        return replace(self, preset=preset, budget=budget)

    def free(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k not in self.FIXED}


NAMES = tuple(f.name for f in fields(Settings))
_HIDDEN = "[key]"
"""What ``redact`` writes in a secret's place."""


def remember(
    command_line: Mapping[str, Any], last: Mapping[str, Any], hidden: Iterable[str]
) -> dict[str, Any]:
    """The command-line settings that the journal stores for later runs.

    Args:
        last: what the journal stored at the start of the previous run.
        hidden: secrets; they, and anything that looks like a secret, are removed from ``llm``.
    """
    given = {k: v for k, v in command_line.items() if k in Settings.REMEMBERED and v is not None}
    if "llm" in given:
        shown = redact(given["llm"], hidden)
        if shown != given["llm"]:
            given["llm"] = f"{_HIDDEN} {shown}"
    return {**last, **given}


def resolve_settings(
    command_line: Mapping[str, Any],
    program: Mapping[str, Any],
    campaign: Mapping[str, Any],
    last: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings for a run.

    Args:
        command_line: what was given, None for what was not.
        program: the front matter.
        campaign: the settings of the campaign to resume, empty for a new one.
        last: what ``remember`` kept of earlier command lines.

    Raises:
        SettingsError: a value out of range, or one that a running campaign cannot change.
        DataError: a path to data that cannot be made absolute.
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
    """Make the path to data absolute, since a campaign can be resumed from any folder."""
    return {k: absolute(v) if k == "data" else v for k, v in settings.items()}
