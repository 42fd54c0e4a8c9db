"""Checks whether users still agree with the predictions.

Live feedback is compared with the predictions in the receipts, and with the marginal leaderboard,
which reads no prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from p2l_model.evaluation.metrics import calibration_error, prompt_bootstrap
from p2l_model.types import FloatArray

# No alarm is raised on fewer comparisons than this.
MIN_COMPARISONS: Final = 50
_LEAST: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Judged:
    """One comparison by a user.

    p: the predicted probability that a beats b, given that one of them wins; marginal: the same
    from the marginal leaderboard. y: 1 where a won, 0 where b did, 0.5 for a tie. at: seconds since
    1970.
    """

    p: float
    marginal: float
    y: float
    at: float


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits beyond which an alarm is raised.

    ece: the calibration error that raises an alarm where it is also above what so few comparisons
    show by chance. The alarm on the loss needs no limit: it is raised where the loss is
    significantly worse than that of the marginal leaderboard.
    """

    ece: float = 0.05
    min_comparisons: int = MIN_COMPARISONS


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The result for a window of comparisons.

    log_loss, log_loss_marginal: binary, a tie counts as half a win. difference: log_loss minus
    log_loss_marginal, with its interval. ece: on decisive comparisons; ece_by_chance: the 95%
    quantile for perfectly calibrated predictions. alarms: the names of the raised ones.
    """

    n: int
    n_decisive: int
    log_loss: float | None
    log_loss_marginal: float | None
    difference: float | None
    difference_ci95: tuple[float, float] | None
    ece: float | None
    ece_by_chance: float | None
    alarms: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The JSON that the command prints."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {"object": "drift", **found, "alarms": list(self.alarms)}


def drift(judged: Sequence[Judged], limits: Limits, seed: int = 0) -> DriftReport:
    """Evaluates the comparisons of a window."""
    if not judged:
        return DriftReport(0, 0, None, None, None, None, None, None, ())
    p, marginal, y = (
        np.array([getattr(one, name) for one in judged]) for name in ("p", "marginal", "y")
    )
    ours, theirs = _losses(p, y), _losses(marginal, y)
    ones = np.ones(y.size)
    low, high = prompt_bootstrap(ours - theirs, ones, np.arange(y.size), seed)
    decisive = y != 0.5
    ece = calibration_error(p[decisive], y[decisive], ones[decisive])
    chance = _ece_by_chance(p[decisive], np.random.default_rng(seed))
    enough = y.size >= limits.min_comparisons
    alarms = []
    if enough and low > 0:
        alarms.append("worse_than_marginal")
    if enough and ece is not None and chance is not None and ece > max(limits.ece, chance):
        alarms.append("miscalibrated")
    return DriftReport(
        n=int(y.size),
        n_decisive=int(decisive.sum()),
        log_loss=float(ours.mean()),
        log_loss_marginal=float(theirs.mean()),
        difference=float((ours - theirs).mean()),
        difference_ci95=(low, high),
        ece=ece,
        ece_by_chance=chance,
        alarms=tuple(alarms),
    )


def _losses(p: FloatArray, y: FloatArray) -> FloatArray:
    safe = np.clip(p, _LEAST, 1 - _LEAST)
    losses: FloatArray = -(y * np.log(safe) + (1 - y) * np.log1p(-safe))
    return losses


def _ece_by_chance(p: FloatArray, chance: np.random.Generator) -> float | None:
    """The 95% quantile of the ECE when outcomes are drawn from the predictions themselves."""
    if p.size == 0:
        return None
    ones = np.ones(p.size)
    drawn = [
        calibration_error(p, (chance.uniform(size=p.size) < p).astype(np.float64), ones) or 0.0
        for _ in range(200)
    ]
    return float(np.quantile(drawn, 0.95))
