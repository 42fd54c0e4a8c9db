"""Notices that a model has changed under its name: its answers are no longer graded as before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

# A shift of less than this many standard deviations a grade is not looked for.
_SLACK: Final = 0.5
# The sum at which a change is noticed: for Gaussian grades without one, once in about 19,000.
_NOTICED_AT: Final = 8.0
# One grade tells no more than this, in standard deviations.
_MOST: Final = 2.5


@dataclass(slots=True)
class Changes:
    """Sums, per model, how far grades and votes lie above and below what was foreseen (a two-sided
    CUSUM; Page, Continuous inspection schemes, 1954).

    is_shared: several keys give feedback, and one alone must not make a model seem changed: the
    others have to contribute half of the sum. So must votes against other models than any one:
    between two models alone, nobody can tell which of them has changed.
    """

    is_shared: bool = False
    # By (key, opponent of a vote), of each model and each direction.
    _sums: dict[tuple[str, int], defaultdict[tuple[str, str], float]] = field(default_factory=dict)

    def note(self, model: str, surprise: float, key_name: str = "", against: str = "") -> bool:
        """Whether the model has changed. surprise: of one grade or vote, as a LocalLayer returns it
        for this model. key_name: whose it is. against: the other model of a vote. After a change
        the sums begin anew."""
        z = min(max(surprise, -_MOST), _MOST)
        has_changed = False
        for sign in (-1, 1):
            parts = self._sums.setdefault((model, sign), defaultdict(float))
            parts[key_name, against] += sign * z - _SLACK
            total = sum(parts.values())
            if total <= 0:
                parts.clear()
            elif total >= _NOTICED_AT:
                most = max(self._alone(parts), default=0.0)
                has_changed = has_changed or total - most >= _NOTICED_AT / 2
        if has_changed:
            self._sums.pop((model, -1))
            self._sums.pop((model, 1))
        return has_changed

    def _alone(self, parts: Mapping[tuple[str, str], float]) -> Iterator[float]:
        """What each key, where there are several, and each opponent has contributed."""
        if self.is_shared:
            yield from _summed((key, by) for (key, _), by in parts.items())
        yield from _summed((other, by) for (_, other), by in parts.items() if other)


def _summed(named: Iterable[tuple[str, float]]) -> Iterable[float]:
    sums: defaultdict[str, float] = defaultdict(float)
    for name, by in named:
        sums[name] += by
    return sums.values()
