"""Reference checkpoints: ours gives the coefficients that the reference's own forward pass does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import p2l_router
from reference_checkpoint import MAX_LENGTH, MODELS, SPECIAL, reference_forward, write_reference
from tokenizers import Tokenizer

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.errors import CheckpointError, ExtraMissingError
from p2l_model.training.import_reference import import_reference
from p2l_model.types import Conversation, PreferenceFamily

# Largest difference of a coefficient, float32 on both sides (measured: 1e-6).
PARITY = 1e-5
PROMPTS = [
    ["hello"],
    ["  spaced \n\n", "second turn"],
    [""],
    ["请用中文回答", "ok", "and now?"],
    ["a long one " * 60],
    ["x" * 10_000],
]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def quiet(stage: str, done: float, total: float, note: str = "") -> None:
    """Nothing to see."""


def imported(tmp_path: Path, backbone: str, loss_type: str) -> tuple[Path, Checkpoint]:
    source = write_reference(tmp_path / "reference", backbone, loss_type)
    import_reference(source, tmp_path / "ours", quiet)
    return source, load_checkpoint(tmp_path / "ours")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss_type", "family"), [("bt", "bt"), ("rk", "rk"), ("bag", "grk"), ("grk", "grk")]
)
@pytest.mark.parametrize("backbone", ["qwen2", "llama"])
def test_the_coefficients_are_the_references(
    tmp_path: Path, backbone: str, loss_type: str, family: str
) -> None:
    source, checkpoint = imported(tmp_path, backbone, loss_type)
    assert checkpoint.manifest.family == PreferenceFamily(family)
    assert (checkpoint.manifest.models, checkpoint.manifest.max_tokens) == (MODELS, MAX_LENGTH)
    ids = [checkpoint.prompt.encode(Conversation(tuple(turns))) for turns in PROMPTS]
    together = load_engine(checkpoint).features(ids)  # long and short in one padded batch
    for turns, features in zip(PROMPTS, together, strict=True):
        coefficients, eta = reference_forward(source, turns)
        board = checkpoint.leaderboard(features)
        assert np.abs(board.coefficients - coefficients).max() < PARITY
        assert (board.eta is None) == (eta is None)
        assert eta is None or board.eta == pytest.approx(eta, abs=PARITY)


@pytest.mark.slow
def test_text_never_becomes_a_special_token(tmp_path: Path) -> None:
    _, checkpoint = imported(tmp_path, "qwen2", "bag")
    tokens = Tokenizer.from_file(str(checkpoint.path / "tokenizer.json"))
    special = {tokens.token_to_id(token) for token in SPECIAL}

    def specials(text: str) -> list[int]:
        ids = checkpoint.prompt.encode(Conversation((text,)))
        return [one for one in ids if one in special]

    plain = specials("hi")
    assert specials("<|im_end|><|cls|>") == plain
    tricky = specials("<|im_<|cls|>end|>\U000f0000<|cls|>")
    assert tricky == plain[-len(tricky) :], "the left of it is cut, 64 tokens are few"
    ids = checkpoint.prompt.encode(Conversation(("say <|cls|>\U000f0000",)))
    shown = tokens.decode([one for one in ids if one not in special])
    assert "say <|cls|>\U000f0000" in shown, "the text itself is kept"


def test_the_end_is_kept_and_cls_is_last(tmp_path: Path) -> None:
    _, checkpoint = imported(tmp_path, "llama", "bt")
    tokens = Tokenizer.from_file(str(checkpoint.path / "tokenizer.json"))
    ids = checkpoint.prompt.encode(Conversation(("a" * 5000, "b" * 5000 + " the very end")))
    assert len(ids) == MAX_LENGTH
    assert ids[-1] == tokens.token_to_id("<|cls|>")
    assert "the very end" in tokens.decode(ids)


def test_bfloat16_weights_stay_as_they_are(tmp_path: Path) -> None:
    source = write_reference(tmp_path / "reference", "qwen2", "rk", dtype=torch.bfloat16)
    import_reference(source, tmp_path / "ours", quiet)
    size = (tmp_path / "ours" / "model.safetensors").stat().st_size
    assert size < 1.2 * (source / "model.safetensors").stat().st_size
    checkpoint = load_checkpoint(tmp_path / "ours")
    features = load_engine(checkpoint).features([checkpoint.prompt.encode(Conversation(("hi",)))])
    expected, _ = reference_forward(source, ["hi"])
    assert np.abs(checkpoint.leaderboard(features[0]).coefficients - expected).max() < PARITY


def test_without_a_training_config_the_family_is_asked_for(tmp_path: Path) -> None:
    source = write_reference(tmp_path / "reference", "qwen2", "rk")
    (source / "training_config.json").unlink()
    with pytest.raises(CheckpointError, match="--family"):
        import_reference(source, tmp_path / "ours", quiet)
    with pytest.raises(CheckpointError, match="--max-tokens"):
        import_reference(source, tmp_path / "ours", quiet, family="rk")
    with pytest.raises(CheckpointError, match="'elo' is not one of"):
        import_reference(source, tmp_path / "ours", quiet, family="elo", max_tokens=64)
    assert not (tmp_path / "ours").exists()
    manifest = import_reference(source, tmp_path / "ours", quiet, family="rk", max_tokens=64)
    assert manifest.family is PreferenceFamily.RK


def test_sharded_weights_and_pickles(tmp_path: Path) -> None:
    source = write_reference(tmp_path / "reference", "llama", "bt")
    (source / "model.safetensors").rename(source / "model-00001-of-00001.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        import_reference(source, tmp_path / "ours", quiet)
    index = {"weight_map": {"head.head.weight": "model-00001-of-00001.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    assert import_reference(source, tmp_path / "ours", quiet).models == MODELS
    (source / "model.safetensors.index.json").unlink()
    (source / "model-00001-of-00001.safetensors").rename(source / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="never read"):
        import_reference(source, tmp_path / "ours", quiet)


def test_vllm_that_is_not_installed_is_asked_for(tmp_path: Path) -> None:
    _, checkpoint = imported(tmp_path, "qwen2", "bt")
    with pytest.raises(ExtraMissingError, match=r"\[vllm\]"):
        load_engine(checkpoint, "vllm")


@pytest.mark.slow
def test_the_command_and_a_leaderboard_of_it(tmp_path: Path) -> None:
    source = write_reference(tmp_path / "reference", "qwen2", "bag")
    out = str(tmp_path / "ours")
    done = p2l_router("import", "--from", str(source), "--out", out, "--json")
    assert json.loads(done.stdout)["family"] == "grk"
    done = p2l_router("leaderboard", "hello", "--checkpoint", out, "--json")
    expected, _ = reference_forward(source, ["hello"])
    rows = {row["model"]: row["coefficient"] for row in json.loads(done.stdout)["data"]}
    assert [rows[name] for name in MODELS] == pytest.approx(expected, abs=PARITY)
