"""Take a model's reasoning out of its reply, where a server left it there between marks.

Every family of models has marks of its own. Only reasoning that stands before the answer is taken
out: an answer may itself quote such a mark, in code for example.
"""

from __future__ import annotations

import re

_NAME = (
    r"(?:\w*[_:]|ant)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch_?pad|analysis"
    r"|monologue|cot|planning)(?:_\w+)?"
)
_PAIRS = (
    rf"<({_NAME})\b[^<>\n]{{0,80}}(?<!/)>", r"</\s*{}\s*>",
    r"<(details)\b[^<>\n]{0,80}reasoning[^<>\n]{0,80}>", r"</{}\s*>",  # Open WebUI
    rf"\[({_NAME})\]", r"\[/{}\]",
    r"◁(think(?:ing)?)▷", r"◁/{}▷",
    rf"<\|(?:begin_of_|START_)({_NAME})\|>", r"<\|(?:end_of_|END_){}\|>",
    rf"<\|({_NAME})_start\|>", r"<\|{}_end\|>",
    rf"<\|({_NAME})\|>", r"<\|(?:/|end_?){}\|>",
    r"<\|channel>(thought)\s", r"<channel\|>",  # Gemma
    r"<\|(inner)_prefix\|>", r"<\|{}_suffix\|>",  # Apertus
    r"<(unused)\d+>thought", r"<{}\d+>",  # MedGemma
)  # fmt: skip
"""Opening and closing marks in turn; {} is the name that the opening mark has."""
_IN_WORDS = (
    r"(Thinking)\.\.\.\s*\n", r"\n\.\.\.done thinking\.",  # ollama run
    r"(Here is my thought process):", r"\nHere is my response:",  # Granite
    r"(Here are my reasoning steps):", r"\[BEGIN FINAL RESPONSE\]",  # Apriel
)  # fmt: skip
"""Those that an answer may begin with as well, so that they count only with both marks."""
_MARKS = _PAIRS + _IN_WORDS
_OPEN = [(re.compile(rf"\s*{a}", re.I), b) for a, b in zip(_MARKS[::2], _MARKS[1::2], strict=True)]
_EMPTY = re.compile(rf"\A\ufeff?(?:\s*<{_NAME}\s*/>)?", re.IGNORECASE)
_CLOSED = rf"</\s*{_NAME}\s*>|\[/THINK\]|◁/think▷|<\|(?:end_of_thought|END_THINKING)\|>|<channel\|>"
"""Marks that may come alone, since the opening one can be part of the prompt."""
_BEGINS = r"<(?:answer|response|solution|output)>|<\|(?:content|im_end)\|>(?:\s*<\|im_start\|>\w*)?"
_CHANNEL = re.compile(r"\s*(?:<\|start\|>\w*)?<\|channel\|>")
_FINAL = re.compile(
    r"<\|channel\|>\s*final\b.{0,40}?<\|message\|>|<\|start\|>assistant<\|message\|>", re.DOTALL
)
"""The harmony format of gpt-oss."""
_BARE_FINAL = re.compile(r"\s*analysis.*?assistantfinal", re.DOTALL)
"""The same, where its marks are not printed."""
_WRAPPER = re.compile(
    r"\A\s*<\|?(?:answer|response|solution|output|begin_of_solution|START_RESPONSE)\|?>"
    r"|\s*<\|(?:return|end|end_of_solution|END_RESPONSE)\|>\s*\Z"
    r"|\s*</(?:answer|response|solution|output)>\s*\Z"
    r"|\s*\[END FINAL RESPONSE\]\s*\Z",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"^(?:\s*(?:<{5,}|`{3}|~{3})|[\s>#*_-]*(?:title|category|hypothesis)\W*:)",
    re.MULTILINE | re.IGNORECASE,
)
"""The beginning of a line of an answer: a field, a block or code."""
_FIELD = re.compile(r"^[\s>#*_-]*(?:title|category|hypothesis)\W*:", re.MULTILINE | re.IGNORECASE)

_HEAD = re.compile(
    rf"(?:{_FIELD.pattern}.*\n(?:(?!{_FIELD.pattern}|[<>`=~]).+\n){{0,3}})+", re.M | re.I
)
_WHOLE = re.compile(r"^>{5}.*+\s*+(?:`{3}|~{3}|</\w+>|<\|\w+\|>)?\s*+\Z", re.MULTILINE)
"""The fields of one answer, some lines each; the end of a text that ends with an edit."""


def without_thoughts(text: str) -> str:
    """The answer in a reply, "" if it has reasoning only, because it was cut off."""
    rest = _EMPTY.sub("", text)
    while (after := _after(rest)) != rest:
        rest = after
    return text if rest == text else _WRAPPER.sub("", rest).lstrip()


def _after(text: str) -> str:
    """What follows the reasoning that ``text`` begins with."""
    if found := _BARE_FINAL.match(text):
        return text[found.end() :]
    if _CHANNEL.match(text):
        final = _FINAL.search(text)
        return text[final.end() :] if final else ""
    for opening, closing in _OPEN:
        if found := opening.match(text):
            end = _end(text, closing.format(re.escape(found[1])), found.end())
            is_all = end and found[1].lower() == "analysis" and not text[end:].strip()
            if is_all or (not end and closing in _IN_WORDS):
                return text  # the answer itself is called so
            return text[end or _begin(text, found.end()) :]
    if end := _end(text, _CLOSED, 0):
        # A mark that is quoted in an answer has a part of the answer before it, and none after it.
        begun = _ANSWER.search(text, 0, end)
        return text[end:] if not begun or _FIELD.search(text, end) else text
    return text


def _begin(text: str, start: int) -> int:
    """Where the answer begins after reasoning that does not end with its own mark: at another's,
    else at the last fields if an edit ends the text; else at the text's end."""
    end = _end(text, f"{_CLOSED}|{_BEGINS}", start)
    if end and _FIELD.search(text, end):
        return end
    heads = _HEAD.finditer(text, start) if _WHOLE.search(text) else ()
    return max((head.start() for head in heads), default=len(text))


def _end(text: str, closing: str, start: int) -> int:
    """Where the reasoning ends: at the last mark that an answer follows, else at the first; 0 if
    it has no end."""
    ends = [mark.end() for mark in re.finditer(closing, text[start:], re.IGNORECASE)]
    answered = [end for end in ends if _FIELD.search(text, start + end)]
    return start + (answered[-1] if answered else ends[0]) if ends else 0
