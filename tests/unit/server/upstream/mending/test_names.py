"""The names of streamed calls, put together by the names of the request's tools."""

from __future__ import annotations

from typing import Any

import pytest

from server.upstream.mending.names import ToolNames

TOOLS: list[Any] = [
    *({"type": "function", "function": {"name": name}} for name in ("get", "get_weather", "clock")),
    {"type": "custom", "custom": {"name": "sh"}},
    {"type": "function", "function": {"name": 1}},
    "odd",
]


@pytest.mark.parametrize(
    ("so_far", "piece", "same_call", "name"),
    [
        ("get_", "weather", False, "get_weather"),
        ("get", "_weather", False, "get_weather"),
        ("g", "e", False, "ge"),
        ("s", "h", False, "sh"),
        ("clo", "clock", False, "clock"),
        ("get", "get_", False, "get_"),
        # two calls
        ("get", "get_weather", True, None),
        ("clock", "get", True, None),
        ("clock", "clock", True, None),
        # a tool that does not exist
        ("look", "_up", True, "look_up"),
        ("look", "_up", False, None),
        ("look", "clock", True, None),
        ("clock", "x", True, None),
    ],
)
def test_whether_a_piece_goes_on_with_a_name(
    so_far: str, piece: str, same_call: bool, name: str | None
) -> None:
    assert ToolNames(TOOLS).joined(so_far, piece, same_call=same_call) == name


def test_a_name_is_final_where_nothing_can_follow_it() -> None:
    names = ToolNames(TOOLS)
    final = [name for name in ("get", "get_weather", "clock", "clo", "x") if names.is_final(name)]
    assert final == ["get_weather", "clock"]


@pytest.mark.parametrize("tools", [None, [], "x", [{"function": None}]])
def test_without_tools_every_name_is_whole(tools: object) -> None:
    names = ToolNames(tools)
    assert names.is_final("get")
    assert names.joined("get", "_weather", same_call=True) is None
