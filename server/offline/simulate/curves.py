"""Cost-performance curves (the paper's Figure 5), and comparisons of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from p2l_model.types import FloatArray
from router.hull import hull_of
from server.offline.simulate.predict import Belief
from server.offline.simulate.table import ScoreTable

N_RESAMPLES: Final = 1000
# Means of the same answers, added up in another order or on another processor, differ by less.
SAME: Final = 1e-9
_N_PRICES: Final = 80
_GRID: Final = 400
_LEVELS_OF_SCORE: Final = 40
_LEVELS: Final = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Curve:
    """J points by rising cost. cost, score: (J, P), the cost and the score of each prompt at each
    point. picked (S, J, P): the model that is asked, as a column of the table, in each of S splits
    of the prompts (1 where they are not split); weight (J,): what a USD costs in value at each
    point. Both are None where no router picked."""

    cost: FloatArray
    score: FloatArray
    picked: NDArray[np.intp] | None = None
    weight: FloatArray | None = None

    @property
    def n_prompts(self) -> int:
        """P, the number of prompts."""
        return int(self.cost.shape[1])

    def means(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean cost and score, shape (J,), with prompts weighted (P,)."""
        total = weights.sum()
        return self.cost @ weights / total, self.score @ weights / total


class Interval(NamedTuple):
    """A number with its 95% interval over prompts; low and high are None where there is none."""

    value: float | None
    low: float | None
    high: float | None


def curve_of(table: ScoreTable, belief: Belief) -> Curve:
    """The curve of one cost weight for all prompts: argmax of value - weight * cost, for weights
    from zero to those at which only the cheapest models remain."""
    rows = np.arange(table.score.shape[0])
    picks = {}
    for price in prices_of(belief.cost_usd):
        chosen = pick(belief, price)
        picks[chosen.tobytes()] = chosen, price
    picked = np.array([chosen for chosen, _ in picks.values()])
    weight = np.array([price for _, price in picks.values()])
    cost, score = table.cost_usd[rows, picked], table.score[rows, picked]
    order = np.argsort(cost.mean(axis=1), kind="stable")
    return Curve(cost[order], score[order], picked[None, order], weight[order])


def pick(belief: Belief, price: float) -> NDArray[np.intp]:
    """The model of each prompt, shape (P,); among equal ones the cheapest."""
    cheapest = belief.cost_usd
    if np.isinf(price):
        return np.asarray(np.argmin(cheapest, axis=1))
    worth = belief.value - price * belief.cost_usd
    best = worth.max(axis=1, keepdims=True)
    cheapest = np.where(worth >= best - 1e-12, belief.cost_usd, np.inf)
    return np.asarray(np.argmin(cheapest, axis=1))


def single_models(table: ScoreTable) -> Curve:
    """One point for each model, in the table's order."""
    return Curve(table.cost_usd.T, table.score.T)


def envelope(cost: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The best random mix of the points: the upper concave hull, with rising scores."""
    hull = hull_of(cost.tolist(), score.tolist())
    return cost[hull], score[hull]


def height(cost: FloatArray, score: FloatArray, at: FloatArray) -> FloatArray:
    """The curve's best score at a cost of at most `at`: linear between neighbours (a mix of two
    weights), never falling with more money."""
    best = np.maximum.accumulate(score)
    found: FloatArray = np.interp(at, cost, best)
    return found


def gain_over(curve: Curve, singles: Curve, weights: FloatArray) -> float:
    """The mean score above the best random mix, over costs from the cheapest model's to that of the
    mix's best. The mix is the hull on these very prompts, the curve is taken as it is: any bias is
    against the curve."""
    low, top = envelope(*singles.means(weights))
    grid = np.linspace(low[0], low[-1], _GRID)
    ours = height(*_sorted(*curve.means(weights)), grid)
    return float((ours - np.interp(grid, low, top)).mean())


def saving_of(
    curve: Curve, singles: Curve, best: int, weights: FloatArray, level: float = 1.0
) -> float:
    """The share of the best single model's cost that is saved at its score, or at a share of it;
    0 where the curve does not reach it: then that model would be asked. level: the share."""
    cost, score = singles.means(weights)
    ours_cost, ours = _sorted(*curve.means(weights))
    reached = _cost_at(ours_cost, np.maximum.accumulate(ours), level * float(score[best]))
    return max(0.0, 1.0 - reached / float(cost[best]))


def saving_at_equal_scores(curve: Curve, singles: Curve, weights: FloatArray) -> float:
    """The share of the best random mix's cost that is saved at the same scores: costs are summed
    over scores from the mix's lowest to its highest. Where the curve does not reach a score, the
    mix would be asked: nothing is saved there."""
    low, top = envelope(*singles.means(weights))
    levels = np.linspace(top[0], top[-1], _LEVELS_OF_SCORE)
    mix = np.interp(levels, top, low)
    cost, score = _sorted(*curve.means(weights))
    best = np.maximum.accumulate(score)
    ours = np.array([_cost_at(cost, best, level) for level in levels.tolist()])
    return 1.0 - float(np.where(np.isfinite(ours), ours, mix).sum() / mix.sum())


def bootstrap_weights(n_prompts: int, seed: int, n: int = N_RESAMPLES) -> FloatArray:
    """Bootstrap weights, shape (n, P): how often each prompt is drawn."""
    chance = np.random.default_rng(seed)
    shares = np.full(n_prompts, 1.0 / n_prompts)
    return chance.multinomial(n_prompts, shares, size=n).astype(np.float64)


def interval(value: float | None, draws: list[float]) -> Interval:
    """The interval by percentiles."""
    low, high = np.quantile(draws, _LEVELS)
    return Interval(value, float(low), float(high))


def points(curve: Curve, weights: FloatArray) -> list[dict[str, Any]]:
    """The entries of pareto.json: mean cost and score of each point, with the score's interval."""
    flat = np.ones(curve.n_prompts)
    cost, score = curve.means(flat)
    draws = (curve.score @ weights.T) / weights.sum(axis=1)  # (J, n)
    low, high = np.quantile(draws, _LEVELS, axis=1)
    return [
        {"cost_usd": float(c), "score": float(s), "ci95": [float(a), float(b)]}
        for c, s, a, b in zip(cost, score, low, high, strict=True)
    ]


def prices_of(cost: FloatArray) -> list[float]:
    """Values per USD: from zero through all that matter to infinity. cost (P, M)."""
    typical = cost.mean(axis=0)
    least, most = 1e-4 / typical.max(), 100.0 / typical[typical > 0].min()
    return [0.0, *np.geomspace(least, most, _N_PRICES).tolist(), np.inf]


def _sorted(cost: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    order = np.argsort(cost, kind="stable")
    return cost[order], score[order]


def _cost_at(cost: FloatArray, best: FloatArray, wanted: float) -> float:
    """The lowest cost at which the rising curve reaches the score; infinite where it never does."""
    k = int(np.searchsorted(best, wanted - SAME))
    if k == best.size:
        return float("inf")
    if k == 0:
        return float(cost[0])
    # Where the curve is level before it rises again, the cheapest point of that level is mixed.
    low = int(np.searchsorted(best, best[k - 1]))
    share = min(1.0, (wanted - best[low]) / (best[k] - best[low]))
    return float(cost[low] + share * (cost[k] - cost[low]))
