"""One leaderboard for a distribution of prompts: a soft-label fit to the average outcome matrix.

    theta(Q) = argmin_theta  sum_z w_z sum_{a<b} CE(P_theta(z)(. | a, b), P_theta(. | a, b))

Cross-entropy is linear in its target, so that the sum over prompts goes into the target (`sums`).
What remains is a fit of M + 1 numbers to M x M pairs, by a few steps of Fisher scoring with a line
search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from p2l_model.analysis.pairwise import MAX_COEFFICIENT, PairModel
from p2l_model.analysis.sums import PairSums
from p2l_model.errors import DataError, TrainingError
from p2l_model.types import FloatArray, PreferenceFamily

_MAX_STEPS: Final = 200
_TOLERANCE: Final = 1e-7  # the size of the last step, in log-odds
_LONGEST: Final = 5.0
_HALVINGS: Final = 20
_TINY: Final = 1e-300
# Raw eta beyond this is a tie probability of 0 or 1 to the last digit.
_MAX_ETA: Final = 60.0


@dataclass(frozen=True, slots=True)
class Targets:
    """The average outcome of each pair, each (M, M) with a zero diagonal. tie and bad are
    symmetric, and None where the family has none."""

    win: FloatArray
    tie: FloatArray | None
    bad: FloatArray | None

    @classmethod
    def of(cls, model: PairModel, sums: PairSums) -> Targets:
        """The targets of the sums. Raises DataError where nothing has weight."""
        if not sums.weight > 0:
            raise DataError("the prompts have no weight: nothing to aggregate")
        win, tie, bad = sums.win / sums.weight, None, None
        np.fill_diagonal(win, 0.0)
        if sums.bad is not None:
            bad = sums.bad / sums.weight
            np.fill_diagonal(bad, 0.0)
        if model.has_tie:
            rest = 1.0 - win - win.T
            tie = np.maximum(rest if bad is None else rest - bad, 0.0)
            np.fill_diagonal(tie, 0.0)
        return cls(win, tie, bad)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted leaderboard.

    coefficients (M,): with mean 0 where only differences matter. eta, gamma: raw, 0 where the
    family has none. loss: the mean cross-entropy of a pair.
    """

    coefficients: FloatArray
    eta: float
    gamma: float
    loss: float


def fit_sums(family: PreferenceFamily, sums: PairSums) -> Fitted:
    """Fits a leaderboard. Raises DataError without weight, TrainingError where it does not
    converge."""
    model = PairModel(family)
    # ba's gamma and coefficients share a level, so that one is free: the mean over prompts is
    # taken.
    gamma = sums.gamma / sums.weight if family is PreferenceFamily.BA else 0.0
    start = np.zeros(sums.win.shape[0] + 1)
    start[-1] = sums.eta / sums.weight if sums.weight > 0 else 0.0
    parameters, loss = newton(model, Targets.of(model, sums), start)
    eta = float(parameters[-1]) if model.has_tie else 0.0
    return Fitted(parameters[:-1] + gamma, eta, gamma, loss)


def newton(
    model: PairModel, targets: Targets, start: FloatArray, tolerance: float = _TOLERANCE
) -> tuple[FloatArray, float]:
    """Returns the parameters (M + 1,), which are coefficients and raw eta, and the loss.

    tolerance: the size of the last step, in log-odds. Raises TrainingError.
    """
    parameters = start.copy()
    point = Point(model, targets, parameters)
    for _ in range(_MAX_STEPS):
        step = _solved(point)
        length = float(np.abs(step).max())
        # A fit moves by a few log-odds; a longer step is an error of the quadratic approximation.
        step *= min(1.0, _LONGEST / max(length, _TINY))
        following = _line_search(point, step)
        if following is None:
            return point.parameters, point.loss
        point = following
        if length < tolerance:
            return point.parameters, point.loss
    raise TrainingError("the leaderboard of these prompts did not converge")


def _solved(point: Point) -> FloatArray:
    step: FloatArray = np.linalg.solve(point.information(), point.gradient()).astype(np.float64)
    return step


def _line_search(point: Point, step: FloatArray) -> Point | None:
    """Returns the first halving that lowers the loss; None where none does, which is the minimum up
    to rounding."""
    for _ in range(_HALVINGS):
        tried = point.moved(step)
        if tried.loss < point.loss:
            return tried
        step = step / 2
    return None


class Point:
    """The loss at some parameters, its gradient and the Fisher information, all per pair.

    Derivatives of log-probabilities with q = t x_b / D, D = x_a + t x_b + c:
    d log P(a)/d a = 1 - P(a), d/d b = d/d log t = -q; d log P(bad)/d a = -x_a P(bad); the tie's
    follow from the sum being one.
    """

    def __init__(self, model: PairModel, targets: Targets, parameters: FloatArray) -> None:
        self._model, self._targets = model, targets
        self.parameters = parameters
        x, eta = np.exp(parameters[:-1]), parameters[-1:]
        t = model.tie_factor(eta)
        self._slope = model.tie_slope(float(eta[0]))
        self._n_pairs = x.size * (x.size - 1) / 2
        self._win = model.win(x, t[0])
        self._q = self._win * (t[0] * x[None, :] / x[:, None])
        self._bad = model.bad(x) if model.has_bad else None
        self._x_bad = None if self._bad is None else x[:, None] * self._bad
        if model.has_tie:
            rest = 1.0 - self._win - self._win.T
            self._tie = np.maximum(rest if self._bad is None else rest - self._bad, _TINY)
        self.loss = self._loss()

    def moved(self, step: FloatArray) -> Point:
        """The point moved by -step, within what can be computed."""
        parameters = self.parameters - step
        if self._model.shift_invariant:
            parameters[:-1] -= parameters[:-1].mean()
        parameters[:-1] = np.clip(parameters[:-1], -MAX_COEFFICIENT / 2, MAX_COEFFICIENT / 2)
        parameters[-1] = np.clip(parameters[-1], -_MAX_ETA, _MAX_ETA)
        return Point(self._model, self._targets, parameters)

    def gradient(self) -> FloatArray:
        """The gradient (M + 1,)."""
        target = self._targets
        by_a = target.win * (1.0 - self._win) - target.win.T * self._q.T
        by_t = -float((target.win * self._q).sum())
        if target.bad is not None and self._x_bad is not None:
            by_a -= target.bad * self._x_bad
        if target.tie is not None:
            tie_a, tie_t = self._tie_slopes()
            by_a += target.tie * tie_a
            by_t += 0.5 * float((target.tie * tie_t).sum())
        by_a[np.diag_indices_from(by_a)] = 0.0
        return np.append(-by_a.sum(axis=1), -self._slope * by_t) / self._n_pairs

    def information(self) -> FloatArray:
        """The Fisher information (M + 1, M + 1), made positive definite: flat directions (the
        common shift; eta where it has no effect) get a curvature of their own, and no gradient."""
        own, cross, by_t, both_t = self._products()
        size = own.shape[0]
        matrix = np.zeros((size + 1, size + 1))
        matrix[:size, :size] = cross
        matrix[np.diag_indices(size)] = own.sum(axis=1)
        matrix[:size, size] = matrix[size, :size] = self._slope * by_t.sum(axis=1)
        matrix[size, size] = self._slope**2 * 0.5 * float(both_t.sum())
        matrix /= self._n_pairs
        if self._model.shift_invariant:
            matrix[:size, :size] += 1.0 / size**2
        # A fit whose pairs are all certain has no curvature left, and nowhere to go.
        matrix[np.diag_indices(size + 1)] += 1e-12
        if self._slope == 0.0:
            matrix[size, size] = 1.0
        return matrix

    def _products(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """For each pair the sums over k of P_k times (d_a)^2, d_a d_b, d_a d_t and d_t^2, with zero
        diagonals."""
        win, q = self._win, self._q
        up, lost = 1.0 - win, (win * q).T  # lost: -P(b beats a) d_a log of it
        own = win * up**2 + lost * q.T
        cross = -(win * up * q) - (win * up * q).T
        by_t = -(win * up * q) + lost * q.T
        both_t = win * q**2 + (win * q**2).T
        if self._bad is not None and self._x_bad is not None:
            own += self._bad * self._x_bad**2
            cross += self._x_bad * self._x_bad.T * self._bad
        if self._model.has_tie:
            tie_a, tie_t = self._tie_slopes()
            own += self._tie * tie_a**2
            cross += self._tie * tie_a * tie_a.T
            by_t += self._tie * tie_a * tie_t
            both_t += self._tie * tie_t**2
        for matrix in (own, cross, by_t, both_t):
            np.fill_diagonal(matrix, 0.0)
        return own, cross, by_t, both_t

    def _tie_slopes(self) -> tuple[FloatArray, FloatArray]:
        """d log P(tie) / d a and d log P(tie) / d log t."""
        lost = self._win * self._q
        by_a = -self._win * (1.0 - self._win) + lost.T
        if self._bad is not None and self._x_bad is not None:
            by_a += self._bad * self._x_bad
        return by_a / self._tie, (lost + lost.T) / self._tie

    def _loss(self) -> float:
        target = self._targets
        total = _cross_entropy(target.win, self._win)
        if target.tie is not None:
            total += 0.5 * _cross_entropy(target.tie, self._tie)
        if target.bad is not None and self._bad is not None:
            total += 0.5 * _cross_entropy(target.bad, self._bad)
        return total / self._n_pairs


def _cross_entropy(target: FloatArray, probability: FloatArray) -> float:
    return -float((target * np.log(np.maximum(probability, _TINY))).sum())
