"""Converts attempts to rows and back."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import orjson

from router.cost import Usage
from server.ledger.attempt import Attempt
from server.storage.statements import Row

MICRO: Final = 1_000_000
_TOKENS: Final = tuple(Usage.__dataclass_fields__)
_NO_TOKENS: Final = dict.fromkeys(_TOKENS)
_COUNTS: Final = attrgetter(*_TOKENS)


def micros(seconds: float) -> int:
    """Seconds since 1970 as whole microseconds."""
    return round(seconds * MICRO)


def attempt_row(attempt: Attempt, instance: str) -> Row:
    """All columns of the table attempts."""
    usage = attempt.usage
    settled = attempt.settled_at
    return {
        "request_id": attempt.request_id,
        "attempt": attempt.attempt,
        "instance": instance,
        "key_name": attempt.key_name,
        "model": attempt.model,
        "provider": attempt.provider,
        "upstream_model": attempt.upstream_model,
        "upstream_id": attempt.upstream_id,
        "served_model": attempt.served_model,
        "tags": encoded_tags(attempt.tags),
        "session": attempt.session,
        "session_budget_pico": attempt.session_budget_pico,
        "routed": attempt.routed,
        "streamed": attempt.streamed,
        "started_at": micros(attempt.started_at),
        "settled_at": None if settled is None else micros(settled),
        "outcome": str(attempt.outcome),
        "reserved_pico": attempt.reserved_pico,
        "expected_pico": attempt.expected_pico,
        "cost_pico": attempt.cost_pico,
        "cost_source": str(attempt.cost_source),
        "budget_pico": attempt.budget_pico,
        "budget_mode": attempt.budget_mode,
        "latency_ms": attempt.latency_ms,
        **(_NO_TOKENS if usage is None else _tokens(usage)),
    }


def _tokens(usage: Usage) -> dict[str, Any]:
    return dict(zip(_TOKENS, _COUNTS(usage), strict=True))


def encoded_tags(tags: tuple[str, ...]) -> str | None:
    """Tags in their stored form: a JSON array; None where there are none."""
    return orjson.dumps(tags).decode() if tags else None


def decoded_tags(stored: str | None) -> tuple[str, ...]:
    """The tags of a stored row."""
    return () if stored is None else tuple(orjson.loads(stored))
