"""A stream spends its budget, never more, where it buys the most."""

from __future__ import annotations

import numpy as np
import pytest

from p2l_model.types import Conversation
from server.offline.simulate.predict import Belief
from server.offline.simulate.stream import run_streams
from server.offline.simulate.table import ScoreTable


def world(n: int = 600) -> tuple[ScoreTable, np.ndarray]:
    """Answers, and the chance of each to be right."""
    chance = np.random.default_rng(0)
    hard = chance.uniform(size=(n, 1))
    right = 1 - hard * np.array([1.0, 0.6, 0.2])
    score = (chance.uniform(size=(n, 3)) < right).astype(float)
    cost = np.array([1e-4, 5e-4, 3e-3]) * np.exp(0.5 * chance.normal(size=(n, 1)))
    table = ScoreTable(
        tuple(Conversation((str(k),)) for k in range(n)),
        ("a", "b", "c"),
        score,
        cost,
        np.full(n, 10.0),
        np.array([""] * n),
    )
    return table, right


@pytest.mark.slow
def test_binding_budgets_are_spent_but_never_overspent() -> None:
    table, right = world()
    for result in run_streams(table, Belief(right, table.cost_usd), n_seeds=4)[1:4]:
        assert 0.97 < result.utilisation <= 1.0
        assert result.utilisation_max <= 1.0
        assert result.refused < 0.03
        assert result.score > result.random_mix
        assert abs(result.regret) < 0.02
