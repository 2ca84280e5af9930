"""Every setting, once: its name, type, bounds, default, help and how long a value of it holds.

The options of ``python -m agent run``, the front matter of program.md and what the journal keeps
follow from ``Settings``. The command line overrides program.md, which overrides the preset.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_core import ErrorDetails

from agent.judge import Rule
from agent.models.choose import KNOWN
from agent.models.secrets import redact
from trainer.data.choice import AUTO
from trainer.data.prepare import DataError, absolute
from trainer.errors import UserError
from trainer.jobs import MOST_TRAININGS
from trainer.presets import PRESETS, Isolation, find_preset, parse_budget
from trainer.untrusted import one_line

MOST_SEED = 9 * 10**13
"""Each training has a seed of its own, 100,000 times this one and more, and they end at 2**63."""
_WRITTEN = {
    "int_parsing": "; write it in digits alone, as in 5000",
    "float_parsing": "; write it in digits with a point, as in 2.5",
}
COMMANDS = {"llm", "notify"}
"""Settings that may be a command line, with a secret in it."""
_HIDDEN = "[key]"
"""What ``redact`` writes in a secret's place."""


class SettingsError(UserError):
    """An invalid setting; the message says which values are valid."""


class Frozen(BaseModel):
    """A value with these fields and no others, each of its own type and finite."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Lifetime(Enum):
    """How long a value holds. A setting with none of the first three has no option."""

    CAMPAIGN = "all trainings of a campaign share it, or their numbers could not be compared"
    REMEMBERED = "what the command line says holds when the campaign is resumed, too"
    RUN = "what the command line says ends with the run"
    LIVE = "an edit of program.md changes it during a run; others change at the next start"


CAMPAIGN, REMEMBERED, RUN, LIVE = Lifetime


def _budget(text: object) -> str:
    return str(parse_budget(str(text)))


def _preset(name: str) -> str:
    find_preset(name)
    return name


def _source(name: str) -> str:
    """With an absolute path, since a campaign can be resumed from any folder."""
    try:
        return name if name == AUTO else absolute(name)
    except DataError as error:
        raise ValueError(str(error)) from None


def _spec(text: str) -> str:
    """Only that it is one; what it names is looked for when the run starts."""
    if not text.strip():
        raise ValueError(f"give {KNOWN}")
    return text


def _heat(value: object) -> str:
    if str(value) not in ("auto", *map(str, range(1, MOST_TRAININGS))):
        raise ValueError(f"{value!a}: give auto, or a whole number from 1 to {MOST_TRAININGS - 1}")
    return str(value)


def _command(text: str) -> str:
    try:
        shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None
    return text


class Settings(Frozen):
    """The settings of a run. The text below each is its help."""

    budget: Annotated[str, BeforeValidator(_budget), CAMPAIGN] = ""
    """Per training: 20s, 5m, 200000tok; without it the preset's."""
    preset: Annotated[
        str,
        AfterValidator(_preset),
        Field(
            description="Constants, limits and budget that suit a kind of machine: "
            f"{', '.join(PRESETS)}."
        ),
        CAMPAIGN,
    ] = "auto"
    data: Annotated[str, AfterValidator(_source), CAMPAIGN] = AUTO
    """Corpus to train on: apidocs, climbmix, tinystories or files:PATH; auto is the preset's."""
    keep: Annotated[Rule, REMEMBERED, LIVE] = "confirm"
    """When an edit is kept; greedy: after one lucky heat."""
    proposer: Annotated[Literal["llm", "deck", "tuner", "hybrid"], REMEMBERED] = "hybrid"
    """Where edits come from."""
    llm: Annotated[str, AfterValidator(_spec), Field(description=f"{KNOWN}."), REMEMBERED] = "auto"
    trials: Annotated[int | None, Field(ge=0, le=10**9), RUN, LIVE] = None
    """Trials of the campaign in all, without the baseline; without it there is no end."""
    hours: Annotated[float | None, Field(gt=0, le=10**5), RUN, LIVE] = None
    """Start no trial after so many hours of this run."""
    verify: Annotated[bool, RUN] = False
    """Verify the champion's gain at the end of this run, in the last tenth of its hours."""
    max_cost: Annotated[float | None, Field(ge=0), REMEMBERED, LIVE] = None
    """US dollars for the model, over the campaign."""
    max_tokens: Annotated[int | None, Field(ge=0), REMEMBERED, LIVE] = None
    """Tokens to and from the model, over the campaign."""
    ideas: Annotated[int, Field(ge=1, le=8), REMEMBERED, LIVE] = 1
    """Edits that a model may propose in one reply; those after the first wait for their trials."""
    heat: Annotated[str, BeforeValidator(_heat), REMEMBERED] = "auto"
    """Candidates that one heat may hold beside the champion, 1 to 7; auto: up to 4 that fit."""
    sequential: Annotated[bool, REMEMBERED] = False
    """One trial after the other: no draft while a heat trains, no heat of several candidates."""
    nulls: Annotated[float, Field(ge=0, le=0.5), LIVE] = 0.05
    """Share of null trials, which measure how often luck is kept."""
    notebook: Annotated[bool, LIVE] = True
    """Whether the model keeps a notebook of what the trials have taught."""
    workers: Annotated[int, Field(ge=1, le=512), REMEMBERED] = 1
    """Heats that run at once, on a device or an equal share of the processors each; with --ray on
    each node without a device."""
    ray: Annotated[str, RUN] = ""
    """Run heats on the nodes of a Ray cluster: its address, or auto for the one of this machine."""
    seed: Annotated[int, Field(ge=0, le=MOST_SEED), CAMPAIGN] = 0
    """Seed of the campaign."""
    prior: Annotated[str, REMEMBERED] = ""
    """Tag of a campaign whose prior a new one starts from, the less the less alike they are."""
    isolation: Annotated[Isolation, CAMPAIGN] = "auto"
    """require: refuse to train where the system cannot confine it."""
    track: Annotated[Literal["none", "tensorboard", "wandb"], REMEMBERED] = "none"
    """Where each trial is drawn as well, by pip install -e ".[track]"."""
    notify: Annotated[str, AfterValidator(_command), REMEMBERED] = ""
    """Command to run when the run stops, finds a new champion, or needs a person."""

    def fixed(self) -> dict[str, Any]:
        return self.model_dump(include=set(FIXED))

    def free(self) -> dict[str, Any]:
        return self.model_dump(exclude=set(FIXED))

    def follow(self, program: Mapping[str, Any], command_line: Mapping[str, Any]) -> Settings:
        """A copy after an edit of program.md; what it does not say any more has its default again.

        Args:
            command_line: what earlier and this one said, which program.md cannot override.
        """
        said = Settings.model_validate({**program, **command_line})
        return self.model_copy(update=said.model_dump(include=set(names(LIVE))))


def names(*lifetimes: Lifetime) -> tuple[str, ...]:
    """Names of the settings that have one of the lifetimes."""
    fields = Settings.model_fields.items()
    return tuple(name for name, field in fields if any(one in field.metadata for one in lifetimes))


FIXED = names(CAMPAIGN)


def option(name: str) -> str:
    """``--max-cost`` for ``max_cost``."""
    return f"--{name.replace('_', '-')}"


def complaint(error: ErrorDetails, name: str) -> str:
    """What is wrong with the setting ``name`` and what would be right, on one line."""
    valid = one_line(error["msg"].removeprefix("Value error, "), 500)
    what = f"{name}: {valid[:1].lower()}{valid[1:]}"
    # What our own validators say has the value in it.
    given = "" if error["type"] == "value_error" else f", not {one_line(repr(error['input']))}"
    return f"{what}{given}{_WRITTEN.get(error['type'], '')}"


def remember(
    command_line: Mapping[str, Any], last: Mapping[str, Any], hidden: Iterable[str]
) -> dict[str, Any]:
    """The command-line settings that the journal stores for later runs.

    Args:
        last: what the journal stored at the start of the previous run.
        hidden: secrets; they, and anything that looks like a secret, are removed from ``COMMANDS``.
    """
    kept = names(REMEMBERED)
    given = {k: v for k, v in command_line.items() if k in kept and v is not None}
    for name in COMMANDS & given.keys():
        shown = redact(given[name], hidden)
        if shown != given[name]:
            given[name] = f"{_HIDDEN} {shown}"
    return {**last, **given}


def resolve_settings(
    command_line: Mapping[str, Any],
    program: Mapping[str, Any],
    campaign: Mapping[str, Any],
    last: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings for a run.

    Args:
        command_line: what was given, as typed or read already; None for what was not.
        program: the front matter.
        campaign: the settings of the campaign to resume, empty for a new one.
        last: what ``remember`` kept of earlier command lines.

    Raises:
        SettingsError: an invalid value, or one that a running campaign cannot change.
    """
    given = _read(command_line, option, strict=False)
    kept = _read({name: campaign.get(name) for name in FIXED}, "the journal's {}".format)
    for name in kept:
        if given.get(name, "auto") not in (kept[name], "auto"):
            raise SettingsError(
                f"this campaign measures with {option(name)} {kept[name]}, and scores under "
                f"{option(name)} {given[name]} could not be compared; use another --tag"
            )
    said = {**program, **given}
    if said.get("sequential") and (count := said.get("workers", 1)) > 1:
        raise SettingsError(
            f"--sequential measures on one device, and --workers {count} on {count}: leave one of "
            "them out, here or in program.md"
        )
    remembered = _read(last or {}, "the journal's {}".format)
    wanted = Settings.model_validate({**program, **remembered, **given, **kept})
    for name in COMMANDS:
        value = getattr(wanted, name)
        if value.startswith(_HIDDEN):
            raise SettingsError(
                f"the last run was given {option(name)} {value.removeprefix(_HIDDEN).strip()}, "
                f"with a secret in it, which the journal does not keep: give {option(name)} again"
            )
    return wanted


def _read(
    values: Mapping[str, Any], shown: Callable[[str], str], strict: bool = True
) -> dict[str, Any]:
    """The settings among ``values`` that are given, validated; unless strict, text is parsed."""
    known = {k: v for k, v in values.items() if k in Settings.model_fields and v is not None}
    try:
        read = Settings.model_validate(known, strict=strict)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SettingsError(complaint(first, shown(str(first["loc"][0])))) from None
    return read.model_dump(exclude_unset=True)
