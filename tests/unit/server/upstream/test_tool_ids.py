"""A history of another provider's model: its ids, its user, and why a turn ended."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.surfaces.messages.reply import MessageEvents, to_message
from server.upstream.base import UpstreamRequest
from server.upstream.history import mended, targets
from server.upstream.openai_body import outgoing
from server.upstream.profiles import PROFILES
from server.upstream.tool_ids import (
    anthropic_id,
    mistral_id,
    with_anthropic_ids,
)

FOREIGN = ("functions.lookup:0", "call_x|fc_" + "y" * 200, "", "ü", "a" * 129)


@pytest.mark.parametrize("given_id", FOREIGN)
def test_foreign_ids_are_said_in_the_alphabet(given_id: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", anthropic_id(given_id))
    assert re.fullmatch(r"[a-zA-Z0-9]{9}", mistral_id(given_id))


@given(st.lists(st.text(), unique=True, max_size=20))
def test_they_stay_apart_and_the_same(ids: list[str]) -> None:
    for say in (anthropic_id, mistral_id):
        said = [say(one) for one in ids]
        assert len(set(said)) == len(ids)
        assert [say(one) for one in said] == said


def test_own_ids_stay() -> None:
    assert anthropic_id("toolu_01-A") == "toolu_01-A"
    assert mistral_id("aB3dE6gH9") == "aB3dE6gH9"


def test_a_call_and_its_result_keep_together() -> None:
    body = {"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "y"}, {"type": "tool_use", "id": "f:0", "name": "f"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "f:0"}]},
    ]}  # fmt: skip
    out: Any = with_anthropic_ids(body)
    made = out["messages"][1]["content"][1]["id"]
    assert made == out["messages"][2]["content"][0]["tool_use_id"] == anthropic_id("f:0")
    assert with_anthropic_ids(out) is out
    call = {"id": "f:0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "f:0", "content": "y"}
    sent = mended([{"role": "user", "content": "x"}, said, result], targets.MISTRAL)
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == mistral_id("f:0")


@pytest.mark.parametrize(("profile", "most"), [("openai", 64), ("azure", 64), ("openrouter", 128)])
def test_a_long_user_is_told_by_a_shorter_name(profile: str, most: int) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "user": "u" * 150}
    sent = outgoing(PROFILES[profile], UpstreamRequest(body, False, "m"))
    assert len(sent.get("user", "")) <= most
    short = {**body, "user": "u" * most}
    assert outgoing(PROFILES[profile], UpstreamRequest(short, False, "m"))["user"] == "u" * most


CALL = {"id": "c", "type": "function", "function": {"name": "ls", "arguments": "{}"}}
ENDS = [(True, "stop", "tool_use"), (True, "tool_calls", "tool_use"), (False, "stop", "end_turn"),
        (False, "tool_calls", "end_turn"), (True, "length", "max_tokens"),
        (False, "content_filter", "refusal")]  # fmt: skip


@pytest.mark.parametrize(("called", "finish_reason", "stop_reason"), ENDS)
def test_why_a_turn_ended_follows_what_it_holds(
    called: bool, finish_reason: str, stop_reason: str
) -> None:
    calls = {"tool_calls": [CALL]} if called else {}
    message = {"role": "assistant", "content": "so", **calls}
    whole = {"choices": [{"message": message, "finish_reason": finish_reason}]}
    assert to_message(whole, "m")["stop_reason"] == stop_reason
    events = MessageEvents("m")
    deltas = [{"content": "so"}, *([{"tool_calls": [{"index": 0, **CALL}]}] if called else [])]
    said = [list(events.chunk({"choices": [{"delta": delta}]})) for delta in deltas]
    said.append(list(events.chunk({"choices": [{"delta": {}, "finish_reason": finish_reason}]})))
    ended = [event for event in events.end() if event["type"] == "message_delta"]
    assert ended[0]["delta"]["stop_reason"] == stop_reason
