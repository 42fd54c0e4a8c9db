"""Where a trial stands, by the ratings of both arms so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from server.trials.sequences import Bounds, mean_bounds

Verdict = Literal["open", "worse", "good enough"]


@dataclass(frozen=True, slots=True)
class Standing:
    """new, usual: what is known of the ratings of both arms. low, high: bounds on the difference of
    their means (new less usual), which hold at every time at once. verdict: `worse` where the new
    models are certainly worse than the loss that is allowed, `good enough` where they certainly are
    not."""

    new: Bounds
    usual: Bounds
    low: float
    high: float
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """The form for people and programs."""
        return {
            "n_new": self.new.n,
            "n_usual": self.usual.n,
            "mean_new": self.new.mean if self.new.n > 0 else None,
            "mean_usual": self.usual.mean if self.usual.n > 0 else None,
            "difference_low": self.low,
            "difference_high": self.high,
            "verdict": self.verdict,
        }


def standing(
    ratings: Sequence[tuple[bool, float]], *, allowed_loss: float, confidence: float
) -> Standing:
    """Where a trial stands. ratings: whether the new models answered, and the rating in [0, 1]; in
    the order in which they came. confidence: of both bounds together, at all times."""
    error = (1.0 - confidence) / 2
    new = mean_bounds((value for is_new, value in ratings if is_new), error)
    usual = mean_bounds((value for is_new, value in ratings if not is_new), error)
    low, high = new.low - usual.high, new.high - usual.low
    verdict: Verdict = "open"
    if high < -allowed_loss:
        verdict = "worse"
    elif low > -allowed_loss:
        verdict = "good enough"
    return Standing(new, usual, low, high, verdict)
