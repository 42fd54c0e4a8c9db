"""A conversation that other models have answered, as each provider takes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from server.upstream.base import UpstreamRequest
from server.upstream.history import Rules, mended, targets
from server.upstream.openai_body import outgoing
from server.upstream.profiles import PROFILES

USER = {"role": "user", "content": "Where?"}
EVERY = {name: rules for name, rules in vars(targets).items() if isinstance(rules, Rules)}


def call(identifier: Any = "c", arguments: Any = "{}", **more: Any) -> dict[str, Any]:
    function = {"name": "find", "arguments": arguments}
    return {"id": identifier, "type": "function", "function": function, **more}


def said(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **fields}


def result(identifier: Any = "c", content: Any = "here") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identifier, "content": content}


def roles(messages: Sequence[Any]) -> list[str]:
    return [message["role"] for message in messages]


@pytest.mark.parametrize("rules", EVERY.values(), ids=EVERY)
def test_text_in_order_is_not_copied(rules: Rules) -> None:
    plain = [{"role": "system", "content": "s"}, USER, {"role": "assistant", "content": "a"}, USER]
    assert mended(plain, rules) is plain


@pytest.mark.parametrize("rules", EVERY.values(), ids=EVERY)
def test_each_call_has_one_result_and_each_result_a_call(rules: Rules) -> None:
    history = [
        USER, said(call("a"), call("b")), result("a"), {"role": "system", "content": "now"},
        result("a", "again"), result("z", "stray"), USER,
    ]  # fmt: skip
    sent = mended(history, rules)
    ids = [one["id"] for one in sent[1]["tool_calls"]]
    assert [message["tool_call_id"] for message in sent[2:4]] == ids
    assert [message["content"] for message in sent[2:4]] == ["here", "(no result)"]
    assert "tool" not in roles(sent[4:])
    rest = " ".join(str(message["content"]) for message in sent[4:])
    assert all(word in rest for word in ("now", "again", "stray", "Where?"))


@pytest.mark.parametrize("rules", EVERY.values(), ids=EVERY)
def test_no_two_calls_of_a_conversation_have_one_id(rules: Rules) -> None:
    rounds = [
        said(call("call_0"), call("call_0")),
        result("call_0", "1"),
        result("call_0", "2"),
        said(call(None)),
        result(None, "3"),
        said(call("call_0_2")),
        result("call_0_2", "4"),
    ]
    sent = mended([USER, *rounds], rules)
    ids = [one["id"] for message in sent for one in message.get("tool_calls") or ()]
    answered = [m["tool_call_id"] for m in sent if m["role"] == "tool"]
    assert len(set(ids)) == 4
    assert answered == ids
    assert [m["content"] for m in sent if m["role"] == "tool"] == ["1", "2", "3", "4"]


def test_system_messages_stand_where_the_provider_takes_them() -> None:
    history = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [{"type": "text", "text": "two"}]},
        USER,
        {"role": "assistant", "content": "There."},
        {"role": "developer", "content": "three"},
        USER,
    ]
    assert mended(history, targets.OPENAI) == history
    first = mended(history, targets.VLLM)
    assert roles(first) == ["system", "user", "assistant", "user"]
    leading = mended(history, targets.ANTHROPIC)
    assert roles(leading) == ["system", "developer", "user", "assistant", "user", "user"]
    assert leading[4]["content"] == "<system-reminder>\nthree\n</system-reminder>"


@pytest.mark.parametrize("history", [
    [{"role": "system", "content": "s"}],
    [{"role": "assistant", "content": "Welcome."}, USER],
    [{"role": "system", "content": "s"}, {"role": "assistant", "content": "Welcome."}, USER],
])  # fmt: skip
def test_the_user_has_the_first_word_where_that_is_wanted(history: list[dict[str, Any]]) -> None:
    for rules in EVERY.values():
        turns = [role for role in roles(mended(history, rules)) if role != "system"]
        assert not rules.user_first or turns[0] == "user"


def test_mistral_hears_the_assistant_between_a_tool_and_the_user() -> None:
    sent = mended([USER, said(call()), result(), USER], targets.MISTRAL)
    assert roles(sent) == ["user", "assistant", "tool", "assistant", "user"]


@pytest.mark.parametrize("arguments", ["[1]", '{"cut": ', "text", {"an": "object"}, None, " "])
def test_arguments_are_an_object_where_they_have_to_be(arguments: Any) -> None:
    sent = mended([USER, said(call(arguments=arguments)), result()], targets.VLLM)
    given = json.loads(sent[1]["tool_calls"][0]["function"]["arguments"])
    assert isinstance(given, dict)
    assert not isinstance(arguments, str) or not arguments.strip() or arguments in given.values()


FOREIGN: dict[str, Any] = {
    "reasoning": "hm",
    "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
    "reasoning_content": "hm",
    "annotations": [],
    "provider_specific_fields": {"x": 1},
    "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
    "refusal": None,
    "audio": None,
    "function_call": None,
    "tool_calls": [],
    "extra_content": {"google": {}},
}


def test_fields_of_others_are_left_out() -> None:
    history = [USER, {"role": "assistant", "content": "There.", **FOREIGN}, USER]
    for rules in EVERY.values():
        message = mended(history, rules)[1]
        assert not {"annotations", "audio", "function_call", "tool_calls"} & message.keys()
        if rules.kept is not None:
            assert message.keys() <= rules.kept
    marked = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]
    history = [{"role": "user", "content": marked}]
    assert mended(history, targets.OPENROUTER)[0]["content"] == marked
    for rules in (targets.OPENAI, targets.GROQ, targets.MISTRAL, targets.DEEPSEEK):
        assert "cache_control" not in str(mended(history, rules))


def test_reasoning_of_tool_turns_goes_back_to_who_wants_it() -> None:
    ways: list[dict[str, Any]] = [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"thinking_blocks": FOREIGN["thinking_blocks"]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
    ]
    for way in ways:
        sent = mended([USER, said(call(), **way), result()], targets.DEEPSEEK)
        assert sent[1]["reasoning_content"] == "hm"
    bare = mended([USER, said(call()), result()], targets.DEEPSEEK)
    assert bare[1]["reasoning_content"]


def test_words_survive_in_whatever_place_they_stood() -> None:
    history = [
        USER,
        {"role": "assistant", "content": None, "refusal": "I will not."},
        {
            "role": "user",
            "content": [{"type": "text", "text": ""}, {"type": "text", "text": "Why?"}],
        },
        {"role": "assistant", "content": ""},
        {"role": "user", "content": ""},
    ]
    for rules in EVERY.values():
        sent = str(mended(history, rules))
        assert "I will not." in sent
        assert "Why?" in sent


def test_models_that_want_their_reasoning_get_it_from_every_server() -> None:
    history = [USER, said(call(), thinking_blocks=FOREIGN["thinking_blocks"]), result()]
    tools = [{"type": "function", "function": {"name": "find"}, "cache_control": {"type": "x"}}]
    wanted = {
        ("generic", "kimi-k3.1-pro"): "hm",
        ("vllm", "deepseek-v4-pro"): "hm",
        ("vllm", "qwen3-32b"): "hm",
        ("generic", "qwen3-32b"): None,
        ("deepseek", "deepseek-chat"): "hm",
        ("mistral", "mistral-large-4"): None,
    }
    for (profile, model), reasoning in wanted.items():
        request = UpstreamRequest({"messages": history, "tools": tools}, False, model)
        sent = outgoing(PROFILES[profile], request)
        assert sent["messages"][1].get("reasoning_content") == reasoning, (profile, model)
        assert ("cache_control" in sent["tools"][0]) == (profile == "generic")
    bare = [USER, said(call()), result()]
    for profile, model in (("generic", "kimi-k3.1-pro"), ("vllm", "qwen3-32b")):
        sent = outgoing(PROFILES[profile], UpstreamRequest({"messages": bare}, False, model))
        assert ("reasoning_content" in sent["messages"][1]) == (profile == "generic")


@pytest.mark.parametrize("name", PROFILES)
def test_empty_lists_and_what_goes_with_them_are_left_out(name: str) -> None:
    hollow = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "stop": [],
              "functions": [], "model": "m", "messages": [USER]}  # fmt: skip
    sent = outgoing(PROFILES[name], UpstreamRequest(hollow, False, "m"))
    assert sent == {"model": "m", "messages": [USER]}
