"""The batcher and the cache: who goes together, who goes first, who is not scored at all."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_checkpoint import write_checkpoint

from examples import examples
from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint
from p2l_model.engine.base import EngineLimits
from p2l_model.engine.batcher import PATIENCE_S_PER_TOKEN, Batcher, _Waiting, pick_batch
from p2l_model.engine.cache import PromptCache
from p2l_model.engine.load import load_engine
from p2l_model.engine.local import LocalScorer
from p2l_model.engine.scorer import ScorerOverloadedError
from p2l_model.errors import CheckpointError, ScoringError
from p2l_model.types import Conversation


class SumEngine:
    """Features of a prompt: the sum of its ids; -1 cannot be scored. Slow, or held, on demand."""

    def __init__(self, limits: EngineLimits, seconds: float = 0.0) -> None:
        self.limits = limits
        self.seconds = seconds
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[list[int]]] = []
        self.at_a_time = self.most_at_a_time = 0

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.at_a_time += 1
        self.most_at_a_time = max(self.most_at_a_time, self.at_a_time)
        self.batches.append([list(ids) for ids in batch])
        time.sleep(self.seconds)
        self.gate.wait(10)
        self.at_a_time -= 1
        if any(-1 in ids for ids in batch):
            raise ScoringError("cannot be read")
        return np.array([[sum(ids)] for ids in batch], dtype=np.float32)

    def warm_up(self) -> None:
        return None

    def close(self) -> None:
        return None


class Counted:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: dict[str, list[float]] = {}

    def _note(self, name: str, value: float) -> None:
        self.told.setdefault(name, []).append(value)

    def tokenised(self, seconds: float, n_tokens: int) -> None:
        self._note("tokens", n_tokens)

    def waited(self, seconds: float) -> None:
        self._note("waited", seconds)

    def inferred(self, seconds: float, n_prompts: int, n_tokens: int) -> None:
        self._note("prompts", n_prompts)

    def spared(self, how: str) -> None:
        self._note(how, 1)

    def refused(self) -> None:
        self._note("refused", 1)


LIMITS = EngineLimits(batch_tokens=100, batch_prompts=8, wait_ms=20)


def waiting(*prompts: tuple[int, float]) -> list[_Waiting]:
    loop = asyncio.new_event_loop()
    queue = [_Waiting([1] * length, came_s, loop.create_future()) for length, came_s in prompts]
    loop.close()
    return queue


def lengths(batch: Sequence[_Waiting]) -> list[int]:
    return [len(one.ids) for one in batch]


async def test_what_waits_goes_together_and_every_caller_gets_its_own() -> None:
    engine = SumEngine(LIMITS)
    engine.gate.clear()
    batcher = Batcher(engine)
    tasks = [asyncio.create_task(batcher.features([k, k])) for k in range(10)]
    await asyncio.sleep(0.05)
    engine.gate.set()
    assert [float(row[0]) for row in await asyncio.gather(*tasks)] == [2.0 * k for k in range(10)]
    assert [len(batch) for batch in engine.batches] == [1, 8, 1]
    await batcher.close()


async def test_a_lone_prompt_does_not_wait_and_company_is_waited_for() -> None:
    engine = SumEngine(EngineLimits(batch_tokens=100, batch_prompts=8, wait_ms=60_000))
    batcher = Batcher(engine)
    async with asyncio.timeout(30):
        await batcher.features([1])
        batcher.expect(1)
        first = asyncio.create_task(batcher.features([1]))
        await asyncio.sleep(0.02)
        assert len(engine.batches) == 1
        rest = [asyncio.create_task(batcher.features([k])) for k in range(7)]
        await asyncio.gather(first, *rest)
    assert [len(batch) for batch in engine.batches] == [1, 8]
    await batcher.close()


async def test_several_calls_run_at_a_time_where_the_engine_allows_it() -> None:
    engine = SumEngine(EngineLimits(batch_tokens=1, batch_prompts=1, parallel=3), seconds=0.02)
    batcher = Batcher(engine)
    await asyncio.gather(*(batcher.features([k]) for k in range(9)))
    assert engine.most_at_a_time == 3
    await batcher.close()


async def test_one_bad_prompt_fails_alone() -> None:
    engine = SumEngine(LIMITS)
    engine.gate.clear()
    batcher = Batcher(engine)
    tasks = [asyncio.create_task(batcher.features([k])) for k in (0, 1, -1, 2)]
    await asyncio.sleep(0.05)
    engine.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(r) is ScoringError for r in results] == [False, False, True, False]
    await batcher.close()


def test_padding_stays_under_a_quarter_and_the_budget_holds() -> None:
    pads = EngineLimits(batch_tokens=4000, batch_prompts=64, pads=True)
    queue = waiting((512, 0.0), (10, 0.9), (500, 1.0), (480, 1.0), (12, 1.0), (505, 1.0))
    assert lengths(pick_batch(queue, pads)) == [512, 480, 500, 505]
    assert lengths(pick_batch(queue[1:2] + queue[4:], pads)) == [10, 12]
    assert lengths(pick_batch(queue, EngineLimits(1000, 64, pads=True))) == [512]
    assert lengths(pick_batch(queue, EngineLimits(530, 64))) == [512, 10]


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 600), st.floats(0, 5)), min_size=1, max_size=40),
    st.integers(1, 3000),
    st.integers(1, 16),
    st.booleans(),
)
def test_the_earliest_deadline_is_always_in_the_batch(
    prompts: list[tuple[int, float]], tokens: int, count: int, pads: bool
) -> None:
    queue = waiting(*prompts)
    batch = pick_batch(queue, EngineLimits(tokens, count, pads=pads))
    assert batch[0].deadline_s == min(one.deadline_s for one in queue)
    used = max(lengths(batch)) * len(batch) if pads else sum(lengths(batch))
    assert len(batch) <= count
    assert len(batch) == 1 or used <= tokens
    assert len({id(one) for one in batch}) == len(batch)


def test_no_prompt_starves() -> None:
    """A long prompt among short ones that never cease to come: it waits its patience, no more."""
    limits, clock, served_s = EngineLimits(1, 1), 0.0, None
    queue = waiting((500, 0.0))
    while served_s is None and clock < 10:
        queue += waiting((5, clock), (5, clock))
        chosen = pick_batch(queue, limits)[0]
        queue.remove(chosen)
        clock += 0.01
        served_s = clock if len(chosen.ids) == 500 else None
    # half of the short ones wait as well: at twice the load the queue is as old as they are
    assert served_s is not None
    assert served_s <= 2 * 500 * PATIENCE_S_PER_TOKEN + 0.1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(write_checkpoint(tmp_path_factory.mktemp("batcher") / "checkpoint"))


class Gate:
    """A real engine that scores when it is let, and counts."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._engine = load_engine(checkpoint, n_threads=1)  # one prompt at a time
        self.limits = self._engine.limits
        self.gate = threading.Event()
        self.n_scored = 0

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.gate.wait(10)
        self.n_scored += len(batch)
        return self._engine.features(batch)

    def warm_up(self) -> None:
        self._engine.warm_up()

    def close(self) -> None:
        self._engine.close()


async def test_equal_prompts_on_their_way_are_scored_once(checkpoint: Checkpoint) -> None:
    engine, told = Gate(checkpoint), Counted()
    scorer = LocalScorer(checkpoint, engine, cache_size=0, observer=told)
    tasks = [asyncio.create_task(scorer.score(Conversation(("same",)))) for _ in range(5)]
    await asyncio.sleep(0.05)
    tasks[0].cancel()  # the first caller's leaving takes nothing from the others
    engine.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert len({id(result) for result in results[1:]}) == 1
    assert engine.n_scored == 1
    assert told.told["joined"] == [1] * 4
    await scorer.score(Conversation(("same",)))
    assert engine.n_scored == 2, "a cache of size 0 keeps nothing"
    await scorer.close()


async def test_a_repeated_prompt_is_free_and_the_cache_is_bounded(checkpoint: Checkpoint) -> None:
    engine, told = Gate(checkpoint), Counted()
    engine.gate.set()
    scorer = LocalScorer(checkpoint, engine, cache_size=2, observer=told)
    texts = ["a", "b", "a", "c", "a", "b"]  # b is the one not used for longest when c comes
    boards = [(await scorer.score(Conversation((t,)))).leaderboard for t in texts]
    assert engine.n_scored == 4
    assert told.told["cached"] == [1, 1]
    assert np.array_equal(boards[0].coefficients, boards[4].coefficients)
    await scorer.close()


def test_the_cache_forgets_the_least_used_and_holds_no_ids() -> None:
    cache: PromptCache[str] = PromptCache(2)
    keys = [cache.key([k, 7]) for k in range(3)]
    assert cache.get(keys[0]) is None
    for key in keys:
        cache.put(key, key.hex())
        cache.get(keys[0])
    assert [cache.get(key) is not None for key in keys] == [True, False, True]
    assert cache.key([1, 2]) != cache.key([2, 1])
    assert PromptCache[str](2).key([0, 7]) != keys[0], "each process has a key of its own"


async def test_a_full_queue_says_when_to_come_again(checkpoint: Checkpoint) -> None:
    engine, told = Gate(checkpoint), Counted()
    scorer = LocalScorer(checkpoint, engine, max_waiting=2, observer=told)
    tasks = [asyncio.create_task(scorer.score(Conversation((t,)))) for t in "ab"]
    await asyncio.sleep(0.02)
    with pytest.raises(ScorerOverloadedError) as refused:
        await scorer.score(Conversation(("c",)))
    assert 1.0 <= refused.value.retry_after_s <= 60.0
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert told.told["refused"] == [1]
    await scorer.close()


async def test_a_lower_limit_reads_the_end_of_a_prompt(checkpoint: Checkpoint) -> None:
    short = checkpoint.limited(12)
    text = Conversation(("a b c d e f g h i j k l m n o p",))
    assert short.max_tokens == 12
    assert short.prompt.encode(text)[1:] == checkpoint.prompt.encode(text)[-11:]
    assert checkpoint.limited(None) is checkpoint
    assert checkpoint.limited(10**6).max_tokens == checkpoint.max_tokens
    with pytest.raises(CheckpointError, match="at least 8"):
        checkpoint.limited(2)


def test_threads_of_a_closed_scorer_end(tmp_path: Path) -> None:
    loaded = load_checkpoint(write_checkpoint(tmp_path / "checkpoint"))

    async def use() -> None:
        scorer = LocalScorer(loaded, load_engine(loaded))
        await scorer.score(Conversation(("x",)))
        await scorer.close()

    asyncio.run(use())
    assert not [t for t in threading.enumerate() if t.name.startswith("p2l-")]
