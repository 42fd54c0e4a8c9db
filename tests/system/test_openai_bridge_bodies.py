"""Chat completions as bodies of OpenAI's Responses API, and back: whole, and nothing lost."""

from __future__ import annotations

from typing import Any

import pytest
from fake_openai import FakeOpenAI, events_of
from fake_provider import Behaviour
from hypothesis import given, settings
from hypothesis import strategies as st
from merge import merged
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from sdk_types import adapter_of, consume

from examples import examples
from server.config.secret import Secret
from server.model_facts import facts_of
from server.surfaces.input_size import count_chat
from server.upstream.openai_responses.need import needs_responses, reasons
from server.upstream.openai_responses.reply import to_completion
from server.upstream.openai_responses.request import to_responses
from server.upstream.openai_responses.stream import ResponseChunks
from server.upstream.openai_responses.thoughts import Thought, Thoughts

MODEL = "gpt-5.6-sol"
THOUGHTS = Thoughts("https://api.openai.com/v1", Secret("sk-x"))
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def sent(messages: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    body = {"model": MODEL, "messages": messages, "tools": TOOLS, **fields}
    opened = THOUGHTS.opened
    return to_responses(
        body,
        MODEL,
        facts_of(MODEL),
        lambda data: opened(MODEL, data),
        summaries=True,
        encrypted=True,
    )


def seal(thought: Thought) -> str:
    return THOUGHTS.sealed(MODEL, thought)


def output_items() -> st.SearchStrategy[list[dict[str, Any]]]:
    reasoning = st.builds(
        lambda texts: {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": text} for text in texts],
        },
        st.lists(WORDS, max_size=2),
    )
    message = st.builds(
        lambda text, phase: {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
            **({} if phase is None else {"phase": phase}),
        },
        # blank messages say nothing, and are left out of what is sent
        WORDS.filter(str.strip),
        st.sampled_from([None, "commentary"]),
    )
    called = st.builds(
        lambda number, arguments: {
            "type": "function_call",
            "call_id": f"call_{number}",
            "name": "f",
            "arguments": arguments,
        },
        st.integers(0, 10**9),
        WORDS.map(lambda word: '{"a": "x"}' + word if word else "{}"),
    )

    def whole(
        before: list[Any], said: Any, between: list[Any], calls: list[Any]
    ) -> list[dict[str, Any]]:
        unique = {item["call_id"]: item for item in calls}
        return [*before, *([] if said is None else [said]), *between, *unique.values()]

    return st.builds(
        whole,
        st.lists(reasoning, max_size=2),
        st.none() | message,
        st.lists(reasoning, max_size=2),
        st.lists(called, min_size=1, max_size=3),
    )


def response_of(fake: FakeOpenAI, items: list[dict[str, Any]]) -> dict[str, Any]:
    asked = {"model": MODEL, "input": [], "include": ["reasoning.encrypted_content"],
             "reasoning": {"summary": "auto"}}  # fmt: skip
    return fake._response(asked, Behaviour(blocks=tuple(items)))


def streamed(response: dict[str, Any]) -> list[dict[str, Any]]:
    stream = ResponseChunks("main", seal)
    chunks = [chunk for event in events_of(response) for chunk in stream.chunks(event)]
    assert stream.done
    return chunks


def message_of(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    details = [
        detail for chunk in chunks for choice in chunk["choices"]
        for detail in choice["delta"].get("reasoning_details") or ()
    ]  # fmt: skip
    message: dict[str, Any] = merged(chunks)["message"]
    return message | ({"reasoning_details": details} if details else {})


@pytest.mark.slow
@settings(max_examples=examples(150), deadline=None)
@given(st.lists(output_items(), min_size=1, max_size=4), st.booleans())
def test_a_job_of_any_turns_keeps_its_words_its_calls_and_its_beginning(
    turns: list[list[dict[str, Any]]], stream: bool
) -> None:
    fake = FakeOpenAI()
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Go"}]
    expected: list[Any] = [("user", "Go")]
    used: set[str] = set()
    before = sent(messages)
    for items in turns:
        items = [i for i in items if i.get("call_id") not in used]
        used |= {i["call_id"] for i in items if "call_id" in i}
        response = response_of(fake, items)
        Response.model_validate(response)
        if stream:
            message = message_of(streamed(response))
        else:
            message = to_completion(response, seal)["choices"][0]["message"]
        messages.append({"role": "assistant", **message})
        calls = [i for i in items if i["type"] == "function_call"]
        for item in calls:
            messages.append({"role": "tool", "tool_call_id": item["call_id"], "content": "r"})
        expected += [_said(i) for i in _with_a_follower(response["output"])]
        expected += [("r", i["call_id"]) for i in calls]
        body = sent(messages)
        assert fake._response_fault(body) is None, "as OpenAI takes it"
        assert body["input"][: len(before["input"])] == before["input"]
        assert sent(messages) == body
        before = body
    assert [_said(item) for item in before["input"]] == expected


def _with_a_follower(output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reasoning that nothing follows is not sent back."""
    last = max((n for n, i in enumerate(output) if i["type"] != "reasoning"), default=-1)
    return output[: last + 1]


def _said(item: dict[str, Any]) -> Any:
    match item["type"]:
        case "message":
            content = item["content"]
            text = content if isinstance(content, str) else content[0]["text"]
            return item["role"], text
        case "function_call":
            return item["call_id"], item["arguments"]
        case "function_call_output":
            return item["output"], item["call_id"]
        case _:
            return item["id"], item["encrypted_content"]


@pytest.mark.slow
@settings(max_examples=examples(100), deadline=None)
@given(output_items())
def test_streamed_and_whole_are_the_same_answer(items: list[dict[str, Any]]) -> None:
    response = response_of(FakeOpenAI(), items)
    whole = to_completion(response, seal)
    chunks = streamed(response)
    found = merged(chunks)
    for name in ("content", "tool_calls", "reasoning_content"):
        assert (message_of(chunks).get(name) or None) == (
            whole["choices"][0]["message"].get(name) or None
        )
    details = whole["choices"][0]["message"].get("reasoning_details")
    assert message_of(chunks).get("reasoning_details") == details
    assert found["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert found["usage"] == whole["usage"]


@pytest.mark.slow
@settings(max_examples=examples(50), deadline=None)
@given(output_items())
def test_the_official_client_would_send_and_read_the_same(items: list[dict[str, Any]]) -> None:
    response = response_of(FakeOpenAI(), items)
    streamed_event = adapter_of(ResponseStreamEvent)
    for number, event in enumerate(events_of(response)):
        if event["type"] != "response.keepalive":
            streamed_event.validate_python({**event, "sequence_number": number})
    message = to_completion(response, seal)["choices"][0]["message"]
    body = sent([{"role": "user", "content": "Go"}, message], reasoning_effort="low", max_tokens=50)
    consume(adapter_of(ResponseCreateParamsNonStreaming).validate_python(body))


@pytest.mark.slow
@settings(max_examples=examples(200), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=6,
    )
)
def test_garbage_in_the_place_of_reasoning_is_no_reasoning(garbage: Any) -> None:
    plain = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "Yes"}]
    for details in (garbage, [garbage], [{"data": garbage}]):
        said = {"role": "assistant", "content": "Yes", "reasoning_details": details}
        assert sent([plain[0], said]) == sent(plain)


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_that_is_encrypted_only_at_the_end_is_kept(stream: bool) -> None:
    items = [{"type": "reasoning", "summary": []},
             {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]  # fmt: skip
    response = response_of(FakeOpenAI(), items)
    events = list(events_of(response))
    if stream:
        # only the last event has it
        bare = {n: v for n, v in response["output"][0].items() if n != "encrypted_content"}
        events = [e | {"item": bare} if e.get("item", {}).get("type") == "reasoning" else e
                  for e in events]  # fmt: skip
    chunks = ResponseChunks("main", seal)
    message = message_of([chunk for event in events for chunk in chunks.chunks(event)])
    kept = THOUGHTS.opened(MODEL, message["reasoning_details"][0]["data"])
    assert kept is not None
    assert kept.item["encrypted_content"] == response["output"][0]["encrypted_content"]
    assert kept.before == "c"


def test_an_answer_that_is_told_by_its_last_event_alone_is_whole() -> None:
    items = [{"type": "reasoning", "summary": []},
             {"type": "message", "role": "assistant",
              "content": [{"type": "output_text", "text": "Hi", "annotations": []}]},
             {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]  # fmt: skip
    response = response_of(FakeOpenAI(), items)
    stream = ResponseChunks("main", seal)
    chunks = list(stream.chunks({"type": "response.completed", "response": response}))
    whole = to_completion(response, seal)["choices"][0]["message"]
    assert message_of(chunks)["content"] == whole["content"] == "Hi"
    assert message_of(chunks)["tool_calls"] == whole["tool_calls"]
    assert message_of(chunks)["reasoning_details"] == whole["reasoning_details"]


def test_a_seal_is_one_models_and_one_accounts() -> None:
    thought = Thought({"type": "reasoning", "id": "rs_1", "summary": []}, before="c")
    data = THOUGHTS.sealed(MODEL, thought)
    assert THOUGHTS.opened(MODEL, data) == thought
    assert THOUGHTS.opened("gpt-5.4", data) is None
    for other in (Thoughts("https://api.openai.com/v1", Secret("sk-y")),
                  Thoughts("https://eu.api.openai.com/v1", Secret("sk-x"))):  # fmt: skip
        assert other.opened(MODEL, data) is None
    assert Thoughts("https://api.openai.com/v1", Secret("sk-x")).opened(MODEL, data) == thought
    assert "sk-x" not in data


NEEDS = {
    # model: (without tools, with tools, and an effort, and the effort `none`)
    "gpt-4o": (False, False, False, False),
    "gpt-4.1": (False, False, False, False),
    "o4-mini": (False, False, False, False),
    "gpt-5": (False, False, False, False),
    "gpt-5-mini": (False, False, False, False),
    "gpt-5.2": (False, False, False, False),
    "gpt-5.4": (False, False, True, False),
    "gpt-5.4-mini-2026-03-17": (False, False, True, False),
    "gpt-5.5": (False, True, True, False),
    "gpt-5.6-sol": (False, True, True, False),
    "gpt-6-luna": (False, True, True, False),
    "gpt-5.2-pro": (True, True, True, True),
    "gpt-5.3-codex": (True, True, True, True),
    "gpt-5.5-pro-2026-04-23": (True, True, True, True),
    "o3-pro": (True, True, True, True),
    "somebodys-model": (False, False, False, False),
}


@pytest.mark.parametrize("model", NEEDS)
def test_which_requests_need_the_responses_api(model: str) -> None:
    bodies: list[dict[str, Any]] = [
        {},
        {"tools": TOOLS},
        {"tools": TOOLS, "reasoning_effort": "low"},
        {"tools": TOOLS, "reasoning_effort": "none"},
    ]
    assert tuple(needs_responses(facts_of(model), body) for body in bodies) == NEEDS[model]


def test_which_models_reason() -> None:
    never = ("gpt-4o-mini", "gpt-4.1", "gpt-3.5-turbo", "gpt-5-chat-latest")
    assert not any(reasons(facts_of(model)) for model in never)
    some = ("gpt-5", "o3", "gpt-5.6-sol", "gpt-6-luna", "somebodys-model")
    assert all(reasons(facts_of(model)) for model in some)


def test_reasoning_that_is_kept_counts_as_input() -> None:
    said = {"role": "assistant", "content": "Yes"}
    kept = [{"type": "reasoning.encrypted", "data": "x" * 700}, "garbage", {"data": None}]
    plain, full = (
        count_chat({"messages": [message]})
        for message in (said, said | {"reasoning_details": kept})
    )
    assert full.bound - plain.bound >= 700, "a token is never less than a byte"
    assert 100 <= full.further - plain.further < 200
    assert full.text == plain.text
