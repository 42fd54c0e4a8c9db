"""What a model without a column of its own takes of its relative's."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
from server.gateway.local_frame import frame_of
from server.gateway.places import BORROWED, strongest, taken_off

COLUMNS = ("gemma-2-9b-it", "gpt-4o", "claude-3-5-sonnet")
USUAL = np.array([0.2, 1.0, 1.2])
PRICES = Prices(input_usd_per_mtok=Decimal(1), output_usd_per_mtok=Decimal(1))


def card(name: str, *, borrows: bool) -> ModelCard:
    shift, sd, why = (0.4, 0.3, "facts") if borrows else (0.0, 0.0, "")
    return ModelCard(
        name=name, provider="p", upstream_model=name, leaderboard_name=COLUMNS[0], prices=PRICES,
        coefficient_shift=shift, coefficient_sd=sd, rests_on=why,
    )  # fmt: skip


def board(coefficients: np.ndarray) -> PromptLeaderboard:
    return PromptLeaderboard(PreferenceFamily.BT, COLUMNS, coefficients)


def test_a_borrowed_deviation_counts_for_its_share_and_difficulty_for_all() -> None:
    frame = frame_of([card("own", borrows=False), card("new", borrows=True)], COLUMNS, board(USUAL))
    assert frame is not None
    easier = board(USUAL + 0.5)
    assert frame.borrowed_shifts(easier)["new"] == pytest.approx((0.4, 0.3))
    assert set(frame.borrowed_shifts(easier)) == {"new"}, "others keep their columns"

    far_up = board(USUAL + np.array([3.0, 0.0, 0.0]))
    shift, _ = frame.borrowed_shifts(far_up)["new"]
    # its relative deviates by 2 from the difficulty of 1; of these 2 it has its share
    assert shift + far_up.coefficients[0] == pytest.approx(0.2 + 0.4 + 1.0 + BORROWED * 2.0)
    _, deviation = frame.terms(far_up.coefficients)
    assert deviation == pytest.approx([2.0, BORROWED * 2.0])


def test_nothing_is_borrowed_of_another_leaderboard_or_of_an_unknown_column() -> None:
    frame = frame_of([card("new", borrows=True)], COLUMNS, board(USUAL))
    assert frame is not None
    other = PromptLeaderboard(PreferenceFamily.BT, COLUMNS[::-1], USUAL)
    assert frame.borrowed_shifts(other) == {}
    unknown = np.array([np.nan, 1.0, 1.2])
    assert taken_off(unknown, USUAL, strongest(USUAL), np.array([0])).tolist() == [0.0]
