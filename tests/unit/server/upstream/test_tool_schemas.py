"""Definitions of tools: what is changed for a vendor, and what stays as it is."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tool_rules import claude_tool_fault, openai_tool_fault

from server.upstream.tool_schemas import for_anthropic, for_openai, unique, without_nulls

FINE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "default": None},
        "items": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["type"],
}


def chat(schema: Any, name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema, **more}}


def test_what_is_taken_stays_the_same_object() -> None:
    tool, native = chat(FINE), {"name": "f", "input_schema": FINE}
    assert for_openai(tool) is tool
    assert for_anthropic(native) is native
    assert without_nulls(tool) is tool
    tools = [tool, chat(FINE, "g")]
    assert unique(tools) is tools


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "array"}}},
        {"type": "object", "$defs": {"A": {"type": "object"}}, "properties": {"a": True}},
        {"type": None, "properties": {"a": {"anyOf": [{"type": "array"}, {"type": "null"}]}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "array"}}}},
    ],
)
def test_openai_gets_whole_schemas(schema: dict[str, Any]) -> None:
    said = for_openai({"type": "function", "name": "f", "parameters": schema})
    assert openai_tool_fault([said]) is None
    assert openai_tool_fault([{"name": "f", "parameters": schema}]) is not None


def test_tools_in_a_namespace_are_whole_too() -> None:
    inner = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    said = for_openai({"type": "namespace", "name": "n", "tools": [inner]})
    assert said["tools"][0]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize("name", ["filter[name]", "$top", "a b", "a/b", "ü", "x" * 65, "a{1}"])
def test_a_property_with_another_name_is_matched_by_a_pattern(name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string"}, "ok": {}}}
    said = for_anthropic({"name": "f", "input_schema": schema, "strict": True})
    assert claude_tool_fault([said]) is None
    assert said["input_schema"]["properties"] == {"ok": {}}
    ((pattern, inner),) = said["input_schema"]["patternProperties"].items()
    assert inner == {"type": "string"}
    assert re.search(pattern, name)
    assert not re.search(pattern, name + "x")
    assert not re.search(pattern, "ok")


def test_of_one_name_the_last_definition_counts() -> None:
    first, other, last = chat(FINE), chat(FINE, "g"), chat({"type": "object"})
    assert unique([first, other, last]) == [last, other]
    namespace = {"type": "namespace", "name": "f", "tools": []}
    assert len(unique([{"type": "function", "name": "f"}, namespace])) == 2


def test_nulls_mean_nothing() -> None:
    assert without_nulls(chat(None, description=None)) == {
        "type": "function", "function": {"name": "f"},
    }  # fmt: skip
