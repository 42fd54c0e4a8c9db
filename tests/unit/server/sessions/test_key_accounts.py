"""The accounts of mean budgets by caller."""

from __future__ import annotations

from decimal import Decimal

from server.sessions.key_accounts import KeyAccounts


def test_each_caller_has_its_own() -> None:
    accounts = KeyAccounts()
    for _ in range(100):
        accounts.book("dear", Decimal(1), Decimal(2))
        accounts.book("cheap", Decimal(1), Decimal("0.5"))
    assert 0.0 < accounts.share("dear") < 0.2
    assert accounts.share("cheap") == accounts.share("nobody") == 1.0


def test_memory_is_bounded_and_the_least_used_goes() -> None:
    accounts = KeyAccounts(most=10)
    for _ in range(100):
        accounts.book("dear", Decimal(1), Decimal(2))
    for k in range(9):
        accounts.book(f"other {k}", Decimal(1), Decimal(1))
    accounts.book("dear", Decimal(1), Decimal(2))
    accounts.book("one more", Decimal(1), Decimal(1))
    assert accounts.share("dear") < 1.0
    assert len(accounts._accounts) == 10
