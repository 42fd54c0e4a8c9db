"""What the money of a session costs as it runs down."""

from __future__ import annotations

from decimal import Decimal

from server.accounts.purses import _Known, _pace
from server.ledger.window import WindowSpec

SPEC = WindowSpec("team", 10**9, None, "0" * 32)  # one USD


def paced(spent_usd: float, requests: int = 10) -> tuple[float, Decimal | None]:
    return _pace(SPEC, _Known(spent=round(spent_usd * 1e9), requests=requests))


def test_the_price_rises_with_what_is_gone() -> None:
    prices = [paced(n / 100)[0] for n in range(101)]
    assert prices == sorted(prices)
    assert prices[0] == 0.0
    # a request that takes a hundredth of the budget must gain so much of a win
    assert prices[50] / 100 == 0.04
    assert prices[10] / 100 < 0.001
    assert prices[90] / 100 > 1


def test_what_is_left_is_spread_over_as_many_requests_as_there_have_been() -> None:
    assert paced(0.5)[1] is None
    assert paced(0.75)[1] == Decimal("0.025")
    assert paced(1.0)[1] == 0
    assert paced(0.75, requests=0)[1] == Decimal("0.25")
