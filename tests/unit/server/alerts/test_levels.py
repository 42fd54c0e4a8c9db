"""Which alerts are due: once for each level, again after spending was low."""

from __future__ import annotations

import pytest

from server.alerts.levels import Alert, Reached
from server.ledger.window import WindowSpec

LEVELS = (80, 100)
DAY = WindowSpec("alice", 10_000, 86_400)


def due(reached: Reached, spent: int, least: int | None = None, now_s: float = 0.0) -> Alert | None:
    return reached.due(DAY, spent, least, LEVELS, now_s)


def percent(alert: Alert | None) -> int | None:
    return None if alert is None else alert.percent


def test_each_level_is_told_once() -> None:
    reached = Reached()
    told = [
        percent(due(reached, spent)) for spent in (0, 7_999, 8_000, 8_500, 9_999, 10_000, 10_100)
    ]
    assert told == [None, None, 80, None, None, 100, None]


def test_two_levels_at_once_are_one_alert() -> None:
    assert percent(due(Reached(), 10_000)) == 100


def test_it_is_told_again_once_spending_was_clearly_below() -> None:
    reached = Reached()
    assert percent(due(reached, 8_100)) == 80
    assert due(reached, 7_500) is None
    assert due(reached, 8_100) is None, "it has not been clearly below since"
    assert due(reached, 7_100) is None
    assert percent(due(reached, 8_100)) == 80


def test_after_the_whole_it_is_told_of_the_whole_again() -> None:
    reached = Reached()
    assert percent(due(reached, 10_000)) == 100
    assert due(reached, 8_900) is None, "80 was passed on the way up"
    assert percent(due(reached, 10_000)) == 100


@pytest.mark.parametrize(
    ("spent", "least", "expected"),
    [
        (9_500, 600, 100),  # what is left is too little
        (9_500, 400, 80),  # it would fit: only reservations stand in its way
        (5_000, 6_000, None),  # a large request, and half of the money is there
    ],
)
def test_a_refusal_shows_that_the_budget_is_used_up(
    spent: int, least: int, expected: int | None
) -> None:
    alert = due(Reached(), spent, least)
    assert percent(alert) == expected
    assert alert is None or alert.refused is (expected == 100)


def test_ids_differ_by_window_amount_level_and_period() -> None:
    ids = set()
    for spec in (DAY, WindowSpec("bob", 10_000, 86_400), WindowSpec("alice", 20_000, 86_400)):
        for spent in (8_000, 10_000):
            for now_s in (0.0, 86_400.0):
                alert = Reached().due(spec, spent * spec.amount_nano // 10_000, None, LEVELS, now_s)
                assert alert is not None
                ids.add(alert.id)
    assert len(ids) == 12
    again = due(Reached(), 8_000, now_s=100.0)
    assert again is not None
    assert again.id == getattr(due(Reached(), 8_999, now_s=200.0), "id", None)


def test_what_is_posted_has_names_and_amounts_only() -> None:
    alert = due(Reached(), 8_500)
    assert alert is not None
    assert alert.to_json(1) == {
        "id": alert.id, "type": "budget.reached", "created": 1, "scope": "key", "key": "alice",
        "session": None, "window_s": 86_400, "percent": 80, "amount_usd": "0.00001",
        "spent_usd": "0.0000085", "refused": False,
    }  # fmt: skip
    session = WindowSpec("alice", 10_000, None, "c0ffee")
    other = Reached().due(session, 10_000, None, LEVELS, 0.0)
    assert other is not None
    assert (other.to_json(1)["scope"], other.to_json(1)["session"]) == ("session", "c0ffee")


def test_a_budget_of_nothing_is_never_told() -> None:
    assert Reached().due(WindowSpec(None, 0, 60), 0, 1, LEVELS, 0.0) is None
