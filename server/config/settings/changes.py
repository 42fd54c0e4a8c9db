"""Compares two configurations. Differences are reported by the names of settings, never by
value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from server.config.settings import Settings


def changed(old: object, new: object, name: str = "") -> Iterator[str]:
    """The names of the settings that differ, such as `routing.breaker.open_s` or
    `models.gpt-4o.provider`; where something was added or removed, its own name."""
    if old == new:
        return
    before, after = _parts(old), _parts(new)
    if before is None or after is None:
        yield name
        return
    for key in dict.fromkeys([*before, *after]):
        inner = f"{name}.{key}" if name else key
        if key in before and key in after:
            yield from changed(before[key], after[key], inner)
        else:
            yield inner


def keeping(settings: Settings, old: Settings, names: frozenset[str]) -> Settings:
    """The new settings, but with the old values of those with these names, such as
    `storage.url`."""
    kept: dict[str, Any] = {}
    for section in {name.partition(".")[0] for name in names}:
        before, after = getattr(old, section), getattr(settings, section)
        same = {
            key: getattr(before, key)
            for key in type(before).model_fields
            if f"{section}.{key}" in names
        }
        kept[section] = after.model_copy(update=same)
    return settings.model_copy(update=kept)


def _parts(value: object) -> Mapping[str, object] | None:
    """The settings within a value; None where the value is a single setting itself."""
    if value in ({}, []):
        return {}
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, dict) and any(isinstance(part, BaseModel) for part in value.values()):
        return value
    if isinstance(value, list) and value and all(hasattr(part, "name") for part in value):
        return {part.name: part for part in value}
    return None
