"""Static features: numpy as torch, and a scorer that answers at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from static_checkpoint import write_static_checkpoint
from tiny_checkpoint import write_checkpoint

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.manifest import Pooling
from p2l_model.engine.export import export_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.engine.local import LocalScorer
from p2l_model.engine.static_engine import StaticEngine
from p2l_model.errors import CheckpointError, ScoringError
from p2l_model.types import Conversation

PROMPTS = ["", "x", "Prove that there are many primes.", "请用中文写一首诗。", "word " * 400]


@pytest.mark.parametrize("pooling", ["mean", "max", "mean-max"])
@pytest.mark.parametrize("importance", [False, True])
def test_torch_gives_the_same_features(tmp_path: Path, pooling: Pooling, importance: bool) -> None:
    path = write_static_checkpoint(tmp_path / "checkpoint", pooling, importance=importance)
    checkpoint = load_checkpoint(path)
    ids = [checkpoint.prompt.encode(Conversation((text,))) for text in PROMPTS]
    ours = load_engine(checkpoint).features(ids)
    assert ours.dtype == np.float32
    torch = load_engine(checkpoint, "torch")
    np.testing.assert_allclose(torch.features(ids), ours, rtol=1e-5, atol=1e-6)  # padded
    for one, row in zip(ids, ours, strict=True):
        np.testing.assert_allclose(torch.features([one])[0], row, rtol=1e-5, atol=1e-6)


def test_a_static_checkpoint_has_its_own_engine(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(write_static_checkpoint(tmp_path / "checkpoint"))
    assert isinstance(load_engine(checkpoint), StaticEngine)
    for kind in ("onnx", "vllm"):
        with pytest.raises(CheckpointError, match=f"no layers for the engine {kind}"):
            load_engine(checkpoint, kind)
    network = load_checkpoint(write_checkpoint(tmp_path / "network"))
    with pytest.raises(CheckpointError, match="no table of token vectors"):
        load_engine(network, "static")


def test_a_token_that_the_table_lacks_is_a_scoring_error(tmp_path: Path) -> None:
    engine = load_engine(load_checkpoint(write_static_checkpoint(tmp_path / "checkpoint")))
    with pytest.raises(ScoringError):
        engine.features([[1, 10**6]])
    engine.close()


def test_the_scorer_answers_at_once_and_remembers(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(write_static_checkpoint(tmp_path / "checkpoint"))
    prompt = Conversation(("Write a poem about the sea.",))

    async def scored() -> tuple[object, ...]:
        scorer = LocalScorer.warmed(checkpoint)
        asking = scorer.score(prompt)
        with pytest.raises(StopIteration) as answer:  # no step of the event loop is needed
            asking.send(None)
        again = await scorer.score(prompt)
        await scorer.close()
        with pytest.raises(ScoringError, match="closed"):
            await scorer.score(prompt)
        return answer.value.value, again

    first, again = asyncio.run(scored())
    assert first is again
    ids = checkpoint.prompt.encode(prompt)
    board = checkpoint.leaderboard(load_engine(checkpoint).features([ids])[0])
    assert np.array_equal(first.leaderboard.coefficients, board.coefficients)  # type: ignore[attr-defined]


def test_an_export_is_a_copy(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(write_static_checkpoint(tmp_path / "checkpoint"))
    exported = export_checkpoint(checkpoint, tmp_path / "exported", "int8")
    ids = [checkpoint.prompt.encode(Conversation((text,))) for text in PROMPTS]
    ours, theirs = (load_engine(one).features(ids) for one in (checkpoint, exported))
    assert np.array_equal(ours, theirs)
    assert not (tmp_path / "exported" / "onnx").exists()
