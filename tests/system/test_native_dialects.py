"""Anthropic and Gemini as providers: faults, what cannot be expressed, and who pays for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest
from broken_stream import read_stream
from fake_anthropic import FakeAnthropic
from fake_gemini import FakeGemini
from fake_provider import Behaviour, FakeProvider, Fault
from live_gateway import LiveGateway
from merge import merged, sse_events
from openai_fields import SAMPLES

from server.health import Health
from server.model_facts import facts_of
from server.upstream.anthropic import request as anthropic_request
from server.upstream.anthropic.thinking import Thinking, thinking_of
from server.upstream.gemini import request as gemini_request

KEY = "secret-canary-of-the-provider"
UPSTREAM = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}
HELLO: dict[str, Any] = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}]}
SAID = "Hello from "


@dataclass
class Rig:
    kind: str
    native: FakeProvider
    spare: FakeProvider
    client: httpx.Client
    health: Health

    def post(self, **fields: Any) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=HELLO | fields)

    def script(self, **behaviour: Any) -> None:
        self.native.script(UPSTREAM[self.kind], Behaviour(**behaviour))


def config(kind: str, native: str, spare: str, patience_s: float) -> str:
    return f"""
providers:
  it: {{kind: {kind}, base_url: "{native}", api_key_env: IT_KEY,
       connect_timeout_s: {patience_s}, first_byte_timeout_s: {patience_s},
       idle_timeout_s: {patience_s}}}
  other: {{kind: openai, base_url: "{spare}"}}
models:
  native: {{provider: it, upstream_model: {UPSTREAM[kind]}, input_usd_per_mtok: 3,
           output_usd_per_mtok: 15, cached_input_usd_per_mtok: 0.3, cache_write_usd_per_mtok: 3.75,
           cache_write_1h_usd_per_mtok: 6, reasoning_usd_per_mtok: 20,
           audio_input_usd_per_mtok: 7, max_output_tokens: 8192}}
  spare: {{provider: other, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{native: 2, spare: 0}}}}
# one gateway sees many failures here
routing: {{retries: 0, breaker: {{consecutive_failures: 100000, min_requests: 100000}}}}
"""


@contextmanager
def running(kind: str, *, patience_s: float = 20) -> Iterator[Rig]:
    """patience_s: how long the provider is waited for. With little of it, a model that is slow on a
    busy machine would be left for the spare one."""
    fake = {"anthropic": FakeAnthropic, "gemini": FakeGemini}[kind]
    with fake(api_key=KEY) as native, FakeProvider() as spare:
        text = config(kind, native.base_url, spare.base_url, patience_s)
        with (
            LiveGateway(text, {"IT_KEY": KEY}) as gateway,
            httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client,
        ):
            yield Rig(kind, native, spare, client, gateway.health)


@pytest.fixture(scope="module", params=["anthropic", "gemini"])
def shared(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with running(request.param) as rig:
        yield rig


@pytest.fixture
def rig(shared: Rig) -> Rig:
    """As new, except that a model which was told to wait still waits."""
    shared.health.configured_anew()
    for provider in (shared.native, shared.spare):
        provider.requests.clear()
        provider.script(UPSTREAM[shared.kind], Behaviour())
    return shared


@pytest.fixture(params=["anthropic", "gemini"])
def fresh(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with running(request.param) as rig:
        yield rig


@pytest.fixture(params=["anthropic", "gemini"])
def hurried(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Waits for the provider for a second only."""
    with running(request.param, patience_s=1) as rig:
        yield rig


@pytest.mark.parametrize("stream", [False, True])
def test_it_answers_under_the_catalogues_name(rig: Rig, stream: bool) -> None:
    response = rig.post(stream=stream)
    assert response.headers["x-p2l-model"] == "native"
    if stream:
        *chunks, done = sse_events(response.text)
        assert done == "[DONE]"
        assert all(chunk["choices"] for chunk in chunks), "usage was not asked for"
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        answer = merged(chunks)
        assert {chunk["model"] for chunk in chunks} == {"native"}
    else:
        answer = response.json()["choices"][0]
        assert response.json()["model"] == "native"
    assert answer["message"]["content"] == SAID + UPSTREAM[rig.kind]
    assert answer["finish_reason"] == "stop"


FAULTS = [
    {"status": 500},
    {"status": 503},
    {"status": 529, "error": {"type": "overloaded_error", "message": "Overloaded"}},
    {"status": 401},
    {"status": 403},
    {"status": 404, "error": {"message": "model: claude-sonnet-4-5 models/gemini-2.5-flash"}},
    {"garbage": b"<html>"},
    {"fault": Fault.RESET},
    {
        "status": 400,
        "error": {"message": "Your credit balance is too low", "status": "FAILED_PRECONDITION"},
    },
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("behaviour", FAULTS, ids=lambda b: str(sorted(b.items(), key=str))[:40])
def test_failures_that_are_not_the_callers_go_to_another_model(
    rig: Rig, behaviour: dict[str, Any], stream: bool
) -> None:
    rig.script(**behaviour)
    response = rig.post(stream=stream)
    assert response.status_code == 200
    assert response.headers["x-p2l-model"] == "spare"
    assert response.headers["x-p2l-attempts"] == "2"


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_does_not_answer_in_time_is_left_for_another_one(
    hurried: Rig, stream: bool
) -> None:
    hurried.script(first_delay_s=30)
    response = hurried.post(stream=stream)
    assert (response.status_code, response.headers["x-p2l-model"]) == (200, "spare")


@pytest.mark.parametrize("after", [0, 1])
def test_a_stream_that_fails_before_it_says_anything_goes_to_another_model(
    rig: Rig, after: int
) -> None:
    if rig.kind == "gemini" and after == 1:
        pytest.skip("its first event says something")
    rig.script(fault=Fault.ERROR, fault_after=after)
    response = rig.post(stream=True)
    assert response.headers["x-p2l-model"] == "spare"


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.ERROR, Fault.MALFORMED, Fault.END])
def test_a_stream_that_breaks_ends_with_an_error_event(rig: Rig, fault: Fault) -> None:
    _broken_stream(rig, fault)


def test_a_stream_that_falls_silent_ends_with_an_error_event(hurried: Rig) -> None:
    _broken_stream(hurried, Fault.SILENCE)


def _broken_stream(rig: Rig, fault: Fault) -> None:
    after = 4 if rig.kind == "anthropic" else 2
    rig.script(texts=("a", "b", "c", "d", "e"), fault=fault, fault_after=after)
    answer = read_stream(rig.client, "/v1/chat/completions", HELLO | {"stream": True})
    seen = sse_events(answer.text)
    # an overload is known by its type
    assert answer.is_broken == (seen[-1]["error"]["type"] == "server_error")
    assert "[DONE]" not in seen
    assert seen[-1]["error"]["code"] in ("upstream_error", "upstream_timeout")
    assert seen[0]["choices"][0]["delta"]["content"]


def test_what_the_provider_objects_to_is_passed_on_in_openais_envelope(rig: Rig) -> None:
    rig.script(status=400, error={"type": "invalid_request_error", "status": "INVALID_ARGUMENT",
                                  "message": f"too long, {KEY}"})  # fmt: skip
    response = rig.post()
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["message"] == "too long, **********"
    assert set(error) == {"message", "type", "param", "code"}


def test_a_wrong_key_is_ours_and_never_said(fresh: Rig) -> None:
    rig = fresh
    rig.native.api_key = "another"
    response = rig.post(model="native")
    assert response.status_code == 502
    assert KEY not in response.text


def test_retry_after_is_heeded(fresh: Rig) -> None:
    rig = fresh
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "33.5s"}
    error = {"message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [info]}
    headers = {} if rig.kind == "gemini" else {"retry-after": "34"}
    rig.script(status=429, error=error, headers=headers)
    response = rig.post(model="native")
    assert response.status_code == 429
    assert response.headers["retry-after"] == "34"
    assert rig.post(model="native").status_code == 429
    assert rig.post().headers["x-p2l-model"] == "spare"
    assert len(rig.native.chats) == 1, "it is left alone"


def test_a_hard_budgets_cap_goes_out_in_its_own_words(rig: Rig) -> None:
    headers = {"X-Cost-Budget": "0.02", "X-Cost-Budget-Mode": "hard"}
    response = rig.client.post("/v1/chat/completions", json=HELLO, headers=headers)
    cap = int(response.headers["x-p2l-max-output-tokens"])
    body = rig.native.chats[0].body
    sent = body["max_tokens"] if rig.kind == "anthropic" else body["generationConfig"]
    assert sent == cap if rig.kind == "anthropic" else sent["maxOutputTokens"] == cap


# --- what cannot be expressed ---------------------------------------------------------------

TABLES = {"anthropic": anthropic_request, "gemini": gemini_request}
# Samples of the table of fields that this dialect expresses only in part.
ADAPTED: dict[str, dict[str, Any]] = {
    "anthropic": {
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"type": "object", "additionalProperties": False}}},
        "tool_choice": "auto",
        "stop": ["END"],
    },
    "gemini": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"store", "model", "messages"}))
def test_each_field_is_expressed_or_rules_the_model_out_or_is_named_as_left_out(
    rig: Rig, name: str
) -> None:
    value = ADAPTED[rig.kind].get(name, SAMPLES[name])
    fields = {name: value, "max_completion_tokens": 4000} | (
        {"tools": SAMPLES["tools"]} if name in ("tool_choice", "parallel_tool_calls") else {}
    )
    if name in ("max_completion_tokens", "stream_options"):
        fields |= {"max_completion_tokens": 77, "stream": name == "stream_options"}
    response = rig.post(**fields)
    assert response.status_code == 200, response.text
    table = TABLES[rig.kind]
    if name in table.INEXPRESSIBLE:
        assert response.headers["x-p2l-model"] == "spare"
        reason = rig.post(model="native", **fields).json()["error"]["message"]
        assert name in reason
        assert "does not support" in reason
        return
    assert response.headers["x-p2l-model"] == "native"
    left_out = response.headers.get("x-p2l-left-out-fields", "").split(",")
    plain = {k: v for k, v in rig.native.chats[-1].body.items() if k != "stream"}
    rig.post(
        max_completion_tokens=4000, **({"tools": fields["tools"]} if "tools" in fields else {})
    )
    without = {k: v for k, v in rig.native.chats[-1].body.items() if k != "stream"}
    if name not in ("stream", "stream_options", "tools", "tool_choice"):
        assert (plain == without) == (name in left_out), "not sent, and not said"
    if name in left_out:
        strict = rig.post(p2l={"strict_params": True}, **fields)
        assert strict.headers["x-p2l-model"] == "spare"


PARTS = [
    ({"type": "image_url", "image_url": {"url": "ftp://x/a.png"}}, "both"),
    ({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA=="}}, "anthropic"),
    ({"type": "image_url", "image_url": {"url": "https://x.org/picture"}}, "gemini"),
    ({"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}, "anthropic"),
    ({"type": "input_audio", "input_audio": {"data": "AA=="}}, "both"),
    ({"type": "file", "file": {"file_id": "file-1"}}, "both"),
    ({"type": "file", "file": {"file_data": "data:text/csv;base64,AA=="}}, "anthropic"),
    ({"type": "part_of_the_future"}, "both"),
]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[1]"}}
USER = {"role": "user", "content": "x"}
CONVERSATIONS = [
    ([USER, {"role": "assistant", "content": "y", "prefix": True}], "begun by the caller"),
    ([{"role": "user", "name": "ann", "content": "x"}], "names"),
    ([USER, {"role": "assistant", "content": None, "audio": {"id": "a"}}, USER], "audio"),
]  # fmt: skip


TAKEN = [
    [USER, {"role": "system", "content": "y"}, USER],
    [{"role": "developer", "content": "y"}],
    [{"role": "assistant", "content": "y"}, USER],
    [{"role": "user", "content": ""}],
    [USER, {"role": "assistant", "tool_calls": [CALL]},
     {"role": "tool", "tool_call_id": "c", "content": "y"}],
    [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, USER],
    [USER, {"role": "tool", "tool_call_id": "c", "content": "y"}],
    [USER, {"role": "assistant", "name": "planner", "content": "y"}, USER],
    [USER, {"role": "assistant", "content": "y"}],
]  # fmt: skip


@pytest.mark.parametrize("messages", TAKEN)
def test_conversations_of_any_order_are_expressed(rig: Rig, messages: list[dict[str, Any]]) -> None:
    response = rig.post(messages=messages)
    assert response.headers["x-p2l-model"] == "native", response.text
    turns = rig.native.chats[-1].body["messages" if rig.kind == "anthropic" else "contents"]
    assert turns[0]["role"] == "user"


@pytest.mark.parametrize(("part", "who"), PARTS)
def test_parts_that_cannot_be_expressed_rule_the_model_out(
    rig: Rig, part: dict[str, Any], who: str
) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]
    expected = "spare" if who in ("both", rig.kind) else "native"
    assert rig.post(messages=messages).headers["x-p2l-model"] == expected


@pytest.mark.parametrize(("messages", "reason"), CONVERSATIONS)
def test_conversations_that_cannot_be_expressed_rule_the_model_out(
    rig: Rig, messages: list[dict[str, Any]], reason: str
) -> None:
    assert rig.post(messages=messages).headers["x-p2l-model"] == "spare"
    error = rig.post(messages=messages, model="native").json()["error"]
    assert error["code"] == "no_eligible_model"
    assert reason in error["message"]
    assert rig.native.chats == []


OPEN_SCHEMA = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}


def test_a_field_of_the_future_goes_only_where_unknown_fields_may(rig: Rig) -> None:
    response = rig.post(field_of_the_future=1)
    assert response.headers["x-p2l-model"] == "native"
    assert response.headers["x-p2l-left-out-fields"] == "field_of_the_future"
    assert "field_of_the_future" not in rig.native.chats[0].body
    strict = rig.post(field_of_the_future=1, p2l={"strict_params": True})
    assert strict.headers["x-p2l-model"] == "spare"
    assert rig.spare.chats[0].body["field_of_the_future"] == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"temperature": 1.5}, "temperature above 1"),
        ({"stop": [" "]}, "white space"),
        ({"reasoning_effort": "high", "max_tokens": 500}, "output cap of 500"),
        ({"reasoning_effort": "high", "temperature": 0}, "together with reasoning"),
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"response_format": OPEN_SCHEMA}, "additionalProperties"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "not functions"),
    ],
)  # fmt: skip
def test_what_anthropic_would_refuse_is_known_before(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(anthropic_request.InexpressibleError, match=reason):
        anthropic_request.to_messages(
            HELLO | fields, "m", thinking=Thinking.BUDGET, max_output_tokens=None
        )


@pytest.mark.parametrize("ours", [{"p2l": {"budget_usd": 1}}, {"cost": 1}, {"p2l": {}}])
def test_our_own_fields_rule_no_provider_out(rig: Rig, ours: dict[str, Any]) -> None:
    assert rig.post(**ours).headers["x-p2l-model"] == "native"
    assert not {"p2l", "cost"} & set(rig.native.chats[-1].body)


THINKING = {"type": "enabled", "budget_tokens": 5000}


@pytest.mark.parametrize(
    ("fields", "needed"), [({"thinking": THINKING}, 5000), ({"reasoning_effort": "high"}, 1024)]
)
@pytest.mark.parametrize("shared", ["anthropic"], indirect=True)
def test_a_hard_budget_leaves_room_after_thinking_or_rules_the_model_out(
    rig: Rig, fields: dict[str, Any], needed: int
) -> None:
    def ask(path: str, tokens: int, **options: Any) -> httpx.Response:
        hard = {"budget_usd": str(tokens * Decimal("20e-6")), "budget_mode": "hard", **options}
        return rig.client.post(path, json=HELLO | fields | {"p2l": hard})

    short, enough = needed + 100, needed + 256 + 100
    rows = ask("/v1/route", short).json()["alternatives"]
    (reason,) = [row["reason"] for row in rows if row["model"] == "native"]
    assert f"with {needed} tokens of thinking" in reason
    assert ask("/v1/chat/completions", short).json()["model"] == "spare"
    refused = ask("/v1/chat/completions", short, models=["native"])
    assert refused.json()["error"]["code"] == "budget_infeasible"
    assert not rig.native.chats
    assert ask("/v1/chat/completions", enough).json()["model"] == "native"
    sent = rig.native.chats[-1].body
    assert needed + 256 <= sent["max_tokens"] <= enough
    assert sent["thinking"]["budget_tokens"] < sent["max_tokens"]


def test_thinking_without_a_cap_gets_one_above_it() -> None:
    def sent(limit: int | None, **fields: Any) -> dict[str, Any]:
        return anthropic_request.to_messages(
            HELLO | fields, "m", thinking=Thinking.BUDGET, max_output_tokens=limit
        )

    assert sent(None, thinking=THINKING)["max_tokens"] == 5000 + 4096
    assert sent(8192, thinking=THINKING)["max_tokens"] == 8192
    for limit, fields in ((4096, {}), (None, {"max_tokens": 5000})):
        with pytest.raises(anthropic_request.InexpressibleError, match="5000 tokens within"):
            sent(limit, thinking=THINKING, **fields)


@pytest.mark.parametrize(
    ("model", "style"),
    [
        ("claude-3-haiku-20240307", Thinking.NONE),
        ("claude-3-5-sonnet-20241022", Thinking.NONE),
        ("claude-3-7-sonnet-20250219", Thinking.BUDGET),
        ("claude-opus-4-20250514", Thinking.BUDGET),
        ("claude-opus-4-1", Thinking.BUDGET),
        ("claude-sonnet-4-5-20250929", Thinking.BUDGET),
        ("claude-opus-4-8", Thinking.ADAPTIVE),
        ("claude-of-the-future", Thinking.ADAPTIVE),
    ],
)
def test_how_a_model_is_told_to_think(model: str, style: Thinking) -> None:
    assert thinking_of(facts_of(model)) is style


# --- cost -----------------------------------------------------------------------------------

M = Decimal(10) ** 6
# usage as reported -> USD by hand, at the prices of the configuration above
USAGES: dict[str, list[tuple[dict[str, Any], Decimal]]] = {
    "anthropic": [
        ({"input_tokens": 1000, "output_tokens": 100}, (1000 * 3 + 100 * 15) / M),
        (
            {"input_tokens": 7, "cache_read_input_tokens": 5000, "cache_creation_input_tokens": 0,
             "output_tokens": 1},
            (7 * 3 + 5000 * Decimal("0.3") + 15) / M,
        ),
        (
            {"input_tokens": 21, "cache_creation_input_tokens": 188,
             "cache_read_input_tokens": 2048, "output_tokens": 503,
             "cache_creation": {"ephemeral_5m_input_tokens": 88, "ephemeral_1h_input_tokens": 100}},
            (21 * 3 + 88 * Decimal("3.75") + 100 * 6 + 2048 * Decimal("0.3") + 503 * 15) / M,
        ),
        (
            {"input_tokens": 10, "output_tokens": 400,
             "output_tokens_details": {"thinking_tokens": 390}},
            (10 * 3 + 390 * 20 + 10 * 15) / M,
        ),
    ],
    "gemini": [
        ({"promptTokenCount": 1000, "candidatesTokenCount": 100}, (1000 * 3 + 100 * 15) / M),
        (
            {"promptTokenCount": 5007, "cachedContentTokenCount": 5000, "candidatesTokenCount": 1},
            (7 * 3 + 5000 * Decimal("0.3") + 15) / M,
        ),
        (
            {"promptTokenCount": 10, "candidatesTokenCount": 10, "thoughtsTokenCount": 390,
             "toolUsePromptTokenCount": 40},
            (50 * 3 + 390 * 20 + 10 * 15) / M,
        ),
        (
            {"promptTokenCount": 500, "candidatesTokenCount": 3, "cachedContentTokenCount": 100,
             "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100},
                                     {"modality": "AUDIO", "tokenCount": 400}],
             "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 100}]},
            (100 * 3 + 300 * 7 + 100 * Decimal("0.3") + 3 * 15) / M,
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("number", range(4))
def test_cost_is_the_reported_usage_at_its_own_prices(rig: Rig, number: int, stream: bool) -> None:
    usage, expected = USAGES[rig.kind][number]
    rig.script(usage=usage)
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    response = rig.post(**options)
    if stream:
        reported = sse_events(response.text)[-2]["usage"]
    else:
        reported = response.json()["usage"]
        assert Decimal(response.headers["x-p2l-cost-usd"]) == expected
    assert reported["cost"] == pytest.approx(float(expected), abs=1e-9)
