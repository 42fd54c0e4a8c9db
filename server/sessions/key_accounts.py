"""The accounts of mean budgets, one for each caller; see router.account."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from typing import Final

from router.account import Account, booked, budget_share

_MOST: Final = 10_000


class KeyAccounts:
    """The accounts of a process; they outlive a reload. The least recently used ones are dropped,
    and begin anew."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    def share(self, caller: str) -> float:
        """The share of its budget that the first draw of a job gets now."""
        account = self._accounts.get(caller)
        return 1.0 if account is None else budget_share(account)

    def book(self, caller: str, budget_usd: Decimal, cost_usd: Decimal) -> None:
        """Records a request. budget_usd: what it was granted; cost_usd: the expected cost of what
        was chosen."""
        account = self._accounts.get(caller) or Account()
        self._accounts[caller] = booked(account, budget_usd, cost_usd)
        self._accounts.move_to_end(caller)
        if len(self._accounts) > self._most:
            self._accounts.popitem(last=False)
