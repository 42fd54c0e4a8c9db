"""Anthropic behind chat completions: what is sent again and again is marked to be cached."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from server.gateway.prompt_cache import PromptCaches
from server.upstream.anthropic.breakpoints import with_breakpoints, with_few_marks

MARK = {"type": "ephemeral"}


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def marks(value: Any) -> int:
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(marks(v) for v in value.values())
    return sum(map(marks, value)) if isinstance(value, list) else 0


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: bare(v) for name, v in value.items() if name != "cache_control"}
    return [bare(item) for item in value] if isinstance(value, list) else value


def test_an_agents_job_is_marked_in_four_places() -> None:
    body = {
        "system": "be brief",
        "tools": [{"name": "a"}, {"name": "b"}],
        "messages": [turn("user", "1"), turn("assistant", "2"), turn("user", "3")],
    }
    out = with_breakpoints(body)
    assert out["system"] == [{"type": "text", "text": "be brief", "cache_control": MARK}]
    assert out["tools"][-1]["cache_control"] == MARK
    assert [marks(t) for t in out["messages"]] == [1, 0, 1]
    assert marks(out) == 4
    assert marks(body) == 0, "the body that was given is left as it is"


def test_a_single_prompt_is_not_marked() -> None:
    assert marks(with_breakpoints({"system": "x", "messages": [turn("user", "1")]})) == 0


def test_a_callers_own_marks_stand() -> None:
    marked = turn("user", "1")
    marked["content"][0]["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    body = {"tools": [{"name": "a"}], "messages": [marked]}
    assert with_breakpoints(body) == body


@given(st.lists(st.text(min_size=1, max_size=5), min_size=3, max_size=9), st.booleans())
def test_only_marks_are_added(texts: list[str], tools: bool) -> None:
    turns = [turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts)]
    body: dict[str, Any] = {"messages": turns} | ({"tools": [{"name": "a"}]} if tools else {})
    out = with_breakpoints(body)
    assert bare(out) == body
    assert marks(out) <= 4


MARKED = st.booleans()
BLOCKS = st.lists(MARKED, max_size=5).map(
    lambda marked: [
        {"type": "text", "text": str(number)} | ({"cache_control": MARK} if one else {})
        for number, one in enumerate(marked)
    ]
)
RESULT = st.tuples(BLOCKS, MARKED).map(
    lambda both: (
        {"type": "tool_result", "content": both[0]} | ({"cache_control": MARK} if both[1] else {})
    )
)
TURNS = st.lists(
    st.tuples(BLOCKS, RESULT).map(lambda both: {"role": "user", "content": [*both[0], both[1]]}),
    min_size=1,
    max_size=4,
)


@given(tools=BLOCKS, system=BLOCKS | st.just("be brief"), turns=TURNS, alone=MARKED)
def test_there_are_never_more_marks_than_the_api_takes(
    tools: list[Any], system: Any, turns: list[Any], alone: bool
) -> None:
    body = {"messages": turns, "system": system, "tools": tools}
    if alone:
        body["cache_control"] = MARK
    out = with_few_marks(body)
    assert bare(out) == bare(body)
    assert marks(out) == min(marks(body), 4)
    for group in ("tools", "system", "messages"):
        assert (marks(out[group]) > 0) == (marks(body[group]) > 0)
    if marks(body) <= 4:
        assert out is body


def test_the_last_marks_are_kept() -> None:
    turns = [turn("user", str(number)) for number in range(6)]
    for one in turns:
        one["content"][0]["cache_control"] = MARK
    system = [{"type": "text", "text": "s", "cache_control": MARK}]
    out = with_few_marks({"messages": turns, "system": system})
    assert marks(out["system"]) == 1
    assert [marks(one) for one in out["messages"]] == [0, 0, 0, 1, 1, 1]


def test_marks_that_move_leave_the_prefix_the_same() -> None:
    caches = PromptCaches(lambda: 0.0)
    first: dict[str, Any] = {"role": "user", "content": [{"type": "text", "text": "x"}]}
    marked = {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": MARK}]}
    caches.answered("me", {"messages": [marked]}, "m", 5000)
    later = {"messages": [first, {"role": "assistant", "content": "y"}]}
    assert caches.cached_tokens("me", later) == {"m": 5000}
