"""The in-process scorer at its edges: closing, callers who leave, prompts nobody may see."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_checkpoint import MODELS, write_checkpoint

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.engine.base import Engine, EngineLimits
from p2l_model.engine.load import load_engine
from p2l_model.engine.local import LocalScorer, build_local_scorer
from p2l_model.engine.scorer import FixedScorer
from p2l_model.errors import ScoringError
from p2l_model.types import Conversation

HELLO = Conversation(("hello world",))
OTHER = Conversation(("another",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("scorer") / "checkpoint")


class GatedEngine:
    """A real engine that scores when it is let."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.n_scored = 0

    @property
    def limits(self) -> EngineLimits:
        return self._engine.limits

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.entered.set()
        if not self.gate.wait(timeout=10):
            raise ScoringError("the gate stayed shut")
        self.n_scored += 1
        return self._engine.features(batch)

    def warm_up(self) -> None:
        self._engine.warm_up()

    def close(self) -> None:
        self._engine.close()


async def test_the_built_scorer_scores_what_the_checkpoint_says(folder: Path) -> None:
    scorer = build_local_scorer(folder)
    scored = await scorer.score(HELLO)
    checkpoint = load_checkpoint(folder)
    ids = checkpoint.prompt.encode(HELLO)
    board = checkpoint.leaderboard(load_engine(checkpoint).features([ids])[0])
    assert scored.n_tokens == len(ids)
    assert scorer.models == scored.leaderboard.models == tuple(MODELS)
    np.testing.assert_allclose(scored.leaderboard.coefficients, board.coefficients, rtol=1e-5)
    await scorer.close()


async def test_closing_finishes_what_runs_and_fails_what_waits(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    engine = GatedEngine(load_engine(checkpoint, n_threads=1))
    scorer = LocalScorer(checkpoint, engine)
    running = asyncio.create_task(scorer.score(HELLO))
    await asyncio.to_thread(engine.entered.wait, 10)
    waiting = asyncio.create_task(scorer.score(OTHER))
    await asyncio.sleep(0.05)
    closing = asyncio.create_task(scorer.close())
    await asyncio.sleep(0.05)
    engine.gate.set()
    await closing
    assert len((await running).leaderboard.models) == 3
    with pytest.raises(ScoringError, match="closed"):
        await waiting
    assert engine.n_scored == 1
    with pytest.raises(ScoringError, match="closed"):
        await scorer.score(HELLO)
    await scorer.close()


async def test_a_caller_who_leaves_is_cancelled_and_frees_the_place(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    engine = GatedEngine(load_engine(checkpoint, n_threads=1))
    scorer = LocalScorer(checkpoint, engine, max_waiting=2)
    first = asyncio.create_task(scorer.score(HELLO))
    left = asyncio.create_task(scorer.score(OTHER))
    await asyncio.to_thread(engine.entered.wait, 10)
    await asyncio.sleep(0.05)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    third = asyncio.create_task(scorer.score(Conversation(("a third",))))
    await asyncio.sleep(0.05)
    engine.gate.set()
    await asyncio.gather(first, third)
    assert engine.n_scored == 2
    await scorer.close()


async def test_a_prompt_is_in_no_repr(folder: Path) -> None:
    scorer = build_local_scorer(folder)
    secret = Conversation(("mysecret",))
    assert "mysecret" not in repr(secret) + repr(await scorer.score(secret))
    await scorer.close()


@pytest.mark.parametrize(("text", "n_tokens"), [("", 0), ("a", 1), ("秋天", 2), ("\ud800", 1)])
async def test_a_fixed_scorer_counts_bytes(text: str, n_tokens: int) -> None:
    assert await FixedScorer({"x": 1.0}).count_tokens(text) == n_tokens
