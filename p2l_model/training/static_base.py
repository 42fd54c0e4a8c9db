"""Makes the table of token vectors of a static checkpoint from an encoder or decoder.

Layer 0 is its own table of word vectors. Of another layer a token's vector is the mean of its
outputs over the training prompts, together with its output where it stands alone, so that tokens
which no prompt has get a vector too. The pass over the prompts is saved as it goes and can be
resumed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import nn

from p2l_model.checkpoint.int8 import dequantize_rows
from p2l_model.checkpoint.manifest import STATIC
from p2l_model.checkpoint.static_table import StaticTable
from p2l_model.checkpoint.tokens import ENDS, TURNS_SEP, PromptEncoder, PromptFormat
from p2l_model.engine.graph import word_table
from p2l_model.engine.network import Backbone, exact_weights
from p2l_model.fitting.config import StaticConfig
from p2l_model.training.backbones import BaseModel, load_base
from p2l_model.training.run_log import Reporter
from p2l_model.types import Conversation

_READ_TOKENS: Final = 512
_SAVED_EVERY: Final = 500
_ALONE_AT_ONCE: Final = 512
_TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")

Vectors = NDArray[np.float32]


def static_base(
    options: StaticConfig, conversations: Sequence[Conversation], work: Path, report: Reporter
) -> Path:
    """Writes the base's folder below work, once, and returns it. conversations: the training
    prompts. Raises CheckpointError, ExtraMissingError."""
    source = load_base(options.source, work)
    prompts = _drawn(conversations, options.prompts)
    key = hashlib.sha256(options.model_dump_json().encode() + source.digest.encode())
    for prompt in prompts:
        key.update("\n".join(prompt.turns).encode("utf-8", "replace") + b"\0")
    folder = work / f"static-{key.hexdigest()[:24]}"
    if not (folder / "config.json").exists():
        table = _table(options, source, prompts, folder, report)
        _write(folder, source, table)
    return folder


def _drawn(conversations: Sequence[Conversation], n: int) -> list[Conversation]:
    """At most n prompts, by hash, so that the draw does not depend on their order."""

    def order(one: Conversation) -> bytes:
        return hashlib.sha256("\n".join(one.turns).encode("utf-8", "replace")).digest()

    return sorted(conversations, key=order)[:n]


def _table(
    options: StaticConfig,
    source: BaseModel,
    prompts: Sequence[Conversation],
    folder: Path,
    report: Reporter,
) -> StaticTable:
    name = word_table(source.config)
    words = dequantize_rows(source.tensors[name], source.tensors[f"{name}_scale"])
    above = [layer for layer in options.layers if layer > 0]
    vectors = {0: words}
    if above:
        means = _Means(source, above, words.shape[0], folder.with_suffix(".npz"))
        means.read(prompts, report)
        vectors |= dict(zip(above, means.vectors(options.alone, report), strict=True))
    importance = None
    if options.importance is not None:
        importance = _importance(source, prompts, words.shape[0], options.importance)
    joined = np.concatenate([vectors[layer] for layer in options.layers], axis=1)
    return StaticTable.quantised(joined, importance)


def _importance(
    source: BaseModel, prompts: Sequence[Conversation], n_tokens: int, a: float
) -> Vectors:
    encoder = PromptEncoder(source.tokenizer, PromptFormat(ENDS, _READ_TOKENS))
    counts = np.zeros(n_tokens)
    for prompt in prompts:
        np.add.at(counts, np.array(encoder.encode(prompt), dtype=np.int64), 1.0)
    share = counts / max(counts.sum(), 1.0)
    importance: Vectors = (a / (a + share)).astype(np.float32)
    return importance


@dataclass(slots=True)
class _State:
    """sums (L, V, H) and counts (V,) after the first n_read prompts."""

    sums: Vectors
    counts: NDArray[np.float64]
    n_read: int


class _Means:
    """The mean output of each token at some layers. path: where the sums are kept."""

    def __init__(self, source: BaseModel, layers: Sequence[int], n_tokens: int, path: Path) -> None:
        self._source, self._layers, self._path = source, list(layers), path
        self._model = _loaded(source)
        self._prompt = PromptEncoder(
            source.tokenizer, PromptFormat(source.prompt_kind, _READ_TOKENS)
        )
        self._state = self._stored(n_tokens)

    def read(self, prompts: Sequence[Conversation], report: Reporter) -> None:
        """Adds the prompts that were not read before, one at a time."""
        state = self._state
        for prompt in prompts[state.n_read :]:
            ids = np.array(self._prompt.encode(prompt))
            for sums, output in zip(state.sums, self._outputs(ids[None, :]), strict=True):
                np.add.at(sums, ids, output[0])
            np.add.at(state.counts, ids, 1.0)
            state.n_read += 1
            if state.n_read % _SAVED_EVERY == 0 or state.n_read == len(prompts):
                self._save()
                report("token vectors: prompts read", state.n_read, len(prompts))

    def vectors(self, alone: float, report: Reporter) -> list[Vectors]:
        """The means (V, H) of each layer. alone: the weight of a token's output without a
        prompt."""
        state = self._state
        n_tokens = state.counts.size
        total = (state.counts + alone)[:, None]
        found = [np.empty_like(sums) for sums in state.sums]
        for start in range(0, n_tokens, _ALONE_AT_ONCE):
            rows = np.arange(start, min(start + _ALONE_AT_ONCE, n_tokens))
            framed, at = self._framed(rows)
            for mean, sums, output in zip(found, state.sums, self._outputs(framed), strict=True):
                mean[rows] = (sums[rows] + alone * output[:, at]) / total[rows]
            report("token vectors: tokens alone", int(rows[-1]) + 1, n_tokens)
        return found

    def _framed(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
        """Each token as a prompt of its own, and its position there."""
        if self._source.prompt_kind != TURNS_SEP:
            return rows[:, None], 0
        first, last = self._prompt.encode(Conversation(("",)))
        ends = np.broadcast_to([first, last], (rows.size, 2))
        return np.column_stack([ends[:, 0], rows, ends[:, 1]]), 1

    @torch.inference_mode()
    def _outputs(self, ids: NDArray[np.int64]) -> list[Vectors]:
        batch = torch.from_numpy(ids)
        states = self._model(
            input_ids=batch, attention_mask=torch.ones_like(batch), output_hidden_states=True
        ).hidden_states
        return [states[layer].numpy() for layer in self._layers]

    def _stored(self, n_tokens: int) -> _State:
        if self._path.exists():
            with np.load(self._path, allow_pickle=False) as kept:
                return _State(kept["sums"], kept["counts"], int(kept["n_read"]))
        width = int(self._source.config["hidden_size"])
        empty = np.zeros((len(self._layers), n_tokens, width), np.float32)
        return _State(empty, np.zeros(n_tokens), 0)

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".partial")
        with fresh.open("wb") as file:
            state = self._state
            np.savez(file, sums=state.sums, counts=state.counts, n_read=state.n_read)
        fresh.rename(self._path)


def _loaded(source: BaseModel) -> nn.Module:
    backbone = Backbone(source.config, [-1])
    weights: dict[str, Any] = {
        name: torch.from_numpy(weight) for name, weight in exact_weights(source.tensors).items()
    }
    backbone.load_state_dict(weights, strict=False)
    return backbone.model.eval()


def _write(folder: Path, source: BaseModel, table: StaticTable) -> None:
    """Writes the folder whole: config.json is the last file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _TOKENIZER_FILES:
        if (source.path / name).exists():
            shutil.copyfile(source.path / name, folder / name)
    save_file(table.tensors(), folder / "model.safetensors")
    n_tokens, width = table.words.shape
    config = {
        "model_type": STATIC,
        "name": f"token vectors of {source.name}",
        "vocab_size": n_tokens,
        "hidden_size": width,
        "num_hidden_layers": 0,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
