"""Where the money is short, the models are asked that it says most about."""

from __future__ import annotations

from decimal import Decimal

from server.offline.learn.affordable import affordable

COST = {"huge": 10, "best": 4, "worse": 5, "good": 2, "cheap": 1, "poor": 1}
STRENGTH = {"huge": 1.5, "best": 3.0, "worse": 2.0, "good": 2.5, "cheap": 1.0, "poor": 0.0}


def kept(limit: float, **cost: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
    costs = {name: Decimal(str(value)) for name, value in (COST | cost).items()}
    return affordable(list(costs), costs, STRENGTH, Decimal(str(limit)))


def test_with_enough_money_all_are_asked() -> None:
    assert kept(23) == (tuple(COST), ())


def test_dear_models_that_are_beaten_go_first() -> None:
    assert kept(13)[1] == ("huge",)
    assert kept(8)[1] == ("huge", "worse")
    assert kept(7)[1] == ("huge", "worse", "poor")


def test_without_a_beaten_one_the_dearest_goes() -> None:
    assert kept(3)[0] == ("good", "cheap")


def test_a_cheap_one_comes_back_where_there_is_money() -> None:
    models, out = kept(8.5, huge=3)
    assert "poor" in models
    assert set(out) == {"huge", "worse"}


def test_two_are_always_kept() -> None:
    assert len(kept(0)[0]) == 2
