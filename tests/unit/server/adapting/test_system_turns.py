"""System turns and changes of tools within a Messages body, for each kind of model."""

from __future__ import annotations

from typing import Any

import pytest
from fake_anthropic import fault_of
from hypothesis import given
from hypothesis import strategies as st

from server.adapting import adapt_messages, adapt_unknown_messages
from server.adapting.stand_ins import GO_ON
from server.model_facts import facts_of

KNOWS = "claude-opus-4-8"
KNOWS_EFFORTS = "claude-opus-5-5"
OLDER = ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-7", "claude-sonnet-5")
EDITS: Any = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}


def user(*said: Any) -> dict[str, Any]:
    blocks = [{"type": "text", "text": one} if isinstance(one, str) else one for one in said]
    return {"role": "user", "content": blocks}


def system(text: str, **fields: Any) -> dict[str, Any]:
    return {"role": "system", "content": text, **fields}


def reminded(text: str) -> str:
    return f"<system-reminder>\n{text}\n</system-reminder>"


HI = user("hi")
SAID = {"role": "assistant", "content": "hello"}
CALL = {"type": "tool_use", "id": "c1", "name": "ls", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "c1", "content": "a.py"}
NOTE = system("be brief")


def sent(model: str, /, *turns: Any, **fields: Any) -> dict[str, Any]:
    """What is sent, without the request to go on, which ends a conversation of the assistant's."""
    body = {"max_tokens": 9, "messages": list(turns), **fields}
    adapted = adapt_messages(body, facts_of(model))
    assert adapted.reason is None
    found = dict(adapted.body)
    if found["messages"][-1]["content"] == GO_ON:
        found["messages"] = found["messages"][:-1]
    return found


@pytest.mark.parametrize(
    "turns",
    [(HI, NOTE), (HI, NOTE, SAID, HI), (HI, {**SAID, "content": [CALL]}, user(RESULT), NOTE)],
)
def test_models_that_know_system_turns_get_them_as_they_are(turns: Any) -> None:
    assert sent(KNOWS, *turns)["messages"] == list(turns)


@pytest.mark.parametrize("model", OLDER)
def test_for_older_models_they_are_reminders_of_the_user(model: str) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    marked = system("", content=[{"type": "text", "text": "be brief", **mark}])
    told = {"type": "text", "text": reminded("be brief"), **mark}
    assert sent(model, HI, marked, SAID)["messages"] == [user("hi", told), SAID]
    assert sent(model, HI, SAID, NOTE, HI)["messages"] == [
        HI, SAID, user(reminded("be brief"), "hi"),
    ]  # fmt: skip
    assert sent(model, HI, SAID, NOTE)["messages"] == [HI, SAID, user(reminded("be brief"))]


@pytest.mark.parametrize("model", [KNOWS, *OLDER])
def test_the_results_of_a_call_stay_first(model: str) -> None:
    calling = {**SAID, "content": [CALL]}
    assert sent(model, HI, calling, NOTE, user(RESULT, "go on"))["messages"] == [
        HI, calling, user(RESULT, reminded("be brief"), "go on"),
    ]  # fmt: skip


@pytest.mark.parametrize("model", [KNOWS, *OLDER, "claude-opus-5-5"])
def test_those_at_the_very_beginning_belong_to_the_system_prompt(model: str) -> None:
    found = sent(model, NOTE, HI, system="You are an agent.")
    assert found["messages"] == [HI]
    assert found["system"] == [
        {"type": "text", "text": "You are an agent."}, {"type": "text", "text": "be brief"},
    ]  # fmt: skip


@pytest.mark.parametrize("model", [KNOWS, *OLDER])
def test_a_system_turn_alone_is_asked_to_begin(model: str) -> None:
    found = sent(model, NOTE, model=model)
    assert fault_of(found) is None
    assert found["system"] == [{"type": "text", "text": "be brief"}]


def test_where_the_api_takes_none_they_are_reminders_and_of_two_side_by_side_one() -> None:
    """The API takes one after a user turn, before an answer or at the end."""
    assert sent(KNOWS, HI, NOTE, user("more"))["messages"] == [
        user("hi", reminded("be brief")), user("more"),
    ]  # fmt: skip
    assert sent(KNOWS, HI, SAID, NOTE, HI)["messages"][2] == user(reminded("be brief"), "hi")
    both = sent(KNOWS, HI, NOTE, system("be kind"))["messages"]
    assert both == [HI, {**NOTE, "content": user("be brief", "be kind")["content"]}]


@pytest.mark.parametrize("content", [[], "", " ", [{"type": "text", "text": ""}]])
def test_an_answer_that_says_nothing_is_no_neighbour(content: Any) -> None:
    silent = {"role": "assistant", "content": content}
    assert sent(KNOWS, HI, NOTE, silent, HI)["messages"] == [
        user("hi", reminded("be brief")), HI,
    ]  # fmt: skip


def test_a_reminder_is_not_put_into_its_tag_twice() -> None:
    told = reminded("be brief")
    assert sent("claude-haiku-4-5", HI, system(told))["messages"] == [user("hi", told)]


def test_the_beginning_stays_as_it_was_when_a_conversation_goes_on() -> None:
    turns = [HI, NOTE, {**SAID, "content": [CALL]}, user(RESULT), system("x"), SAID, HI, NOTE, SAID]
    for model in (KNOWS, *OLDER):
        for end in range(3, len(turns)):
            if turns[end - 1]["role"] == "assistant":
                shorter = sent(model, *turns[:end])["messages"]
                assert sent(model, *turns)["messages"][: len(shorter)] == shorter


def test_how_much_to_think_from_a_turn_on() -> None:
    turn = system("be brief", output_config={"effort": "low"})
    asked: Any = {"output_config": {"effort": "high"}, "thinking": {"type": "adaptive"}}
    kept = sent(KNOWS_EFFORTS, HI, turn, **asked)
    assert kept["messages"] == [HI, turn]
    assert kept["output_config"] == {"effort": "high"}
    said_once = sent(KNOWS, HI, turn, **asked)
    assert said_once["messages"] == [HI, NOTE]
    assert said_once["output_config"] == {"effort": "low"}
    alone = {"role": "system", "output_config": {"effort": "low"}}
    assert sent(KNOWS, HI, alone)["messages"] == [HI]
    assert sent("claude-haiku-4-5", HI, alone)["messages"] == [HI]


def test_a_reminder_for_one_turn_goes_with_it() -> None:
    passing = system("be brief", clear_at="next_user_message")
    assert sent("claude-haiku-4-5", HI, passing)["messages"] == [user("hi", reminded("be brief"))]
    assert sent("claude-haiku-4-5", HI, passing, SAID, HI)["messages"] == [HI, SAID, HI]


def test_tools_that_come_and_go() -> None:
    tools: Any = [{"name": "a", "input_schema": {}},
                  {"name": "b", "input_schema": {}, "defer_loading": True}]  # fmt: skip
    new = {"name": "c", "input_schema": {}}
    changes = [
        {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "a"}},
        {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "b"}},
        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": new}},
    ]
    turn = {"role": "system", "content": changes}
    kept = sent(KNOWS, HI, turn, tools=tools)
    assert (kept["messages"], kept["tools"]) == ([HI, turn], tools)
    folded = sent("claude-haiku-4-5", HI, turn, tools=tools)
    assert folded["tools"] == [{"name": "b", "input_schema": {}}, new]
    text = folded["messages"][0]["content"][1]["text"]
    assert "The tool a is no longer available." in text
    assert "The tool c is available from here on." in text
    none_left = sent("claude-haiku-4-5", HI, {"role": "system", "content": changes[:1]},
                     tools=tools[:1], tool_choice={"type": "auto"})  # fmt: skip
    assert not {"tools", "tool_choice"} & none_left.keys()


def test_of_unknown_models_only_a_claude_is_taken_to_know_them() -> None:
    body = {"messages": [HI, NOTE]}
    assert adapt_unknown_messages(body, "claude-next").body == body
    assert adapt_unknown_messages(body, "qwen-max").body["messages"] == [
        user("hi", reminded("be brief"))
    ]


@pytest.mark.parametrize(
    ("model", "thinking", "managed"),
    [
        ("claude-opus-4-8", {"type": "adaptive"}, EDITS),
        ("claude-sonnet-4-5", {"type": "adaptive"}, EDITS),
        ("claude-opus-4-8", {"type": "disabled"}, None),
        ("claude-3-5-haiku-20241022", {"type": "adaptive"}, None),
    ],
)
def test_thoughts_are_cleared_only_where_the_model_thinks(
    model: str, thinking: Any, managed: Any
) -> None:
    found = sent(model, HI, thinking=thinking, context_management=EDITS, max_tokens=9000)
    assert found.get("context_management") == managed


ROLES = st.lists(st.sampled_from(["user", "assistant", "system", "loop"]), max_size=12)


@given(roles=ROLES, model=st.sampled_from([KNOWS, KNOWS_EFFORTS, *OLDER]))
def test_whatever_their_order_nothing_is_refused_and_no_word_is_lost(
    roles: list[str], model: str
) -> None:
    turns: list[dict[str, Any]] = [HI]
    for number, role in enumerate(roles):
        if role == "loop":
            call = {**CALL, "id": f"c{number}"}
            result = {**RESULT, "tool_use_id": call["id"], "content": f"word{number}."}
            turns += [{"role": "assistant", "content": [call]}, user(result)]
        else:
            turns.append({"role": role, "content": f"word{number}."})
    found = sent(model, *turns, model=model, tools=[{"name": "ls", "input_schema": {}}])
    assert fault_of(found) is None
    words = str(found)
    assert all(f"word{number}." in words for number in range(len(roles)))
    kinds = [turn["role"] for turn in found["messages"]]
    assert kinds.count("assistant") == sum(role in ("assistant", "loop") for role in roles)
    for end, turn in enumerate(turns):
        if turn["role"] == "assistant":
            shorter = sent(model, *turns[: end + 1], model=model)["messages"]
            assert found["messages"][: len(shorter)] == shorter


def test_tools_that_are_not_loaded_reach_models_that_know_none_as_others_do() -> None:
    tools: Any = [
        {"name": "a", "input_schema": {}},
        {"name": "b", "input_schema": {}, "defer_loading": True},
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
    ]
    found = {"type": "tool_reference", "tool_name": "b"}
    search = {"type": "server_tool_use", "id": "s", "name": "tool_search_tool_bm25", "input": {}}
    hits = {"type": "tool_search_tool_result", "tool_use_id": "s",
            "content": {"tool_references": [found]}}  # fmt: skip
    searched: Any = {"role": "assistant", "content": [search, hits, CALL]}
    turns: Any = [HI, searched, user({**RESULT, "content": [found]})]
    body = {"max_tokens": 9, "messages": turns, "tools": tools}
    assert adapt_messages(body, facts_of("claude-haiku-4-5")).body == body
    for adapted in (
        adapt_messages(body, facts_of("claude-opus-4-1")),
        adapt_messages(body, facts_of("deepseek-v4-pro")),
        adapt_unknown_messages(body, "a-model-of-nobody"),
    ):
        assert adapted.body["tools"] == [tools[0], {"name": "b", "input_schema": {}}]
        assert adapted.left_out == ("tools.tool_search_tool_bm25_20251119",)
        result = {**RESULT, "content": [{"type": "text", "text": "The tool b is loaded."}]}
        assert adapted.body["messages"] == [HI, {**searched, "content": [CALL]}, user(result)]
