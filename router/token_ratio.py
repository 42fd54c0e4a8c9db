"""Learns, from reported usage, how many tokens a provider counts for one token counted here.

Most providers do not publish their tokenizers, so one tokenizer stands in for all of them. The
ratio of reported to estimated input tokens is stable for a family of tokenizers. The estimate is
corrected by the mean of its logarithm, weighted by size, with old observations slowly forgotten.
Only expected costs use it: a hard budget uses a bound that holds for every tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final, Self

from router.record import record

# In shorter inputs the template around a message matters more than the tokenizer.
_LEAST_TOKENS: Final = 50
# An observation has full weight from this many tokens on; the prior has the weight of two of them.
_FULL_TOKENS: Final = 1000.0
_PRIOR: Final = 2.0
_MEMORY: Final = 200.0
_LIMIT: Final = math.log(4.0)
# For other callers, one caller's answers count up to the weight of this many full observations, so
# that the most active caller does not decide alone.
_SHARE: Final = 20.0
_MOST_CALLERS: Final = 10_000


@record(frozen=True, slots=True)
class TokenRatio:
    """log_ratio: the weighted mean of ln(reported / estimated). weight: the sum of the
    observations' weights, with old ones forgotten."""

    log_ratio: float = 0.0
    weight: float = 0.0

    @property
    def value(self) -> float:
        """The ratio of reported to estimated tokens, shrunk towards 1 while there are few
        observations."""
        return math.exp(self.log_ratio * self.weight / (self.weight + _PRIOR))

    def observed(self, estimated: int, reported: int) -> Self:
        """Returns the ratio after one more answer. Short inputs and absurd ratios are ignored."""
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
        """Converts a count made here into the provider's. prior: the log ratio that is assumed
        while there are few observations."""
        if estimated <= 0:
            return estimated
        mean = (self.log_ratio * self.weight + prior * _PRIOR) / (self.weight + _PRIOR)
        return max(1, round(estimated * math.exp(mean)))

    def to_dict(self) -> dict[str, float]:
        """For storage; the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, float | str]) -> Self:
        """The inverse of `to_dict`. Raises KeyError, ValueError."""
        return cls(float(stored["log_ratio"]), float(stored["weight"]))


_NOTHING: Final = TokenRatio()


class TokenRatios:
    """One provider's ratio, learnt from the answers to many callers.

    For a caller, its own answers count in full; those of each other caller count up to a limited
    weight, however many there are.
    """

    def __init__(self) -> None:
        self._by_caller: dict[str, TokenRatio] = {}
        # Sums over all callers of their limited weights, kept up to date because every request
        # needs them.
        self._weight = 0.0
        self._weighted = 0.0

    def observed(self, caller: str, estimated: int, reported: int) -> None:
        """Adds an answer: its input tokens as counted here, and as the provider reported them."""
        before = self._by_caller.get(caller, _NOTHING)
        now = before.observed(estimated, reported)
        if now is before:
            return
        if before is _NOTHING and len(self._by_caller) >= _MOST_CALLERS:
            # The caller that was added first makes room.
            self._change(self._by_caller.pop(next(iter(self._by_caller))), _NOTHING)
        self._by_caller[caller] = now
        self._change(before, now)

    def corrected(self, caller: str, estimated: int) -> int:
        """Converts a count made here into the provider's, for this caller."""
        own = self._by_caller.get(caller, _NOTHING)
        shared = min(own.weight, _SHARE)
        pooled = (self._weighted - shared * own.log_ratio) / (self._weight - shared + _PRIOR)
        return own.corrected(estimated, pooled)

    def _change(self, before: TokenRatio, now: TokenRatio) -> None:
        had, has = min(before.weight, _SHARE), min(now.weight, _SHARE)
        self._weight += has - had
        self._weighted += has * now.log_ratio - had * before.log_ratio
