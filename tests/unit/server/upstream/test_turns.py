"""Places are handed over in order, and none is lost when somebody gives up."""

from __future__ import annotations

import asyncio

import pytest

from server.upstream.turns import Turns


async def test_only_so_many_places_are_taken() -> None:
    turns = Turns(2)
    assert [turns.take() for _ in range(3)] == [True, True, False]
    turns.give_back()
    assert turns.take()


async def test_a_place_goes_to_who_has_waited_longest() -> None:
    turns, order = Turns(1), []
    assert turns.take()

    async def wait(name: str) -> None:
        await turns.wait()
        order.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in ("first", "second")]
    await asyncio.sleep(0)
    turns.give_back()
    await tasks[0]
    assert order == ["first"]
    assert not turns.take()
    turns.give_back()
    await tasks[1]
    assert order == ["first", "second"]


@pytest.mark.parametrize("given_first", [False, True])
async def test_who_gives_up_loses_no_place(given_first: bool) -> None:
    turns = Turns(1)
    assert turns.take()
    task = asyncio.create_task(turns.wait())
    await asyncio.sleep(0)
    if given_first:
        turns.give_back()
        task.cancel()
    else:
        task.cancel()
        turns.give_back()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert turns.take()
    assert not turns.take()


async def test_who_gives_up_is_not_waited_for() -> None:
    turns = Turns(1)
    assert turns.take()
    gone, waiting = (asyncio.create_task(turns.wait()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    turns.give_back()
    await asyncio.wait_for(waiting, 30.0)
    assert not turns.take()
