"""A request at another effort, in the words of its API, and the effort that a body asks for."""

from __future__ import annotations

from typing import Any

import pytest

from server.adapting import adapt_messages
from server.model_facts import EFFORTS, Effort, facts_of
from server.surfaces.chat.request import ChatRequest, parse_chat_request
from server.surfaces.effort import effort_in, effort_of, is_sent, with_effort
from server.surfaces.messages.request import parse_messages_request
from server.surfaces.responses.request import parse_compact_request, parse_responses_request

USER = [{"role": "user", "content": "Hi"}]


def chat(**more: Any) -> ChatRequest:
    return parse_chat_request({"model": "p2l", "messages": USER, **more})


def message(**more: Any) -> ChatRequest:
    body = {"model": "p2l", "messages": USER, "max_tokens": 32_000, **more}
    return parse_messages_request(body)


def response(**more: Any) -> ChatRequest:
    return parse_responses_request({"model": "p2l", "input": "Hi", **more})


@pytest.mark.parametrize(
    ("request_", "effort"),
    [
        (chat(), None),
        (chat(reasoning_effort="high"), "high"),
        (chat(reasoning_effort="strange"), None),
        (chat(reasoning={"effort": "low"}), "low"),
        (chat(reasoning={"enabled": False}), "none"),
        (chat(reasoning={"max_tokens": 5_000}), "medium"),
        (chat(thinking={"type": "enabled", "budget_tokens": 2_000}), "low"),
        (chat(thinking={"type": "enabled"}), None),
        (chat(thinking={"type": "disabled"}, reasoning_effort="high"), "none"),
        (chat(enable_thinking=False), "none"),
        (chat(enable_thinking=True, thinking_budget=20_000), "high"),
        (message(), None),
        (message(output_config={"effort": "max"}), "max"),
        (message(thinking={"type": "adaptive"}), "high"),
        (message(thinking={"type": "adaptive"}, output_config={"effort": "low"}), "low"),
        (message(thinking={"type": "enabled", "budget_tokens": 20_000}), "high"),
        (message(thinking={"type": "disabled"}), "none"),
        (response(), None),
        (response(reasoning={"effort": "xhigh", "summary": "auto"}), "xhigh"),
        (response(reasoning={"summary": "auto"}), None),
    ],
)
def test_what_a_caller_asks_for_is_understood(request_: ChatRequest, effort: str | None) -> None:
    assert effort_of(request_) == effort


@pytest.mark.parametrize("effort", [effort for effort in EFFORTS if effort != "minimal"])
def test_a_chat_completion_is_put_at_an_effort(effort: Effort) -> None:
    asked = chat(
        reasoning={"effort": "minimal", "exclude": True},
        thinking={"type": "enabled", "budget_tokens": 99},
        enable_thinking=True,
        temperature=1,
    )
    sent = with_effort(asked, effort, None).body
    assert sent == {
        "model": "p2l", "messages": USER, "temperature": 1,
        "reasoning": {"exclude": True}, "reasoning_effort": effort,
    }  # fmt: skip
    assert effort_in(sent) == effort
    assert effort_of(asked) == "minimal", "the caller's own request is left as it is"


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_response_is_put_at_an_effort(effort: Effort) -> None:
    sent = with_effort(response(reasoning={"effort": "low", "summary": "auto"}), effort, None)
    assert sent.native is not None
    assert sent.native["reasoning"] == {"effort": effort, "summary": "auto"}
    assert sent.body["reasoning_effort"] == effort
    plain = with_effort(response(), effort, None)
    assert plain.native is not None
    assert plain.native["reasoning"] == {"effort": effort}


ADAPTIVE = {"type": "adaptive"}
FORMAT = {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}


@pytest.mark.parametrize(
    ("model", "effort", "asked", "sent"),
    [
        # it thinks by itself: the effort alone
        ("claude-opus-5-5", "low", {}, {"output_config": {"effort": "low"}}),
        ("claude-opus-5-5", "max", {"thinking": {"type": "enabled", "budget_tokens": 2_000}},
         {"thinking": ADAPTIVE, "output_config": {"effort": "max"}}),
        ("claude-opus-5-5", "low", {"thinking": {"type": "adaptive", "display": "omitted"}},
         {"thinking": {**ADAPTIVE, "display": "omitted"}, "output_config": {"effort": "low"}}),
        ("claude-opus-5-5", "low", {"output_config": {"effort": "max", "format": FORMAT}},
         {"output_config": {"effort": "low", "format": FORMAT}}),
        # it thinks only when asked
        ("claude-opus-4-8", "low", {}, {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}),
        ("claude-opus-4-8", "none", {"thinking": ADAPTIVE}, {}),
        ("claude-opus-4-8", "high", {"thinking": {"type": "disabled"}},
         {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}),
        ("claude-sonnet-5-5", "none", {"output_config": {"effort": "high"}},
         {"thinking": {"type": "between_tools"}}),
        ("claude-haiku-5-5", "none", {}, {"thinking": {"type": "disabled"}}),
        ("claude-haiku-5-5", "low", {"thinking": {"type": "disabled"}},
         {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}),
        # by a budget, which is a share of the cap
        ("claude-haiku-4-5", "low", {}, {"thinking": {"type": "enabled", "budget_tokens": 6_400}}),
        ("claude-haiku-4-5", "high", {"output_config": {"effort": "low"}},
         {"thinking": {"type": "enabled", "budget_tokens": 25_600}}),
        ("claude-haiku-4-5", "none", {"thinking": {"type": "enabled", "budget_tokens": 2_000}}, {}),
        # other vendors on the Messages API
        ("deepseek-v4-pro", "high", {}, {"output_config": {"effort": "high"}}),
        ("deepseek-v4-pro", "none", {}, {"thinking": {"type": "disabled"}}),
        ("deepseek-v4-pro", "high", {"thinking": {"type": "disabled"}},
         {"output_config": {"effort": "high"}}),
    ],
)  # fmt: skip
def test_a_message_is_put_at_an_effort(
    model: str, effort: Effort, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    facts = facts_of(model)
    found = with_effort(message(**asked), effort, facts)
    assert found.native is not None
    body = dict(found.native)
    assert body.pop("messages") == USER
    assert {name: body[name] for name in ("thinking", "output_config") if name in body} == sent
    assert is_sent(effort, body)
    # what the model's own rules make of it asks for the same effort
    assert is_sent(effort, adapt_messages(found.native, facts).body)
    assert adapt_messages(found.native, facts).left_out == ()


def test_thinking_takes_its_part_of_the_cap() -> None:
    asked = message(thinking={"type": "enabled", "budget_tokens": 2_000})
    assert isinstance(asked, ChatRequest)
    at = with_effort(asked, "high", facts_of("claude-haiku-4-5"))
    assert isinstance(at, ChatRequest)
    assert (asked.thinking_tokens, at.thinking_tokens) == (2_000, 25_600)
    off = with_effort(asked, "none", facts_of("claude-haiku-4-5"))
    assert isinstance(off, ChatRequest)
    assert off.thinking_tokens == 0


def test_a_cap_without_room_leaves_the_callers_words() -> None:
    small = message(max_tokens=500)
    found = with_effort(small, "high", facts_of("claude-haiku-4-5"))
    assert found.native is not None
    assert "thinking" not in found.native
    assert not is_sent("high", found.native)


def test_a_request_at_the_effort_already_is_the_same_object() -> None:
    for same in (
        chat(reasoning_effort="low"),
        chat(thinking={"type": "enabled", "budget_tokens": 2_000}),
        response(reasoning={"effort": "low"}),
        message(output_config={"effort": "low"}),
    ):
        assert with_effort(same, "low", facts_of("claude-opus-5-5")) is same
    budget = message(thinking={"type": "enabled", "budget_tokens": 2_000})
    assert with_effort(budget, "low", facts_of("claude-haiku-4-5")) is budget
    assert with_effort(budget, "low", facts_of("claude-opus-5-5")) is not budget
    compact = parse_compact_request({"model": "m", "input": "Hi"})
    assert with_effort(compact, "low", None) is compact


def test_efforts_of_turns_give_way() -> None:
    turns = [
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Think.", "output_config": {"effort": "max"}},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Well"},
        {"role": "system", "content": [], "output_config": {"effort": "high"}},
    ]
    asked = message(messages=turns)
    assert effort_of(asked) == "high"
    assert with_effort(asked, "high", facts_of("claude-opus-5-5")) is asked
    found = with_effort(asked, "low", facts_of("claude-opus-5-5"))
    assert found.native is not None
    assert found.native["messages"] == [
        turns[0], {"role": "system", "content": "Think."}, turns[2], turns[3],
    ]  # fmt: skip
    assert found.native["output_config"] == {"effort": "low"}


@pytest.mark.parametrize(
    ("effort", "body", "sent"),
    [
        ("low", {"reasoning_effort": "low"}, True),
        ("low", {"reasoning_effort": "high"}, False),
        ("low", {}, False),
        ("none", {}, True),
        ("none", {"thinking": {"type": "disabled"}}, True),
        ("none", {"reasoning_effort": "low"}, False),
        ("xhigh", {"enable_thinking": True, "thinking_budget": 24_576}, True),
        ("xhigh", {"enable_thinking": False, "thinking_budget": 24_576}, False),
        ("max", {"thinking": {"type": "enabled", "budget_tokens": 1_024}}, True),
    ],
)
def test_whether_an_effort_is_sent(effort: str, body: dict[str, Any], sent: bool) -> None:
    assert is_sent(effort, body) is sent
