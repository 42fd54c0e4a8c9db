"""Makes the definitions of tools acceptable to the vendor that they are sent to.

Servers of tools declare what one vendor accepts and another refuses: an agent that changes its
model would lose all its tools by a single one of them. What is accepted everywhere is unchanged,
and no schema becomes stricter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from server.adapting.schemas import with_inner

Json = Mapping[str, Any]
# Keywords whose null is a value.
_VALUES: Final = frozenset({"const", "default", "examples"})
# What Anthropic accepts as the name of a property at the root of a tool's schema.
_ANTHROPIC_KEY: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_SPECIAL: Final = re.compile(r"([\\^$.|?*+()\[\]{}/])")


def unique(tools: Sequence[Any]) -> Sequence[Any]:
    """The tools, each name once: of several definitions the last one counts. Anthropic, Gemini and
    DeepSeek refuse a name that is given twice."""
    by_name: dict[object, Any] = {}
    for place, tool in enumerate(tools):
        by_name[_name(tool) or place] = tool
    return tools if len(by_name) == len(tools) else list(by_name.values())


def without_nulls(tool: Any) -> Any:
    """A tool without fields that are null: they mean the same as none, and are refused."""
    if not isinstance(tool, Mapping):
        return tool
    out = {name: without_nulls(v) if name == "function" else v for name, v in tool.items()}
    out = {name: value for name, value in out.items() if value is not None}
    return tool if out == tool else out


def for_openai(tool: Any) -> Any:
    """A tool of either of OpenAI's APIs whose schemas are whole: an object's names its properties,
    and an array's its items."""
    return _with_schema(tool, lambda schema: whole(rooted(schema)))


def for_anthropic(tool: Any) -> Any:
    """A tool of the Messages API, whose properties have names that it accepts."""
    fitted = _with_schema(tool, lambda schema: with_taken_keys(rooted(schema)))
    if fitted is tool or not fitted.get("strict") or "patternProperties" not in _schema(fitted):
        return fitted
    # In strict tools the keyword is refused.
    return {**fitted, "strict": False}


def rooted(schema: Json) -> Json:
    """A schema of arguments, which are an object."""
    return schema if schema.get("type") == "object" else {**schema, "type": "object"}


def without_dialect(schema: Json) -> Json:
    """A schema that does not name its version of JSON Schema, which Gemini does not know."""
    if "$schema" not in schema:
        return schema
    return {name: value for name, value in schema.items() if name != "$schema"}


def whole(schema: Any) -> Any:
    """A schema in which every object has properties and every array has items, as OpenAI requires;
    where they are missing, they may be anything. Keywords that are null are left out."""
    if not isinstance(schema, Mapping):
        return {} if schema is True else schema
    out = {
        name: with_inner(name, value, whole)
        for name, value in schema.items()
        if value is not None or name in _VALUES
    }
    kinds = out.get("type")
    if kinds == "object" or (isinstance(kinds, list) and "object" in kinds):
        out.setdefault("properties", {})
    if kinds == "array" or (isinstance(kinds, list) and "array" in kinds):
        out.setdefault("items", {})
    return out


def with_taken_keys(schema: Json) -> Json:
    """A schema without names of properties that Anthropic refuses: they become patterns that match
    these names alone, so that the model still uses them."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return schema
    refused = [name for name in properties if not _ANTHROPIC_KEY.fullmatch(name)]
    if not refused:
        return schema
    kept = {name: value for name, value in properties.items() if name not in refused}
    patterns = {_only(name): properties[name] for name in refused}
    given = schema.get("patternProperties")
    given = given if isinstance(given, Mapping) else {}
    return {**schema, "properties": kept, "patternProperties": {**given, **patterns}}


def _only(name: str) -> str:
    """A regular expression that matches this name alone."""
    return "^" + _SPECIAL.sub(r"\\\1", name) + "$"


def _with_schema(tool: Any, convert: Callable[[Json], Json]) -> Any:
    """A tool, in the form of any API, with its schema converted."""
    if not isinstance(tool, Mapping):
        return tool
    if isinstance(tool.get("function"), Mapping):
        function = _with_schema(tool["function"], convert)
        return tool if function is tool["function"] else {**tool, "function": function}
    if tool.get("type") == "namespace" and isinstance(tool.get("tools"), list):
        return {**tool, "tools": [_with_schema(inner, convert) for inner in tool["tools"]]}
    for place in ("parameters", "input_schema"):
        schema = tool.get(place)
        if isinstance(schema, Mapping):
            fitted = convert(schema)
            return tool if fitted == schema else {**tool, place: fitted}
    return tool


def _schema(tool: Json) -> Json:
    schema = tool.get("input_schema")
    return schema if isinstance(schema, Mapping) else {}


def _name(tool: Any) -> object:
    holder = tool.get("function", tool) if isinstance(tool, Mapping) else {}
    name = holder.get("name") if isinstance(holder, Mapping) else None
    return (tool.get("type"), name) if isinstance(name, str) and name else None
