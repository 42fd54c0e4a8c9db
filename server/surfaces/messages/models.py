"""Lists models in the form of Anthropic's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from server.errors import InvalidRequestError

_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Listed:
    """A name that may be asked for. shown: its display name. owner: who serves it. context_window,
    max_output_tokens: in tokens, None where unknown."""

    name: str
    shown: str
    owner: str
    context_window: int | None
    max_output_tokens: int | None


def model_info(one: Listed, created: int) -> dict[str, Any]:
    """One model. created: seconds since 1970."""
    moment = datetime.fromtimestamp(created, UTC)
    return {
        "type": "model",
        "id": one.name,
        "display_name": one.shown,
        "created_at": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "max_input_tokens": one.context_window,
        "max_tokens": one.max_output_tokens,
        "capabilities": None,
        "lifecycle": "active",
        "line": None,
        "deprecated_at": None,
        "retires_at": None,
    }


def page_of(models: Sequence[Listed], query: Mapping[str, str], created: int) -> dict[str, Any]:
    """The page that the query's limit, after_id and before_id describe; all models where it has
    none of them. Raises InvalidRequestError."""
    names = [one.name for one in models]
    begin = _place("after_id", query, names) + 1 if "after_id" in query else 0
    end = _place("before_id", query, names) if "before_id" in query else len(names)
    limit = _limit(query)
    if limit is None:
        page, more = models[begin:end], False
    elif "before_id" in query and "after_id" not in query:
        page, more = models[max(0, end - limit) : end], end > limit
    else:
        page, more = models[begin : min(begin + limit, end)], begin + limit < end
    return {
        "data": [model_info(one, created) for one in page],
        "first_id": page[0].name if page else None,
        "last_id": page[-1].name if page else None,
        "has_more": more,
    }


def _place(param: str, query: Mapping[str, str], names: Sequence[str]) -> int:
    name = query[param]
    if name not in names:
        raise InvalidRequestError(f"{param}: there is no model {name[:200]!r}.", param=param)
    return names.index(name)


def _limit(query: Mapping[str, str]) -> int | None:
    given = query.get("limit")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 9 and 1 <= int(given) <= _MOST):
        raise InvalidRequestError(f"limit must be from 1 to {_MOST}.", param="limit")
    return int(given)
