"""Reads why a model stopped, from an answer in any of the three forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_MOST_CHARS: Final = 40
_ENDS: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})


def reason(said: object) -> tuple[str, ...]:
    """A choice's finish reason, or none."""
    return (said[:_MOST_CHARS],) if isinstance(said, str) and said else ()


def stop_reason(part: Mapping[str, Any]) -> tuple[str, ...]:
    """Why a message or a response ended, or none. part: the object, or the last event of a
    message."""
    if "stop_reason" in part:
        return reason(part["stop_reason"])
    delta = part.get("delta")
    if isinstance(delta, Mapping) and "stop_reason" in delta:
        return reason(delta["stop_reason"])
    status, details = part.get("status"), part.get("incomplete_details")
    if not isinstance(status, str) or status not in _ENDS:
        return ()
    why = details.get("reason") if isinstance(details, Mapping) else None
    return reason(why) or reason(status)
