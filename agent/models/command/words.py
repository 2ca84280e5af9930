"""What a program has printed: the reply in it, or what it says of its provider.

Coding-agent CLIs print their provider's errors where the reply belongs, and end as if all was well.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from agent.models import waits
from agent.models.wire import FILTERED, NO_CREDIT

Fault = Literal["", "mend", "outage", "refusal", "error"]
"""What words are about: ``mend`` is for the user to do, ``outage`` passes, ``refusal`` is of this
prompt, ``error`` is another."""

SHORT = 1500
"""Characters up to which words without an edit can be an error text, not an answer."""
EXCUSE = 300
"""Characters up to which words of an outage are one, even if they say "I"."""

_FIELD = re.compile(r"^[^\w\n]*(?:category|hypothesis)\W{0,9}:", re.I | re.M)
_MARK = re.compile(r"^\s*(?:<{5}|>{5}|`{3}|~{3,}(?![~^]))", re.M)
"""Not the ``~~~^^^`` under the lines of a traceback."""
_TERMINAL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\0-\x08\x0e-\x1f]"
)
"""Colours, cursor movements and window titles."""
_TEXTS = ("result", "response", "content", "text", "message", "output", "answer", "error")
"""Where programs that print JSON have the reply, or what went wrong."""

ANSWER = re.compile(r"\bI(?:['’]\w+)?\s+[a-z]")
"""A model speaks of itself; programs do not."""
_ERROR = r"^[^\w\n]*(?:[\w.]+ ){0,3}[\w.]*(?:error|exception|fatal|panic)\b\s*(?:[:(\[]|$)"
_STATUS = r"(?:error|http|status|code)\W{0,4}"
_MEANINGS: tuple[tuple[Fault, str], ...] = (  # the first that is found counts
    ("mend", NO_CREDIT),
    ("outage", r"rate.?limit|usage limit|limit (?:\w+ ){0,2}(?:reached|exceeded)|quota exceeded|"
     r"\b(?:hit|reached|exceeded) (?:\S+ ){0,5}(?:limit|quota)|overloaded|too many requests|"
     r"\b(?:model|servers?|service|system|we) (?:\w+ ){0,2}(?:at|over) capacity|high demand|"
     r"\b(?:no|insufficient|out of) capacity|resource.?exhausted|\bresets? (?:at |in )?\d|"
     r"cap reached|out of (?:\w+ )?usage\b"),
    ("refusal", FILTERED),
    ("mend", r"/login\b|\b(?:not|please) (?:be )?(?:logged|signed|log|sign).?in\b|\bauth login|"
     r"\b(?:log|sign) ?in (?:again|first)|unauthori[sz]ed|unauthenticated|forbidden|"
     r"authentication.(?:error|required)|permission.(?:error|denied)|(?:invalid|incorrect|missing|"
     r"no|expired|revoked|bad) (?:\S+ ){0,2}(?:api.?key|access token|credentials?)|(?:api.?key|"
     r"credentials?)\W+(?:\w+ ){0,3}(?:invalid|incorrect|missing|expired|revoked|required|not (?:"
     r"valid|found|set))|(?:token|session) (?:\w+ ){0,3}(?:expired|revoked)|(?:organi[sz]ation|"
     r"account) (?:\w+ ){0,3}(?:disabled|suspended|deactivated)|not.found.error|model.not.found|"
     r"\b(?:unknown|invalid|no such) model\b|\bmodel:? (?:['\"`]\S+['\"`]|\S*\d\S*) (?:\w+ )?"
     r"(?:not found|does not exist)|may not exist|not have access|\bno (?:\w+ )?key found|"
     rf"prompt is too long|{_STATUS}40[0-4]\b"),
    ("outage", r"time[ds]?.?out\b|ECONN\w+|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|fetch failed|"
     r"\bconnect(?:ion)?\b.{0,30}\b(?:error|reset|refused|closed|lost|failed|aborted)|hang up|"
     r"network error|disconnected|unavailable|internal server|bad gateway|went wrong|"
     r"try again (?:later|in|soon|shortly)|please try again|(?:server|service|system) (?:\w+ ){0,2}"
     r"busy|too many tokens|please wait|\b429\b|maintenance|resolve host|execution error|"
     rf"{_STATUS}(?:429|5\d\d)\b"),
    ("error", _ERROR),
)  # fmt: skip


def reply_in(printed: bytes, edited: bool = False) -> str:
    """The text that was meant: without what moves a terminal, and out of a JSON that holds it.

    If the program has ``edited`` train.py itself, fields without a block are meant, too.
    """
    text = _TERMINAL.sub("", printed.decode("utf-8-sig", errors="replace")).replace("\r\n", "\n")
    if "\n" in text:  # what a spinner wrote before is gone from the line
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _out_of_json(text, edited) if text.lstrip()[:1] in ("{", "[", '"') else text


def holds_edit(text: str) -> bool:
    """Whether there is anything of an edit in it: a field, a marker, a code fence."""
    return bool(_FIELD.search(text) or _MARK.search(text))


def holds_block(text: str) -> bool:
    """Whether there is a marker or a code fence in it, so that it may be an edit by itself."""
    return bool(_MARK.search(text))


def fault_in(text: str, edited: bool = False) -> Fault:
    """What an output is about that should have been a reply, "" if it may be one; see ``reply_in``
    for ``edited``."""
    # One of them alone may be an error's: a code fence, or "Category: RESOURCE_EXHAUSTED".
    is_edit = "<<<<<" in text or (_FIELD.search(text) and (edited or _MARK.search(text)))
    if is_edit or len(text) > SHORT:  # or the beginning of an edit, and then an error
        last = "" if ">>>>" in text else text.rstrip().rpartition("\n")[2]
        is_error = re.match(_ERROR, last, re.I) and not last.lstrip().startswith("#")
        return meaning(last) if is_error and not holds_edit(last) else ""
    fault = meaning(text)
    is_answer = ANSWER.search(text) and not (fault == "outage" and len(text) <= EXCUSE)
    return "" if is_answer else fault


def meaning(words: str) -> Fault:
    """What the words of a program that gave no reply are about."""
    found = (fault for fault, told in _MEANINGS if re.search(told, words, re.I | re.M))
    fault: Fault = next(found, "")
    is_timed = fault != "" and waits.in_words(words) is not None
    return "outage" if is_timed and not re.search(_MEANINGS[0][1], words, re.I) else fault


def _out_of_json(text: str, edited: bool) -> str:
    """The last text in it that is an edit, else all its pieces, else its last text."""
    lines = ",".join(line for line in text.split("\n") if line.strip())
    for document in (text, f"[{lines}]"):  # one value, or one a line
        with contextlib.suppress(ValueError, RecursionError):
            found = list(_texts_of(json.loads(document)))
            fields = [one for one in found if len(_FIELD.findall(one)) > edited]
            whole = [one for one in fields if edited or _MARK.search(one)]
            joined = "".join(found)
            return whole[-1] if whole else joined if holds_edit(joined) else (found or [text])[-1]
    return text


def _texts_of(value: Any, name: str = _TEXTS[0]) -> Iterator[str]:
    if isinstance(value, str) and name in _TEXTS and value.strip():
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_of(inner, name)
    elif isinstance(value, dict) and "user" not in (value.get("role"), value.get("type")):
        for key, inner in value.items():
            yield from _texts_of(inner, key)
