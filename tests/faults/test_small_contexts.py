"""Servers that refuse a request because prompt and reply do not fit: what fits is asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from clients import BOTH, PROMPT, TWO, ask, bare_environ, failure, open_at
from model_server import EDIT, Answer, Failure, Server

from agent.models import room
from agent.models.types import Misconfigured, Part, Prompt, Unavailable

ASKED = 32_000
SAID = {
    "vLLM": (
        "This model's maximum context length is 32768 tokens. However, you requested 40211 tokens "
        "(8211 in the messages, 32000 in the completion). Please reduce the length of the messages "
        "or completion.",
        24557,
    ),
    "vLLM, 2025": (
        "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context "
        "length is 32768 tokens and your request has 8211 input tokens (32000 > 32768 - 8211).",
        24557,
    ),
    "vLLM, 2026": (
        "This model's maximum context length is 32768 tokens. However, you requested 32000 output "
        "tokens and your prompt contains at least 769 input tokens, for a total of at least 32769 "
        "tokens. Please reduce the length of the input prompt or the number of requested output "
        "tokens. (parameter=input_tokens, value=769)",
        32768 - 9000,  # what is counted of the prompt is only what is over
    ),
    "vLLM, which counts up to the limit": (
        "You passed 769 input tokens and requested 32000 output tokens. However, the model's "
        "context length is only 32768 tokens, resulting in a maximum input length of 768 tokens. "
        "Please reduce the length of the input prompt. (parameter=input_tokens, value=769)",
        32768 - 9000,
    ),
    "vLLM, which counts characters": (
        "You passed 90000 input characters and requested 32000 output tokens. However, the model's "
        "context length is only 32768 tokens, resulting in a maximum input length of 768 tokens "
        "(at most 76800 characters). (parameter=input_text, value=90000)",
        32768 - 9000,
    ),
    "in Chinese": ("输入长度超过模型最大上下文长度 32768 tokens, 请求 40211 tokens", 24557),
    "Zhipu": ("Prompt 超长: max_tokens 参数非法，请查看文档。最大值 8192", 8192),
    "TGI, Together": (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 32768. Given: 8211 "
        "`inputs` tokens and 32000 `max_new_tokens`",
        24557,
    ),
    "SGLang": (
        "Requested token count exceeds the model's maximum context length of 32768 tokens. You "
        "requested a total of 40211 tokens: 8211 tokens from the input messages and 32000 tokens "
        "for the completion.",
        24557,
    ),
    "OpenRouter": (
        "This endpoint's maximum context length is 32768 tokens. However, you requested about "
        "40211 tokens (8000 of text input, 211 of tool input, 32000 in the output). Please "
        "reduce the length of either one, or use the \"middle-out\" transform.",
        24557,
    ),
    "llama-cpp-python": (
        "This model's maximum context length is 32768 tokens, however you requested 40211 tokens "
        "(8211 in your prompt; 32000 for the completion).",
        24557,
    ),
    "TensorRT-LLM": (
        "The sum of prompt length (8211), query length (0) and max_tokens (32000) should not "
        "exceed max_num_tokens (32768)",
        24557,
    ),
    "SambaNova": (
        "Requested generation length 32000 is not possible! The provided prompt is 8211 tokens "
        "long, so generating 32000 tokens requires a sequence length of 40211, but the maximum "
        "supported sequence length is just 32768!",
        24557,
    ),
    "Moonshot": ("Your request exceeded model token limit: 32768 (requested: 40211)", 24557),
    "Cerebras": (
        "Please reduce the length of the messages or completion. Current length is 40211 while "
        "limit is 32768",
        24557,
    ),
    "LiteLLM": (
        "Error code: 400 - {'error': {'message': \"litellm.ContextWindowExceededError: maximum "
        "context length is 32,768 tokens. However, you requested 40,211 tokens (8,211 in the "
        "messages, 32,000 in the completion)\", 'code': 400}}",
        24557,
    ),
    "Anthropic": (
        "input length and `max_tokens` exceed context limit: 188240 + 32000 > 200000, decrease "
        "input length or `max_tokens` and try again",
        11760,
    ),
    "Anthropic, old models": (
        "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for "
        "claude-3-5-sonnet-20241022",
        8192,
    ),
    "OpenAI": (
        "max_tokens is too large: 32000. This model supports at most 16384 completion tokens, "
        "whereas you provided 32000.",
        16384,
    ),
    "DeepSeek": ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 8192),
    "Qwen": ("<400> InvalidParameter: Range of max_tokens should be [1, 8192]", 8192),
    "Groq": (
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is "
        "less than the `context_window` for this model",
        8192,
    ),
    "Bedrock": (
        "The maximum tokens you requested exceeds the model limit of 4096. Try again with a "
        "maximum tokens value that is lower than 4096.",
        4096,
    ),
    "Gemini": (
        "Unable to submit request because it has a maxOutputTokens value of 32000 but the "
        "supported range is from 1 (inclusive) to 8193 (exclusive). Update the value.",
        8193,
    ),
    "a range": ("max_tokens must be in the range 1..8192", 8192),
    "without the prompt": (
        "max_tokens (32000) leaves no room for the prompt in a context of 40000 tokens",
        40000 - 9000,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("said", "left"), SAID.values(), ids=SAID)
def test_what_fits_is_read_from_the_words_of_any_server(said: str, left: int) -> None:
    assert room.does_not_fit(400, said)
    told = room.limit(said, ASKED, 9000)
    assert told is not None
    assert told[0] - told[1] == left


OTHER_NUMBERS = [
    "Request id: 202611281234567890", "(request id: 12345678)", "[req 8675309]", "request_id=4711",
    "requestId: 1234567", "x-request-id: 0194af77-1234-5678", "trace: 66121234", "(ref 99887766)",
    "2026/11/28 10:33:07", "2026-11-28T10:33:07.123Z", "on Nov 28, 2026", "28 November 2026",
    "in 2026", "created 1795872000", "HTTP 400", "status=400", "status_code: 422", "code: 40001",
    "'code': '1261'", "<400>", "error 1261", "Error code: 400 - ", "It costs $0.15",
    "$1500 a month", "1500 USD", "took 1834 ms", "retry in 120 seconds", "20s", "port 8000",
    "127.0.0.1:8000", "pid 12345", "https://x.test:8443/help/12345", "line 1200", "#12345", "85%",
    "4096 MB", "24 GiB", "user 12345", "org-12345", "claude-3-5-sonnet-20241022", "gpt-4-32k",
    "phi3:128k", "40000 characters", "v2.4096",
]  # fmt: skip


@pytest.mark.parametrize("other", OTHER_NUMBERS)
def test_a_number_of_something_else_is_no_context(other: str) -> None:
    for said, left in SAID.values():
        for text in (
            f"{other} {said}",
            f"{other}: {said}",
            f"{said} ({other})",
            f"{said}, {other}",
        ):
            told = room.limit(text, ASKED, 9000)
            assert told is not None and told[0] - told[1] == left, text
    for said in ("prompt is too long", "Please reduce the length", "exceeds the context size"):
        for text in (f"{other} {said}", f"{said} ({other})", f"{said}. {other}"):
            assert room.limit(text, ASKED, 9000) is None, text


@pytest.mark.parametrize("comma", [",", "_", " ", "\u00a0", "\u202f", "'"])
def test_numbers_in_groups_of_three_are_read(comma: str) -> None:
    for said, left in SAID.values():
        text = re.sub(r"(?<![\w-])(\d{1,3})(\d{3})(?![\w-])", rf"\1{comma}\2", said)
        told = room.limit(text, ASKED, 9000)
        assert told is not None and told[0] - told[1] == left, text


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ("maximum context length is 8k tokens", 8000),
        ("This model's maximum context is 128K tokens, 150,000 were requested", 128_000),
        ("the prompt exceeds the context of 1M tokens", 1_000_000),
        ("at most 1.5k tokens", 1500),
        ("maximum context is 16 k, you requested 40211 tokens", 16_000),
        ("phi3-128k has a context limit of 64k tokens", 64_000),
        ("maximum context length is 9999999999 tokens", None),
        ("the context of an 8B model is exceeded", None),
        ("the prompt is too long, too many tokens. See page 4000.", None),
    ],
)
def test_numbers_in_thousands_are_read(said: str, most: int | None) -> None:
    assert room.does_not_fit(400, said)
    told = room.limit(said, ASKED, 9000)
    assert (told and told[0]) == most


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (429, "Rate limit reached for gpt-6 on tokens per min (TPM): Limit 30000, Used 29000, "
              "Requested 2000. Please try again in 2s."),
        (429, "You exceeded your current quota"),
        (503, "The model is overloaded, the limit of requests is reached"),
        (400, "请求过于频繁, token 超过限制, 请稍后再试"),
        (400, "Unrecognized request argument supplied: foo"),
        (403, "token has exceeded its lifetime"),
    ],
)  # fmt: skip
def test_other_refusals_are_not_about_size(status: int, said: str) -> None:
    assert not room.does_not_fit(status, said)


def test_a_pace_that_no_request_of_this_size_keeps_is_about_size() -> None:
    said = "Request too large for gpt-6 on tokens per min (TPM): Limit 30000, Requested 40211."
    assert room.does_not_fit(429, said)
    assert room.limit(said, ASKED, 9000) == (30000, 8211)


def limits(server: Server) -> list[int]:
    bodies = [post.body for post in server.posts]
    return [body.get("max_tokens") or body["max_completion_tokens"] for body in bodies]


@BOTH
@pytest.mark.parametrize("in_stream", [False, True])
def test_the_smaller_limit_is_remembered_for_prompts_of_any_length(
    tmp_path: Path, kind: str, in_stream: bool
) -> None:
    told = "maximum context length is 1024 tokens, however you requested 1300 tokens"
    error = {"message": told, "type": "invalid_request_error", "code": 400}
    refusal = Answer(in_stream=error) if in_stream else Failure(400, told)
    with Server(refusal, Answer()) as server:
        model = open_at(kind, server.url, bare_environ(tmp_path))
        assert ask(model).text == EDIT
        assert ask(model).text == EDIT
        longer = Prompt((*PROMPT.parts, Part("more", PROMPT.text)))
        model.complete(longer, max_tokens=1000)
        assert limits(server)[:3] == [1000, 724, 724]
        assert 424 - 10 < limits(server)[3] < 424 + 10, "twice the prompt"


@TWO
def test_a_request_is_made_smaller_twice_and_no_more(tmp_path: Path, kind: str) -> None:
    words = [f"max_tokens must be at most {n}, the maximum" for n in (900, 800, 700)]
    with Server(*(Failure(400, said) for said in words)) as server:
        model = open_at(kind, server.url, bare_environ(tmp_path))
        error = failure(model)
        assert limits(server) == [1000, 900, 800]
        assert isinstance(error, Misconfigured)
        assert f'[models."{model.name}"] max_tokens = N' in str(error)
        assert "at most 700" in str(error)
        failure(model)
        assert limits(server)[3] == 1000, "a smaller limit that did not help is forgotten"


@TWO
@pytest.mark.parametrize(
    "said",
    [
        "the request exceeds the available context size, try increasing it",
        "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is "
        "loaded with context length of only 4096 tokens, which is not enough.",
        "prompt is too long: 213462 tokens > 200000 maximum",
        "Please reduce the length of the messages or completion.",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    ],
)
def test_a_prompt_that_does_not_fit_names_the_setting(tmp_path: Path, kind: str, said: str) -> None:
    with Server(Failure(400, said, "exceed_context_size_error")) as server:
        error = failure(open_at(kind, server.url, bare_environ(tmp_path)))
        assert len(server.posts) <= 3
    assert isinstance(error, Misconfigured)
    assert said[:60] in str(error)
    assert "max_tokens = N" in str(error)


def test_a_size_refused_as_a_server_s_error(tmp_path: Path) -> None:
    said = "Requested tokens (1300) exceed context window of 1024"
    with Server(Failure(500, said, headers={"x-should-retry": "false"}), Answer()) as server:
        assert ask(open_at("own server", server.url, bare_environ(tmp_path))).text == EDIT
        assert limits(server) == [1000, 724]


def test_an_outage_that_speaks_of_tokens_is_an_outage(tmp_path: Path) -> None:
    said = "no tokens left: more than the maximum of requests"
    with Server(Failure(503, said, headers={"x-should-retry": "false"})) as server:
        error = failure(open_at("own server", server.url, bare_environ(tmp_path)))
    assert isinstance(error, Unavailable)


# --- the system role ---


@BOTH
@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "System role not supported"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (500, "Jinja Exception: Conversation roles must alternate user/assistant/..."),
        (400, "Developer instruction is not enabled for models/gemma-3-27b-it"),
        (400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        (422, "messages.0.role: Input should be 'user' or 'assistant'"),
        (400, "This model doesn't support system messages. Try again without system messages."),
        (400, "Only user and assistant roles are supported!"),
        (400, "The first message must have the role user"),
        (400, "Invalid value: 'system'. Supported values are: 'assistant', 'user' of role."),
        (422, "messages[0]: unknown variant `system`, expected `user` or `assistant`"),
        (400, "system_instruction is not supported"),
        (400, "messages 参数非法。不支持 system 角色"),
    ],
)
def test_a_model_without_a_system_role_is_told_all_as_the_user(
    tmp_path: Path, kind: str, status: int, said: str
) -> None:
    refusal = Failure(status, said, headers={"x-should-retry": "false"})
    with Server(refusal, Answer()) as server:
        model = open_at(kind, server.url, bare_environ(tmp_path))
        assert ask(model).text == EDIT
        assert ask(model).text == EDIT
        first, *others = (post.body for post in server.posts)
    assert "system" in first or first["messages"][0]["role"] == "system"
    assert others[0] == others[1]
    (message,) = others[0]["messages"]
    assert "system" not in others[0] and message["role"] == "user"
    texts = message["content"]
    texts = texts if isinstance(texts, str) else "\n".join(block["text"] for block in texts)
    assert texts == PROMPT.text


@TWO
def test_a_refusal_that_stays_is_told(tmp_path: Path, kind: str) -> None:
    with Server(Failure(400, "System role not supported")) as server:
        error = failure(open_at(kind, server.url, bare_environ(tmp_path)))
        assert len(server.posts) == 2
    assert isinstance(error, Misconfigured)
    assert "System role not supported" in str(error)


def test_an_outage_of_a_system_is_an_outage(tmp_path: Path) -> None:
    said = "The system encountered an error with the message"
    with Server(Failure(500, said, headers={"x-should-retry": "false"})) as server:
        assert isinstance(
            failure(open_at("own server", server.url, bare_environ(tmp_path))), Unavailable
        )
        assert len(server.posts) == 1
