"""What all events of a journal have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

Usage = Mapping[str, int | None]
"""Tokens by kind; None where the server did not say."""


class Happened(BaseModel):
    """What all events have; the journal sets both fields."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, revalidate_instances="always")

    n: int = 0
    """Number within the journal, from 0."""
    time: float = 0.0
    """Unix seconds."""

    @property
    def own(self) -> dict[str, Any]:
        """The fields that not every event has, or every event of a trial; nor what an event tells
        of the run alone."""
        common = {"n", "time", "event", "trial", "slots"}
        return {name: getattr(self, name) for name in type(self).model_fields.keys() - common}
