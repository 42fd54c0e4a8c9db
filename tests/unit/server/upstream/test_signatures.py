"""Thoughts that are signed go back to the account that signed them, and to nobody else."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from fuzz_histories import Target, parsed

from server.config.secret import Secret
from server.model_facts import facts_of
from server.upstream.anthropic.native import with_taken_history, without_lost_thinking
from server.upstream.seal import UNSIGNED, sealed
from server.upstream.signatures import Signatures, is_about_thoughts

OURS = Signatures("https://api.anthropic.com", Secret("a"))
THEIRS = Signatures("https://api.moonshot.ai/anthropic", Secret("b"))
THINKING: Any = {"type": "thinking", "thinking": "hm", "signature": "Eq1"}
HIDDEN: Any = {"type": "redacted_thinking", "data": "Eq2"}
USER: Any = {"role": "user", "content": "Where?"}
TOOL: Any = {"type": "tool_use", "id": "toolu_1", "name": "find", "input": {}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "here"}
TEXT: Any = {"type": "text", "text": "There."}


def own(block: Any) -> Any:
    return OURS.own(block, unsigned=False)


@pytest.mark.parametrize("block", [THINKING, HIDDEN])
def test_a_mark_goes_on_for_the_caller_and_off_for_who_signed(block: Any) -> None:
    marked = OURS.marked(block)
    assert marked != block
    assert own(marked) == block
    assert THEIRS.own(marked, unsigned=True) is None
    assert own(block) == block, "a conversation that was begun elsewhere has no marks"
    assert OURS.marked(TEXT) is TEXT


def test_what_nobody_signed_is_sent_only_where_that_is_usual() -> None:
    for made in ({}, {"signature": ""}):
        bare = {"type": "thinking", "thinking": "hm", **made}
        assert own(bare) is None
        assert OURS.own(bare, unsigned=True) == bare
    for ours in (UNSIGNED, sealed([{"type": "x"}])):
        assert OURS.own({**THINKING, "signature": ours}, unsigned=True) is None


def test_events_are_marked_like_whole_answers() -> None:
    delta = {"type": "signature_delta", "signature": "Eq1"}
    event = {"type": "content_block_delta", "index": 0, "delta": delta}
    signature = OURS.marked_event(event)["delta"]["signature"]
    assert own({**THINKING, "signature": signature}) == THINKING
    opened = {"type": "content_block_start", "index": 0, "content_block": HIDDEN}
    assert own(OURS.marked_event(opened)["content_block"]) == HIDDEN
    text = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}
    assert OURS.marked_event(text) is text


def body(*turns: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9000, "messages": list(turns), **fields}


def said(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def test_a_native_history_that_is_taken_is_not_copied() -> None:
    tools = [{"name": "find", "input_schema": {"type": "object"}}]
    taken = body(USER, said(TEXT, TOOL), {"role": "user", "content": [RESULT]}, tools=tools)
    kept = copy.deepcopy(taken)
    assert with_taken_history(taken, own) is taken
    assert taken == kept


def test_a_native_history_of_others_is_made_acceptable() -> None:
    foreign = THEIRS.marked(THINKING)
    history = [
        said({"type": "text", "text": "Welcome."}),
        said(foreign),
        {"role": "user", "content": [{"type": "text", "text": ""}]},
        said(foreign, {**TOOL, "id": "functions.find:0"}, {**TOOL, "input": "cut"}),
        {"role": "user", "content": [TEXT, {**RESULT, "tool_use_id": "functions.find:0"}]},
        said({**TOOL, "id": "functions.find:0"}),
        {"role": "user", "content": [{**RESULT, "tool_use_id": "nobody"}]},
    ]
    sent: Any = with_taken_history(body(*history), own)
    turns = sent["messages"]
    assert turns[0]["role"] == "user"
    calls, results = [], []
    for turn in turns:
        for block in turn["content"] if isinstance(turn["content"], list) else ():
            assert block["type"] != "thinking"
            if block["type"] == "tool_use":
                calls.append(block["id"])
                assert isinstance(block["input"], dict)
            if block["type"] == "tool_result":
                results.append(block["tool_use_id"])
    assert calls == results
    assert len(set(calls)) == 3
    assert "Result of an earlier tool call" in str(turns[-1])
    assert sent["tools"][0]["name"] == "find"
    assert sent["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("model", "kind", "left"),
    [
        ("claude-sonnet-4-5", "enabled", None),
        ("claude-opus-5", "adaptive", {"type": "disabled"}),
        ("claude-sonnet-5-5", "adaptive", {"type": "between_tools"}),
        ("claude-opus-5-5", "adaptive", {"type": "adaptive"}),
    ],
)
def test_thinking_is_off_where_a_tool_turn_has_lost_its_thoughts(
    model: str, kind: str, left: Any
) -> None:
    thinking = {"type": kind} | ({"budget_tokens": 2000} if kind == "enabled" else {})
    edits = {"edits": [{"type": "clear_thinking_20251015"}, {"type": "clear_tool_uses_20250919"}]}
    fields = {"thinking": thinking, "context_management": edits}
    facts = facts_of(model).thinking
    answered = {"role": "user", "content": [RESULT]}
    lost = body(USER, said(TEXT, TOOL), answered, **fields)
    sent = without_lost_thinking(lost, facts)
    assert sent.get("thinking") == left
    if left != thinking:
        kinds = [edit["type"] for edit in sent["context_management"]["edits"]]
        assert kinds == ["clear_tool_uses_20250919"]
    for whole in (
        body(USER, said(THINKING, TOOL), answered, **fields),
        body(USER, said(TEXT, TOOL), answered, said(TEXT), USER, **fields),
    ):
        assert without_lost_thinking(whole, facts) is whole


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (b"messages.1.content.0: Invalid `signature` in `thinking` block", True),
        (b"Expected `thinking` or `redacted_thinking`, but found `tool_use`.", True),
        (b"a final `assistant` message must start with a thinking block", True),
        (b"max_tokens: Field required", False),
        (b"adaptive thinking is not supported on this model", False),
    ],
)
def test_refusals_of_thoughts_are_told_from_others(words: bytes, about: bool) -> None:
    assert is_about_thoughts(words) is about


FOREIGN_CALL: Any = {
    "id": "c1",
    "type": "function",
    "function": {"name": "find", "arguments": "{}"},
    "extra_content": {"google": {"thought_signature": "of-another-account"}},
}
SIGNED_HISTORIES: dict[str, Any] = {
    "gemini": ("chat", {"messages": [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [FOREIGN_CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "here"},
    ]}),
    "anthropic": ("messages", {"max_tokens": 9000, "messages": [
        USER, said(THINKING, TOOL), {"role": "user", "content": [RESULT]}],
        "tools": [{"name": "find", "input_schema": {"type": "object"}}],
        "thinking": {"type": "enabled", "budget_tokens": 2000}}),
    "responses": ("responses", {"input": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "message", "role": "assistant", "content": "There."}, USER]}),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNED_HISTORIES)
def test_thoughts_that_are_refused_are_left_out_at_the_second_try(name: str) -> None:
    surface, fields = SIGNED_HISTORIES[name]

    async def sent() -> tuple[list[str], Any]:
        target = Target(name)
        request = parsed(surface, {"model": "p2l", **fields})
        fit = request.fit(target.upstream, target.model, bounded=False, facts=target.facts)
        outgoing = request.outgoing(target.upstream, target.model, None, fit)
        await target.upstream.complete(outgoing)
        await target.upstream.close()
        return target.refusals, target.sent

    refusals, taken = asyncio.run(sent())
    assert len(refusals) == 1
    (body,) = taken
    assert "of-another-account" not in str(body)
    assert "gAAA" not in str(body)
    assert "hinking" not in str(body)
