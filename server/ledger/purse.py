"""The money that a request's session may spend."""

from __future__ import annotations

from decimal import Decimal

from router.record import record
from server.ledger.window import WindowSpec


@record(frozen=True, slots=True)
class Purse:
    """The money that a request's session may spend. session: a keyed hash of its name. spec: its
    window; None where nothing limits it. given_usd: the budget that this request states. price: win
    rate per USD, 0.0 while there is plenty. request_usd: what is left for each request that is
    still expected, None while there is plenty."""

    session: str
    spec: WindowSpec | None
    given_usd: Decimal | None = None
    price: float = 0.0
    request_usd: Decimal | None = None
