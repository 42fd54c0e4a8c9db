"""What a certain win is worth to a caller, in USD."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from server.auth.authenticator import Caller
from server.config.settings import RoutingRules

# Maps a caller and the configured USD per certain win to what a win is worth to the caller now.
Worth = Callable[[Caller, Decimal | None], Decimal | None]


def own_worth(rules: RoutingRules, caller: Caller) -> Decimal | None:
    """The key's own value of a win in USD, else that of the rules."""
    return rules.usd_per_win if caller.usd_per_win is None else caller.usd_per_win


def as_configured(_: Caller, usd_per_win: Decimal | None) -> Decimal | None:
    """The configured value: nothing has been spent that would lower it."""
    return usd_per_win
