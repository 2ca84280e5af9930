"""What commands print of a campaign, as one text in which no line is broken."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from agent.campaign.state import State
from agent.report import morning, trials
from agent.report.columns import plain
from agent.report.summary import status_json
from agent.report.view import view

WIDE = 5000


def status_text(
    state: State, prior: Mapping[str, float] = MappingProxyType({}), columns: int = WIDE
) -> str:
    status = status_json(state, "t", None, prior)
    return plain(morning.lines(view(state, "t", prior), status, columns))


def log_json(state: State) -> list[dict[str, Any]]:
    return trials.log_json(state.finished, state.openings)


def log_text(state: State) -> str:
    return plain(trials.log_lines(state.finished, WIDE))


def log_graph(state: State) -> str:
    return plain(trials.graph_lines(state.finished, WIDE))
