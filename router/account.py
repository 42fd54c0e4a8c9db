"""The account that keeps a mean budget where whole jobs are drawn, and not single requests.

Draws per request keep a budget in the mean, whatever follows. One draw per job does so only where
the length of a job does not depend on the model: a model that needs four times as many requests is
paid for four times as often as its share of the draws says. So an account is kept of the budgets
that were granted, less the expected costs of what was chosen. What is overdrawn lowers the budgets
of the first draws of later jobs. docs/theory.md, section 5, has the formulas.

The step is that of a window's price (router.pacing): mirror descent with the entropy map, so that
the budgets are multiplied by a number that falls exponentially with what is overdrawn. The balance
is the integral of the error, so that no constant error remains.

The module is pure. A store keeps one account for each key:

    share = budget_share(account)         # at the first draw of a job; the job keeps it
    draw_budget_usd = lowered(budget_usd, share)       # -> RoutingRequest.draw_budget_usd
    account = booked(account, budget_usd, expected_cost_usd)         # for each request answered
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

from router.record import record

# All in mean budgets of a request. While no more than this is overdrawn, nothing is lowered: draws
# that are right in the mean overdraw as much by chance.
_FREE: Final = 16.0
# Each time that this much more is overdrawn, the budgets of first draws are divided by e.
_GAIN: Final = 16.0
# At most this much of what was not spent may be overdrawn later.
_MOST_CREDIT: Final = 1_000.0
# The mean budget is that of about this many of the latest requests.
_MEMORY: Final = 1_000.0
_LEAST_SHARE: Final = 1e-3
_DIGITS: Final = 6


@record(frozen=True, slots=True)
class Account:
    """The account of a key. balance_usd: budgets granted less expected costs; negative where it is
    overdrawn. mean_usd: the mean budget of its latest requests. n: how many of them that are."""

    balance_usd: float = 0.0
    mean_usd: float = 0.0
    n: float = 0.0


def booked(account: Account, budget_usd: Decimal, cost_usd: Decimal) -> Account:
    """Returns the account after a request. budget_usd: the budget that it was granted, before
    anything was lowered. cost_usd: the expected cost of the model that was chosen."""
    granted = float(budget_usd)
    n = min(account.n + 1.0, _MEMORY)
    mean = account.mean_usd + (granted - account.mean_usd) / n
    balance = account.balance_usd + granted - float(cost_usd)
    return Account(min(balance, _MOST_CREDIT * mean), mean, n)


def budget_share(account: Account) -> float:
    """The share of its budget that the first draw of a job gets, above 0 and at most 1."""
    if account.mean_usd <= 0.0:
        return 1.0
    over = -account.balance_usd / account.mean_usd - _FREE
    if over <= 0.0:
        return 1.0
    return max(_LEAST_SHARE, round(math.exp(-over / _GAIN), _DIGITS))


def lowered(budget_usd: Decimal, share: float) -> Decimal:
    """The budget in USD that a draw gets. share: see budget_share."""
    return budget_usd if share >= 1.0 else budget_usd * Decimal(repr(share))
