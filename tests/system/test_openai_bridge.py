"""Chat and Messages callers with tools reach models that OpenAI serves on /v1/responses alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import Anthropic
from broken_stream import Streamed, read_stream
from fake_openai import FakeOpenAI, call, custom_call, events_of, reasoning, refusal, text
from fake_provider import Behaviour, FakeProvider, Fault
from live_gateway import LiveGateway
from merge import merged, sse_events
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

KEY = "secret-canary-of-the-provider"
MODEL = "gpt-5.6-sol"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}}
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "description": "x", "parameters": SCHEMA}}
    for name in ("weather", "clock")
]
HELLO: list[Any] = [{"role": "user", "content": "How warm is it in Oslo?"}]
ANTHROPIC_TOOLS: list[Any] = [
    {"name": tool["function"]["name"], "input_schema": SCHEMA} for tool in TOOLS
]
# reasoning, a word, two calls at once; then reasoning and the answer
FIRST = Behaviour(
    blocks=(
        reasoning("I need the weather.", "And the time."),
        text("I look.", phase="commentary"),
        reasoning(),
        call("call_1", "weather", '{"city": "Oslo"}'),
        call("call_2", "clock", "{}"),
    )
)
SECOND = Behaviour(blocks=(reasoning("Cold."), text("3 degrees.", phase="final_answer")))


def config(main: str, spare: str, extra: str = "", patience_s: float = 20) -> str:
    price = """input_usd_per_mtok: 2, output_usd_per_mtok: 10, cached_input_usd_per_mtok: 0.2,
      cache_write_usd_per_mtok: 2.5, reasoning_usd_per_mtok: 8"""
    names = ("connect", "first_byte", "idle")
    limits = ", ".join(f"{name}_timeout_s: {patience_s}" for name in names)
    return f"""
providers:
  main: {{kind: openai, base_url: "{main}", profile: openai, api_key_env: KEY, {limits}}}
  host: {{kind: openai, base_url: "{main}", profile: openai, responses: false, api_key_env: KEY}}
  spare: {{kind: openai, base_url: "{spare}"}}
models:
  {MODEL}: {{provider: main, {price}, expected_output_tokens: 100, max_output_tokens: 100000}}
  gpt-5.4: {{provider: main, {price}}}
  gpt-4.1: {{provider: main, responses: true, {price}}}
  gpt-6-luna: {{provider: main, responses: false, {price}}}
  gpt-5.5: {{provider: host, {price}}}
  gpt-6.1-sol: {{provider: host, {price}}}
  mine: {{provider: main, upstream_model: secret-deployment, {price}}}
  unknown: {{provider: main, responses: true, {price}}}
  shy-bare: {{provider: main, responses: true, {price}}}
  plain: {{provider: spare, {price}}}
scorer: {{fixed: {{{MODEL}: 5, gpt-5.4: 4, gpt-4.1: 3, gpt-6-luna: 0, gpt-5.5: 0, mine: 0,
                  gpt-6.1-sol: 0, unknown: 6, shy-bare: 0, plain: 1}}}}
routing: {{retries: 0, breaker: {{consecutive_failures: 100000, min_requests: 100000}}}}
{extra}
"""


@contextmanager
def running(
    provider: FakeOpenAI, spare: FakeProvider, extra: str = "", patience_s: float = 20
) -> Iterator[LiveGateway]:
    """patience_s: how long the provider is waited for. With little of it, a model that is slow on a
    busy machine would be left for another one."""
    text_of_it = config(provider.base_url, spare.base_url, extra, patience_s)
    with LiveGateway(text_of_it, {"KEY": KEY}) as gateway:
        yield gateway


@contextmanager
def alone(provider: FakeOpenAI) -> Iterator[tuple[FakeOpenAI, httpx.Client]]:
    """A provider that nobody else has taught anything, and a client of its gateway."""
    with (
        provider,
        FakeProvider() as spare,
        running(provider, spare) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client,
    ):
        yield provider, client


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[FakeOpenAI, FakeProvider, LiveGateway]]:
    with (
        FakeOpenAI(api_key=KEY) as provider,
        FakeProvider() as spare,
        running(provider, spare) as gateway,
    ):
        yield provider, spare, gateway


@pytest.fixture
def provider(live: tuple[FakeOpenAI, FakeProvider, LiveGateway]) -> FakeOpenAI:
    provider, spare, _ = live
    provider.requests.clear()
    spare.requests.clear()
    for model in (MODEL, "gpt-5.4", "gpt-4.1", "gpt-6-luna", "secret-deployment"):
        provider.script(model, Behaviour())
    return provider


@pytest.fixture
def spare(live: tuple[FakeOpenAI, FakeProvider, LiveGateway], provider: FakeOpenAI) -> FakeProvider:
    return live[1]


@pytest.fixture
def client(live: tuple[FakeOpenAI, FakeProvider, LiveGateway], provider: FakeOpenAI) -> Any:
    with httpx.Client(base_url=live[2].url, trust_env=False, timeout=20) as http:
        yield http


@pytest.fixture
def sdk(live: tuple[FakeOpenAI, FakeProvider, LiveGateway], provider: FakeOpenAI) -> Any:
    with OpenAI(base_url=f"{live[2].url}/v1", api_key="unused", max_retries=0) as made:
        yield made


@pytest.fixture
def claude_sdk(live: tuple[FakeOpenAI, FakeProvider, LiveGateway], provider: FakeOpenAI) -> Any:
    with Anthropic(base_url=live[2].url, api_key="unused", max_retries=0) as made:
        yield made


def last(provider: FakeProvider) -> Any:
    return provider.requests[-1].body


def kinds(body: dict[str, Any]) -> list[str]:
    return [item.get("role") or item["type"] for item in body["input"]]


def post(client: httpx.Client, **fields: Any) -> httpx.Response:
    body = {"model": MODEL, "messages": HELLO, "tools": TOOLS}
    return client.post("/v1/chat/completions", json=body | fields)


def streamed(client: httpx.Client, **fields: Any) -> Streamed:
    body = {"model": MODEL, "messages": HELLO, "tools": TOOLS, "stream": True}
    return read_stream(client, "/v1/chat/completions", body | fields)


def results(message: Any) -> list[Any]:
    return [
        {"role": "tool", "tool_call_id": called.id, "content": f"result of {called.id}"}
        for called in message.tool_calls
    ]


def check_second_turn(provider: FakeOpenAI) -> None:
    """The reasoning came back where it was, and OpenAI took it."""
    first, second = provider.responses
    assert second.body["input"][: len(first.body["input"])] == first.body["input"]
    assert kinds(second.body) == [
        "user", "reasoning", "assistant", "reasoning", "function_call", "function_call",
        "function_call_output", "function_call_output",
    ]  # fmt: skip
    said = second.body["input"][2]
    assert (said["content"], said["phase"]) == ("I look.", "commentary")
    outputs = [item["output"] for item in second.body["input"][-2:]]
    assert outputs == ["result of call_1", "result of call_2"]
    for asked in (first.body, second.body):
        assert asked["store"] is False
        assert asked["include"] == ["reasoning.encrypted_content"]


def test_a_chat_callers_tool_loop(sdk: OpenAI, provider: FakeOpenAI) -> None:
    provider.script(MODEL, FIRST, SECOND)
    asked: Any = {"model": MODEL, "tools": TOOLS, "reasoning_effort": "high", "temperature": 0.2}
    raw = sdk.chat.completions.with_raw_response.create(messages=HELLO, **asked)
    answer = raw.parse()
    message = answer.choices[0].message
    assert raw.headers["x-p2l-left-out-fields"] == "temperature"
    assert answer.model == MODEL
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content == "I look."
    assert message.reasoning_content == "I need the weather.\n\nAnd the time."
    assert [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls] == [
        ("call_1", "weather", '{"city": "Oslo"}'),
        ("call_2", "clock", "{}"),
    ]
    messages = [*HELLO, message, *results(message)]
    final = sdk.chat.completions.create(messages=messages, **asked)
    assert final.choices[0].message.content == "3 degrees."
    assert final.choices[0].finish_reason == "stop"
    assert last(provider)["reasoning"] == {"effort": "high", "summary": "auto"}
    check_second_turn(provider)


def test_a_chat_callers_tool_loop_streamed(sdk: OpenAI, provider: FakeOpenAI) -> None:
    provider.script(MODEL, FIRST, SECOND)
    asked: Any = {"model": MODEL, "tools": TOOLS, "reasoning_effort": "high"}
    with sdk.chat.completions.stream(messages=HELLO, **asked) as stream:
        chunks = [event.chunk for event in stream if event.type == "chunk"]
        message = stream.get_final_completion().choices[0].message
    assert [c for c in chunks if c.choices[0].delta.role] == chunks[:1]
    assert message.content == "I look."
    assert [(c.id, c.function.arguments) for c in message.tool_calls] == [
        ("call_1", '{"city": "Oslo"}'),
        ("call_2", "{}"),
    ]
    sent = message.model_dump(exclude_none=True, exclude={"parsed"})
    for called in sent["tool_calls"]:
        called["function"].pop("parsed_arguments", None)
    messages = [*HELLO, sent, *results(message)]
    with sdk.chat.completions.stream(messages=messages, **asked) as stream:
        final = stream.get_final_completion().choices[0]
    assert (final.message.content, final.finish_reason) == ("3 degrees.", "stop")
    check_second_turn(provider)


def test_a_messages_callers_tool_loop(claude_sdk: Anthropic, provider: FakeOpenAI) -> None:
    provider.script(MODEL, FIRST, SECOND)
    asked: Any = {"model": MODEL, "max_tokens": 5000, "tools": ANTHROPIC_TOOLS}
    message = claude_sdk.messages.create(messages=HELLO, **asked)
    assert [block.type for block in message.content] == [
        "thinking", "redacted_thinking", "text", "tool_use", "tool_use",
    ]  # fmt: skip
    assert message.content[0].thinking == "I need the weather.\n\nAnd the time."
    assert message.stop_reason == "tool_use"
    final = claude_sdk.messages.create(messages=answered(message), **asked)
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.content[1].text == "3 degrees."
    assert last(provider)["max_output_tokens"] == 5000
    check_second_turn(provider)


def test_a_messages_callers_tool_loop_streamed(claude_sdk: Anthropic, provider: FakeOpenAI) -> None:
    provider.script(MODEL, FIRST, SECOND)
    asked: Any = {"model": MODEL, "max_tokens": 5000, "tools": ANTHROPIC_TOOLS}
    with claude_sdk.messages.stream(messages=HELLO, **asked) as stream:
        message = stream.get_final_message()
    assert [block.type for block in message.content] == [
        "thinking", "text", "redacted_thinking", "tool_use", "tool_use",
    ]  # fmt: skip
    assert message.content[3].input == {"city": "Oslo"}
    with claude_sdk.messages.stream(messages=answered(message), **asked) as stream:
        assert stream.get_final_text() == "3 degrees."
    check_second_turn(provider)


def answered(message: Any) -> Any:
    blocks = [
        {"type": "tool_result", "tool_use_id": block.id, "content": f"result of {block.id}"}
        for block in message.content
        if block.type == "tool_use"
    ]
    said = {
        "role": "assistant",
        "content": [b.model_dump(exclude_none=True) for b in message.content],
    }
    return [*HELLO, said, {"role": "user", "content": blocks}]


def test_clients_that_drop_what_they_do_not_know_still_work(
    client: httpx.Client, provider: FakeOpenAI
) -> None:
    provider.script(MODEL, FIRST, SECOND)
    message = post(client).json()["choices"][0]["message"]
    known = {name: message[name] for name in ("role", "content", "tool_calls")}
    tools = [
        {"role": "tool", "tool_call_id": c["id"], "content": "x"} for c in message["tool_calls"]
    ]
    final = post(client, messages=[*HELLO, known, *tools])
    assert final.json()["choices"][0]["message"]["content"] == "3 degrees."
    assert kinds(last(provider)) == [
        "user", "assistant", "function_call", "function_call", "function_call_output",
        "function_call_output",
    ]  # fmt: skip


def details_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = message["reasoning_details"]
    return details


def test_reasoning_that_is_not_this_models_own_is_never_sent(
    client: httpx.Client, provider: FakeOpenAI
) -> None:
    provider.script(MODEL, FIRST, SECOND)
    message = post(client).json()["choices"][0]["message"]
    assert [d["index"] for d in details_of(message)] == [0, 1]
    own = details_of(message)[0]["data"]
    forged = own[:-8] + ("AAAA" if own[-8:-4] != "AAAA" else "BBBB") + own[-4:]
    foreign: list[Any] = [
        {"type": "reasoning.encrypted", "data": "gAAAABo", "id": "rs_1", "index": 0,
         "format": "openai-responses-v1"},
        {"type": "reasoning.text", "text": "Hm.", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "p2l1.", "index": 1},
        {"type": "reasoning.encrypted", "data": "p2l1.bm90IGpzb24="},
        {"type": "reasoning.encrypted", "data": forged},
        {"type": "reasoning.encrypted", "data": 7},
        "garbage",
    ]  # fmt: skip
    thinking = [{"type": "thinking", "thinking": "Hm.", "signature": "sig"}]
    known = {name: message[name] for name in ("role", "content", "tool_calls")}
    said = known | {"reasoning_details": foreign, "thinking_blocks": thinking,
                    "reasoning_content": "Hm."}  # fmt: skip
    tools = [
        {"role": "tool", "tool_call_id": c["id"], "content": "x"} for c in message["tool_calls"]
    ]
    assert post(client, messages=[*HELLO, said, *tools]).status_code == 200
    assert "reasoning" not in kinds(last(provider))
    # another model of the same account
    provider.script("gpt-5.4", SECOND)
    other = post(
        client, model="gpt-5.4", reasoning_effort="low", messages=[*HELLO, message, *tools]
    )
    assert other.status_code == 200, other.text
    assert "reasoning" not in kinds(last(provider))
    assert "reasoning_details" not in json.dumps(last(provider))


def test_reasoning_of_another_account_is_not_sent(
    client: httpx.Client, provider: FakeOpenAI, spare: FakeProvider
) -> None:
    provider.script(MODEL, FIRST)
    message = post(client).json()["choices"][0]["message"]
    tools = [
        {"role": "tool", "tool_call_id": c["id"], "content": "x"} for c in message["tool_calls"]
    ]
    with FakeOpenAI(api_key=KEY, account="org-b") as other, running(other, spare) as gateway:
        other.script(MODEL, SECOND)
        body = {"model": MODEL, "tools": TOOLS, "messages": [*HELLO, message, *tools]}
        url = f"{gateway.url}/v1/chat/completions"
        answer = httpx.post(url, json=body, trust_env=False, timeout=20)
        assert answer.status_code == 200, answer.text
        assert "reasoning" not in kinds(last(other))


@pytest.mark.parametrize("stream", [False, True])
def test_a_job_goes_on_where_the_provider_takes_its_own_reasoning_no_more(
    client: httpx.Client, provider: FakeOpenAI, stream: bool
) -> None:
    provider.script(MODEL, FIRST, SECOND)
    message = post(client).json()["choices"][0]["message"]
    provider.given.clear()
    tools = [
        {"role": "tool", "tool_call_id": c["id"], "content": "x"} for c in message["tool_calls"]
    ]
    answer = post(client, messages=[*HELLO, message, *tools], stream=stream)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-attempts"] == "1"
    assert [kinds(request.body).count("reasoning") for request in provider.requests] == [0, 2, 0]


def test_our_seals_reach_no_chat_provider(client: httpx.Client, spare: FakeProvider) -> None:
    sealed = {"type": "reasoning.encrypted", "data": "p2l1.W10=", "index": 0}
    theirs = {"type": "reasoning.text", "text": "Hm."}
    said = {"role": "assistant", "content": "Hi."}
    history = [
        *HELLO,
        said | {"reasoning_details": [sealed, theirs]},
        said | {"reasoning_details": [sealed]},
        *HELLO,
    ]
    assert post(client, model="plain", messages=history, tools=None).status_code == 200
    assert last(spare)["messages"][1]["reasoning_details"] == [theirs]
    assert "reasoning_details" not in last(spare)["messages"][2]


def test_a_reasoning_item_whose_call_the_client_dropped_stays_away(
    client: httpx.Client, provider: FakeOpenAI
) -> None:
    provider.script(MODEL, FIRST, SECOND)
    message = post(client).json()["choices"][0]["message"]
    message["tool_calls"] = message["tool_calls"][1:]
    tool = {"role": "tool", "tool_call_id": "call_2", "content": "x"}
    assert post(client, messages=[*HELLO, message, tool]).status_code == 200
    assert kinds(last(provider)) == [
        "user", "reasoning", "assistant", "function_call", "function_call_output",
    ]  # fmt: skip


WHERE = [
    (MODEL, {}, "responses"),
    (MODEL, {"reasoning_effort": "low"}, "responses"),
    (MODEL, {"reasoning_effort": "none"}, "chat/completions"),
    (MODEL, {"tools": None}, "chat/completions"),
    ("gpt-5.4", {}, "chat/completions"),
    ("gpt-5.4", {"reasoning_effort": "low"}, "responses"),
    ("gpt-4.1", {"tools": None}, "responses"),
    ("gpt-6-luna", {"reasoning_effort": "none"}, "chat/completions"),
]


@pytest.mark.parametrize(("model", "fields", "surface"), WHERE)
def test_where_a_request_goes(
    client: httpx.Client, provider: FakeOpenAI, model: str, fields: dict[str, Any], surface: str
) -> None:
    for stream in (False, True):
        assert post(client, model=model, stream=stream, **fields).status_code == 200
        assert provider.requests[-1].path == f"/v1/{surface}"


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-5.5"])
def test_where_there_is_no_way_to_responses_tools_go_before_reasoning(
    client: httpx.Client, provider: FakeOpenAI, model: str
) -> None:
    for fields, named in (({}, None), ({"reasoning_effort": "high"}, "reasoning_effort")):
        answer = post(client, model=model, **fields)
        assert answer.status_code == 200, answer.text
        assert answer.headers.get("x-p2l-left-out-fields") == named
        assert provider.requests[-1].path == "/v1/chat/completions"
        assert last(provider)["reasoning_effort"] == "none"
    # where nothing is refused the effort stays
    assert post(client, model=model, tools=None, reasoning_effort="high").status_code == 200
    assert last(provider)["reasoning_effort"] == "high"


def test_a_model_that_cannot_do_without_reasoning_names_the_way(
    client: httpx.Client, provider: FakeOpenAI
) -> None:
    refused = post(client, model="gpt-6.1-sol")
    assert refused.status_code == 400
    assert "set responses: true" in refused.json()["error"]["message"]
    assert not provider.requests


def test_an_effort_that_only_responses_has_reaches_them(
    client: httpx.Client, provider: FakeOpenAI
) -> None:
    assert post(client, reasoning_effort="max").status_code == 200
    assert last(provider)["reasoning"]["effort"] == "max"
    assert post(client, reasoning_effort="max", tools=None).status_code == 200
    assert last(provider)["reasoning_effort"] == "xhigh"


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_provider_says_of_an_unknown_model_is_heeded(stream: bool) -> None:
    with alone(FakeOpenAI(api_key=KEY)) as (provider, client):
        for _ in range(2):
            assert post(client, model="mine", stream=stream).status_code == 200
        paths = [request.path.removeprefix("/v1/") for request in provider.requests]
        assert paths == ["chat/completions", "responses", "responses"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_organisation_that_may_not_have_summaries_is_asked_without(stream: bool) -> None:
    with alone(FakeOpenAI(api_key=KEY, verified=False)) as (provider, client):
        for _ in range(2):
            answer = post(client, stream=stream, reasoning_effort="low")
            assert answer.status_code == 200
        asked = [request.body["reasoning"] for request in provider.requests]
        assert asked == [{"effort": "low", "summary": "auto"}, *[{"effort": "low"}] * 2]


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_neither_shows_nor_encrypts_is_asked_without(stream: bool) -> None:
    with alone(FakeOpenAI(api_key=KEY)) as (provider, client):
        for _ in range(2):
            assert post(client, model="shy-bare", stream=stream).status_code == 200
        assert len(provider.requests) == 4
        for asked in (request.body for request in provider.responses):
            assert "include" not in asked
            assert "reasoning" not in asked
        # it is that model's affair alone
        assert post(client, stream=stream).status_code == 200
        assert last(provider)["reasoning"] == {"summary": "auto"}
        assert last(provider)["include"] == ["reasoning.encrypted_content"]


def test_a_model_without_reasoning_is_asked_for_none(
    client: httpx.Client, provider: FakeOpenAI
) -> None:
    answer = post(client, model="gpt-4.1", temperature=0.3, top_p=0.9, reasoning_effort="low")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-left-out-fields"] == "reasoning_effort"
    body = last(provider)
    assert (body["temperature"], body["top_p"]) == (0.3, 0.9)
    assert "reasoning" not in body
    assert "include" not in body


def test_what_is_left_out_is_named(client: httpx.Client, provider: FakeOpenAI) -> None:
    named = [{"role": "user", "name": "ann", "content": "Hi"}]
    answer = post(client, temperature=0.2, top_p=1, presence_penalty=1, seed=7, logit_bias={"1": 2},
                  prediction={"type": "content", "content": "x"}, top_k=4, messages=named,
                  user="u")  # fmt: skip
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-p2l-left-out-fields"] == (
        "logit_bias,messages.name,prediction,presence_penalty,seed,temperature,top_k"
    )
    assert last(provider)["user"] == "u"


@pytest.mark.parametrize(
    ("model", "fields", "why"),
    [
        (MODEL, {"n": 2}, "one answer"),
        ("unknown", {"stop": ["END"]}, "stop sequences"),
        ("unknown", {"logprobs": True}, "while it reasons"),
        (
            MODEL,
            {"modalities": ["text", "audio"], "audio": {"voice": "ash", "format": "wav"}},
            "text",
        ),
        (MODEL, {"web_search_options": {}}, "search"),
    ],
)
def test_what_it_cannot_say_goes_to_another_model(
    client: httpx.Client,
    provider: FakeOpenAI,
    spare: FakeProvider,
    model: str,
    fields: dict[str, Any],
    why: str,
) -> None:
    answer = post(client, model="p2l", p2l={"models": [model, "plain"]}, **fields)
    assert answer.headers["x-p2l-model"] == "plain"
    refused = post(client, model=model, **fields)
    assert refused.status_code == 400
    assert why in refused.json()["error"]["message"]
    assert not provider.requests


@pytest.mark.parametrize("stream", [False, True])
def test_usage_cost_and_ledger_are_what_the_provider_reports(
    client: httpx.Client, provider: FakeOpenAI, stream: bool
) -> None:
    usage = {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 600,
             "cache_write_tokens": 100}, "output_tokens": 50, "total_tokens": 1050,
             "output_tokens_details": {"reasoning_tokens": 30}}  # fmt: skip
    provider.script(MODEL, Behaviour(usage=usage))
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer = post(client, **options)
    said = merged(sse_events(answer.text)[:-1]) if stream else answer.json()
    expected = (300 * 2 + 600 * 0.2 + 100 * 2.5 + 20 * 10 + 30 * 8) / 1e6
    told = said["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (
        1000,
        50,
        1050,
    )
    assert told["prompt_tokens_details"]["cached_tokens"] == 600
    assert told["prompt_tokens_details"]["cache_write_tokens"] == 100
    assert told["completion_tokens_details"]["reasoning_tokens"] == 30
    assert told["cost"] == pytest.approx(expected, abs=1e-12)
    if not stream:
        assert float(answer.headers["x-p2l-cost-usd"]) == pytest.approx(expected, abs=1e-12)
    booked = client.get("/admin/requests").json()["data"][0]
    assert booked["model"] == MODEL
    assert float(booked["cost_usd"]) == pytest.approx(expected, abs=1e-12)


FAILED = [
    {"error": {"code": "server_error", "message": "The server had an error"}},
    {"error": {"code": "rate_limit_exceeded", "message": "Rate limit reached"}},
    {"status": 500},
    {"status": 429},
    {"garbage": b"<html>"},
    {"first_delay_s": 30},
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("behaviour", FAILED, ids=lambda b: str(b)[:40])
def test_a_failure_before_the_first_word_goes_to_another_model(
    behaviour: dict[str, Any], stream: bool
) -> None:
    with FakeOpenAI(api_key=KEY) as provider, FakeProvider() as spare:
        provider.script(MODEL, Behaviour(**behaviour))
        patience_s = 1 if "first_delay_s" in behaviour else 20
        with running(provider, spare, patience_s=patience_s) as gateway:
            body = {"model": "p2l", "messages": HELLO, "tools": TOOLS, "stream": stream,
                    "p2l": {"models": [MODEL, "plain"]}}  # fmt: skip
            url = f"{gateway.url}/v1/chat/completions"
            answer = httpx.post(url, json=body, trust_env=False, timeout=20)
    assert answer.status_code == 200
    assert answer.headers["x-p2l-model"] == "plain"
    assert answer.headers["x-p2l-attempts"] == "2"


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.END, Fault.MALFORMED, Fault.ERROR])
@pytest.mark.parametrize(("after", "told"), [(2, False), (8, True)])
def test_a_stream_that_breaks(
    client: httpx.Client, provider: FakeOpenAI, fault: Fault, after: int, told: bool
) -> None:
    _broken_stream(client, provider, fault, after, told)


@pytest.mark.parametrize(("after", "told"), [(2, False), (8, True)])
def test_a_stream_that_falls_silent(after: int, told: bool) -> None:
    with (
        FakeOpenAI(api_key=KEY) as provider,
        FakeProvider() as spare,
        running(provider, spare, patience_s=1) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as client,
    ):
        _broken_stream(client, provider, Fault.SILENCE, after, told)


def _broken_stream(
    client: httpx.Client, provider: FakeOpenAI, fault: Fault, after: int, told: bool
) -> None:
    provider.script(MODEL, Behaviour(fault=fault, fault_after=after))
    answer = streamed(client, model="p2l", p2l={"models": [MODEL, "plain"]})
    assert answer.is_broken == told
    assert answer.headers["x-p2l-model"] == (MODEL if told else "plain")
    events = sse_events(answer.text)
    if told:
        assert events[-1]["error"]["code"] in ("upstream_error", "upstream_timeout")
        assert "[DONE]" not in events
    else:
        assert events[-1] == "[DONE]"


def test_an_answer_that_fails_half_way_is_broken_and_paid(
    client: httpx.Client, provider: FakeOpenAI
) -> None:
    usage = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107}
    response = {"id": "resp_1", "created_at": 1, "model": MODEL, "status": "completed",
                "output": [{**text("Hello"), "id": "msg_1"}], "usage": usage}  # fmt: skip
    *events, _ = events_of(response)
    error = {"code": "server_error", "message": "oh"}
    failed = {"type": "response.failed",
              "response": {**response, "status": "failed", "error": error}}  # fmt: skip
    provider.script(MODEL, Behaviour(events=(*events, failed)))
    answer = streamed(client)
    *chunks, last_one = sse_events(answer.text)
    assert last_one["error"]["code"] == "upstream_error"
    assert merged(chunks)["message"]["content"] == "Hello"
    booked = client.get("/admin/requests").json()["data"][0]
    assert float(booked["cost_usd"]) == pytest.approx((100 * 2 + 7 * 10) / 1e6, abs=1e-12)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_about_the_request_is_the_callers(
    client: httpx.Client, provider: FakeOpenAI, stream: bool
) -> None:
    error = {"code": "invalid_image_url", "message": "The image could not be read"}
    provider.script(MODEL, Behaviour(error=error))
    answer = post(client, stream=stream)
    assert answer.status_code == 400
    assert "could not be read" in answer.json()["error"]["message"]
    orphan = {"role": "tool", "tool_call_id": "call_9", "content": "x"}
    provider.script(MODEL, Behaviour())
    taken = post(client, messages=[*HELLO, orphan], stream=stream)
    assert taken.status_code == 200, "a result without its call is said in words"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("behaviour", "finish", "message"),
    [
        ({"finish_reason": "length"}, "length", {"content": f"Hello from {MODEL}"}),
        ({"finish_reason": "content_filter"}, "content_filter", {"content": f"Hello from {MODEL}"}),
        ({"blocks": (refusal("I cannot."),)}, "stop", {"refusal": "I cannot.", "content": None}),
        ({"blocks": (call("c", "clock"), text("Done"))}, "tool_calls", {"content": "Done"}),
        ({"blocks": (text("One."), reasoning("x"), text("Two."))}, "stop",
         {"content": "One.\n\nTwo.", "reasoning_content": "x"}),
        ({"blocks": (reasoning(),), "finish_reason": "length"}, "length", {"content": ""}),
    ],
)  # fmt: skip
def test_how_an_answer_ends(
    client: httpx.Client, provider: FakeOpenAI, behaviour: dict[str, Any], finish: str,
    message: dict[str, Any], stream: bool,
) -> None:  # fmt: skip
    provider.script(MODEL, Behaviour(**behaviour))
    answer = post(client, stream=stream)
    found = merged(sse_events(answer.text)[:-1]) if stream else answer.json()["choices"][0]
    assert found["finish_reason"] == finish
    assert {name: found["message"].get(name) for name in message} == message


def test_a_hard_budget_and_a_cap_hold(client: httpx.Client, provider: FakeOpenAI) -> None:
    headers = {"X-Cost-Budget": "0.02", "X-Cost-Budget-Mode": "hard"}
    body = {"model": MODEL, "messages": HELLO, "tools": TOOLS}
    answer = client.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    cap = int(answer.headers["x-p2l-max-output-tokens"])
    assert last(provider)["max_output_tokens"] == cap
    assert 256 <= cap < 2000
    post(client, max_tokens=300, max_completion_tokens=400)
    assert last(provider)["max_output_tokens"] == 300
    # the least that the API takes; a hard budget does not pay for more than was asked
    assert post(client, max_tokens=5).status_code == 200
    assert last(provider)["max_output_tokens"] == 16
    refused = client.post("/v1/chat/completions", json=body | {"max_tokens": 5}, headers=headers)
    assert refused.status_code == 400
    assert "no output limit under 16" in refused.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_custom_tools(client: httpx.Client, provider: FakeOpenAI, stream: bool) -> None:
    grammar = {"type": "grammar", "grammar": {"syntax": "regex", "definition": ".*"}}
    tool = {"type": "custom", "custom": {"name": "sh", "description": "d", "format": grammar}}
    provider.script(MODEL, Behaviour(blocks=(custom_call("c1", "sh", "ls -l"),)))
    choice = {"type": "custom", "custom": {"name": "sh"}}
    answer = post(client, tools=[tool], tool_choice=choice, stream=stream)
    assert answer.status_code == 200, answer.text
    assert last(provider)["tools"] == [
        {"type": "custom", "name": "sh", "description": "d",
         "format": {"type": "grammar", "syntax": "regex", "definition": ".*"}}]  # fmt: skip
    assert last(provider)["tool_choice"] == {"type": "custom", "name": "sh"}
    if stream:
        parts = [c["choices"][0]["delta"].get("tool_calls") for c in sse_events(answer.text)[:-1]]
        inputs = [part[0]["custom"]["input"] for part in parts if part]
        assert "".join(inputs) == "ls -l"
        called: Any = {"id": "c1", "type": "custom", "custom": {"name": "sh", "input": "ls -l"}}
    else:
        (called,) = answer.json()["choices"][0]["message"]["tool_calls"]
    said = {"role": "assistant", "content": None, "tool_calls": [called]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "a.txt"}
    assert post(client, tools=[tool], messages=[*HELLO, said, result]).status_code == 200
    assert kinds(last(provider)) == ["user", "custom_tool_call", "custom_tool_call_output"]


def test_the_words_of_a_request(client: httpx.Client, provider: FakeOpenAI) -> None:
    png, pdf = "data:image/png;base64,AA==", "data:application/pdf;base64,AA=="
    long_id = "functions.weather:0" + "x" * 80
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": "See", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "image_url", "image_url": {"url": png, "detail": "low"}},
            {"type": "file", "file": {"file_data": pdf}},
        ]},
        {"role": "assistant",
         "content": [{"type": "text", "text": "I "}, {"type": "text", "text": "look."}],
         "tool_calls": [{"id": long_id, "type": "function",
                         "function": {"name": "weather", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": long_id, "content": [
            {"type": "text", "text": "a picture"},
            {"type": "image_url", "image_url": {"url": png}},
        ]},
        {"role": "assistant", "content": "", "refusal": "No."},
        {"role": "developer", "content": [{"type": "text", "text": "Go on."}]},
        {"role": "user", "content": "Well?"},
    ]  # fmt: skip
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    answer = post(
        client,
        messages=messages,
        tools=[{"type": "function", "function": {"name": "weather"}},
               {"type": "function", "function": {
                   "name": "clock", "strict": True,
                   "parameters": {"type": "object", "properties": {}, "required": [],
                                  "additionalProperties": False}}}],
        tool_choice={"type": "allowed_tools", "allowed_tools": {
            "mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}},
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        verbosity="low",
        service_tier="flex",
        metadata={"a": "b"},
        prompt_cache_key="k",
        safety_identifier="s",
        stream_options={"include_obfuscation": False},
        stream=True,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    body = last(provider)
    call_id = body["input"][3]["call_id"]
    assert len(call_id) <= 64
    assert body["input"] == [
        {"type": "message", "role": "system", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "See", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "input_image", "image_url": png, "detail": "low"},
            {"type": "input_file", "filename": "document.pdf", "file_data": pdf}]},
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": call_id, "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": call_id, "output": [
            {"type": "input_text", "text": "a picture"},
            {"type": "input_image", "image_url": png, "detail": "auto"}]},
        {"type": "message", "role": "assistant",
         "content": [{"type": "refusal", "refusal": "No."}]},
        {"type": "message", "role": "developer",
         "content": [{"type": "input_text", "text": "Go on."}]},
        {"type": "message", "role": "user", "content": "Well?"},
    ]  # fmt: skip
    assert [tool["strict"] for tool in body["tools"]] == [False, True]
    assert body["tools"][0]["parameters"] == {"type": "object", "properties": {}}
    assert body["tool_choice"] == {
        "type": "allowed_tools", "mode": "required",
        "tools": [{"type": "function", "name": "clock"}],
    }  # fmt: skip
    assert body["text"] == {
        "verbosity": "low",
        "format": {"type": "json_schema", "name": "a", "strict": False, "schema": schema},
    }
    same = ("parallel_tool_calls", "service_tier", "metadata", "prompt_cache_key")
    assert [body[name] for name in same] == [False, "flex", {"a": "b"}, "k"]
    assert body["safety_identifier"] == "s"
    assert body["stream_options"] == {"include_obfuscation": False}


def test_logprobs_where_the_model_does_not_reason(
    client: httpx.Client, provider: FakeOpenAI
) -> None:
    logprob = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}
    part = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": [logprob]}
    item = {"type": "message", "role": "assistant", "content": [part]}
    provider.script("gpt-4.1", Behaviour(blocks=(item,)))
    answer = post(client, model="gpt-4.1", logprobs=True, top_logprobs=2)
    assert answer.json()["choices"][0]["logprobs"]["content"] == [logprob]
    assert last(provider)["include"] == ["message.output_text.logprobs"]
    assert last(provider)["top_logprobs"] == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("said", [{}, {"top_logprobs": None}, {"top_logprobs": []}])
def test_alternatives_are_a_list_although_the_provider_names_none(
    client: httpx.Client, provider: FakeOpenAI, said: dict[str, Any], stream: bool
) -> None:
    logprob = {"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}
    part = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": [logprob | said]}
    provider.script("gpt-4.1", Behaviour(blocks=({"type": "message", "content": [part]},)))
    answer = post(client, model="gpt-4.1", logprobs=True, stream=stream)
    chunks = sse_events(answer.text)[:-1] if stream else [answer.json()]
    found = [told for chunk in chunks for choice in chunk["choices"]
             for told in (choice["logprobs"] or {}).get("content") or ()]  # fmt: skip
    assert found
    assert {json.dumps(one) for one in found} == {json.dumps(logprob | {"top_logprobs": []})}
    kind = ChatCompletionChunk if stream else ChatCompletion
    for chunk in chunks:
        kind.model_validate({k: v for k, v in chunk.items() if k != "p2l"}, strict=True)


def test_errors_of_the_official_clients(
    sdk: OpenAI, claude_sdk: Anthropic, provider: FakeOpenAI
) -> None:
    with pytest.raises(openai.BadRequestError, match="stop sequences"):
        sdk.chat.completions.create(model="unknown", messages=HELLO, tools=TOOLS, stop=["x"])
    with pytest.raises(anthropic.BadRequestError, match="stop sequences"):
        claude_sdk.messages.create(model="unknown", max_tokens=99, messages=HELLO,
                                   tools=ANTHROPIC_TOOLS, stop_sequences=["x"])  # fmt: skip


def test_a_caller_who_hangs_up_stops_the_provider(
    live: tuple[FakeOpenAI, FakeProvider, LiveGateway], provider: FakeOpenAI
) -> None:
    provider.script(MODEL, Behaviour(texts=("word ",) * 2, chunk_delay_s=0.05, repeat=0))
    body = {"model": MODEL, "messages": HELLO, "tools": TOOLS, "stream": True}
    url = f"{live[2].url}/v1/chat/completions"
    provider.script(MODEL, Behaviour(fault=Fault.SILENCE, fault_after=7))
    with httpx.stream("POST", url, json=body, trust_env=False, timeout=20) as answer:
        next(answer.iter_lines())
    assert provider.requests[-1].over.wait(5)
    assert provider.requests[-1].aborted


@pytest.mark.parametrize("stream", [False, True])
def test_a_native_response_that_fails_before_its_first_word_goes_to_another_model(
    client: httpx.Client, provider: FakeOpenAI, stream: bool
) -> None:
    usage = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107}
    error = {"code": "server_error", "message": "The server had an error"}
    provider.script(MODEL, Behaviour(error=error, usage=usage))
    body = {"model": "p2l", "input": "Hi", "stream": stream, "p2l": {"models": [MODEL, "plain"]}}
    answer = client.post("/v1/responses", json=body)
    assert answer.status_code == 200
    assert answer.headers["x-p2l-model"] == "plain"
    failed = client.get("/admin/requests").json()["data"][1]
    assert failed["model"] == MODEL
    assert float(failed["cost_usd"]) == pytest.approx((100 * 2 + 7 * 10) / 1e6, abs=1e-12)


@pytest.mark.parametrize("stream", [False, True])
def test_a_failed_answer_is_paid_as_it_reports(
    client: httpx.Client, provider: FakeOpenAI, stream: bool
) -> None:
    usage = {"input_tokens": 100, "output_tokens": 7, "total_tokens": 107}
    error = {"code": "server_error", "message": "The server had an error"}
    provider.script(MODEL, Behaviour(error=error, usage=usage))
    assert post(client, stream=stream).status_code == 502
    booked = client.get("/admin/requests").json()["data"][0]
    assert float(booked["cost_usd"]) == pytest.approx((100 * 2 + 7 * 10) / 1e6, abs=1e-12)


def test_a_deployment_is_known_by_its_name_here() -> None:
    with FakeProvider() as azure:
        text_of_it = f"""
providers:
  azure: {{kind: openai, base_url: "{azure.base_url.removesuffix("/v1")}", profile: azure,
           api_version: "2026-01-01", responses: true, api_key_env: KEY}}
models:
  {MODEL}: {{provider: azure, upstream_model: my-deployment}}
scorer: {{fixed: {{{MODEL}: 1}}}}
"""
        with LiveGateway(text_of_it, {"KEY": KEY}) as gateway:
            body = {"model": MODEL, "messages": HELLO, "tools": TOOLS}
            httpx.post(f"{gateway.url}/v1/chat/completions", json=body, trust_env=False, timeout=20)
    assert azure.requests[0].path == "/openai/responses?api-version=2026-01-01"
    assert azure.requests[0].body["model"] == "my-deployment"
    assert azure.requests[0].headers["api-key"] == KEY


def test_a_picture_in_a_messages_callers_result_arrives(
    claude_sdk: Anthropic, provider: FakeOpenAI
) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    shown = [{"type": "text", "text": "a.png"}, {"type": "image", "source": source}]
    block = {"type": "tool_result", "tool_use_id": "t1", "content": shown}
    used = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
    messages: Any = [*HELLO, {"role": "assistant", "content": [used]},
                     {"role": "user", "content": [block]}]  # fmt: skip
    claude_sdk.messages.create(model=MODEL, max_tokens=999, messages=messages,
                               tools=ANTHROPIC_TOOLS)  # fmt: skip
    assert last(provider)["input"][2]["output"] == [
        {"type": "input_text", "text": "a.png"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"},
    ]
