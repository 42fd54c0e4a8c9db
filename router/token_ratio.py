"""How many tokens a provider counts for what we count as one: learnt from reported usage.

A tokenizer of our own stands in for each provider's, which most do not publish. The ratio of
reported to estimated input tokens is steady for a tokenizer family, so a mean of its logarithm,
weighted by size and forgetting slowly, corrects the estimate. Only expected costs use it: a hard
budget keeps to the bound that holds for any tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final, Self

from router.record import record

# Shorter inputs say more about the template around a message than about the tokenizer.
_LEAST_TOKENS: Final = 50
# Observations count in full from so many tokens on; the prior is worth two of them.
_FULL_TOKENS: Final = 1000.0
_PRIOR: Final = 2.0
_MEMORY: Final = 200.0
_LIMIT: Final = math.log(4.0)
# A caller's answers count for others up to so many full ones: who asks most does not decide alone.
_SHARE: Final = 20.0
_MOST_CALLERS: Final = 10_000


@record(frozen=True, slots=True)
class TokenRatio:
    """log_ratio: the weighted mean; weight: of all observations, fading."""

    log_ratio: float = 0.0
    weight: float = 0.0

    @property
    def value(self) -> float:
        """Reported over estimated tokens, shrunk to 1 while little is known."""
        return math.exp(self.log_ratio * self.weight / (self.weight + _PRIOR))

    def observed(self, estimated: int, reported: int) -> Self:
        """After one more answer. What is too short, or absurd, teaches nothing."""
        if estimated < _LEAST_TOKENS or reported <= 0:
            return self
        seen = math.log(reported / estimated)
        if abs(seen) > _LIMIT:
            return self
        share = min(1.0, estimated / _FULL_TOKENS)
        weight = min(self.weight + share, _MEMORY)
        step = share / weight
        return type(self)(self.log_ratio + step * (seen - self.log_ratio), weight)

    def corrected(self, estimated: int, prior: float = 0.0) -> int:
        """Our count as the provider's. prior: the logarithm to be held while little is known."""
        if estimated <= 0:
            return estimated
        mean = (self.log_ratio * self.weight + prior * _PRIOR) / (self.weight + _PRIOR)
        return max(1, round(estimated * math.exp(mean)))

    def to_dict(self) -> dict[str, float]:
        """For a store."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, float | str]) -> Self:
        """The inverse. Raises KeyError, ValueError."""
        return cls(float(stored["log_ratio"]), float(stored["weight"]))


_NOTHING: Final = TokenRatio()


class TokenRatios:
    """One provider's ratio, learnt from the answers to many callers.

    A caller's own answers count in full for the caller itself; for all others each caller counts
    at most a share, whatever it sends and however much.
    """

    def __init__(self) -> None:
        self._by_caller: dict[str, TokenRatio] = {}
        # over all callers, of their shared weights: kept as sums, since every request asks
        self._weight = 0.0
        self._weighted = 0.0

    def observed(self, caller: str, estimated: int, reported: int) -> None:
        """One more answer: tokens by our count, and as the provider reported them."""
        before = self._by_caller.get(caller, _NOTHING)
        now = before.observed(estimated, reported)
        if now is before:
            return
        if before is _NOTHING and len(self._by_caller) >= _MOST_CALLERS:
            # those who were new longest ago make room
            self._change(self._by_caller.pop(next(iter(self._by_caller))), _NOTHING)
        self._by_caller[caller] = now
        self._change(before, now)

    def corrected(self, caller: str, estimated: int) -> int:
        """Our count as the provider's, for this caller."""
        own = self._by_caller.get(caller, _NOTHING)
        shared = min(own.weight, _SHARE)
        pooled = (self._weighted - shared * own.log_ratio) / (self._weight - shared + _PRIOR)
        return own.corrected(estimated, pooled)

    def _change(self, before: TokenRatio, now: TokenRatio) -> None:
        had, has = min(before.weight, _SHARE), min(now.weight, _SHARE)
        self._weight += has - had
        self._weighted += has * now.log_ratio - had * before.log_ratio
