"""Costs learnt from training answers: by prompt, right on average, whoever answered what."""

from __future__ import annotations

import numpy as np

from p2l_model.types import Conversation, FloatArray
from server.offline.simulate.costs import ReadPrompts, learnt_costs
from server.offline.simulate.table import ScoreTable

MODELS = ("dear", "cheap", "rare")


def answers(n: int, seed: int) -> tuple[ReadPrompts, FloatArray]:
    """(prompts, the costs to be expected). A cost doubles with a unit of the first feature."""
    chance = np.random.default_rng(seed)
    hidden = chance.normal(size=(n, 20))
    length = chance.integers(10, 500, n).astype(np.float64)
    level = np.log([1e-2, 1e-4, 1e-3]) + np.log(2.0) * hidden[:, :1] * [1.0, 1.0, -1.0]
    cost = np.exp(level + 0.3 * chance.normal(size=level.shape))
    table = ScoreTable(
        tuple(Conversation((str(k),)) for k in range(n)),
        MODELS,
        np.ones((n, 3)),
        cost,
        length,
        np.full(n, ""),
    )
    return ReadPrompts(table, hidden), np.exp(level + 0.3**2 / 2)


def test_what_a_prompt_says_of_its_cost_is_found() -> None:
    train, _ = answers(400, 1)
    train.table.cost_usd[::2, 2] = np.nan
    asked, expected = answers(200, 2)
    asked = asked._replace(table=asked.table.of_models(["rare", "dear"], ""))
    expected = expected[:, [2, 0]]
    found = learnt_costs(train, asked)
    assert np.abs(np.log(found / expected)).mean() < 0.15
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), rtol=0.1)


def test_where_prompts_say_nothing_the_mean_stands() -> None:
    train, _ = answers(400, 1)
    train = train._replace(hidden=np.random.default_rng(3).normal(size=(400, 600)))
    asked, _ = answers(50, 2)
    found = learnt_costs(train, asked._replace(hidden=np.zeros((50, 600))))
    np.testing.assert_allclose(
        found, np.broadcast_to(train.table.cost_usd.mean(axis=0), found.shape), rtol=0.15
    )


def test_a_free_model_stays_free_to_speak_of() -> None:
    train, _ = answers(100, 1)
    train.table.cost_usd[:, 1] = 0.0
    asked, _ = answers(10, 2)
    found = learnt_costs(train, asked)
    assert np.isfinite(found).all()
    assert (found[:, 1] == 0).all()
