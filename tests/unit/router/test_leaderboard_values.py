"""Columns of one model: each has its own value, beside the same opponents, and the linear program
treats them like as many separate models."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.choice import BudgetMode, Decision, Objective, RoutingRequest, decide
from router.cost import RequestShape
from router.errors import BudgetInfeasibleError
from router.leaderboard_values import standing, worth_of_shifted

SHAPE = RequestShape(input_tokens=100, input_tokens_upper_bound=400)
EFFORTS = ("low", "medium", "high")
ONE = PromptLeaderboard(
    PreferenceFamily.GRK,
    ("a", "b", "unrated"),
    np.array([0.5, -0.5, np.nan]),
    eta=0.0,
    gamma=0.1,
    expected_scores=np.array([0.6, np.nan, 0.2]),
)


def column(model: str, effort: str, shift: float, usd: str = "1", **more: Any) -> ModelCard:
    price = Prices(input_usd_per_mtok=Decimal(usd), output_usd_per_mtok=Decimal(usd))
    values: dict[str, Any] = {
        "name": f"{model}:{effort}", "leaderboard_name": model, "effort": effort,
    }  # fmt: skip
    return ModelCard(
        provider="p", upstream_model=model, prices=price, coefficient_shift=shift, **values | more
    )


def test_a_column_names_its_model() -> None:
    card = column("llama3:8b", "low", 0.0)
    assert (card.name, card.base) == ("llama3:8b:low", "llama3:8b")
    plain = replace(card, name="llama3:8b", effort=None)
    assert plain.base == "llama3:8b"


@pytest.mark.parametrize("objective", Objective)
def test_a_shift_moves_the_value_and_keeps_it_between_0_and_1(objective: Objective) -> None:
    shifts = (-40.0, -0.5, 0.25, 40.0)
    cards = [column("a", str(shift), shift) for shift in shifts]
    known = standing(ONE, {"a": 1.0, "b": 1.0}, objective)
    worth = worth_of_shifted(known, cards, objective)
    values = [worth[card.name].value for card in cards]
    assert values == sorted(values)
    assert all(0.0 <= value <= 1.0 for value in values)
    at = known.values[known.column["a"]]
    assert values[1] < at < values[2]
    assert worth["a:0.25"].coefficient == 0.75


@pytest.mark.parametrize("objective", [Objective.WIN_RATE, Objective.P_GOOD])
@pytest.mark.parametrize(("shift", "sd"), [(0.0, 0.2), (-0.8, 0.7), (0.6, 1.5)])
def test_values_are_means_over_an_uncertain_coefficient(
    objective: Objective, shift: float, sd: float
) -> None:
    """Against Monte Carlo: the closed form is exact to about 0.01."""
    board = replace(ONE, coefficients=np.array([0.5, -0.5, 1.7]))
    card = column("a", "low", 9.0)
    known = standing(board, None, objective)
    found = worth_of_shifted(known, [card], objective, {card.name: (shift, sd)})[card.name]
    drawn = 0.5 + shift + sd * np.random.default_rng(1).normal(size=200_000)
    apart = drawn[:, None] - board.coefficients[None, :]
    rate = float((1.0 / (1.0 + np.exp(-apart))).mean())
    good = float((1.0 / (1.0 + np.exp(-(drawn - 0.1)))).mean())
    assert found.coefficient == pytest.approx(0.5 + shift)
    assert found.win_rate == pytest.approx(rate, abs=0.01)
    assert found.value == pytest.approx(rate if objective is Objective.WIN_RATE else good, abs=0.01)


def test_a_learnt_shift_takes_the_place_of_the_cards_own() -> None:
    moved, plain = column("a", "low", 0.3), replace(column("b", "low", 0.0), name="b")
    known = standing(ONE, None, Objective.WIN_RATE)
    shifts = {plain.name: (0.4, 0.0), moved.name: (0.0, 0.0)}
    worth = worth_of_shifted(known, [moved, plain], Objective.WIN_RATE, shifts)
    assert worth[plain.name].coefficient == pytest.approx(-0.1)
    assert worth[moved.name].coefficient == 0.5
    assert worth[moved.name].win_rate == pytest.approx(known.win_rates[0], abs=1e-15)
    request = RoutingRequest(shape=SHAPE, coefficient_shifts=shifts)
    seen = {c.card.name: c for c in decide(ONE, [moved, plain], request, random.Random(1)).ranked}
    assert seen[plain.name].coefficient == pytest.approx(-0.1)


def test_what_the_leaderboard_does_not_know_stays_unknown() -> None:
    cards = [column("stranger", "low", 0.2), column("unrated", "low", 0.2), column("b", "low", 0.2)]
    worth = worth_of_shifted(standing(ONE, None, Objective.WIN_RATE), cards, Objective.WIN_RATE)
    assert "stranger:low" not in worth
    assert np.isnan(worth["unrated:low"].value)
    scores = standing(ONE, None, Objective.EXPECTED_SCORE)
    assert np.isnan(worth_of_shifted(scores, cards, Objective.EXPECTED_SCORE)["b:low"].value)


models = st.lists(
    st.tuples(
        st.floats(-2, 2),  # the coefficient
        st.integers(1, 400),  # USD per million tokens
        st.lists(st.tuples(st.floats(-0.7, 0.7), st.integers(0, 9_000)), min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@given(models, st.integers(1, 10**7), st.integers(0, 2**32), st.sampled_from(BudgetMode))
def test_columns_are_chosen_like_separate_models(
    rows: list[tuple[float, int, list[tuple[float, int]]]],
    nano_usd: int,
    seed: int,
    mode: BudgetMode,
) -> None:
    """Against the same opponents, a board with a row for each column gives the same mix."""
    names = [f"m{k}" for k in range(len(rows))]
    cards, separate, thoughts, apart = [], [], {}, {}
    for name, (coefficient, usd, efforts) in zip(names, rows, strict=True):
        for effort, (shift, tokens) in zip(EFFORTS, efforts, strict=False):
            card = column(name, effort, shift, str(usd))
            own = card.name
            cards.append(card)
            thoughts[own] = float(tokens)
            apart[own] = coefficient + shift
            separate.append(replace(card, leaderboard_name=own, effort=None, coefficient_shift=0.0))
    board = PromptLeaderboard(PreferenceFamily.BT, tuple(names), np.array([row[0] for row in rows]))
    wider = PromptLeaderboard(
        PreferenceFamily.BT,
        (*names, *apart),
        np.array([*(row[0] for row in rows), *apart.values()]),
    )
    request = RoutingRequest(
        shape=SHAPE,
        budget_usd=nano_usd * Decimal("1E-9"),
        budget_mode=mode,
        opponents=dict.fromkeys(names, 1.0),
        thought_tokens=thoughts,
    )

    def made(board: PromptLeaderboard, cards: list[ModelCard]) -> Decision | str:
        try:
            return decide(board, cards, request, random.Random(seed))
        except BudgetInfeasibleError as error:
            return str(error)

    ours, theirs = made(board, cards), made(wider, separate)
    if isinstance(ours, str) or isinstance(theirs, str):
        assert ours == theirs
        return
    assert ours.mix_win_rate == pytest.approx(theirs.mix_win_rate, abs=1e-12)
    strengths = sorted(apart.values())
    if all(b - a > 1e-9 for a, b in pairwise(strengths)):  # no ties
        assert ours.mix == theirs.mix
        assert ours.model == theirs.model
        assert ours.expected_cost_usd == theirs.expected_cost_usd
        assert ours.coefficient == pytest.approx(theirs.coefficient, abs=1e-9)
