"""How many tokens may be asked for, when a server says that prompt and reply do not fit.

Each server says so in its own words, but the numbers in them are always the same few: what was
asked for, the prompt, their sum, the limit. So the numbers are read and not the words.
"""

from __future__ import annotations

import re

LEAST = 64
"""Smaller numbers are no limits, and smaller replies are no use."""

_CONTEXT = r"(?:context(?! deadline)|上下文)"  # which is a time-out of a server in Go
_ABOUT = re.compile(rf"{_CONTEXT}|token|length|长度|超长", re.IGNORECASE)
_SIZE = re.compile(
    r"exceed|too (?:long|large|big|many|small)|at most|reduc|maximum|range|limit|window|overflow"
    r"|no room|(?:less|greater|larger|longer|lower|more|higher) than|<|>|not (?:enough|possible)"
    r"|超|最大|上限",
    re.IGNORECASE,
)
_PACE = re.compile(r"per[ _-]?(?:second|minute|min|hour|day)\b|\b[TR]P[MD]\b", re.IGNORECASE)
_LARGE = re.compile(rf"too large|{_CONTEXT}", re.IGNORECASE)
_OTHER = re.compile(
    r"[$€£¥#] ?\d[\d.,]*|<[45]\d\d\b|\w[:/]\d+[kM]\b"
    r"|(?:Id|(?:\b|[_-])(?i:id|codes?|status|https?\S*|errors?|req|ref\w*|trace\w*|line|port|pid|user))"
    r"\W{0,4}[\w-]*\d[\w-]*(?!\W{0,2}token)"
    r"|\d{1,4}[-/.]\d\d?[-/.]\d{1,4}(?:T\S+)?|\d\d?:\d\d\S*"
    r"|\b(?:in|since|until|[A-Z][a-z]{2,8}\.?(?: \d\d?,)?) (?:19|20)\d\d\b(?! token)"
    r"|maximum input length of \d+|\(parameter=[^)]*\)"  # vLLM: it depends on what was asked for
    r"|\d[\d.,_']*(?:\s\d{3})* ?(?:%|(?:m?s|sec\w*|min(?:ute)?s?|h(?:ours?)?|days?|USD|EUR"
    r"|dollars?|cents?|bytes?|[kMGT]i?B|(?:input )?char\w*|requests?|times)\b)"
)
"""Numbers of something else: prices, codes, identifiers, dates, times, other units."""
_NUMBER = re.compile(
    r"(?<![\w-])(?<!\w\.)(\d{1,3}(?:[,_'\s]\d{3}){1,2}|\d{1,7}(?:\.\d+)?) ?([kKM]?)"
    r"(?!\w|-(?!token))"
)
_UNITS = {"k": 1e3, "K": 1e3, "M": 1e6}  # 8k is read as the smaller of its meanings


def does_not_fit(status: int, said: str) -> bool:
    """Whether a refusal is about the size of prompt and reply, which no waiting changes."""
    if status in (400, 413, 422):
        is_size = _ABOUT.search(said) and _SIZE.search(said)
        return bool(is_size) and not re.search("please wait|请稍", said)
    passing = status != 429 and 0 < status < 500
    return not passing and bool(
        _LARGE.search(said)
        and _ABOUT.search(said)
        and _SIZE.search(said)
        and (status == 429 or not _PACE.search(said))
    )


def limit(said: str, asked: int, guess: int) -> tuple[int, int] | None:
    """The limit in a server's words, and how much of it the prompt takes; None if they have none.

    Args:
        asked: tokens that were asked for.
        guess: tokens of the prompt, if the words do not tell.
    """
    told = re.split(r"[.!?;]\s|\n", _OTHER.sub(" ", said[:8000]))
    sized = "; ".join(part for part in told if _ABOUT.search(part) or _SIZE.search(part))
    read = (float(re.sub(r"[^\d.]", "", n)) * _UNITS.get(k, 1) for n, k in _NUMBER.findall(sized))
    found = {int(n) for n in read if n >= LEAST}
    others = sorted(found - {asked}) or [*found]
    if not others:
        return None
    if len(others) == 1:
        # Below what was asked for, it is a limit for the reply alone, else for both.
        return others[0], 0 if others[0] < asked else min(guess, others[0] * 3 // 4)
    sums = [n for n in others if n - asked in others]
    *_, smaller, bigger = [n for n in others if n <= sums[0]] if sums else others
    # The biggest is the sum, unless the words have what was asked for and the prompt beside it.
    is_sum = len(others) > 2 or bigger - asked in others or asked not in found
    most, prompt = (smaller, bigger - asked) if is_sum and bigger > asked else (bigger, smaller)
    if re.search("at least|You passed", said):  # vLLM stops counting where it does not fit
        prompt = max(prompt, min(guess, most * 3 // 4))
    return most, prompt
