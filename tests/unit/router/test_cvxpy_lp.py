"""The slow lane: kept rows, optimal values, honest refusals, and what stands in for it."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.choice import BudgetMode, Decision, RoutingRequest, decide
from router.constraints import Constraints, FurtherBudget
from router.cost import RequestShape
from router.cvxpy_lp import GeneralLp
from router.errors import (
    BudgetInfeasibleError,
    ConstraintsInfeasibleError,
    SolverFailedError,
)

SHAPE = RequestShape(input_tokens=100, input_tokens_upper_bound=400)


def optimum(*given: Any, **more: Any) -> Any:
    """By scipy, which takes a second to import."""
    from scipy.optimize import linprog

    return linprog(*given, **more)


@pytest.fixture(scope="module")
def lane() -> GeneralLp:
    return GeneralLp(time_limit_s=5.0)


def world(seed: int, size: int = 8) -> tuple[PromptLeaderboard, tuple[ModelCard, ...]]:
    chance = random.Random(seed)
    names = [f"m{k}" for k in range(size)]
    cards = []
    for k, name in enumerate(names):
        price = Decimal(chance.randint(1, 10**5)) / 10**4
        prices = Prices(input_usd_per_mtok=price, output_usd_per_mtok=price)
        cards.append(
            ModelCard(
                name=name,
                provider=f"p{k % 3}",
                upstream_model=name,
                leaderboard_name=name,
                prices=prices,
                expected_output_tokens=chance.randint(50, 500),
            )
        )
    numbers = np.random.default_rng(seed).normal(size=size)
    return PromptLeaderboard(PreferenceFamily.BT, tuple(names), numbers), tuple(cards)


def ask(seed: int, constraints: Constraints, lane: Any, **more: Any) -> Decision:
    board, cards = world(seed)
    request = RoutingRequest(shape=SHAPE, constraints=constraints, **more)
    return decide(board, cards, request, random.Random(seed), lane)


def columns(decision: Decision) -> tuple[list[str], FloatArray, FloatArray]:
    rows = sorted(decision.alternatives, key=lambda row: row.model)
    cost = np.array([float(row.expected_cost_usd or 0) for row in rows])
    return [row.model for row in rows], cost, np.array([row.value for row in rows])


@pytest.mark.parametrize("seed", range(25))
def test_all_rows_are_kept_at_the_optimum(seed: int, lane: GeneralLp) -> None:
    chance = random.Random(seed)
    latency = {f"m{k}": chance.uniform(0.2, 4.0) for k in range(8)}
    _, cost, _ = columns(ask(seed, Constraints(), lane))
    budget = Decimal(repr(float(np.quantile(cost, 0.6))))
    constraints = Constraints(
        max_latency_s=2.0,
        latency_s=latency,
        provider_shares={"p0": 0.4, "p1": 0.5},
        budgets=(FurtherBudget(name="m", amount_usd=budget / 3, models=("m1", "m2", "m3")),),
    )
    try:
        decision = ask(seed, constraints, lane, budget_usd=budget)
    except ConstraintsInfeasibleError:
        decision = None
    names, cost, value = columns(ask(seed, Constraints(), lane))
    seconds = np.array([latency[name] for name in names])
    there = [np.array([k % 3 == p for k in range(8)], dtype=float) for p in (0, 1)]
    third = cost * np.array([name in ("m1", "m2", "m3") for name in names])
    table = np.array([1e3 * cost, seconds, *there, 1e3 * third])
    limits = [1e3 * float(budget), 2.0, 0.4, 0.5, 1e3 * float(budget) / 3]
    oracle = optimum(-value, A_ub=table, b_ub=limits, A_eq=np.ones((1, 8)), b_eq=[1.0])
    assert (decision is None) == (oracle.status == 2)
    if decision is None:
        return
    assert decision.lane == "solver"
    assert decision.mix_value == pytest.approx(-oracle.fun, abs=1e-5)
    mix = np.array([decision.mix.get(name, 0.0) for name in names])
    assert np.all(table @ mix <= np.array(limits) * (1 + 1e-5))
    assert decision.mix_expected_cost_usd is not None
    assert decision.mix_expected_cost_usd <= budget
    assert sum(decision.mix.values()) == pytest.approx(1.0)


def test_a_floor_under_the_value_minimises_the_cost(lane: GeneralLp) -> None:
    _, cost, value = columns(ask(1, Constraints(), lane))
    floor = float(np.quantile(value, 0.7))
    decision = ask(1, Constraints(min_value=floor), lane)
    oracle = optimum(1e3 * cost, A_ub=[-value], b_ub=[-floor], A_eq=np.ones((1, 8)), b_eq=[1.0])
    assert decision.mix_value >= floor - 1e-6
    assert float(decision.mix_expected_cost_usd or 0) == pytest.approx(oracle.fun / 1e3, rel=1e-4)


def test_infeasible_names_the_rows_and_by_how_much(lane: GeneralLp) -> None:
    latency = {f"m{k}": 3.0 + k for k in range(8)}
    with pytest.raises(ConstraintsInfeasibleError) as error:
        ask(2, Constraints(max_latency_s=2.0, latency_s=latency), lane)
    (row,) = error.value.rows
    assert (row.name, row.limit) == ("max_latency_s", 2.0)
    assert row.possible == pytest.approx(3.0, rel=1e-4)
    assert "max_latency_s is at most 2, at least 3 is possible" in str(error.value)
    with pytest.raises(ConstraintsInfeasibleError, match=r"min_value is at least 0\.99, at most"):
        ask(2, Constraints(min_value=0.99), lane)
    with pytest.raises(ConstraintsInfeasibleError) as error:
        ask(2, Constraints(provider_shares={"p0": 0.2, "p1": 0.2, "p2": 0.3}), lane)
    assert {row.name for row in error.value.rows} == {
        "provider_shares.p0",
        "provider_shares.p1",
        "provider_shares.p2",
    }
    assert error.value.rows[0].possible == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(BudgetInfeasibleError):
        ask(2, Constraints(max_latency_s=2.0), lane, budget_usd=Decimal("1e-9"))


class BrokenLane:
    def solve(self, *_: Any) -> Any:
        raise SolverFailedError("the solver's status is user_limit")


@pytest.mark.parametrize("lane", [None, BrokenLane()])
def test_the_closed_form_stands_in(lane: Any) -> None:
    latency = {f"m{k}": 1.0 + k for k in range(8)}
    constraints = Constraints(max_latency_s=3.5, latency_s=latency, provider_shares={"p0": 0.1})
    decision = ask(3, constraints, lane)
    assert decision.lane == "closed_form"
    assert all(latency[name] <= 3.5 for name in decision.mix)
    assert "provider_shares were ignored" in (decision.lane_note or "")
    assert ("user_limit" in (decision.lane_note or "")) == (lane is not None)
    with pytest.raises(ConstraintsInfeasibleError, match="max_latency_s"):
        ask(3, replace(constraints, max_latency_s=0.5), lane)


def test_a_time_limit_that_is_over_at_once_falls_back() -> None:
    decision = ask(4, Constraints(max_latency_s=9.0), GeneralLp(time_limit_s=1e-9))
    assert decision.lane == "closed_form"
    assert decision.lane_note is not None


def test_hard_mode_keeps_its_cap_beside_the_rows(lane: GeneralLp) -> None:
    decision = ask(
        5,
        Constraints(provider_shares={"p0": 0.3, "p1": 0.3}),
        lane,
        budget_usd=Decimal("0.01"),
        budget_mode=BudgetMode.HARD,
    )
    assert decision.worst_case_cost_usd is not None
    assert decision.worst_case_cost_usd <= Decimal("0.01")


@pytest.mark.slow
def test_the_fast_lane_never_imports_a_solver() -> None:
    script = (
        "import router.choice, router.constrained, router.cvxpy_lp, server.app, sys;"
        "print('cvxpy' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"], done.stderr
