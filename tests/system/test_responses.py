"""POST /v1/responses through the official client: bridged to chat completions, and native."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider, Fault
from live_gateway import LiveGateway
from openai import OpenAI
from openai.types.responses import Response
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import BaseModel

TOOL = {
    "type": "function",
    "name": "weather",
    "description": "Current weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


PDF = "data:application/pdf;base64,AA=="
PNG = "data:image/png;base64,AA=="


def config(plain: str, claude: str) -> str:
    price = "input_usd_per_mtok: 1, output_usd_per_mtok: 10, cached_input_usd_per_mtok: 0.1"
    return f"""
providers:
  plain: {{kind: openai, base_url: "{plain}"}}
  native: {{kind: openai, base_url: "{plain}", responses: true}}
  claude: {{kind: anthropic, base_url: "{claude}"}}
models:
  bridged: {{provider: plain, upstream_model: up, {price}}}
  native: {{provider: native, upstream_model: up-native, {price}}}
  thinker: {{provider: claude, upstream_model: claude-sonnet-4-5, max_output_tokens: 9000, {price}}}
  text-only: {{provider: plain, capabilities: [], {price}}}
aliases: {{gpt-4: bridged, best: p2l}}
scorer: {{fixed: {{bridged: 2, native: 1, thinker: 0, text-only: 0}}}}
routing: {{retries: 0}}
"""


@pytest.fixture(scope="module")
def rig() -> Iterator[tuple[FakeProvider, FakeAnthropic, str]]:
    with (
        FakeProvider() as plain,
        FakeAnthropic() as claude,
        LiveGateway(config(plain.base_url, claude.base_url)) as gateway,
    ):
        yield plain, claude, gateway.url


@pytest.fixture
def provider(rig: tuple[FakeProvider, FakeAnthropic, str]) -> FakeProvider:
    provider, claude, _ = rig
    provider.requests.clear()
    claude.requests.clear()
    provider.script("up", Behaviour())
    return provider


@pytest.fixture
def claude(rig: tuple[FakeProvider, FakeAnthropic, str]) -> FakeAnthropic:
    return rig[1]


@pytest.fixture
def sdk(rig: tuple[FakeProvider, FakeAnthropic, str], provider: FakeProvider) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{rig[2]}/v1", api_key="unused", max_retries=0) as client:
        yield client


def last(provider: FakeProvider) -> Any:
    return provider.requests[-1].body


@pytest.mark.slow
def test_text_in_text_out_with_the_routing_headers(sdk: OpenAI, provider: FakeProvider) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110,
             "prompt_tokens_details": {"cached_tokens": 40},
             "completion_tokens_details": {"reasoning_tokens": 4}}  # fmt: skip
    provider.script("up", Behaviour(usage=usage))
    raw = sdk.responses.with_raw_response.create(
        model="p2l",
        input="Hi",
        instructions="Be brief.",
        max_output_tokens=50,
        temperature=0,
        extra_headers={"X-Cost-Budget": "0.01"},
    )
    answer = raw.parse()
    Response.model_validate(raw.http_response.json(), strict=True)
    assert answer.output_text == "Hello from up"
    assert answer.model == raw.headers["x-p2l-model"] == "bridged"
    assert answer.status == "completed"
    assert answer.instructions == "Be brief."
    assert raw.http_response.json()["store"] is False
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (100, 10)
    assert answer.usage.input_tokens_details.cached_tokens == 40
    assert answer.usage.output_tokens_details.reasoning_tokens == 4
    expected = (60 * 1 + 40 * 0.1 + 10 * 10) / 1e6
    assert answer.usage.cost == pytest.approx(expected, abs=1e-12)
    assert float(raw.headers["x-p2l-cost-usd"]) == pytest.approx(expected, abs=1e-12)
    assert float(raw.headers["x-p2l-budget-usd"]) == 0.01
    assert last(provider)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert last(provider)["max_completion_tokens"] == 50
    assert last(provider)["temperature"] == 0


def test_items_become_a_conversation(sdk: OpenAI, provider: FakeProvider) -> None:
    items: Any = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [
            {"type": "input_text", "text": "Look"},
            {"type": "input_image", "image_url": PNG, "detail": "low"},
            {"type": "input_file", "filename": "a.pdf", "file_data": PDF},
        ]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
         "content": [{"type": "output_text", "text": "I call.", "annotations": []}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "21"},
        {"type": "function_call_output", "call_id": "c2",
         "output": [{"type": "input_text", "text": "22"}]},
    ]  # fmt: skip
    sdk.responses.create(model="bridged", input=items, tools=[TOOL])
    call = {"type": "function", "function": {"name": "weather", "arguments": "{}"}}
    assert last(provider)["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
        ]},
        {"role": "assistant", "content": "I call.",
         "tool_calls": [{"id": "c1", **call}, {"id": "c2", **call}]},
        {"role": "tool", "tool_call_id": "c1", "content": "21"},
        {"role": "tool", "tool_call_id": "c2", "content": "22"},
    ]  # fmt: skip
    function = {name: value for name, value in TOOL.items() if name != "type"}
    assert last(provider)["tools"] == [{"type": "function", "function": function}]


DELTAS: tuple[dict[str, Any], ...] = (
    {"reasoning_content": "Let me "},
    {"reasoning_content": "see."},
    {"content": "I "},
    {"content": "look."},
    {"tool_calls": [{"index": 0, "id": "c1", "type": "function",
                     "function": {"name": "weather", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '"Oslo"}'}}]},
    {"tool_calls": [{"index": 1, "id": "c2", "type": "function",
                     "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}]},
)  # fmt: skip
ORDER = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    "response.reasoning_summary_part.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.completed",
]


def test_the_input_can_be_counted(sdk: OpenAI, provider: FakeProvider) -> None:
    short = sdk.responses.input_tokens.count(model="p2l", input="Hello there")
    assert short.object == "response.input_tokens"
    assert 2 <= short.input_tokens <= 30
    more = sdk.responses.input_tokens.count(
        input=[{"role": "user", "content": "Hello there"}], instructions="Be brief.", tools=[TOOL]
    )
    assert more.input_tokens > short.input_tokens
    assert not provider.requests, "nothing is sent"
    for wrong in ({"conversation": "conv_1"}, {"previous_response_id": "resp_0"}):
        with pytest.raises(openai.BadRequestError):
            sdk.responses.input_tokens.count(model="p2l", input="x", extra_body=wrong)


def test_streaming_has_openais_events_in_openais_order(sdk: OpenAI, provider: FakeProvider) -> None:
    provider.script("up", Behaviour(deltas=DELTAS, finish_reason="tool_calls"))
    events = list(sdk.responses.create(model="p2l", input="x", tools=[TOOL], stream=True))
    assert [event.type for event in events] == ORDER
    assert [event.sequence_number for event in events] == list(range(len(ORDER)))
    final = events[-1].response
    assert [item.type for item in final.output] == [
        "reasoning", "message", "function_call", "function_call"]  # fmt: skip
    assert final.output_text == "I look."
    assert final.output[2].arguments == '{"city":"Oslo"}'
    assert final.output[0].summary[0].text == "Let me see."
    assert final.usage.output_tokens == 8
    assert final.usage.cost > 0
    ids = [event.item_id for event in events if getattr(event, "item_id", None)]
    assert set(ids) == {item.id for item in final.output}


@pytest.mark.slow
def test_the_sdks_own_stream_helper_accepts_it(sdk: OpenAI, provider: FakeProvider) -> None:
    class City(BaseModel):
        city: str

    provider.script("up", Behaviour(texts=('{"city":', '"Oslo"}')))
    with sdk.responses.stream(model="p2l", input="x", text_format=City) as stream:
        seen = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.output_text.delta" in seen
    assert final.output_parsed == City(city="Oslo")
    form = last(provider)["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["name"] == "City"
    assert form["json_schema"]["strict"] is True
    parsed = sdk.responses.parse(model="p2l", input="x", text_format=City)
    assert parsed.output_parsed == City(city="Oslo")


def test_an_answer_that_is_cut_off_is_incomplete(sdk: OpenAI, provider: FakeProvider) -> None:
    answer = sdk.responses.create(model="bridged", input="x", max_output_tokens=2)
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"
    *_, event = sdk.responses.create(model="bridged", input="x", max_output_tokens=2, stream=True)
    assert event.type == "response.incomplete"


def test_a_broken_stream_ends_with_an_error_event(sdk: OpenAI, provider: FakeProvider) -> None:
    provider.script("up", Behaviour(texts=("a", "b", "c"), fault=Fault.CUT, fault_after=3))
    events: list[Any] = []
    stream = sdk.responses.create(model="bridged", input="x", stream=True)
    with pytest.raises(openai.APIConnectionError):
        events.extend(event for event in stream)
    assert events[-1].type == "error"
    assert events[-1].code == "upstream_error"
    assert "broke off" in events[-1].message
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_thoughts_come_back_sealed_and_are_sent_again(
    sdk: OpenAI, provider: FakeProvider, claude: FakeAnthropic
) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
    claude.script("claude-sonnet-4-5", Behaviour(blocks=(thought, call)))
    asked: Any = {"model": "thinker", "tools": [TOOL], "reasoning": {"effort": "low"},
                  "include": ["reasoning.encrypted_content"]}  # fmt: skip
    first = sdk.responses.create(input="Oslo?", **asked)
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    history: Any = [{"role": "user", "content": "Oslo?"}, *(i.to_dict() for i in first.output)]
    history.append({"type": "function_call_output", "call_id": "t1", "output": "3 C"})
    events = list(sdk.responses.create(input=history, stream=True, **asked))
    assert events[-1].response.output[0].encrypted_content == first.output[0].encrypted_content
    assert claude.chats[-1].body["messages"][1]["content"] == [thought, call]


# --- native providers -----------------------------------------------------------------------

NATIVE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1, "status": "completed",
    "model": "up-native", "output": [{"type": "message", "id": "msg_1", "role": "assistant",
    "status": "completed", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None,
    "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 40},
              "output_tokens": 10, "output_tokens_details": {"reasoning_tokens": 2},
              "total_tokens": 110},
}  # fmt: skip
NATIVE_COST = (60 * 1 + 40 * 0.1 + 10 * 10) / 1e6


def test_a_provider_that_has_responses_gets_them_as_they_are(
    sdk: OpenAI, provider: FakeProvider
) -> None:
    provider.script("up-native", Behaviour(answer=NATIVE))
    tools: Any = [{"type": "web_search"}]
    answer = sdk.responses.create(model="p2l", input="x", tools=tools, truncation="auto")
    assert answer.model == "native", "the better model cannot run the tool"
    assert answer.usage.cost == pytest.approx(NATIVE_COST, abs=1e-12)
    request = provider.requests[-1]
    assert request.path == "/v1/responses"
    assert request.body == {
        "model": "up-native", "input": "x", "tools": tools, "truncation": "auto", "store": False,
    }  # fmt: skip


def test_its_stream_passes_with_the_cost(sdk: OpenAI, provider: FakeProvider) -> None:
    begun = NATIVE | {"status": "in_progress", "usage": None, "output": []}
    delta = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,
             "content_index": 0, "delta": "Hi", "logprobs": [], "sequence_number": 1}  # fmt: skip
    events = (
        {"type": "response.created", "response": begun, "sequence_number": 0},
        delta,
        {"type": "response.completed", "response": NATIVE, "sequence_number": 2},
    )
    provider.script("up-native", Behaviour(events=events))
    seen = list(sdk.responses.create(model="native", input="x", stream=True))
    assert [event.type for event in seen] == [event["type"] for event in events]
    assert {e.response.model for e in seen if hasattr(e, "response")} == {"native"}
    assert seen[-1].response.usage.cost == pytest.approx(NATIVE_COST, abs=1e-12)


def test_tools_of_the_providers_cannot_be_budgeted(sdk: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no budget can limit") as refused:
        sdk.responses.create(
            model="p2l",
            input="x",
            tools=[{"type": "web_search"}],
            extra_headers={"X-Cost-Budget": "1"},
        )
    assert refused.value.param == "tools"


# --- every documented field has a fate ------------------------------------------------------

SAME = "the same name in chat completions"
NATIVE_ONLY = "providers that have responses only"
LEFT_OUT = "left out where it is bridged, and named"
FATES: dict[str, tuple[Any, str]] = {
    "access_programs": ({"cyber": "standard"}, LEFT_OUT),
    "background": (True, "refused"),
    "background_options": ({"completion_window": "2h"}, "refused"),
    "context_management": ([{"type": "compaction"}], LEFT_OUT),
    "conversation": ("conv_1", "refused"),
    "image": ({"context_compression": "enabled"}, LEFT_OUT),
    "include": (["message.output_text.logprobs"], "logprobs"),
    "input": ("Hello", "messages"),
    "instructions": ("Be brief.", "messages"),
    "max_output_tokens": (77, "max_completion_tokens"),
    "max_tool_calls": (3, LEFT_OUT),
    "metadata": ({"a": "b"}, SAME),
    "model": ("p2l", "ours"),
    "moderation": ({"model": "m"}, SAME),
    "parallel_tool_calls": (False, SAME),
    "previous_response_id": ("resp_1", "refused"),
    "prompt": ({"id": "pmpt_1"}, NATIVE_ONLY),
    "prompt_cache_key": ("k", SAME),
    "prompt_cache_options": ({"mode": "explicit"}, SAME),
    "prompt_cache_retention": ("24h", SAME),
    "reasoning": ({"effort": "high"}, "reasoning_effort"),
    "safety_identifier": ("s", SAME),
    "service_tier": ("flex", SAME),
    "store": (True, "refused"),
    "stream": (True, "ours"),
    "stream_options": ({"include_obfuscation": False}, "ours"),
    "temperature": (0, SAME),
    "text": ({"verbosity": "low"}, "verbosity"),
    "tool_choice": ({"type": "function", "name": "weather"}, "tool_choice"),
    "tools": ([TOOL], "tools"),
    "top_logprobs": (3, SAME),
    "top_p": (0, SAME),
    "truncation": ("auto", LEFT_OUT),
    "user": ("u", SAME),
}


def test_the_fates_are_of_all_that_is_documented() -> None:
    documented = set(ResponseCreateParamsNonStreaming.__annotations__)
    assert set(FATES) == documented | set(ResponseCreateParamsStreaming.__annotations__)


@pytest.mark.parametrize("name", sorted(FATES))
def test_each_field_has_its_fate(
    rig: tuple[FakeProvider, FakeAnthropic, str], provider: FakeProvider, name: str
) -> None:
    value, fate = FATES[name]
    provider.script("up-native", Behaviour(answer=NATIVE))
    body: dict[str, Any] = {"input": "x", name: value}
    if name in ("tool_choice", "parallel_tool_calls"):
        body["tools"] = [TOOL]
    if name == "stream_options":
        body["stream"] = True
    url = f"{rig[2]}/v1/responses"
    bridged = httpx.post(url, json=body | {"model": "bridged"}, trust_env=False)
    if fate == "refused":
        assert bridged.status_code == 400
        assert bridged.json()["error"]["param"] == name
        native = httpx.post(url, json=body | {"model": "native"}, trust_env=False)
        assert native.json() == bridged.json()
        return
    if fate == NATIVE_ONLY:
        assert bridged.status_code == 400
        assert name in bridged.json()["error"]["message"]
    else:
        assert bridged.status_code == 200, bridged.text
        said = last(provider)
        if fate == SAME:
            assert said[name] == value
        elif fate == LEFT_OUT:
            assert name not in said
            assert name in bridged.headers["x-p2l-left-out-fields"]
        elif fate != "ours":
            assert fate in said
    if not body.get("stream"):
        native = httpx.post(url, json=body | {"model": "native"}, trust_env=False)
        assert native.status_code == 200, native.text
        assert name == "model" or last(provider)[name] == value


@pytest.mark.parametrize("model", ["p2l", "native"])
def test_a_conversation_of_a_provider_is_refused_with_what_to_do(
    rig: tuple[FakeProvider, FakeAnthropic, str], model: str
) -> None:
    body = {"model": model, "input": "x", "conversation": {"id": "conv_1"}}
    refused = httpx.post(f"{rig[2]}/v1/responses", json=body, trust_env=False)
    assert refused.status_code == 400
    for way in ("as input", "previous_response_id", "X-Session-Id"):
        assert way in refused.json()["error"]["message"]
    body["conversation"] = None
    assert httpx.post(f"{rig[2]}/v1/responses", json=body, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [5]}, "input[0]"),
        ({"input": [{"role": "king", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": "x"}, "tools"),
        ({"text": "x"}, "text"),
        ({"p2l": {"budget": 1}}, "p2l.budget"),
    ],
)
def test_bad_fields_are_named(
    rig: tuple[FakeProvider, FakeAnthropic, str], change: dict[str, Any], param: str
) -> None:
    body = {"model": "p2l", "input": "x"} | change
    response = httpx.post(f"{rig[2]}/v1/responses", json=body, trust_env=False)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_aliases_are_models_and_profiles(sdk: OpenAI, provider: FakeProvider) -> None:
    assert sdk.responses.create(model="gpt-4", input="x").model == "bridged"
    routed = sdk.responses.with_raw_response.create(model="best", input="x")
    assert "x-p2l-win-rate" in routed.headers
    assert {"gpt-4", "best"} <= {model.id for model in sdk.models.list()}
    assert sdk.models.retrieve("gpt-4").id == "gpt-4"
