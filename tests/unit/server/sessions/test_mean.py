"""What jobs cost in the mean, where how long they are does not depend on the model."""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import pytest

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from router.choice import RoutingRequest, decide
from router.cost import RequestShape
from server.sessions.sessions import Sessions


def card(name: str, usd_per_mtok: int) -> ModelCard:
    price = Decimal(usd_per_mtok)
    prices = Prices(input_usd_per_mtok=price, output_usd_per_mtok=price)
    return ModelCard(
        name=name, provider="p", upstream_model=name, leaderboard_name=name, prices=prices
    )


# by name and by price they are in different orders
CARDS = (card("a", 10), card("b", 1), card("c", 4))


@pytest.mark.parametrize("n_jobs", [300, pytest.param(1_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("moving", [False, True])
def test_the_mean_of_jobs_is_what_their_mixes_say(moving: bool, n_jobs: int) -> None:
    """A job of one to eight requests has one draw, and its mixes move from request to request: with
    the leaderboard, the budget and the input. Over jobs, what is spent is the sum of mix times cost
    all the same, within four standard errors."""
    chance = random.Random(20)
    sessions = Sessions(random.Random(21))
    differences = []
    for job in range(n_jobs):
        spent = expected = 0.0
        coefficients = np.array([1.0, -0.5, 0.4])
        for _ in range(chance.randint(1, 8)):
            visit = sessions.visit("me", f"{job}", [], [], now_s=0.0, ttl_s=1.0)
            if moving:
                coefficients = coefficients + [chance.gauss(0, 0.2) for _ in CARDS]
            board = PromptLeaderboard(PreferenceFamily.BT, ("a", "b", "c"), coefficients)
            n_input = chance.randint(500, 1_500) if moving else 1_000
            request = RoutingRequest(
                shape=RequestShape(input_tokens=n_input, input_tokens_upper_bound=4 * n_input),
                budget_usd=Decimal(chance.randint(60, 90) if moving else 70) / 10_000,
                order=visit.session.order,
            )
            decision = decide(board, CARDS, request, random.Random(visit.session.seed))
            sessions.enter(visit, 0.0)
            sessions.drawn(visit, decision.mix)
            spent += float(decision.expected_cost_usd or 0)
            expected += float(decision.mix_expected_cost_usd or 0)
        differences.append(spent - expected)
    error = float(np.std(differences)) / n_jobs**0.5
    assert error > 0
    assert abs(float(np.mean(differences))) <= 4 * error
