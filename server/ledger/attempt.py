"""One attempt at a provider: a row of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from math import ceil
from typing import Final

from router.cost import Usage

# Amounts are stored as whole picodollars: sums are exact in every database, and no price with fewer
# than seven decimals per million tokens is rounded.
PICO: Final = 10**12
_MOST: Final = 2**62
_PICO: Final = Decimal(PICO)


class Outcome(StrEnum):
    """How an attempt ended. OPEN: it has not ended. LOST: the process died during it."""

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
    """The origin of a cost. USAGE: the provider's token counts, at our prices. REPORTED: the cost
    that the answer itself states. ESTIMATE: our own estimate, since no counts were reported. NONE:
    nothing is billed. RECONCILED: the provider's own export."""

    USAGE = "usage"
    REPORTED = "reported"
    ESTIMATE = "estimate"
    NONE = "none"
    RECONCILED = "reconciled"


@dataclass(slots=True, kw_only=True)
class Attempt:
    """A row of the ledger. Amounts in picodollars, times in seconds since 1970.

    (request_id, attempt) identifies the row: written twice, it is one row. It holds no prompt, no
    completion and no key, only the key's name. cost_pico: None where the price is unknown.
    served_model: the provider's name for the model that answered, where it is not the one asked
    for. tags: the labels that the caller gave the request. session: a keyed hash of the session's
    name. session_budget_pico: the budget that the caller gave the session. finish_reasons: why each
    choice of the answer ended, in the words of the answer; they are not stored.
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
    session: str | None = None
    session_budget_pico: int | None = None
    finish_reasons: tuple[str, ...] = ()


def pico(amount_usd: Decimal) -> int:
    """USD as whole picodollars, rounded up: no spend is lost in rounding."""
    amount = ceil(amount_usd * _PICO)
    return amount if amount < _MOST else _MOST


def usd(amount_pico: int) -> Decimal:
    """Picodollars as USD, exactly."""
    return Decimal(amount_pico).scaleb(-12)
