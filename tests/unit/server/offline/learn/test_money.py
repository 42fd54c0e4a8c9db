"""No call is let through that could cost more than is left."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from server.offline.learn.journal import Want
from server.offline.learn.money import Money, OutOfMoneyError, VerdictCosts

USD = Decimal


class Spent:
    def __init__(self) -> None:
        self.usd = USD(0)

    async def __call__(self) -> Decimal:
        return self.usd


def money(spent: Spent, usd: str = "1", verdict: str = "0.01") -> Money:
    return Money(USD(usd), spent, VerdictCosts({"judge": USD(verdict)}))


async def test_calls_together_fit_the_money() -> None:
    spent = Spent()
    purse = money(spent)
    await purse.hold(Want("1", "a"), USD("0.6"))
    waits = asyncio.create_task(purse.hold(Want("2", "a"), USD("0.6")))
    await asyncio.sleep(0)
    assert not waits.done()
    spent.usd = USD("0.1")
    await purse.release(Want("1", "a"))
    await waits
    assert await purse.left_usd() == USD("0.3")


async def test_what_does_not_fit_with_nothing_in_progress_ends_it() -> None:
    spent = Spent()
    purse = money(spent)
    spent.usd = USD("0.9")
    with pytest.raises(OutOfMoneyError) as told:
        await purse.hold(Want("1", "a"), USD("0.11"))
    assert told.value.left_usd == USD("0.1")
    await purse.hold(Want("1", "a"), USD("0.1"))


async def test_verdicts_are_kept_back_for_answers_and_not_for_themselves() -> None:
    purse = money(Spent(), usd="0.1")
    with pytest.raises(OutOfMoneyError):
        await purse.hold(Want("1", "a"), USD("0.08"), "judge")  # two verdicts are 0.03, with room
    await purse.hold(Want("1", "a"), USD("0.07"), "judge")
    await purse.release(Want("1", "a"))
    waits = asyncio.create_task(purse.hold(Want("2", "a"), USD("0.05"), "judge"))
    await asyncio.sleep(0)
    assert not waits.done()  # the verdicts on the first come first
    await purse.hold(Want("1", "judge", "a"), USD("0.1"))
    await purse.release(Want("1", "judge", "a"))
    await purse.graded(Want("1", "a"))
    await waits


def test_the_mean_of_verdicts_takes_the_place_of_the_estimate() -> None:
    costs = VerdictCosts({"judge": USD(1)})
    assert costs.of(["judge", "judge"]) == 6
    for _ in range(4):
        costs.add("judge", USD("0.1"))
    assert costs.of(["judge"]) == USD("0.3")
    assert costs.of([]) == costs.of(["unknown"]) == 0
