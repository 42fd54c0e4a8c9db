"""Parses a request's routing options: headers, and the same options as fields of the body."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from starlette.datastructures import Headers

from router.choice import BudgetMode
from router.record import record
from server.errors import InvalidRequestError
from server.model_facts import EFFORTS, Effort
from server.sessions.names import session_named
from server.wire.headers import header_text

_BUDGET: Final = re.compile(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?")
_WITH_COMMA: Final = re.compile(r"[0-9]{1,9},[0-9]{1,9}")
_SEED: Final = re.compile(r"-?[0-9]{1,20}")
# A budget this small is treated as zero: its exact digits could be made expensive to handle.
_MIN_BUDGET_EXPONENT: Final = -100
_MAX_BUDGET_CHARS: Final = 400
_MAX_SEED: Final = 2**64
_KEPT: Final = 256
_HEADERS: Final = {
    name.lower().encode(): name
    for name in (
        "X-Cost-Budget",
        "X-Cost-Budget-Mode",
        "X-Route-Models",
        "X-Route-Exclude",
        "X-Route-Effort",
        "X-Route-Private",
        "X-Route-Seed",
        "X-Session-Budget",
    )
}
_BODY_FIELDS: Final = frozenset(
    {
        "budget_usd",
        "budget_mode",
        "models",
        "exclude",
        "effort",
        "private",
        "seed",
        "explain",
        "strict_params",
        "tags",
        "session",
        "session_budget_usd",
        "shadow",
    }
)
_MAX_TAGS: Final = 8
_MAX_TAG_CHARS: Final = 64

T = TypeVar("T")


@record(frozen=True, slots=True)
class RoutingOptions:
    """The caller's routing options; None where an option is not given.

    exclude: models that may not answer. effort: that of a routed request, in place of its body's.
    private: only providers marked private may answer.
    strict_params: a model to which not all parameters would be sent may not answer. tags: the
    labels by which spend is told apart. session: the name of the job that the request belongs to,
    which its client may have sent by itself. session_budget_usd: what all requests of the session
    may cost together. shadow: False where no second model may answer too. named: the header or
    field of each option, for errors about it.
    """

    budget_usd: Decimal | None = None
    budget_mode: BudgetMode | None = None
    models: tuple[str, ...] | None = None
    seed: int | None = None
    explain: bool = False
    exclude: tuple[str, ...] | None = None
    effort: Effort | None = None
    private: bool | None = None
    strict_params: bool = False
    tags: tuple[str, ...] = ()
    session: str | None = None
    session_budget_usd: Decimal | None = None
    shadow: bool = True
    named: Mapping[str, str] = field(default_factory=dict)


_NOTHING: Final = RoutingOptions()


def parse_options(headers: Headers, body: Mapping[str, Any]) -> RoutingOptions:
    """Parses the options. Raises InvalidRequestError, which names the header or field; also where
    two of them disagree."""
    ours = tuple([header for header in headers.raw if header[0] in _HEADERS])
    if "p2l" in body or "cost" in body:
        options = _parsed(ours, body)
    else:
        options = _of_headers(ours) if ours else _NOTHING
    session = session_named(headers.raw, body)
    return options if session is None else replace(options, session=session)


@lru_cache(maxsize=_KEPT)
def _of_headers(ours: tuple[tuple[bytes, bytes], ...]) -> RoutingOptions:
    """The options in our headers. They are cached, since callers repeat the same ones."""
    return _parsed(ours, {})


def _parsed(ours: Iterable[tuple[bytes, bytes]], body: Mapping[str, Any]) -> RoutingOptions:
    sent = _sent(ours)
    twin = body.get("p2l", {})
    if not isinstance(twin, dict):
        raise InvalidRequestError("p2l must be an object.", param="p2l")
    unknown = sorted(set(twin) - _BODY_FIELDS)
    if unknown:
        known = ", ".join(sorted(_BODY_FIELDS))
        raise InvalidRequestError(
            f"p2l.{unknown[0]} is not a known option. Known are: {known}.",
            param=f"p2l.{unknown[0]}",
        )
    places: dict[str, dict[str, Any]] = {
        "budget_usd": _budget(sent, body),
        "budget_mode": _places(sent, "X-Cost-Budget-Mode", twin, "budget_mode", _mode, _mode),
        "models": _places(sent, "X-Route-Models", twin, "models", _names_header, _names_list),
        "seed": _places(sent, "X-Route-Seed", twin, "seed", _seed_header, _seed_json),
        "exclude": _places(sent, "X-Route-Exclude", twin, "exclude", _names_header, _names_list),
        "effort": _places(sent, "X-Route-Effort", twin, "effort", _effort, _effort),
        "private": _places(sent, "X-Route-Private", twin, "private", _flag_header, _flag_json),
        "session_budget_usd": _session_budget(sent, twin),
    }
    values = {option: _agreed(found) for option, found in places.items()}
    return RoutingOptions(
        **values,
        explain=_flag(twin, "explain"),
        strict_params=_flag(twin, "strict_params"),
        tags=_tags(twin.get("tags")),
        shadow=_flag_json(twin.get("shadow", True), "p2l.shadow"),
        named={
            o: next(iter(places[o]))
            for o, value in values.items()
            if value is not None and value is not False
        },
    )


def _flag(twin: Mapping[str, Any], key: str) -> bool:
    return _flag_json(twin.get(key, False), f"p2l.{key}")


def _flag_json(value: object, param: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{param} must be true or false.", param=param)
    return value


def _flag_header(value: str, param: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InvalidRequestError(
            f"{param} must be true or false, got {_shown(value)}.", param=param
        )
    return value.lower() == "true"


def _tags(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(map(_is_tag, value)) or len(value) > _MAX_TAGS:
        raise InvalidRequestError(
            f"p2l.tags must be an array of at most {_MAX_TAGS} strings, each of 1 to "
            f"{_MAX_TAG_CHARS} printable characters.",
            param="p2l.tags",
        )
    return tuple(sorted(set(value)))


def _is_tag(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TAG_CHARS and value.isprintable()


def parse_budget(value: object, param: str) -> Decimal:
    """USD from the text of a budget (docs/api.md). Raises invalid_cost_budget."""
    if isinstance(value, str):
        return _budget_text(value.strip(" \t"), param)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad_budget(param)
    return _budget_text(repr(value), param)


class BudgetPlace(NamedTuple):
    """A place in a body that may hold a budget: the field's name, its containing object, and its
    key there."""

    param: str
    inside: Mapping[str, Any]
    key: str


def budget_places(body: Mapping[str, Any]) -> tuple[BudgetPlace, BudgetPlace]:
    """The places for a budget in a request's body, whether or not there is one."""
    twin = body.get("p2l")
    return (
        BudgetPlace("p2l.budget_usd", twin if isinstance(twin, dict) else {}, "budget_usd"),
        BudgetPlace("cost", body, "cost"),
    )


def _budget_text(text: str, param: str) -> Decimal:
    if len(text) > _MAX_BUDGET_CHARS or _BUDGET.fullmatch(text) is None:
        raise _bad_budget(param, text)
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise _bad_budget(param, text) from None
    if amount.is_zero() or amount.adjusted() < _MIN_BUDGET_EXPONENT:
        return Decimal(0)
    if math.isinf(float(amount)):
        raise _bad_budget(param, text)
    return amount


def _bad_budget(param: str, text: str = "") -> InvalidRequestError:
    has_comma = _WITH_COMMA.fullmatch(text) is not None
    meant = f" Write {text.replace(',', '.')} with a point." if has_comma else ""
    return InvalidRequestError(
        f"{param} must be one finite decimal of at least 0, in USD, for example 0.002.{meant}",
        param=param,
        code="invalid_cost_budget",
    )


def _sent(ours: Iterable[tuple[bytes, bytes]]) -> Mapping[str, list[str]]:
    """Our own headers by their documented spelling, with all values of each."""
    sent: dict[str, list[str]] = {}
    for name, value in ours:
        sent.setdefault(_HEADERS[name], []).append(header_text(value))
    return sent


def _budget(sent: Mapping[str, list[str]], body: Mapping[str, Any]) -> dict[str, Decimal]:
    """The budgets, by the header or field that states each."""
    found: dict[str, Decimal] = {}
    given = sent.get("X-Cost-Budget", [])
    if len(given) > 1:
        raise _bad_budget("X-Cost-Budget")
    if given:
        found["X-Cost-Budget"] = parse_budget(given[0], "X-Cost-Budget")
    for param, inside, key in budget_places(body):
        if inside.get(key) is not None:
            found[param] = parse_budget(inside[key], param)
    return found


def _session_budget(sent: Mapping[str, list[str]], twin: Mapping[str, Any]) -> dict[str, Decimal]:
    """The session's budget, by the header or field that states it."""
    header, key = "X-Session-Budget", "session_budget_usd"
    if len(sent.get(header, ())) > 1:
        raise _bad_budget(header)
    return _places(sent, header, twin, key, parse_budget, parse_budget)


def _places(
    sent: Mapping[str, list[str]],
    header: str,
    twin: Mapping[str, Any],
    key: str,
    from_header: Callable[[Any, str], T],
    from_body: Callable[[Any, str], T],
) -> dict[str, T]:
    """The values, by the header or field that states each."""
    if header not in sent and key not in twin:
        return {}
    found: dict[str, T] = {}
    given = sent.get(header, [])
    if len(given) > 1:
        raise InvalidRequestError(f"{header} is given more than once.", param=header)
    if given:
        found[header] = from_header(given[0].strip(), header)
    if twin.get(key) is not None:
        found[f"p2l.{key}"] = from_body(twin[key], f"p2l.{key}")
    return found


def _agreed(found: Mapping[str, Any]) -> Any:
    values = list(found.values())
    if any(value != values[0] for value in values[1:]):
        raise InvalidRequestError(
            f"{' and '.join(found)} have different values: give one of them.",
            param=next(iter(found)),
            code="conflicting_routing_options",
        )
    return values[0] if values else None


def _mode(value: object, param: str) -> BudgetMode:
    if not isinstance(value, str) or value not in tuple(BudgetMode):
        known = " or ".join(BudgetMode)
        raise InvalidRequestError(f"{param} must be {known}, got {_shown(value)}.", param=param)
    return BudgetMode(value)


def _effort(value: object, param: str) -> Effort:
    found = next((effort for effort in EFFORTS if effort == value), None)
    if found is None:
        known = ", ".join(EFFORTS)
        raise InvalidRequestError(
            f"{param} must be one of {known}; got {_shown(value)}.", param=param
        )
    return found


def _names_header(value: str, param: str) -> tuple[str, ...]:
    return _names([name.strip() for name in value.split(",")], param)


def _names_list(value: object, param: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidRequestError(f"{param} must be an array of model names.", param=param)
    return _names(value, param)


def _names(values: list[Any], param: str) -> tuple[str, ...]:
    if not values or not all(isinstance(name, str) and name for name in values):
        raise InvalidRequestError(f"{param} must name at least one model.", param=param)
    return tuple(sorted(set(values)))


def _seed_header(value: str, param: str) -> int:
    if _SEED.fullmatch(value) is None:
        raise _bad_seed(value, param)
    return _in_range(int(value), value, param)


def _seed_json(value: object, param: str) -> int:
    if isinstance(value, str):
        return _seed_header(value, param)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _bad_seed(value, param)
    return _in_range(value, value, param)


def _in_range(seed: int, given: object, param: str) -> int:
    if abs(seed) >= _MAX_SEED:
        raise _bad_seed(given, param)
    return seed


def _bad_seed(value: object, param: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{param} must be an integer of at most 64 bits, got {_shown(value)}.", param=param
    )


def _shown(value: object) -> str:
    return ascii(value)[:40]
