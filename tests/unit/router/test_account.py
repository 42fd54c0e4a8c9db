"""The account that keeps a mean budget where jobs are drawn, and how long they are depends on what
is drawn."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.account import Account, booked, budget_share, lowered
from router.catalog import ModelCard, Prices
from router.choice import RoutingRequest, decide
from router.cost import RequestShape

BOARD = PromptLeaderboard(PreferenceFamily.BT, ("cheap", "dear"), np.array([0.0, 1.0]))
SHAPE = RequestShape(input_tokens=1_000, input_tokens_upper_bound=4_000)
BUDGET = Decimal(4)


def card(name: str, usd: int) -> ModelCard:
    """A model that takes so many USD for each request."""
    prices = Prices(input_usd_per_mtok=Decimal(usd * 1_000), output_usd_per_mtok=Decimal(0))
    return ModelCard(
        name=name, provider="p", upstream_model=name, leaderboard_name=name, prices=prices
    )


CARDS = (card("cheap", 1), card("dear", 10))


def spend_of(
    n_jobs: int, length: Callable[[str], int], seed: int = 7, *, with_account: bool = True
) -> float:
    """What is spent over what was granted. length: requests of a job by its model."""
    chance, account = random.Random(seed), Account()
    spent = granted = 0.0
    for _ in range(n_jobs):
        share = budget_share(account) if with_account else 1.0
        request = RoutingRequest(
            shape=SHAPE, budget_usd=BUDGET, draw_budget_usd=lowered(BUDGET, share)
        )
        decision = decide(BOARD, CARDS, request, chance)
        assert decision.expected_cost_usd is not None
        for _ in range(length(decision.model)):
            account = booked(account, BUDGET, decision.expected_cost_usd)
            spent += float(decision.expected_cost_usd)
            granted += float(BUDGET)
    return spent / granted


def by_model(model: str) -> int:
    return 40 if model == "dear" else 10


@pytest.mark.slow
def test_without_an_account_a_mean_is_not_kept() -> None:
    assert spend_of(4_000, by_model, with_account=False) == pytest.approx(1.75, rel=0.05)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_account_keeps_it(seed: int) -> None:
    assert spend_of(1_000, by_model, seed) == pytest.approx(1.0, rel=0.02)


@pytest.mark.slow
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1_000))
@settings(max_examples=examples(30), deadline=None)
def test_it_is_never_overdrawn_by_more_than_a_few_jobs(dear: int, cheap: int, seed: int) -> None:
    lengths = {"dear": dear, "cheap": cheap}
    n_jobs = 600
    over = spend_of(n_jobs, lengths.__getitem__, seed) - 1.0
    # In the mean each job has at least the length of the shorter one.
    assert over * n_jobs * min(dear, cheap) < 200 + 4 * dear


@pytest.mark.slow
def test_jobs_of_one_length_have_what_they_had() -> None:
    """What is lowered by chance costs little, and less as time goes on."""
    assert spend_of(10_000, lambda _: 1) == pytest.approx(1.0, rel=0.02)


def test_a_share_is_lowered_only_once_more_is_overdrawn_than_by_chance() -> None:
    account = Account()
    assert budget_share(account) == 1.0
    shares = []
    for _ in range(200):
        account = booked(account, Decimal(1), Decimal(2))
        shares.append(budget_share(account))
    assert shares[:16] == [1.0] * 16
    assert all(0.0 < after < before for before, after in pairwise(shares[15:100]))
    for _ in range(184):
        account = booked(account, Decimal(1), Decimal(0))
    assert budget_share(account) == 1.0


def test_credit_is_limited() -> None:
    account = Account()
    for _ in range(5_000):
        account = booked(account, Decimal(2), Decimal(0))
    assert account.balance_usd == pytest.approx(2_000.0)


def test_budgets_of_nothing_lower_nothing() -> None:
    account = booked(Account(), Decimal(0), Decimal(1))
    assert budget_share(account) == 1.0
    assert lowered(Decimal("0.003"), 1.0) == Decimal("0.003")
    assert lowered(Decimal("0.003"), 0.25) == Decimal("0.00075")
