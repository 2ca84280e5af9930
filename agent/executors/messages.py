"""Works, their results and their errors as JSON, for the way to another process and back."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from agent.executors.base import Work
from trainer.data.prepare import DataError
from trainer.errors import UserError
from trainer.measure import AuditResult, CheckResult, Measurement, Profile, SandboxError
from trainer.presets import BadSetting

_RESULTS: Mapping[str, TypeAdapter[Any]] = {
    "heat": TypeAdapter(Measurement),
    "check": TypeAdapter(CheckResult),
    "audit": TypeAdapter(AuditResult),
    "profile": TypeAdapter(Profile),
}
_ERRORS = {kind.__name__: kind for kind in (UserError, BadSetting, DataError, SandboxError)}


def of_work(work: Work) -> dict[str, Any]:
    return {
        "call": work.call,
        "sources": work.sources,
        "arguments": dict(work.arguments),
        "weights_to": [path and str(path) for path in work.weights_to],
        "weights": work.weights and str(work.weights),
    }


def to_work(message: Mapping[str, Any]) -> Work:
    return Work(
        message["call"],
        tuple(message["sources"]),
        message["arguments"],
        tuple(path and Path(path) for path in message["weights_to"]),
        message["weights"] and Path(message["weights"]),
    )


def of_result(call: str, result: Any) -> list[dict[str, Any]]:
    """One message for each training: the clocks of several may be too long for one."""
    each = result if call == "heat" else [result]
    return [_RESULTS[call].dump_python(one, mode="json") for one in each]


def to_result(call: str, messages: Sequence[Mapping[str, Any]]) -> Any:
    found = [_RESULTS[call].validate_python(one) for one in messages]
    return found if call == "heat" else found[0]


def of_error(error: Exception) -> dict[str, Any]:
    known = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS]
    if known:
        return {"kind": known[0], "text": str(error)}
    if isinstance(error, OSError):
        text = error.strerror or str(error)
        return {"kind": "OSError", "text": text, "errno": error.errno, "file": error.filename}
    return {"kind": "", "text": "".join(traceback.format_exception(error))[-8000:]}


def to_error(message: Mapping[str, Any]) -> Exception:
    kind, text = message["kind"], message["text"]
    if kind == "OSError":
        return OSError(message["errno"], text, message["file"])
    return _ERRORS[kind](text) if kind else RuntimeError(f"where it was measured: {text}")
