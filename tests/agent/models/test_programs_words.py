"""What command-line agents print where a reply belongs: an outage, a thing to mend, or a reply."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_server import EDIT

from agent.models import waits
from agent.models.command.words import (
    fault_in,
    holds_edit,
    meaning,
    reply_in,
)

TRACEBACK = """Traceback (most recent call last):
  File "agent.py", line 3, in main
    client.chat(prompt)
    ~~~~~~~~~~~^^^^^^^^
{}"""
OUTAGES = [
    "```\nAPI Error: Rate limit reached\n```",
    '```json\n{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}\n```',
    "Category: RESOURCE_EXHAUSTED\nMessage: quota exceeded",
    "Warning: no terminal\n~~~~~~~~\nAPI Error: Rate limit reached\n~~~~~~~~",
    TRACEBACK.format("litellm.exceptions.RateLimitError: 429"),
    TRACEBACK.format("openai.RateLimitError: Error code: 429"),
    TRACEBACK.format("    x\n    ~^^\n" * 200 + "openai.RateLimitError: Error code: 429"),
    "You're out of extra usage · resets 3am",
    "Spending cap reached resets 4am",
    "API Error (us.anthropic.x): 429 Too many tokens, please wait before trying again.",
    "I'm currently experiencing high demand. Please try again later.",
    "I apologize, but I am unable to respond: rate limit",
    "Sorry, I can't connect to the API right now (ECONNREFUSED)",
    "429",
    "API Error: Rate limit reached",
    "Claude AI usage limit reached|1733356800",
    "You've hit your limit · resets 3am (Europe/Berlin)",
    "You've reached your usage limit for this week.",
    "5-hour limit reached ∙ resets 10pm",
    "Error: 429 Too Many Requests",
    'API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
    'API Error: 500 {"type":"error","error":{"message":"Internal server error"}}',
    "The server is currently busy",
    "Execution error",
    "API Error: Request timed out.",
    "API Error: Connection error.",
    "API Error (503 upstream connect error or disconnect/reset before headers)",
    "[API Error: got status: 429 RESOURCE_EXHAUSTED. You exceeded your current quota, please check "
    "your plan and billing details. Please retry in 34.07s.]",
    "stream error: stream disconnected before completion: response.failed event received",
    "Error: fetch failed",
    "TypeError: fetch failed\n    at node:internal/deps/undici/undici:13510:13",
    "request to https://api.example.com failed, reason: getaddrinfo ENOTFOUND api.example.com",
    "Rate limit reached for gpt-6 on tokens per min. Please try again in 1.2s. Add a payment "
    "method to your account to increase it.",
    "The model is overloaded. Please try again later.",
    "Selected model is at capacity. Please try a different model.",
    "litellm.ServiceUnavailableError: Service Unavailable",
]
TO_MEND = [
    "You are not signed in",
    "Not signed in",
    "There's an issue with the selected model (x). It may not exist or you may not have access to "
    "it.",
    "Model gpt-9 does not exist",
    "Error: No key found - add one using 'llm keys set openai'",
    "Your organization does not have access to Claude. Please login again.",
    TRACEBACK.format("litellm.exceptions.AuthenticationError: invalid api key"),
    "Invalid API key · Please run /login",
    "Credit balance is too low",
    "Not logged in · Please run /login",
    "OAuth token has expired. Please obtain a new token or refresh your existing token.",
    'API Error: 401 {"type":"error","error":{"type":"authentication_error"}} · Please run /login',
    "Error: Error code: 429 - {'error': {'message': 'You exceeded your current quota, please check "
    "your plan and billing details.', 'code': 'insufficient_quota'}}",
    "unexpected status 401 Unauthorized: Missing bearer authentication in header",
    "Error: No API key found. Set GEMINI_API_KEY.",
    "GEMINI_API_KEY is not set",
    "Your organization has been disabled.",
    "Error: model 'qwen9:70b' not found",
    'API Error: 404 {"type":"error","error":{"type":"not_found_error","message":"model: x"}}',
    "Prompt is too long",
    "litellm.AuthenticationError: incorrect API key provided",
    "HTTP 402: Payment Required",
    "You are out of credits",
    "余额不足",
    "API Error: 500 user quota is not enough",
    "Your account has been flagged; unauthorized",
]
REFUSALS = [
    'API Error: 400 {"type":"error","error":{"type":"invalid_request_error","message":"Output '
    'blocked by content filtering policy"}}',
    "Error code: 400 - {'error': {'message': 'Content Exists Risk'}}",
]
ERRORS = [
    TRACEBACK.format("agent.errors.StrangeError: x"),
    "Error: Input must be provided through stdin",
    "fatal: no such thing",
    "panic: oops",
]
REPLIES = [
    EDIT,
    f"The rate limit of learning is 429.\n\n{EDIT}",
    EDIT.replace("gradient noise", "gradient noise; a rate limit reached, API Error: overloaded"),
    "I could not find a change that helps; the connection of the layers is at capacity.",
    "I'm sorry, but I can't help with that.",
    "Lowering the training error needs a longer warm-down. " * 40,
    "Nothing in the schedule can be improved.",
    "More capacity needs no more tokens; the model does not exist twice. Try again.",
    "```python\nx = 1\n```",
    "category: schedule",
]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        *((text, "outage") for text in OUTAGES),
        *((text, "mend") for text in TO_MEND),
        *((text, "refusal") for text in REFUSALS),
        *((text, "error") for text in ERRORS),
        *((text, "") for text in REPLIES),
    ],
)
def test_what_is_printed_instead_of_a_reply(text: str, fault: str) -> None:
    assert fault_in(text) == fault


def test_an_error_after_the_beginning_of_an_edit() -> None:
    begun = EDIT.partition("=======")[0]
    assert fault_in(f"{begun}\n\nAPI Error: Connection error.\n") == "outage"
    assert fault_in(f"{EDIT}\nError: a tool failed") == ""
    assert fault_in(f"{begun}\n    # error: the connection was lost") == ""


def test_for_how_long_where_it_is_said() -> None:
    at = int(time.time()) + 5000
    assert waits.in_words(f"Claude AI usage limit reached|{at}") == pytest.approx(5000, abs=5)
    assert waits.in_words(f'{{"reset": {at}000}}') == pytest.approx(5000, abs=5)
    for words, seconds in {
        "Please try again in 1.2s": 1.2,
        "try again in 20 seconds.": 20,
        "Please retry in 34.07s.": 34.07,
        "quota will reset after 5h12m44s.": 5 * 3600 + 12 * 60 + 44,
        "resets in 2 hours and 5 minutes": 2 * 3600 + 300,
        "retry-after: 30": 30,
        "Retry after 250ms": 0.25,
        "try again in 400 days": waits.LONGEST_WAIT,
    }.items():
        assert waits.in_words(words) == pytest.approx(seconds), words
    for words in (
        "resets 3am",
        "usage limit reached|1733356800",
        "try again later",
        "resets 10:30",
    ):
        assert waits.in_words(words) is None


def lines(*values: object) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


PIECES = [EDIT[i : i + 25] for i in range(0, len(EDIT), 25)]


@pytest.mark.parametrize(
    "printed",
    [
        EDIT,
        "\ufeff" + EDIT.replace("\n", "\r\n"),
        "\x1b]0;agent\x07\x1b[2J\x1b[1;32m" + EDIT.replace("category", "\x1b[36mcategory\x1b[0m"),
        "⠋ Thinking\r⠙ Thinking\r\x1b[K" + EDIT,
        json.dumps({"type": "result", "is_error": False, "result": EDIT, "usage": {"a": 1}}),
        json.dumps({"response": EDIT, "stats": {"models": {}}}, indent=2),
        json.dumps({"choices": [{"message": {"role": "assistant", "content": EDIT}}]}),
        json.dumps({"content": [{"type": "text", "text": EDIT}]}),
        json.dumps([{"type": "system"}, {"type": "result", "result": EDIT}]),
        json.dumps(EDIT),
        lines(
            {"type": "message", "role": "user", "content": EDIT.replace("longer", "worse")},
            {"type": "item.completed", "item": {"type": "agent_message", "text": EDIT}},
            {"type": "turn.completed", "usage": {"input_tokens": 9}},
        ),
        lines(*({"type": "delta", "role": "assistant", "content": piece} for piece in PIECES)),
    ],
)
def test_the_reply_that_was_meant(printed: str) -> None:
    assert reply_in(printed.encode()) == EDIT


@pytest.mark.parametrize(
    "value",
    [
        {"type": "result", "is_error": True, "result": "API Error: Rate limit reached"},
        {"session_id": "x", "error": {"type": "Error", "message": "429 too many requests"}},
    ],
)
def test_an_error_in_json_is_that_error(value: object) -> None:
    assert fault_in(reply_in(json.dumps(value).encode())) == "outage"


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_read(printed: bytes) -> None:
    text = reply_in(printed)
    assert isinstance(holds_edit(text), bool)
    assert fault_in(text) in ("", "mend", "outage", "refusal", "error")


@pytest.mark.parametrize(
    "printed", ["[" * 100_000, "\n" * 1_000_000, '{"a":' * 100_000, "a b " * 200_000 + ":"]
)
def test_what_is_nested_or_long_is_read_in_time(printed: str) -> None:
    assert reply_in(printed.encode()) == printed
    assert fault_in(printed) == ""
    meaning(printed[-1500:])
