"""Prompts, quantised weights, checkpoints, engines, scorers: on a tiny model, all of it real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_checkpoint import MAX_TOKENS, MODELS, write_base, write_checkpoint

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.int8 import dequantize_rows, quantize_rows
from p2l_model.checkpoint.tokens import TURNS_SEP, PromptEncoder, PromptFormat
from p2l_model.engine.load import load_engine
from p2l_model.engine.local import LocalScorer
from p2l_model.engine.scorer import FixedScorer, ScorerOverloadedError
from p2l_model.errors import CheckpointError, P2LError
from p2l_model.types import Conversation

CLS, SEP, MASK = 2, 3, 4
PARITY = 1e-5
ENCODER_BIAS = "model.encoder.layer.0.output.dense.bias"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="module")
def prompt(tmp_path_factory: pytest.TempPathFactory) -> PromptEncoder:
    base = write_base(tmp_path_factory.mktemp("base"))
    return PromptEncoder(base / "tokenizer.json", PromptFormat(TURNS_SEP, MAX_TOKENS))


def encode(prompt: PromptEncoder, *turns: str) -> list[int]:
    return prompt.encode(Conversation(turns))


def test_turns_are_separated(prompt: PromptEncoder) -> None:
    one, two = encode(prompt, "abc"), encode(prompt, "de")
    assert encode(prompt, "abc", "de") == [*one, *two[1:]]
    assert encode(prompt) == encode(prompt, "") == [CLS, SEP]


def test_text_never_becomes_a_special_token(prompt: PromptEncoder) -> None:
    ids = encode(prompt, "x [SEP] [CLS] [MASK] [PAD] y")
    assert ids.count(CLS) == ids.count(SEP) == 1
    assert MASK not in ids


def test_the_end_of_a_conversation_is_kept(prompt: PromptEncoder) -> None:
    ids = encode(prompt, "a" * 20, "b " * 500, "c d e")
    assert len(ids) == MAX_TOKENS
    assert (ids[0], ids[-1]) == (CLS, SEP)
    assert ids[-5:] == [SEP, *encode(prompt, "c d e")[1:]]
    alone = encode(prompt, "b " * 100_000)
    assert alone == encode(prompt, "b " * 500)


def test_lone_surrogates_are_survived(prompt: PromptEncoder) -> None:
    assert encode(prompt, "a\ud800b")[0] == CLS


def test_quantised_rows_are_close() -> None:
    weight = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    weight[7] = 0
    quantised, scale = quantize_rows(weight)
    assert quantised.dtype == np.int8
    error = np.abs(dequantize_rows(quantised, scale) - weight)
    assert np.all(error <= scale[:, None] / 2 + 1e-7)
    again, _ = quantize_rows(dequantize_rows(quantised, scale))
    assert np.array_equal(again, quantised)


def test_a_checkpoint_survives_the_round_trip(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    engine = load_engine(checkpoint)
    board = checkpoint.leaderboard(engine.features([[CLS, 5, 6, SEP]])[0])
    assert board.models == tuple(MODELS)
    assert board.eta is not None
    assert board.expected_output_tokens is not None
    assert np.isnan(board.expected_output_tokens).tolist() == [False, False, True]
    assert checkpoint.marginal.coefficients.tolist() == [0.5, 0.0, -0.5]


def rewrite_json(name: str, change: dict[str, object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        content = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps(content | change))

    return apply


def rewrite_tensor(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        tensors = load_file(path / "model.safetensors")
        save_file(tensors | {name: change(tensors[name])}, path / "model.safetensors")

    return apply


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: (p / "p2l.json").unlink(), "p2l.json"),
        (lambda p: (p / "p2l.json").write_text("{"), "p2l.json"),
        (rewrite_json("p2l.json", {"surprise": 1}), "surprise"),
        (rewrite_json("p2l.json", {"family": "elo"}), "family"),
        (rewrite_json("p2l.json", {"family": "bt"}), "eta head"),
        (rewrite_json("p2l.json", {"temperature": 0}), "temperature"),
        (rewrite_json("p2l.json", {"max_tokens": 40}), "prompt format"),
        (rewrite_json("p2l.json", {"max_tokens": 4000}), "positions"),
        (rewrite_json("p2l.json", {"feature_layers": [0, 1]}), "features"),
        (rewrite_json("p2l.json", {"length_sigma": None}), "length"),
        (rewrite_json("p2l.json", {"models": ["a", "b"]}), "one per model"),
        (lambda p: (p / "model_list.json").write_text('["x"]'), "model_list.json"),
        (lambda p: (p / "model.safetensors").write_bytes(b"no"), "safetensors"),
        (rewrite_tensor("head.head.bias", lambda t: t * np.float32(np.nan)), "not finite"),
        (rewrite_tensor("head.head.weight", lambda t: t[:2].copy()), "shapes"),
        (rewrite_tensor("head.eta_head.weight", lambda t: t[:, :-1].copy()), "features"),
        (rewrite_tensor("head.length_head.weight", lambda t: t[:, :-1].copy()), "features"),
        (rewrite_tensor(ENCODER_BIAS, lambda t: t * np.float32(np.inf)), "not finite"),
        (rewrite_json("p2l.json", {"feature_layers": [3]}), "feature_layers"),
        (rewrite_json("p2l.json", {"feature_layers": [-4]}), "feature_layers"),
        (lambda p: (p / "config.json").write_text("[]"), "config.json"),
        (rewrite_json("config.json", {"hidden_size": "32"}), "config.json"),
        (lambda p: (p / "tokenizer.json").write_text("{}"), "tokenizer"),
    ],
)
def test_what_does_not_fit_is_an_error(
    tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    path = write_checkpoint(tmp_path / "checkpoint")
    damage(path)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(path)


@pytest.mark.slow
def test_a_checkpoint_without_a_graph_says_so(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "checkpoint")
    (path / "onnx" / "model.onnx").unlink()
    with pytest.raises(CheckpointError, match="no CPU graph"):
        load_engine(load_checkpoint(path), "onnx")
    assert type(load_engine(load_checkpoint(path))).__name__ == "TorchEngine", "auto takes torch"
    with pytest.raises(P2LError, match="no engine 'tensorrt'"):
        load_engine(load_checkpoint(path), "tensorrt")
    with pytest.raises(P2LError, match="vllm engine serves qwen2 and llama"):
        load_engine(load_checkpoint(path), "vllm")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_engines_agree_batched_and_not(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    texts = ["", "a", "hello world", "z" * 300, "ünï [SEP]", "a b c " * 40]
    ids = [checkpoint.prompt.encode(Conversation((text,))) for text in texts]
    assert max(map(len, ids)) == MAX_TOKENS
    onnx = load_engine(checkpoint, "onnx").features(ids)
    torch = load_engine(checkpoint, "torch")
    together = torch.features(ids)
    alone = np.concatenate([torch.features([one]) for one in ids])
    assert np.abs(onnx - together).max() < PARITY
    assert np.abs(alone - together).max() < PARITY


class SlowEngine:
    """A real engine, each prompt many times over."""

    def __init__(self, folder: Path) -> None:
        self._engine = load_engine(load_checkpoint(folder))
        self.limits = self._engine.limits
        self.n_scored = 0

    def features(self, batch: list[list[int]]) -> np.ndarray:
        self.n_scored += 1
        for _ in range(400):
            result = self._engine.features(batch)
        return result

    def warm_up(self) -> None:
        self._engine.warm_up()

    def close(self) -> None:
        self._engine.close()


@pytest.mark.slow
@pytest.mark.anyio
async def test_scoring_never_blocks_the_event_loop(folder: Path) -> None:
    scorer = LocalScorer(load_checkpoint(folder), SlowEngine(folder))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.002)
            ticks += 1

    ticker = asyncio.create_task(tick())
    texts = ("a b " * 30, "a c " * 30, "a d " * 30, "a e " * 30)
    await asyncio.gather(*(scorer.score(Conversation((text,))) for text in texts))
    ticker.cancel()
    await scorer.close()
    assert ticks > 5


@pytest.mark.anyio
async def test_callers_who_left_are_not_scored_and_queues_are_bounded(folder: Path) -> None:
    engine = SlowEngine(folder)
    scorer = LocalScorer(load_checkpoint(folder), engine, max_waiting=3)
    texts = ("a b " * 30, "a c " * 30, "a d " * 30)
    tasks = [asyncio.create_task(scorer.score(Conversation((text,)))) for text in texts]
    await asyncio.sleep(0.02)
    with pytest.raises(ScorerOverloadedError):
        await scorer.score(Conversation(("x",)))
    tasks[1].cancel()
    tasks[2].cancel()
    await tasks[0]
    await scorer.close()
    assert engine.n_scored == 1


@pytest.mark.anyio
async def test_a_fixed_leaderboard_is_the_same_for_all() -> None:
    scorer = FixedScorer({"x": 1.0, "y": -1.0})
    scored = await scorer.score(Conversation(("anything",)))
    assert scored.leaderboard.models == ("x", "y")
    assert await scorer.count_tokens("twelve bytes") == 3
