"""Fine-tuning: whole and by LoRA, encoders and decoders, killed and resumed, several processes.

What takes seconds to import is imported in the tests: every process of the tests imports this file.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from reference_checkpoint import write_reference
from tiny_checkpoint import write_base
from toy_votes import quiet, write_votes

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.checkpoint.heads import Heads
from p2l_model.checkpoint.tokens import PromptEncoder, PromptFormat
from p2l_model.data.files import load_votes
from p2l_model.engine.load import load_engine
from p2l_model.engine.network import Backbone
from p2l_model.fitting.config import FinetuneConfig, TrainConfig
from p2l_model.training.backbones import load_base
from p2l_model.training.train import train
from p2l_model.types import Conversation, PreferenceFamily

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

TUNING = FinetuneConfig(
    epochs=3, batch_prompts=32, learning_rate=3e-3, head_learning_rate=1e-2, save_batches=3
)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("finetune")
    return {
        "encoder": write_base(root / "base"),
        "decoder": write_reference(root / "decoder", "llama", "bt"),
        "train": write_votes(root / "train.jsonl", 200, 1),
        "validation": write_votes(root / "validation.jsonl", 80, 2),
    }


def config(paths: dict[str, Path], base: str = "encoder", **tuning: Any) -> TrainConfig:
    return TrainConfig(
        family=PreferenceFamily.BT,
        base=str(paths[base]),
        max_tokens=48,
        pooling="mean" if base == "encoder" else "last",
        finetune=TUNING.model_copy(update=tuning),
    )


@pytest.mark.slow
@pytest.mark.parametrize("base", ["encoder", "decoder"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_backbone_learns(
    paths: dict[str, Path], tmp_path: Path, base: str, method: str
) -> None:
    options = config(paths, base, method=method)
    manifest = train(options, [paths["train"]], [paths["validation"]], tmp_path / "out", quiet)
    checkpoint = load_checkpoint(tmp_path / "out")
    before = load_base(str(paths[base])).tensors
    moved = [n for n, t in checkpoint.tensors.items()
             if n in before and not np.array_equal(t, before[n])]  # fmt: skip
    assert moved, "the weights that ship are the tuned ones"
    assert manifest.metrics["validation"]["delta_ci95"][1] < 0
    assert manifest.prompt_format == ("turns-sep" if base == "encoder" else "chat-cls")
    ids = [checkpoint.prompt.encode(Conversation(("a a a",)))]
    features = load_engine(checkpoint).features(ids)
    assert np.allclose(features, load_engine(checkpoint, "torch").features(ids), atol=1e-4)
    lines = (next(tmp_path.glob(".out.work/finetune-*")) / "log.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    rates = [line["learning_rate"] for line in told if "learning_rate" in line]
    assert rates[0] < max(rates) > rates[-1], "up, then down"
    losses = [line["validation_loss"] for line in told if "validation_loss" in line]
    assert min(losses) < losses[0] or len(losses) == 1


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_backbone(paths: dict[str, Path], tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def killed(stage: str, done: float, total: float, note: str = "") -> None:
        if stage == "fine-tuning" and done == 11:  # in the middle of the second epoch
            raise KilledError

    arguments = (config(paths), [paths["train"]], [paths["validation"]])
    first = train(*arguments, tmp_path / "whole", quiet)
    with pytest.raises(KilledError):
        train(*arguments, tmp_path / "resumed", killed)
    second = train(*arguments, tmp_path / "resumed", quiet)
    assert second.metrics == first.metrics
    one, two = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "resumed")
    assert all(np.array_equal(one.tensors[name], two.tensors[name]) for name in one.tensors)


@pytest.mark.slow
def test_it_stops_when_validation_has_had_enough(paths: dict[str, Path], tmp_path: Path) -> None:
    options = config(paths, epochs=30, patience=1, learning_rate=0.3)
    train(options, [paths["train"]], [paths["validation"]], tmp_path / "out", quiet)
    log = next(tmp_path.glob(".out.work/finetune-*")) / "log.jsonl"
    assert 1 < log.read_text().count("validation_loss") < 30


@pytest.mark.slow
def test_accumulated_batches_are_one_large_batch(paths: dict[str, Path], tmp_path: Path) -> None:
    tuned = {}
    base = tmp_path / "base"
    shutil.copytree(paths["encoder"], base)
    stored = json.loads((base / "config.json").read_text())
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (base / "config.json").write_text(json.dumps(stored | still))
    for batch, accumulate in ((32, 1), (16, 2)):
        options = config(paths, epochs=1, batch_prompts=batch, accumulate=accumulate)
        options = options.model_copy(update={"base": str(base)})
        arguments = ([paths["train"]], [paths["validation"]], tmp_path / f"{accumulate}", quiet)
        train(options, *arguments)
        tuned[accumulate] = load_base(str(tmp_path / f"{accumulate}")).tensors
        log = (next(tmp_path.glob(f".{accumulate}.work/finetune-*")) / "log.jsonl").read_text()
        n_prompts = len(load_votes([paths["train"]]).conversations)
        assert log.count("learning_rate") == math.ceil(n_prompts / batch)
    start = load_base(str(paths["encoder"])).tensors
    name = "model.encoder.layer.0.output.LayerNorm.bias"
    moved = tuned[1][name] - start[name]
    assert np.abs(moved).max() > 1e-3
    assert np.corrcoef(moved, tuned[2][name] - start[name])[0, 1] > 0.95


@pytest.mark.slow
def test_mixed_precision_learns_the_same(paths: dict[str, Path], tmp_path: Path) -> None:
    from accelerate.state import AcceleratorState

    losses = {}
    for precision in ("no", "bf16"):
        AcceleratorState._reset_state(reset_partial_state=True)  # one precision a process
        options = config(paths, epochs=2, precision=precision)
        out = tmp_path / precision
        manifest = train(options, [paths["train"]], [paths["validation"]], out, quiet)
        losses[precision] = manifest.metrics["validation"]["log_loss"]
    AcceleratorState._reset_state(reset_partial_state=True)
    assert losses["bf16"] != losses["no"], "it is another arithmetic that was tested"
    assert losses["bf16"] == pytest.approx(losses["no"], abs=0.05)


@pytest.mark.parametrize("base", ["encoder", "decoder"])
def test_the_fsdp_settings_shard_layer_by_layer(paths: dict[str, Path], base: str) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.fsdp_utils import fsdp2_prepare_auto_wrap_policy

    from p2l_model.training.finetune import _Network

    text = (Path(__file__).parents[4] / "deploy" / "training" / "fsdp.yaml").read_text()
    settings = yaml.safe_load(text)["fsdp_config"]
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=settings["fsdp_version"],
        auto_wrap_policy=settings["fsdp_auto_wrap_policy"],
        reshard_after_forward=settings["fsdp_reshard_after_forward"],
        state_dict_type=settings["fsdp_state_dict_type"],
    )
    made = load_base(str(paths[base]))
    network = _Network(
        Backbone(made.config, [-1]), made.width([-1]), Heads(np.zeros((3, 0)), np.zeros(3))
    )
    policy = fsdp2_prepare_auto_wrap_policy(plugin, network)
    assert policy is not None
    sharded = [module for module in network.modules() if policy(module)]
    assert len(sharded) >= made.config["num_hidden_layers"]


@pytest.mark.parametrize(("n_processes", "batch_prompts"), [(4, 1000), (4, 30), (1, 1000), (3, 7)])
def test_each_process_has_as_many_batches(
    paths: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    n_processes: int,
    batch_prompts: int,
) -> None:
    from accelerate import Accelerator

    from p2l_model.training.finetune import FineTune

    monkeypatch.setattr(Accelerator, "num_processes", property(lambda self: n_processes))
    options = config(paths, batch_prompts=batch_prompts)
    votes = load_votes([paths["train"]])
    base = load_base(str(paths["encoder"]))
    prompt = PromptEncoder(base.tokenizer, PromptFormat(base.prompt_kind, 48))
    marginal = Heads(np.zeros((3, 0)), np.zeros(3))
    tuning = options.finetune
    assert tuning is not None
    run = FineTune(base, options, tuning, prompt, votes, marginal, tmp_path, quiet)
    of_each = []
    for process in range(n_processes):
        monkeypatch.setattr(Accelerator, "process_index", process)
        of_each.append(run._batches(0))
    lengths = {len(batches) for batches in of_each}
    assert len(lengths) == 1, "one that has fewer leaves the others waiting for ever"
    assert lengths != {0}
    seen = np.concatenate([batch for batches in of_each for batch in batches])
    assert set(seen) == set(votes.prompt), "every prompt is seen"
    assert np.bincount(seen).max() - 1 <= n_processes


@pytest.mark.slow
def test_four_processes_share_one_batch(paths: dict[str, Path], tmp_path: Path) -> None:
    options = "finetune: {epochs: 2, learning_rate: 0.003, batch_prompts: 1000}"
    launch(paths, tmp_path, 4, options)
    log = (next(tmp_path.glob(".out.work/finetune-*")) / "log.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in log if "learning_rate" in line]
    assert len(rates) == 2
    assert rates[1] == pytest.approx(0, abs=1e-9), "the schedule ends with the run"


@pytest.mark.slow
def test_two_processes_train_one_checkpoint(paths: dict[str, Path], tmp_path: Path) -> None:
    launch(paths, tmp_path, 2, "finetune: {epochs: 1, learning_rate: 0.003}")
    assert load_checkpoint(tmp_path / "out").manifest.family == "bt"


def launch(paths: dict[str, Path], tmp_path: Path, n_processes: int, options: str) -> None:
    settings = tmp_path / "train.yaml"
    settings.write_text(f"family: bt\nmax_tokens: 48\n{options}\n")
    bin_folder = Path(sys.executable).parent
    command = [
        str(bin_folder / "accelerate"), "launch", "--cpu", "--num_processes", str(n_processes),
        str(bin_folder / "p2l-router"), "train", "--data", str(paths["train"]),
        "--validation", str(paths["validation"]), "--base", str(paths["encoder"]),
        "--config", str(settings), "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
