"""Parses a request's body as JSON, strictly: whatever two readers could understand differently is
refused."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

from server.errors import InvalidRequestError
from server.surfaces.routing_options import budget_places, parse_budget
from server.wire.json_size import PIECE_BYTES, JsonSize, TooManyError, keys_of_small, size_of
from server.wire.well_formed import loads, well_formed

MAX_DEPTH: Final = 96
# Each value becomes a Python object: a body of millions of empty lists would fill the memory. No
# other thread computes while the parser reads, so what it reads at once has to be bounded. Lists
# and objects take longer than numbers and texts; keys and escapes take longer still.
MOST: Final = JsonSize(values=500_000, containers=100_000, keys=100_000, backslashes=4_000_000)
# A body of at most this many bytes cannot exceed any of these limits.
_SMALL_BYTES: Final = min(PIECE_BYTES, *MOST)


def parse_body(raw: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises InvalidRequestError for anything that is not an object, for a key given twice in an
    object, for more than MAX_DEPTH levels, and for a body over a limit of MOST, which is not parsed
    at all.
    """
    try:
        n_keys = keys_of_small(raw) if len(raw) <= _SMALL_BYTES else size_of(raw, MOST).keys
    except TooManyError as error:
        raise InvalidRequestError(f"The body holds {error}.") from None
    try:
        body, raw = loads(raw)
    except orjson.JSONDecodeError:
        raw = well_formed(raw)
        _check_budget_is_a_number(raw)
        raise InvalidRequestError(_not_json(raw)) from None
    if not isinstance(body, dict):
        raise InvalidRequestError("The body must be a JSON object.")
    if _count_keys(body) != n_keys:
        raise InvalidRequestError(_repeated(raw))
    _keep_exact_budget(raw, body)
    return body


def _count_keys(body: dict[str, Any]) -> int:
    """The number of keys of all objects in it. Raises InvalidRequestError where they are nested too
    deeply."""
    n_keys = 0
    level: list[Any] = [body]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for value in level:
            if type(value) is dict:
                n_keys += len(value)
                deeper += [v for v in value.values() if type(v) is dict or type(v) is list]
            else:
                deeper += [v for v in value if type(v) is dict or type(v) is list]
        if not deeper:
            return n_keys
        level = deeper
    raise InvalidRequestError(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _repeated(raw: bytes) -> str:
    """The key that is given twice. It is the caller's own text and is shown only to the caller."""
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            repeated.extend(name for name in names if names.count(name) > 1)

    json.loads(raw, object_pairs_hook=note, parse_int=_as_written, parse_float=_as_written)
    name = repeated[0][:100] if repeated else ""
    return f"The key {name!r} is given twice in one object: give it once."


def _keep_exact_budget(raw: bytes, body: dict[str, Any]) -> None:
    """Money is decimal: a budget given as a JSON number is read again exactly as it was written."""
    if "p2l" not in body and "cost" not in body:
        return
    lossy = [place for place in budget_places(body) if _is_lossy(place.inside.get(place.key))]
    if not lossy:
        return
    exact = json.loads(raw, parse_float=_as_written, parse_int=_as_written)
    as_written = {place.param: place for place in budget_places(exact)}
    for param, inside, key in lossy:
        if isinstance(inside, dict):
            inside[key] = as_written[param].inside[key]


def _is_lossy(number: object) -> bool:
    """Whether parsing may have changed a number: the digits of a float, or the sign of -0."""
    return isinstance(number, float) or (type(number) is int and number == 0)


def _check_budget_is_a_number(raw: bytes) -> None:
    """Raises invalid_cost_budget for a budget of NaN, Infinity or 1e400, which makes the body
    unreadable."""
    if b'"cost"' not in raw and b'"budget_usd"' not in raw:
        return
    try:
        body = json.loads(
            raw, parse_float=_as_written, parse_int=_as_written, parse_constant=_as_written
        )
    except (ValueError, RecursionError):
        return
    for param, inside, key in budget_places(body if isinstance(body, dict) else {}):
        if inside.get(key) is not None:
            parse_budget(inside[key], param)


def _as_written(number: str) -> str:
    """A Python function, unlike `str`: at its call, other threads may run."""
    return number


def _not_json(raw: bytes) -> str:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return "The body is not UTF-8."
    return "The body is not valid JSON (NaN and Infinity are not JSON either)."
