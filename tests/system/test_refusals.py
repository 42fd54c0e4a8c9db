"""A refusal about the model is not the caller's fault: another model answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from broken_stream import read_stream
from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_provider import Behaviour, FakeProvider
from live_gateway import LiveGateway
from merge import sse_events

from server.upstream.beginning import has_begun
from server.upstream.errors import (
    UpstreamModelRefusedError,
    UpstreamRateLimitedError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
    error_for_status,
    error_within,
)
from server.upstream.refusals import Refusal, refusal_of
from server.upstream.said import error_in

HELLO: dict[str, Any] = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}]}

# Each as its provider words it.
REFUSALS: list[tuple[int, dict[str, Any], Refusal]] = [
    (404, {"message": "The model `gpt-4-turbo` does not exist or you do not have access to it.",
           "code": "model_not_found"}, Refusal.MODEL),
    (400, {"message": "The model `llama-3.1-70b` has been decommissioned and is no longer "
                      "supported.", "code": "model_decommissioned"}, Refusal.MODEL),
    (400, {"message": "openai/o9 is not a valid model ID", "code": 400}, Refusal.MODEL),
    (400, {"message": "Model Not Exist", "type": "invalid_request_error"}, Refusal.MODEL),
    (404, {"message": "model: claude-3-opus-20240229 was not found", "type": "not_found_error"},
     Refusal.MODEL),
    (404, {"message": "models/gemini-1.5-pro is not found for API version v1beta, or is not "
                      "supported for generateContent.", "status": "NOT_FOUND"}, Refusal.MODEL),
    (403, {"message": "Project `p` does not have access to model `o3`",
           "code": "model_not_found"}, Refusal.MODEL),
    (403, {"message": "Your account is not authorized to use this model."}, Refusal.ACCESS),
    (400, {"message": "Your organization must be verified to use the model `o3`."},
     Refusal.ACCESS),
    (402, {"message": "Insufficient Balance", "type": "unknown_error"}, Refusal.QUOTA),
    (402, {"message": "This request requires more credits, or fewer max_tokens."}, Refusal.QUOTA),
    (400, {"message": "Your credit balance is too low to access the Anthropic API."},
     Refusal.QUOTA),
    (403, {"message": "Key limit exceeded (total limit)."}, Refusal.QUOTA),
    (429, {"message": "You exceeded your current quota, please check your plan.",
           "type": "insufficient_quota", "code": "insufficient_quota"}, Refusal.QUOTA),
    (400, {"message": "Unsupported parameter: 'temperature' is not supported with this model.",
           "param": "temperature", "code": "unsupported_parameter"}, Refusal.PARAMETER),
    (400, {"message": "Unsupported value: 'reasoning_effort' does not support 'minimal'.",
           "code": "unsupported_value"}, Refusal.PARAMETER),
    (400, {"message": "max_tokens is too large: 128000. This model supports at most 16384 "
                      "completion tokens.", "param": "max_tokens"}, Refusal.PARAMETER),
    (400, {"message": "max_tokens: 64000 > 8192, which is the maximum allowed number of output "
                      "tokens for claude-3-5-haiku"}, Refusal.PARAMETER),
    (400, {"message": "`temperature` is deprecated for this model."}, Refusal.PARAMETER),
    (400, {"message": "tools.0: Input tag 'web_search_20260101' found using 'type' does not match "
                      "any of the expected tags: 'custom'"}, Refusal.PARAMETER),
    (400, {"message": "Function calling is not enabled for this model: does not support tools"},
     Refusal.PARAMETER),
    (422, {"message": "body.messages.1.assistant.reasoning: Extra inputs are not permitted"},
     Refusal.PARAMETER),
    (400, {"message": "Invalid schema for function 'f': In context=(), object schema missing "
                      "properties.", "code": "invalid_function_parameters"}, Refusal.PARAMETER),
    (400, {"message": "tools.3.custom.input_schema.properties: Property keys should match pattern "
                      "'^[a-zA-Z0-9_.-]{1,64}$'"}, Refusal.PARAMETER),
    (400, {"message": "tools: Tool names must be unique."}, Refusal.PARAMETER),
    (400, {"message": "Duplicate function declaration found: f"}, Refusal.PARAMETER),
    (400, {"message": "Invalid 'stop': array too long. Expected an array with maximum length 4, "
                      "but got an array with length 5 instead.", "param": "stop",
           "code": "array_above_max_length"}, Refusal.PARAMETER),
    (400, {"message": "Invalid 'messages[1].tool_calls[0].id': string too long.",
           "code": "string_above_max_length"}, Refusal.PARAMETER),
    (400, {"message": "This model does not support assistant message prefill. The conversation "
                      "must end with a user message."}, Refusal.PARAMETER),
    (400, {"message": "messages.0.content.0.image.source.base64: The image was specified using the "
                      "image/png media type, but the image appears to be a image/jpeg image"},
     Refusal.PARAMETER),
    (400, {"message": "A maximum of 4 blocks with cache_control may be provided. Found 6."},
     Refusal.PARAMETER),
    (422, {"message": "temperature: Input should be less than or equal to 1.5"},
     Refusal.PARAMETER),
    (400, {"message": "This model's maximum context length is 8192 tokens.",
           "code": "context_length_exceeded"}, Refusal.CONTEXT),
    (400, {"message": "prompt is too long: 209000 tokens > 200000 maximum"}, Refusal.CONTEXT),
    (400, {"message": "input length and `max_tokens` exceed context limit: 190000 + 32000"},
     Refusal.CONTEXT),
    (400, {"message": "The input token count (1200000) exceeds the maximum number of tokens "
                      "allowed (1048576).", "status": "INVALID_ARGUMENT"}, Refusal.CONTEXT),
    (413, {"message": "Request too large for model `x` in organization", "type": "tokens"},
     Refusal.CONTEXT),
    (400, {"message": "The response was filtered", "code": "content_filter",
           "innererror": {"code": "ResponsibleAIPolicyViolation"}}, Refusal.CONTENT),
    (400, {"message": "filtered", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
     Refusal.CONTENT),
    (403, {"message": "Input was flagged for moderation"}, Refusal.CONTENT),
    (400, {"message": "Content Exists Risk"}, Refusal.CONTENT),
    (400, {"message": "Input data may contain inappropriate content.",
           "code": "data_inspection_failed"}, Refusal.CONTENT),
    (400, {"message": "Output blocked by content filtering policy"}, Refusal.CONTENT),
]  # fmt: skip
# What the caller has to mend, whichever model is asked, and what is about nobody's model.
OTHERS: list[tuple[int, dict[str, Any]]] = [
    (400, {"message": "Invalid type for 'messages[0].content': expected a string."}),
    (400, {"message": "tool_use ids were found without tool_result blocks: toolu_1"}),
    (400, {"message": "Could not parse the JSON body of your request."}),
    (400, {"message": "You uploaded an image that is broken."}),
    (429, {"message": "Rate limit reached for requests", "code": "rate_limit_exceeded"}),
    (401, {"message": "Incorrect API key provided"}),
    (403, {"message": "Forbidden"}),
    (500, {"message": "The model is not supported"}),
]


@pytest.mark.parametrize(("status", "error", "refusal"), REFUSALS, ids=lambda v: str(v)[:60])
def test_what_a_refusal_is_about(status: int, error: dict[str, Any], refusal: Refusal) -> None:
    assert refusal_of(status, error) is refusal


@pytest.mark.parametrize(("status", "error"), OTHERS, ids=lambda v: str(v)[:60])
def test_what_is_not_about_the_model(status: int, error: dict[str, Any]) -> None:
    assert refusal_of(status, error) is None


def test_no_message_quotes_the_provider() -> None:
    error = error_for_status(
        "p", 400, envelope={"error": {"message": "unsupported: secret", "code": "content_filter"}}
    )
    assert isinstance(error, UpstreamModelRefusedError)
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("said", "kind", "status"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, UpstreamUnavailableError, 529),
        ({"code": 429, "message": "slow down"}, UpstreamRateLimitedError, 429),
        ({"code": "502", "message": "bad gateway"}, UpstreamUnavailableError, 502),
        ({"type": "insufficient_quota"}, UpstreamRateLimitedError, 429),
        ({"code": "context_length_exceeded"}, UpstreamModelRefusedError, 400),
        ({"message": "This model's maximum context length is 10"}, UpstreamModelRefusedError, 400),
        ({"type": "invalid_request_error", "message": "no"}, UpstreamRejectedError, 400),
        ({"status": "UNAVAILABLE", "code": 503}, UpstreamUnavailableError, 503),
        ({"message": "something broke"}, UpstreamUnavailableError, 200),
    ],
)
def test_an_error_inside_an_answer_is_what_it_says(
    said: dict[str, Any], kind: type, status: int
) -> None:
    error = error_within("p", said)
    assert type(error) is kind
    assert error.status == status


@pytest.mark.parametrize(
    "content", [b'{"error": "it broke"}', b'{"message": "it broke"}', b"it broke"]
)
def test_an_error_that_names_no_status_is_not_the_callers(content: bytes) -> None:
    error = error_within("p", error_in(content))
    assert type(error) is UpstreamUnavailableError
    assert error.said is not None
    assert error.said.words == "it broke"


@pytest.mark.parametrize(
    ("event", "begun"),
    [
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, False),
        ({"choices": [{"delta": {"role": "assistant"}, "finish_reason": None}]}, False),
        ({"choices": [], "prompt_filter_results": []}, False),
        ({"choices": [{"delta": {"content": "a"}}]}, True),
        ({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}, True),
        ({"choices": [{"delta": {"reasoning": "hm"}}]}, True),
        ({"choices": [{"delta": {}, "finish_reason": "stop"}]}, False),
        ({"choices": [{"text": "a"}]}, True),
        ({"type": "message_start", "message": {}}, False),
        ({"type": "ping"}, False),
        ({"type": "content_block_start", "content_block": {"type": "text", "text": ""}}, False),
        ({"type": "content_block_start", "content_block": {"type": "tool_use"}}, True),
        ({"type": "content_block_delta"}, True),
        ({"type": "message_delta"}, True),
        ({"type": "response.created"}, False),
        ({"type": "response.in_progress"}, False),
        ({"type": "response.output_item.added", "item": {"type": "message"}}, False),
        ({"type": "response.output_item.added", "item": {"type": "function_call"}}, True),
        ({"type": "response.output_text.delta"}, True),
        ({"type": "response.completed"}, True),
    ],
)
def test_where_an_answer_begins(event: dict[str, Any], begun: bool) -> None:
    assert has_begun(event) is begun


@dataclass
class Rig:
    """A preferred model `first`, and `second` at another provider."""

    first: FakeProvider
    second: FakeProvider
    gateway: LiveGateway
    client: httpx.Client

    def post(self, path: str = "/v1/chat/completions", **fields: Any) -> httpx.Response:
        return self.client.post(path, json=HELLO | fields)

    def asked(self) -> tuple[int, int]:
        return len(self.first.requests), len(self.second.requests)


@contextmanager
def running(kind: str = "openai", models: str = "") -> Iterator[Rig]:
    fakes: Mapping[str, Any] = {
        "openai": FakeProvider, "anthropic": FakeAnthropic, "gemini": FakeGemini
    }  # fmt: skip
    with fakes[kind]() as first, FakeProvider() as second:
        url = first.base_url
        config = f"""
providers:
  one: {{kind: {kind}, base_url: "{url}", api_key_env: KEY, first_byte_timeout_s: 5}}
  two: {{base_url: "{second.base_url}"}}
models:
  first: {{provider: one, upstream_model: up-first, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  second: {{provider: two, upstream_model: up-second, input_usd_per_mtok: 1,
           output_usd_per_mtok: 2}}
{models}
scorer: {{fixed: {{first: 2, second: 1, third: 0, fourth: -1, fifth: -2}}}}
routing: {{retries: 0}}
"""
        with (
            LiveGateway(config, {"KEY": "the-providers-own-key"}) as gateway,
            httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client,
        ):
            yield Rig(first, second, gateway, client)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with running() as found:
        yield found


def refuses(status: int, error: dict[str, Any]) -> Behaviour:
    return Behaviour(status=status, error=error)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "error", "refusal"),
    [row for row in REFUSALS if row[0] != 429][::4],
    ids=lambda v: str(v)[:40],
)
def test_another_model_answers(
    rig: Rig, status: int, error: dict[str, Any], refusal: Refusal, stream: bool
) -> None:
    rig.first.script("up-first", refuses(status, error))
    response = rig.post(stream=stream)
    assert response.status_code == 200, response.text
    assert response.headers["x-p2l-model"] == "second"
    again = rig.post(stream=stream)
    assert again.status_code == 200
    rests = refusal in (Refusal.MODEL, Refusal.ACCESS, Refusal.QUOTA)
    assert rig.asked() == (1 if rests else 2, 2)


def test_the_first_refusal_is_told_where_all_refuse(rig: Rig) -> None:
    context = {"message": "prompt is too long: 9 > 8", "code": "context_length_exceeded"}
    rig.first.script("up-first", refuses(400, context))
    rig.second.script("up-second", refuses(400, {"message": "unsupported", "code": "x"}))
    response = rig.post()
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_a_failure_among_the_refusals_is_no_refusal(rig: Rig) -> None:
    rig.first.script("up-first", refuses(400, {"message": "unsupported"}))
    rig.second.script("up-second", Behaviour(status=500))
    assert rig.post().status_code == 502


def test_a_model_that_is_named_refuses_in_its_own_words(rig: Rig) -> None:
    error = {"message": "Unsupported parameter: 'top_k'", "code": "unsupported_parameter"}
    rig.first.script("up-first", refuses(400, error))
    response = rig.post(model="first")
    assert (response.status_code, response.json()["error"]["code"]) == (400, error["code"])
    assert rig.asked() == (1, 0)


def test_refusals_do_not_use_up_the_fallbacks() -> None:
    more = "\n".join(
        f"  {name}: {{provider: one, upstream_model: up-{name}, input_usd_per_mtok: 1, "
        "output_usd_per_mtok: 2}"
        for name in ("third", "fourth", "fifth")
    )
    with running(models=more) as rig:
        for name in ("first", "third", "fourth"):
            rig.first.script(f"up-{name}", refuses(400, {"message": "not supported"}))
        rig.second.script("up-second", refuses(400, {"message": "not supported"}))
        response = rig.post()
        assert response.headers["x-p2l-model"] == "fifth"
        assert response.headers["x-p2l-attempts"] == "5"


def test_a_retired_model_is_asked_again_once_the_configuration_changes(rig: Rig) -> None:
    gone = {"message": "The model has been retired", "code": "model_not_found"}
    rig.first.script("up-first", refuses(404, gone))
    for _ in range(3):
        rig.post()
    assert rig.asked() == (1, 3)
    named = rig.post(model="first")
    assert named.status_code == 502
    assert "change the configuration" in named.json()["error"]["message"]
    rig.first.script("up-first", Behaviour())
    rig.gateway.health.configured_anew()
    assert rig.post().headers["x-p2l-model"] == "first"


def test_a_quota_that_is_used_up_rests_for_minutes(rig: Rig) -> None:
    error = {"message": "no more", "code": "insufficient_quota", "type": "insufficient_quota"}
    rig.first.script("up-first", refuses(429, error))
    rig.post()
    named = rig.post(model="first")
    assert named.status_code == 429
    assert int(named.headers["retry-after"]) > 200


# --- overloaded before the first word, in any dialect's clothes ----------------------------------


def sse(*events: object, named: bool = False) -> bytes:
    lines = []
    for event in events:
        if named and isinstance(event, dict):
            lines.append(f"event: {event['type']}\n".encode())
        lines.append(b"data: " + orjson.dumps(event) + b"\n\n")
    return b"".join(lines)


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
ROLE = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""},
                     "finish_reason": None}]}  # fmt: skip
MESSAGE_START = {
    "type": "message_start",
    "message": {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [],
                "usage": {"input_tokens": 3, "output_tokens": 0}},
}  # fmt: skip
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
WORDLESS = [
    ("openai", "/v1/chat/completions", sse(ROLE, {"error": {"message": "x", "code": 503}})),
    ("openai", "/v1/chat/completions", sse(ROLE, OVERLOADED)),
    ("openai", "/v1/chat/completions", sse(ROLE)),
    ("openai", "/v1/chat/completions", sse(
        ROLE, {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error",
                            "error": {"code": 502, "message": "x"}}]})),
    ("anthropic", "/v1/chat/completions", sse(MESSAGE_START, OVERLOADED, named=True)),
    ("anthropic", "/v1/messages", sse(MESSAGE_START, OVERLOADED, named=True)),
    ("anthropic", "/v1/messages", sse(MESSAGE_START, {"type": "ping"}, BLOCK, OVERLOADED,
                                      named=True)),
    ("gemini", "/v1/chat/completions", sse(
        {"candidates": [{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL"}]})),
    ("gemini", "/v1/chat/completions", sse(
        {"candidates": [{"content": {"parts": []}, "finishReason": "OTHER"}]})),
    ("gemini", "/v1/chat/completions", sse({"promptFeedback": {"blockReason": "SAFETY"}})),
    ("gemini", "/v1/chat/completions", sse(
        {"candidates": [{"content": {}, "finishReason": "SAFETY"}]})),
    ("gemini", "/v1/messages", sse({"error": {"code": 503, "status": "UNAVAILABLE"}})),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path", "events"), WORDLESS, ids=range(len(WORDLESS)))
def test_nothing_said_is_not_a_started_answer(kind: str, path: str, events: bytes) -> None:
    with running(kind) as rig:
        rig.first.script(
            "up-first", Behaviour(garbage=events, content_type="text/event-stream", status=200)
        )
        more = {"max_tokens": 100} if path.endswith("messages") else {}
        response = rig.post(path, stream=True, **more)
        assert response.status_code == 200
        assert response.headers["x-p2l-model"] == "second"
        assert "Hello" in response.text
        assert "error" not in response.text


def test_an_answer_that_had_begun_breaks_off(rig: Rig) -> None:
    word = {"choices": [{"index": 0, "delta": {"content": "Hel"}, "finish_reason": None}]}
    rig.first.script(
        "up-first",
        Behaviour(garbage=sse(ROLE, word, OVERLOADED), content_type="text/event-stream"),
    )
    body = {"model": "p2l", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    answer = read_stream(rig.client, "/v1/chat/completions", body)
    events = sse_events(answer.text)
    assert not answer.is_broken, "clients know the type"
    assert any(isinstance(event, dict) and "error" in event for event in events)
    assert rig.asked() == (1, 0)


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "OTHER", "TOO_MANY_TOOL_CALLS"])
def test_a_whole_answer_that_failed_is_none(reason: str) -> None:
    answer = {"candidates": [{"content": {}, "finishReason": reason}],
              "usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10}}  # fmt: skip
    with running("gemini") as rig:
        rig.first.script(
            "up-first",
            Behaviour(garbage=orjson.dumps(answer), content_type="application/json", status=200),
        )
        response = rig.post()
        assert response.headers["x-p2l-model"] == "second"
