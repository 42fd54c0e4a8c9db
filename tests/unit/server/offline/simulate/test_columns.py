"""Score tables with models at an effort: NAME:EFFORT is a column of the model NAME."""

from __future__ import annotations

import numpy as np
import pytest

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.objective import Objective
from server.offline.simulate.columns import TableRows, of_model

BOARD = PromptLeaderboard(
    PreferenceFamily.BT, ("gpt-5", "gpt-5-high", "o:none"), np.array([0.5, 1.0, -1.0])
)


def test_a_column_is_found_by_its_own_row_or_by_its_models() -> None:
    names = ("gpt-5", "gpt-5:low", "gpt-5:high", "o:none", "stranger", "stranger:low", "gpt-5:x")
    rows = TableRows(names, BOARD.models)
    assert rows.row == {
        "gpt-5": "gpt-5", "o:none": "o:none", "gpt-5:low": "gpt-5", "gpt-5:high": "gpt-5-high",
    }  # fmt: skip
    assert rows.thoughts == {"gpt-5:low": 400.0, "gpt-5:high": 2400.0}
    moved = rows.shifted(BOARD, Objective.WIN_RATE)
    assert moved.keys() == {"gpt-5:low"}
    wins = 1 / (1 + np.exp(-(0.3 - BOARD.coefficients)))
    assert moved["gpt-5:low"] == pytest.approx(wins.mean())


def test_a_table_without_columns_moves_nothing() -> None:
    rows = TableRows(("gpt-5", "o:none"), BOARD.models)
    assert rows.shifted(BOARD, Objective.WIN_RATE) == {}
    assert rows.thoughts == {}


def test_a_price_of_a_model_is_its_columns_too() -> None:
    prices = {"a": 1, "a:high": 2}
    assert [of_model(prices, name) for name in ("a", "a:low", "a:high", "b", "b:low")] == [
        1, 1, 2, None, None,
    ]  # fmt: skip
