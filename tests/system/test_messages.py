"""POST /v1/messages through Anthropic's own client: native, and bridged to chat completions."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_anthropic import FakeAnthropic
from fake_provider import Behaviour, FakeProvider, Fault
from live_gateway import LiveGateway

from server.surfaces.messages.request import parse_messages_request

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import anthropic
    from anthropic import Anthropic

TOOL: Any = {"name": "weather", "description": "d", "input_schema": {"type": "object"}}
HELLO: Any = [{"role": "user", "content": "Hello"}]
KEY = "sk-of-the-caller"


def config(plain: str, claude: str) -> str:
    price = "input_usd_per_mtok: 3, output_usd_per_mtok: 15, cached_input_usd_per_mtok: 0.3"
    return f"""
providers:
  plain: {{kind: openai, base_url: "{plain}"}}
  claude: {{kind: anthropic, base_url: "{claude}"}}
models:
  bridged: {{provider: plain, upstream_model: up, {price}}}
  native: {{provider: claude, upstream_model: claude-x, cache_write_usd_per_mtok: 3.75, {price}}}
auth: {{keys: [{{name: me, key_env: MY_KEY}}, {{name: other, key_env: HIS_KEY, models: [native]}}]}}
scorer: {{fixed: {{bridged: 2, native: 1}}}}
routing: {{retries: 0}}
"""


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[FakeProvider, FakeAnthropic, str]]:
    with FakeProvider() as plain, FakeAnthropic() as claude:
        text = config(plain.base_url, claude.base_url)
        with LiveGateway(text, {"MY_KEY": KEY, "HIS_KEY": "his"}) as gateway:
            yield plain, claude, gateway.url


@pytest.fixture
def plain(live: tuple[FakeProvider, FakeAnthropic, str]) -> FakeProvider:
    live[0].requests.clear()
    live[0].script("up", Behaviour())
    return live[0]


@pytest.fixture
def claude(live: tuple[FakeProvider, FakeAnthropic, str]) -> FakeAnthropic:
    live[1].requests.clear()
    live[1].script("claude-x", Behaviour())
    return live[1]


@pytest.fixture
def sdk(live: tuple[FakeProvider, FakeAnthropic, str]) -> Iterator[Anthropic]:
    with Anthropic(base_url=live[2], api_key=KEY, max_retries=0) as client:
        yield client


def test_routed_and_bridged(sdk: Anthropic, plain: FakeProvider, claude: FakeAnthropic) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110,
             "prompt_tokens_details": {"cached_tokens": 40}}  # fmt: skip
    plain.script("up", Behaviour(usage=usage))
    raw = sdk.messages.with_raw_response.create(
        model="p2l",
        max_tokens=50,
        system="Be brief.",
        messages=HELLO,
        stop_sequences=["END"],
        metadata={"user_id": "u"},
        extra_headers={"X-Cost-Budget": "0.1"},
    )
    message = raw.parse()
    assert raw.headers["x-p2l-model"] == message.model == "bridged"
    assert message.content[0].text == "Hello from up"
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (60, 40)
    expected = (60 * 3 + 40 * 0.3 + 10 * 15) / 1e6
    assert message.usage.cost == pytest.approx(expected, abs=1e-12)
    assert plain.chats[0].body == {
        "model": "up", "max_completion_tokens": 50, "stop": ["END"], "user": "u",
        "messages": [{"role": "system", "content": "Be brief."},
                     {"role": "user", "content": "Hello"}],
    }  # fmt: skip


def test_a_tool_loop_with_streaming_bridged(sdk: Anthropic, plain: FakeProvider) -> None:
    call = {"index": 0, "id": "c1", "type": "function",
            "function": {"name": "weather", "arguments": ""}}  # fmt: skip
    deltas = (
        {"reasoning_content": "Hm."},
        {"content": "I look."},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "Oslo"}'}}]},
    )
    plain.script("up", Behaviour(deltas=deltas, finish_reason="tool_calls"))
    with sdk.messages.stream(
        model="bridged", max_tokens=99, messages=HELLO, tools=[TOOL], tool_choice={"type": "any"}
    ) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
    assert final.content[2].input == {"city": "Oslo"}
    assert final.stop_reason == "tool_use"
    assert final.usage.output_tokens == 4
    assert plain.chats[0].body["tool_choice"] == "required"
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "3 C"}
    answered = [result, {"type": "text", "text": "Well?"}]
    messages: Any = [*HELLO, {"role": "assistant", "content": final.content}]
    messages.append({"role": "user", "content": answered})
    plain.script("up", Behaviour())
    sdk.messages.create(model="bridged", max_tokens=99, messages=messages, tools=[TOOL])
    function = {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert plain.chats[1].body["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "I look.",
         "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": "3 C"},
        {"role": "user", "content": "Well?"},
    ]  # fmt: skip


def test_a_bridged_stream_estimates_its_input_first_and_knows_it_last(
    live: tuple[FakeProvider, FakeAnthropic, str], sdk: Anthropic, plain: FakeProvider
) -> None:
    """Some clients look at the beginning alone; the SDK's own sum takes what came last."""
    plain.script("up", Behaviour(usage={"prompt_tokens": 400, "completion_tokens": 3,
                                        "total_tokens": 403}))  # fmt: skip
    said: Any = [{"role": "user", "content": "word " * 300}]
    with sdk.messages.stream(model="bridged", max_tokens=9, messages=said) as stream:
        events = {event.type: event for event in stream}
        final = stream.get_final_message()
    assert final.usage.input_tokens == events["message_delta"].usage.input_tokens == 400
    asked = {"model": "bridged", "max_tokens": 9, "messages": said, "stream": True}
    raw = httpx.post(
        f"{live[2]}/v1/messages", json=asked, headers={"x-api-key": KEY}, trust_env=False
    )
    begun = next(line for line in raw.text.splitlines() if line.startswith("data: "))
    message = json.loads(begun.removeprefix("data: "))["message"]
    assert 200 < message["usage"]["input_tokens"] < 600


def test_thoughts_of_others_are_not_shown_to_anthropic(
    sdk: Anthropic, claude: FakeAnthropic
) -> None:
    foreign = {"type": "thinking", "thinking": "Hm.", "signature": "p2l-unsigned"}
    turn = {"role": "assistant", "content": [foreign, {"type": "text", "text": "Hi."}]}
    sdk.messages.create(model="native", max_tokens=9, messages=[*HELLO, turn, *HELLO])
    assert claude.chats[0].body["messages"][1]["content"] == [{"type": "text", "text": "Hi."}]


def test_reasoning_that_is_kept_for_openai_is_not_shown_to_anthropic(
    sdk: Anthropic, claude: FakeAnthropic
) -> None:
    signed: Any = {"type": "thinking", "thinking": "Hm.", "signature": "p2l1.W10="}
    hidden: Any = {"type": "redacted_thinking", "data": "p2l1.W10="}
    own: Any = {"type": "redacted_thinking", "data": "theirs"}
    said: Any = {"type": "text", "text": "Hi."}
    messages: Any = [
        *HELLO,
        {"role": "assistant", "content": [hidden, signed]},
        *HELLO,
        {"role": "assistant", "content": [signed, hidden, own, said]},
        *HELLO,
    ]
    sdk.messages.create(model="native", max_tokens=9, messages=messages)
    sent = claude.chats[0].body["messages"]
    assert [turn["role"] for turn in sent] == ["user", "user", "assistant", "user"]
    assert sent[2]["content"] == [own, said]


def test_anthropic_gets_what_was_sent(sdk: Anthropic, claude: FakeAnthropic) -> None:
    usage = {"input_tokens": 7, "cache_read_input_tokens": 500, "cache_creation_input_tokens": 20,
             "output_tokens": 2}  # fmt: skip
    claude.script("claude-x", Behaviour(usage=usage))
    content: Any = [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]
    messages: Any = [{"role": "user", "content": content}]
    asked: Any = {"model": "native", "max_tokens": 2000, "messages": messages,
                  "thinking": {"type": "enabled", "budget_tokens": 1024}}  # fmt: skip
    message = sdk.messages.create(**asked, extra_headers={"anthropic-beta": "a-1,b-2"})
    expected = (7 * 3 + 500 * 0.3 + 20 * 3.75 + 2 * 15) / 1e6
    assert message.model == "native"
    assert message.usage.cost == pytest.approx(expected, abs=1e-12)
    assert claude.chats[0].body == asked | {"model": "claude-x"}
    assert claude.chats[0].headers["anthropic-beta"] == "a-1,b-2"
    with sdk.messages.stream(**asked) as stream:
        events = {event.type: event for event in stream}
        final = stream.get_final_message()
    assert final.model == "native"
    assert final.content[0].text == "Hello from claude-x"
    assert {"message_start", "content_block_delta", "message_stop"} <= set(events)
    assert events["message_delta"].usage.cost == pytest.approx(expected, abs=1e-12)


def test_what_only_anthropic_can_do_goes_there(sdk: Anthropic, claude: FakeAnthropic) -> None:
    messages: Any = [*HELLO, {"role": "assistant", "content": "I am"}]
    claude.script("claude-x", Behaviour())
    routed = sdk.messages.create(model="p2l", max_tokens=9, messages=messages)
    assert routed.model == "native", "the better model cannot go on with the caller's words"
    with pytest.raises(anthropic.BadRequestError, match="begun by the caller"):
        sdk.messages.create(model="bridged", max_tokens=9, messages=messages)


@pytest.mark.parametrize(("model", "name"), [("native", "claude-x"), ("bridged", "up")])
def test_a_stream_that_breaks_ends_with_anthropics_error_event(
    live: tuple[FakeProvider, FakeAnthropic, str],
    sdk: Anthropic, plain: FakeProvider, claude: FakeAnthropic, model: str, name: str,
) -> None:  # fmt: skip
    fake = claude if model == "native" else plain
    fake.script(name, Behaviour(texts=("a", "b", "c"), fault=Fault.CUT, fault_after=3))
    with pytest.raises(anthropic.APIStatusError, match="broke off"):
        for _ in sdk.messages.create(model=model, max_tokens=9, messages=HELLO, stream=True):
            pass
    fake.script(name, Behaviour())


def test_errors_are_anthropics_own(
    live: tuple[FakeProvider, FakeAnthropic, str], sdk: Anthropic
) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        sdk.messages.create(model="nobody", max_tokens=9, messages=HELLO)
    body: Any = missing.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "not_found_error"
    assert body["request_id"].startswith("req_")
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        sdk.messages.create(model="p2l", max_tokens=0, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError) as refused:
        sdk.messages.create(model="p2l", max_tokens=9, messages=HELLO,
                            extra_headers={"X-Cost-Budget": "0"})  # fmt: skip
    error: Any = refused.value.body
    assert error["error"]["code"] == "budget_infeasible"


def test_both_styles_of_key_and_the_models_of_each(
    live: tuple[FakeProvider, FakeAnthropic, str], plain: FakeProvider, claude: FakeAnthropic
) -> None:
    url = live[2]
    body = {"model": "p2l", "max_tokens": 9, "messages": HELLO}
    for headers in ({"x-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
        answer = httpx.post(f"{url}/v1/messages", json=body, headers=headers, trust_env=False)
        assert answer.json()["model"] == "bridged"
    his = httpx.post(f"{url}/v1/messages", json=body, headers={"x-api-key": "his"}, trust_env=False)
    assert his.json()["model"] == "native", "the only one that his key may use"
    for headers in ({}, {"x-api-key": "wrong"}, {"authorization": "Bearer x", "x-api-key": KEY}):
        refused = httpx.post(f"{url}/v1/messages", json=body, headers=headers, trust_env=False)
        assert refused.status_code == 401
        assert refused.json()["error"]["type"] == "authentication_error"
    embeddings = httpx.post(
        f"{url}/v1/embeddings",
        json={"model": "bridged", "input": "x"},
        headers={"x-api-key": "his"},
        trust_env=False,
    )
    assert embeddings.status_code == 404


def test_tokens_can_be_counted(sdk: Anthropic) -> None:
    counted = sdk.messages.count_tokens(model="p2l", messages=HELLO, system="Be brief.")
    assert 3 <= counted.input_tokens <= 30


def test_thinking_that_does_not_fit_the_cap_rules_the_native_model_out(
    sdk: Anthropic, plain: FakeProvider, claude: FakeAnthropic
) -> None:
    thinking: Any = {"type": "enabled", "budget_tokens": 2000}
    asked: Any = {"messages": HELLO, "thinking": thinking, "model": "native"}
    with pytest.raises(anthropic.BadRequestError, match="no room after 2000 tokens of thinking"):
        sdk.messages.create(max_tokens=2000, **asked)
    assert not claude.chats
    sdk.messages.create(max_tokens=2001, **asked)
    assert claude.chats[-1].body["thinking"] == thinking


def test_interleaved_thinking_may_be_over_the_cap() -> None:
    body = {"model": "m", "max_tokens": 2000, "messages": HELLO,
            "thinking": {"type": "enabled", "budget_tokens": 9000}}  # fmt: skip
    assert parse_messages_request(body).thinking_tokens == 9000
    betas = "a-beta,interleaved-thinking-2025-05-14"
    assert parse_messages_request(body, betas).thinking_tokens == 0
