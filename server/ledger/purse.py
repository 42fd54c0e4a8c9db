"""What a request's session may spend."""

from __future__ import annotations

from decimal import Decimal

from router.record import record
from server.ledger.window import WindowSpec


@record(frozen=True, slots=True)
class Purse:
    """What a request's session may spend. session: a keyed hash of its name. spec: None where
    nothing limits it. given_usd: what this request says. price: win rate for a USD, 0.0 while there
    is plenty. request_usd: what is left for each request that is still expected, None while there
    is plenty."""

    session: str
    spec: WindowSpec | None
    given_usd: Decimal | None = None
    price: float = 0.0
    request_usd: Decimal | None = None
