"""Theorem 1 in closed form against cvxpy, and what must hold of any optimum."""

from __future__ import annotations

import random
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.hull import InfeasibleError, solve

TOLERANCE = 1e-6


def instance(seed: int) -> tuple[list[Decimal], np.ndarray, Decimal]:
    """Ordinary and degenerate in turn: ties in cost and value, duplicates, budgets on a point."""
    chance = random.Random(seed)
    size = chance.choice([1, 2, 3, 5, 8, 20, 50])
    costs = [Decimal(chance.randint(1, 10**6)) / 10**7 for _ in range(size)]
    values = [chance.random() for _ in range(size)]
    kind = seed % 8
    if kind == 1:
        costs = [chance.choice(costs[:3]) for _ in costs]
    if kind == 2:
        values = [chance.choice(values[:3]) for _ in values]
    if kind == 3:
        costs = [costs[0]] * size
    if kind == 4:
        costs, values = costs * 2, values * 2
    budget = Decimal(chance.randint(0, 11 * 10**5)) / 10**7
    if kind == 5:
        budget = chance.choice(costs)
    if kind == 6:
        budget = min(costs)
    if kind == 7:
        budget = min(costs) / 2
    return costs, np.array(values), budget


def oracle(costs: list[Decimal], values: np.ndarray, budget: Decimal) -> float | None:
    """The optimal value by HiGHS through cvxpy; None where infeasible."""
    import cvxpy

    scale = float(max(costs))
    share = cvxpy.Variable(len(costs), nonneg=True)
    cost = np.array([float(c) for c in costs]) / scale
    rows = [cvxpy.sum(share) == 1, cost @ share <= float(budget) / scale]
    problem = cvxpy.Problem(cvxpy.Maximize(values @ share), rows)
    problem.solve(solver=cvxpy.HIGHS)
    if "infeasible" in problem.status:
        return None
    assert problem.status == cvxpy.OPTIMAL
    return float(problem.value)


def compare(seeds: range) -> int:
    infeasible = 0
    for seed in seeds:
        costs, values, budget = instance(seed)
        expected = oracle(costs, values, budget)
        try:
            found: float | None = solve(costs, values, budget).value
        except InfeasibleError:
            found = None
        if expected is None or found is None:
            # HiGHS forgives 1e-7 of infeasibility, exact decimals forgive nothing
            assert (found is None) == (min(costs) > budget)
            infeasible += 1
        else:
            assert found == pytest.approx(expected, abs=TOLERANCE)
    return infeasible


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_equals_cvxpy_on_random_instances() -> None:
    infeasible = compare(range(120))
    assert 0 < infeasible < 60


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_equals_cvxpy_on_thousands_of_random_instances() -> None:
    compare(range(1000, 4000))


usd = st.decimals(min_value=0, max_value=1, places=7)
points = st.lists(st.tuples(usd, st.floats(0, 1)), min_size=1, max_size=30)


@given(points, usd)
def test_the_mix_is_feasible_and_small(
    models: list[tuple[Decimal, float]], budget: Decimal
) -> None:
    costs = [cost for cost, _ in models]
    if min(costs) > budget:
        with pytest.raises(InfeasibleError) as error:
            solve(costs, np.array([v for _, v in models]), budget)
        assert costs[error.value.cheapest] == min(costs)
        return
    mix = solve(costs, np.array([v for _, v in models]), budget)
    assert 1 <= len(mix.parts) <= 2
    assert sum(share for _, share in mix.parts) == 1
    assert all(share > 0 for _, share in mix.parts)
    with localcontext(prec=100):
        assert sum(share for _, share in mix.parts) == 1
        spent = sum((share * costs[index] for index, share in mix.parts), Decimal(0))
        assert spent <= budget
    assert mix.cost_usd <= budget
    assert float(spent) == pytest.approx(float(mix.cost_usd), abs=1e-15)


@given(points, usd, usd)
def test_more_budget_is_never_worse(
    models: list[tuple[Decimal, float]], one: Decimal, other: Decimal
) -> None:
    costs, values = [c for c, _ in models], np.array([v for _, v in models])
    low, high = sorted((max(one, min(costs)), max(other, min(costs))))
    assert solve(costs, values, low).value <= solve(costs, values, high).value + 1e-12


@given(points, usd, st.randoms(use_true_random=False))
def test_order_does_not_matter(
    models: list[tuple[Decimal, float]], budget: Decimal, chance: random.Random
) -> None:
    limit = max(budget, min(cost for cost, _ in models))
    shuffled = list(models)
    chance.shuffle(shuffled)
    one = solve([c for c, _ in models], np.array([v for _, v in models]), limit)
    two = solve([c for c, _ in shuffled], np.array([v for _, v in shuffled]), limit)
    assert one.value == pytest.approx(two.value, abs=1e-12)


def test_ties() -> None:
    costs = [Decimal(3), Decimal(2), Decimal(2)]
    assert solve(costs, np.array([0.5, 0.5, 0.5]), None).parts == ((1, Decimal(1)),)
    assert solve(costs, np.array([0.9, 0.4, 0.5]), Decimal(2)).parts == ((2, Decimal(1)),)


def test_a_budget_exactly_at_a_models_cost_is_feasible_and_pure() -> None:
    mix = solve([Decimal("0.1"), Decimal("0.2")], np.array([0.1, 0.9]), Decimal("0.1"))
    assert mix.parts == ((0, Decimal(1)),)
    assert mix.shadow_price == pytest.approx(8.0)


def test_a_free_model_and_no_budget_at_all() -> None:
    mix = solve([Decimal(0), Decimal(1)], np.array([0.1, 0.9]), Decimal(0))
    assert mix.parts == ((0, Decimal(1)),)


def test_negative_values_are_values() -> None:
    mix = solve([Decimal("0.5"), Decimal(2)], np.array([-1.0, -0.2]), Decimal(1))
    assert mix.value == pytest.approx(-1 + 0.8 / 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        solve([Decimal(1)], np.array([value]), None)


prices = st.decimals(min_value="0.001", max_value=10, places=4)


def priced_oracle(
    costs: list[Decimal], values: np.ndarray, budget: Decimal | None, usd_per_win: Decimal
) -> float:
    import cvxpy

    share = cvxpy.Variable(len(costs), nonneg=True)
    cost = np.array([float(c) for c in costs])
    rows = [cvxpy.sum(share) == 1]
    if budget is not None:
        rows.append(1e3 * cost @ share <= 1e3 * float(budget))
    goal = cvxpy.Maximize((values - cost / float(usd_per_win)) @ share)
    problem = cvxpy.Problem(goal, rows)
    problem.solve(solver=cvxpy.HIGHS)
    assert problem.status == cvxpy.OPTIMAL
    return float(problem.value)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("seed", range(60))
def test_what_a_win_is_worth_equals_cvxpy(seed: int) -> None:
    costs, values, budget = instance(seed)
    worth = Decimal(random.Random(seed).choice(["0.01", "0.1", "1", "30"]))
    limit = None if seed % 3 == 0 else max(budget, min(costs))
    mix = solve(costs, values, limit, worth)
    net = mix.value - float(mix.cost_usd) / float(worth)
    assert net == pytest.approx(priced_oracle(costs, values, limit, worth), abs=TOLERANCE)
    assert mix.value == pytest.approx(sum(float(p) * values[k] for k, p in mix.parts))
    assert limit is None or mix.cost_usd <= limit


@given(points, prices, prices)
def test_a_dearer_win_never_buys_less(
    models: list[tuple[Decimal, float]], one: Decimal, other: Decimal
) -> None:
    costs, values = [c for c, _ in models], np.array([v for _, v in models])
    low, high = (solve(costs, values, None, worth) for worth in sorted((one, other)))
    assert low.cost_usd <= high.cost_usd
    assert low.value <= high.value + 1e-12


def test_costs_that_differ_beyond_floats_are_told_apart() -> None:
    less, more = Decimal("0.1"), Decimal("0.10000000000000000000001")
    assert float(less) == float(more)
    values = np.array([0.9, 0.1])
    assert solve([more, less], values, less).parts == ((1, Decimal(1)),)
    assert solve([more, less], values, more).parts == ((0, Decimal(1)),)
    assert solve([more, less], np.array([0.5, 0.5]), None).parts == ((1, Decimal(1)),)
