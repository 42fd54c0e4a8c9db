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

    def corrected(self, estimated: int) -> int:
        """Our count as the provider's."""
        return max(1, round(estimated * self.value)) if estimated > 0 else estimated

    def to_dict(self) -> dict[str, float]:
        """For a store."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, float | str]) -> Self:
        """The inverse. Raises KeyError, ValueError."""
        return cls(float(stored["log_ratio"]), float(stored["weight"]))
