"""Notices that a model has changed under its name: its answers are no longer graded as before."""

from __future__ import annotations

from collections import defaultdict
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
    """Sums, per model, how far grades lie above and below what was foreseen (a two-sided CUSUM;
    Page, Continuous inspection schemes, 1954). is_shared: several keys grade, and one alone must
    not make a model seem changed: the others have to contribute half of the sum."""

    is_shared: bool = False
    _sums: dict[tuple[str, int], defaultdict[str, float]] = field(default_factory=dict)

    def note(self, model: str, surprise: float, key_name: str = "") -> bool:
        """Whether the model has changed. surprise: of one grade, as `LocalLayer.learn_grade`
        returns it. key_name: whose grade it is. After a change the sums begin anew."""
        z = min(max(surprise, -_MOST), _MOST)
        has_changed = False
        for sign in (-1, 1):
            parts = self._sums.setdefault((model, sign), defaultdict(float))
            parts[key_name] += sign * z - _SLACK
            total = sum(parts.values())
            others = total - max(parts.values()) if self.is_shared else total
            if total <= 0:
                parts.clear()
            has_changed = has_changed or (total >= _NOTICED_AT and others >= _NOTICED_AT / 2)
        if has_changed:
            self._sums.pop((model, -1))
            self._sums.pop((model, 1))
        return has_changed
