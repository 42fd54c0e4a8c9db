"""The rules by which a breaker leaves a failing model alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When a breaker opens, and for how long.

    consecutive_failures: this many failures in a row open it, even where no other model could
    answer. failure_ratio: this share of at least min_requests requests within window_s seconds
    opens it too. open_s: how long it stays open at first, in seconds; each failed probe doubles it,
    up to max_open_s.
    """

    consecutive_failures: int = 5
    failure_ratio: float = 0.5
    min_requests: int = 20
    window_s: float = 30.0
    open_s: float = 5.0
    max_open_s: float = 60.0
