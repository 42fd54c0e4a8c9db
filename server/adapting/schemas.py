"""Adapts JSON schemas to a model: refused keywords are removed, which makes a schema more
permissive and never stricter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from server.model_facts import Schemas

# Keywords that hold further schemas: by name, in a list, or alone.
_BY_NAME: Final = frozenset({"properties", "$defs", "definitions", "patternProperties"})
_IN_LISTS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_ALONE: Final = frozenset({"items", "additionalProperties", "not", "contains"})


def without_refused(schema: Any, rules: Schemas, gone: set[str]) -> Any:
    """The schema without refused keywords; unchanged where it has none. gone: receives the removed
    ones."""
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    for name, value in schema.items():
        if name in rules.refused_keywords or (
            name == "minItems" and _over(value, rules.most_min_items)
        ):
            gone.add(name)
        else:
            kept[name] = with_inner(name, value, lambda inner: without_refused(inner, rules, gone))
    return kept


def closed(schema: Any) -> Any:
    """The schema, in which every object that names its properties forbids others."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    out = {
        name: {key: closed(inner) for key, inner in value.items()}
        if name in _BY_NAME and isinstance(value, Mapping)
        else closed(value)
        if name in _IN_LISTS or name in _ALONE
        else value
        for name, value in schema.items()
    }
    if out.get("type") == "object" and isinstance(out.get("properties"), Mapping):
        out["additionalProperties"] = False
    return out


def meets_strict(schema: object, rules: Schemas) -> bool:
    """Whether a schema satisfies the model's requirements for a strict one."""
    if isinstance(schema, list):
        return all(meets_strict(item, rules) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and rules.strict_needs_all_required:
        required = schema.get("required")
        if not isinstance(required, list) or set(properties) - set(required):
            return False
    is_object = schema.get("type") == "object"
    if is_object and rules.strict_needs_closed and schema.get("additionalProperties") is not False:
        return False
    return all(meets_strict(value, rules) for value in schema.values())


def with_inner(name: str, value: Any, convert: Callable[[Any], Any]) -> Any:
    """A keyword's value with the schemas in it converted. name: of the keyword. convert: is also
    given what stands in a list, or under a name, in place of a schema."""
    if name in _BY_NAME and isinstance(value, Mapping):
        return {key: convert(inner) for key, inner in value.items()}
    if name in _IN_LISTS and isinstance(value, list):
        return [convert(item) for item in value]
    return convert(value) if name in _ALONE and isinstance(value, Mapping) else value


def _over(value: object, most: int | None) -> bool:
    return most is not None and isinstance(value, int) and value > most
