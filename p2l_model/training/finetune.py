"""Fine-tunes a backbone on votes, fully or with LoRA, before the heads are fitted on its features.

accelerate runs it on one CPU, one GPU, or many (`accelerate launch`; deploy/training/fsdp.yaml).
The linear head trained here is temporary: only the backbone is kept, as the folder of a base model.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, set_seed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from p2l_model.checkpoint.heads import HeadOutputs, Heads
from p2l_model.checkpoint.tokens import PromptEncoder
from p2l_model.data.by_prompt import VoteIndex, preference_loss
from p2l_model.data.files import VoteTable
from p2l_model.data.soft_labels import balanced
from p2l_model.engine.network import Backbone, exact_weights
from p2l_model.errors import ExtraMissingError, TrainingError
from p2l_model.evaluation.metrics import predict, source_mean
from p2l_model.fitting.config import FinetuneConfig, TrainConfig
from p2l_model.fitting.linear import rows_bias
from p2l_model.training.backbones import BaseModel
from p2l_model.training.run_log import log_line
from p2l_model.types import FloatArray, IntArray

_BEST: Final = "best.safetensors"
_MAX_NORM: Final = 1.0

Report = Callable[[str, float, float, str], None]


class _Network(nn.Module):
    """Backbone, a normalisation without parameters, and one linear head: (B, S) -> (B, M + 2)."""

    def __init__(self, backbone: Backbone, width: int, marginal: Heads) -> None:
        super().__init__()
        self.backbone = backbone
        # The modules that FSDP shards one by one; without this list everything would be one shard.
        self._no_split_modules = list(getattr(backbone.model, "_no_split_modules", None) or [])
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        start = torch.from_numpy(rows_bias(marginal)).float()
        self.head = nn.Linear(width, start.numel())
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(start)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.norm(self.backbone(input_ids, attention_mask).float()))
        return outputs


class _Standing:
    """The state of the run, which accelerate saves together with the weights."""

    def __init__(self) -> None:
        self.epoch = 0
        self.batch = 0
        self.best = math.inf
        self.without_gain = 0

    def state_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class FineTune:
    """One run. train, validation: between the same models. work: the folder for its state."""

    def __init__(
        self,
        base: BaseModel,
        config: TrainConfig,
        options: FinetuneConfig,
        prompt: PromptEncoder,
        train: VoteTable,
        marginal: Heads,
        work: Path,
        report: Report,
    ) -> None:
        set_seed(config.seed)
        self._base, self._config, self._options = base, config, options
        self._prompt, self._work, self._report = prompt, work, report
        self._conversations = train.conversations
        self._n_models = len(train.models)
        self._votes = VoteIndex(train, config.family)
        self._accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision=options.precision,
        )
        width = base.width(config.feature_layers, config.pooling)
        network = _Network(self._backbone(), width, marginal)
        optimiser = torch.optim.AdamW(self._groups(network))
        n_processes = self._accelerator.num_processes
        n_batches = -(-self._votes.used.size // options.batch_prompts)
        self._n_batches = -(-n_batches // n_processes)
        # accelerate advances the schedule once for each process.
        n_updates = -(-self._n_batches // options.accumulate) * options.epochs * n_processes
        schedule = get_cosine_schedule_with_warmup(
            optimiser, round(options.warm_up * n_updates), n_updates
        )
        prepared = self._accelerator.prepare(network, optimiser, schedule)
        self._network, self._optimiser, self._schedule = prepared
        self._standing = _Standing()
        self._accelerator.register_for_checkpointing(self._standing)

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that fits the heads and writes the result."""
        return bool(self._accelerator.is_main_process)

    def run(self, validation: VoteTable) -> Path:
        """Returns the folder of the tuned base, from the epoch with the least loss on validation.

        A killed run continues where it stopped, and a finished one is not repeated. Raises
        TrainingError.
        """
        out = self._work / "tuned"
        finished = (out / "config.json").exists()
        self._accelerator.wait_for_everyone()  # no process reads before another has written it
        if not finished:
            self._resume()
            while not self._is_over():
                self._epoch()
                self._judge(validation)
            if self.is_main:
                self._export(out)
            self._accelerator.wait_for_everyone()
        return out

    def _is_over(self) -> bool:
        stale = self._standing.without_gain >= self._options.patience
        return stale or self._standing.epoch >= self._options.epochs

    def _backbone(self) -> Backbone:
        made = Backbone(self._base.config, self._config.feature_layers, self._config.pooling)
        weights = {n: torch.from_numpy(w) for n, w in exact_weights(self._base.tensors).items()}
        made.load_state_dict(weights)
        if self._options.method == "lora":
            made.model = _with_lora(made.model, self._options)
        return made

    def _groups(self, network: _Network) -> list[dict[str, Any]]:
        """The head has a higher learning rate; vectors have no weight decay."""
        options = self._options
        tuned = [p for p in network.backbone.parameters() if p.requires_grad]
        groups = []
        for parameters, rate in (
            (tuned, options.learning_rate),
            (list(network.head.parameters()), options.head_learning_rate),
        ):
            for decays in (True, False):
                chosen = [p for p in parameters if (p.ndim > 1) == decays]
                decay = options.weight_decay if decays else 0.0
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
        return groups

    def _batches(self, epoch: int) -> list[IntArray]:
        """This process's prompts by batch. Each process has the same number of batches, and they
        are the same after a restart."""
        shuffled = np.random.default_rng([self._config.seed, epoch]).permutation(self._votes.used)
        size, n_processes = self._options.batch_prompts, self._accelerator.num_processes
        batches = [shuffled[start : start + size] for start in range(0, shuffled.size, size)]
        # Batches are repeated, as there may be fewer than processes: a process without one would
        # leave the others waiting for its gradients.
        even = list(islice(cycle(batches), self._n_batches * n_processes))
        return even[self._accelerator.process_index :: n_processes]

    def _epoch(self) -> None:
        standing, since_save = self._standing, 0
        self._network.train()
        for prompts in self._batches(standing.epoch)[standing.batch :]:
            standing.batch += 1
            updates = self._updates(standing.batch)
            loss = self._step(prompts, updates)
            self._tell(loss)
            # Between two updates there are gradients, which a saved state does not contain.
            since_save += 1
            if updates and since_save >= self._options.save_batches:
                self._save()
                since_save = 0
        standing.batch = 0
        standing.epoch += 1

    def _updates(self, batch: int) -> bool:
        """Whether the weights are updated after this batch of the epoch, counted from 1."""
        return batch % self._options.accumulate == 0 or batch == self._n_batches

    def _step(self, prompts: IntArray, updates: bool) -> float:
        device = self._accelerator.device
        ids = [self._prompt.encode(self._conversations[one]) for one in prompts]
        batch = {name: tensor.to(device) for name, tensor in _padded(ids).items()}
        votes = self._votes.batch(prompts).to(device)
        alone = nullcontext() if updates else self._accelerator.no_sync(self._network)
        with alone:
            outputs = self._network(**batch)
            loss = preference_loss(self._config.family, outputs, self._n_models, votes)
            if not bool(torch.isfinite(loss)):
                raise TrainingError("fine-tuning: the loss is not finite: lower learning_rate")
            self._accelerator.backward(loss / self._options.accumulate)
        if updates:
            self._accelerator.clip_grad_norm_(self._network.parameters(), _MAX_NORM)
            self._optimiser.step()
            self._schedule.step()
            self._optimiser.zero_grad()
        return float(loss.detach())

    def _judge(self, validation: VoteTable) -> None:
        """Measures the validation loss, for early stopping and the log."""
        standing = self._standing
        # All processes use the first one's loss: one that stopped alone would leave the others
        # waiting.
        loss = float(
            broadcast(torch.tensor(self._loss(validation), device=self._accelerator.device))
        )
        self._log({"epoch": standing.epoch, "validation_loss": loss})
        standing.without_gain = 0 if loss < standing.best else standing.without_gain + 1
        if loss < standing.best:
            standing.best = loss
            state = self._accelerator.get_state_dict(self._network)
            if self.is_main:
                kept = {name: w.contiguous().clone() for name, w in state.items()}
                save_file(kept, self._work / f"{_BEST}.partial")
                (self._work / f"{_BEST}.partial").replace(self._work / _BEST)
        self._save()
        note = f"validation {loss:.4f}, best {standing.best:.4f}"
        self._report("fine-tuning, epochs", standing.epoch, self._options.epochs, note)

    @torch.no_grad()
    def _loss(self, held: VoteTable) -> float:
        """The loss on votes weighted as in training."""
        self._network.eval()
        votes = balanced(held, self._config.balance)
        used = np.unique(votes.prompt)
        outputs = np.zeros((len(votes.conversations), self._n_models + 2))
        size = self._options.batch_prompts
        for start in range(0, used.size, size):
            index = used[start : start + size]
            batch = _padded([self._prompt.encode(votes.conversations[one]) for one in index])
            moved = {name: t.to(self._accelerator.device) for name, t in batch.items()}
            outputs[index] = self._network(**moved).float().cpu().numpy()
        found = predict(self._config.family, votes, _split(outputs, self._n_models))
        return source_mean(found.loss, votes)

    def _tell(self, loss: float) -> None:
        standing, n_batches = self._standing, self._n_batches
        done = standing.epoch * n_batches + standing.batch
        self._report("fine-tuning", done, self._options.epochs * n_batches, f"loss {loss:.4f}")
        rate = float(self._schedule.get_last_lr()[0])
        place = {"epoch": standing.epoch, "batch": standing.batch}
        self._log(place | {"loss": loss, "learning_rate": rate})

    def _log(self, line: dict[str, Any]) -> None:
        if self.is_main:
            log_line(self._work, {"stage": "fine-tuning", **line})

    def _save(self) -> None:
        """Saves atomically: a partial save after a kill is not used."""
        fresh, kept = self._work / "state.partial", self._work / "state"
        self._accelerator.save_state(str(fresh))
        if self.is_main:
            shutil.rmtree(kept, ignore_errors=True)
            fresh.rename(kept)
        self._accelerator.wait_for_everyone()

    def _resume(self) -> None:
        if (self._work / "state").exists():
            self._accelerator.load_state(str(self._work / "state"))

    def _export(self, out: Path) -> None:
        """Writes the best epoch's backbone, with LoRA merged into it, its config and the
        tokenizer."""
        network = self._accelerator.unwrap_model(self._network)
        network.load_state_dict(load_file(self._work / _BEST))
        model = network.backbone.model
        if self._options.method == "lora":
            model = model.merge_and_unload()
        fresh = out.with_suffix(".partial")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for file in self._base.path.glob("*"):
            if file.suffix in (".json", ".jinja", ".txt") and file.is_file():
                shutil.copyfile(file, fresh / file.name)
        weights = {name: w.float().cpu().contiguous() for name, w in model.state_dict().items()}
        save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
        fresh.rename(out)


def _with_lora(model: nn.Module, options: FinetuneConfig) -> nn.Module:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ExtraMissingError("peft", "train") from error
    lora = LoraConfig(
        r=options.lora_rank,
        lora_alpha=2 * options.lora_rank,
        lora_dropout=options.lora_dropout,
        target_modules="all-linear",
    )
    wrapped: nn.Module = get_peft_model(model, lora)
    return wrapped


def _padded(prompts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """input_ids and attention_mask (B, S), padded on the right."""
    longest = max(len(ids) for ids in prompts)
    ids = torch.zeros((len(prompts), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt, dtype=torch.long)
        mask[row, : len(prompt)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _split(outputs: FloatArray, n_models: int) -> HeadOutputs:
    return HeadOutputs(outputs[:, :n_models], outputs[:, n_models], outputs[:, n_models + 1])
