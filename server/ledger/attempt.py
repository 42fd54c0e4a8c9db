"""One attempt at a provider: the row of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from typing import Final

from router.cost import Usage

# Amounts are kept as whole picodollars: sums are exact in every database, and no price of fewer
# than seven decimals per million tokens is rounded.
PICO: Final = 10**12
_MOST: Final = 2**62


class Outcome(StrEnum):
    """How an attempt ended. OPEN: it has not. LOST: the process died under it."""

    OPEN = "open"
    ANSWERED = "answered"
    REJECTED = "rejected"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    BROKEN = "broken"
    CANCELLED = "cancelled"
    LOST = "lost"


class CostSource(StrEnum):
    """Where a cost comes from. USAGE: the provider's count, at our prices. REPORTED: the cost that
    the answer itself states. ESTIMATE: ours, since it gave no count. NONE: nothing is billed.
    RECONCILED: the provider's own export."""

    USAGE = "usage"
    REPORTED = "reported"
    ESTIMATE = "estimate"
    NONE = "none"
    RECONCILED = "reconciled"


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A row. Amounts in picodollars, times in seconds since 1970, cost_pico None: price unknown.

    (request_id, attempt) is its identity: written twice, it is one row. It holds no prompt, no
    completion and no key, only the key's name. served_model: what the provider calls the model
    that answered, where that is another than the one asked for. tags: the caller's own words for
    the request.
    """

    request_id: str
    attempt: int
    key_name: str
    model: str
    provider: str
    upstream_model: str
    routed: bool
    streamed: bool
    started_at: float
    reserved_pico: int
    expected_pico: int | None
    budget_pico: int | None
    budget_mode: str | None
    outcome: Outcome = Outcome.OPEN
    settled_at: float | None = None
    cost_pico: int | None = None
    cost_source: CostSource = CostSource.NONE
    latency_ms: float | None = None
    upstream_id: str | None = None
    served_model: str | None = None
    usage: Usage | None = None
    tags: tuple[str, ...] = ()


def pico(amount_usd: Decimal) -> int:
    """USD as whole picodollars, rounded up: no spend is lost in rounding."""
    return min(_MOST, int((amount_usd * PICO).to_integral_value(ROUND_CEILING)))


def usd(amount_pico: int) -> Decimal:
    """Picodollars as USD, exactly."""
    return Decimal(amount_pico).scaleb(-12)
