"""What vendors refuse in the definitions of tools, in their words; None for what they take."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
_KEY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


def openai_tool_fault(functions: list[Json]) -> str | None:
    """functions: each with its name and its parameters, if it has any."""
    for function in functions:
        if "parameters" in function:
            for fault in _openai_schema(function["parameters"], ()):
                return f"Invalid schema for function '{function['name']}': {fault}"
    return None


def _openai_schema(schema: Any, context: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(schema, dict):
        yield f"In context={context}, {schema} is not of type 'object'."
        return
    if not context and schema.get("type") != "object":
        yield f"schema must be a JSON Schema of 'type: \"object\"', got {schema.get('type')}"
    for name, value in schema.items():
        if value is None and name != "default":
            yield f"In context={context}, None is not of type for '{name}'."
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "object" in kinds and "properties" not in schema:
        yield f"In context={context}, object schema missing properties."
    if "array" in kinds and "items" not in schema:
        yield f"In context={context}, array schema missing items."
    for name, inner in (schema.get("properties") or {}).items():
        yield from _openai_schema(inner, (*context, "properties", name))
    for number, inner in enumerate(schema.get("anyOf") or ()):
        yield from _openai_schema(inner, (*context, "anyOf", str(number)))
    if "items" in schema:
        yield from _openai_schema(schema["items"], (*context, "items"))


def claude_tool_fault(tools: list[Json]) -> str | None:
    """tools: as in the Messages API."""
    for number, tool in enumerate(tools):
        schema = tool.get("input_schema")
        if schema is None:
            continue
        where = f"tools.{number}.custom.input_schema"
        if schema.get("type") != "object":
            return f"{where}.type: Input should be 'object'"
        if any(not _KEY.fullmatch(name) for name in schema.get("properties") or ()):
            return f"{where}.properties: Property keys should match pattern '^{_KEY.pattern}$'"
        if tool.get("strict") and "patternProperties" in schema:
            return f"{where}: patternProperties is not supported in strict tools"
    return "tools: Tool names must be unique." if _twice(tools) else None


def gemini_tool_fault(declared: list[Json]) -> str | None:
    """declared: the functionDeclarations."""
    for function in declared:
        schema = function.get("parametersJsonSchema", {"type": "object"})
        if schema.get("type") != "object" or "$schema" in schema:
            return f"{function['name']}: parameters should be an OBJECT"
    return "Duplicate function declaration found" if _twice(declared) else None


def _twice(tools: list[Json]) -> bool:
    return max(Counter(tool["name"] for tool in tools).values(), default=0) > 1
