"""Exports a checkpoint for the CPU engine: weights as int8 rows, and a graph that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import Checkpoint, load_checkpoint, save_checkpoint
from p2l_model.checkpoint.int8 import quantize_rows
from p2l_model.checkpoint.manifest import STATIC, Manifest
from p2l_model.engine.graph import build_graph
from p2l_model.errors import ExtraMissingError

Precision = Literal["fp32", "int8"]


def export_checkpoint(
    source: Checkpoint, out: Path, precision: Precision, measured: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Writes the folder and loads it.

    precision: of the arithmetic; the weights are int8 rows in either case. measured: the effect of
    the export on leaderboards and decisions, for the manifest. A static checkpoint is copied: it
    has no graph, and its arithmetic has one precision.

    Raises CheckpointError for a backbone or a pooling that the CPU engine has no graph for,
    ExtraMissingError without onnx, or without torch where the weights are not int8 rows yet.
    """
    manifest = source.manifest
    graph = _graph(source, precision)
    changed: dict[str, Any] = {"quantization": "int8-rows", "engine_precision": precision}
    if measured is not None:
        changed["metrics"] = {**manifest.metrics, "export": dict(measured)}
    written = Manifest.model_validate(manifest.model_dump() | changed)
    save_checkpoint(
        out, base=source.path, manifest=written, tensors=_quantised(source), graph=graph
    )
    return load_checkpoint(out)


def _graph(source: Checkpoint, precision: Precision) -> bytes | None:
    manifest = source.manifest
    if manifest.kind == STATIC:
        return None
    return build_graph(
        source.config, precision, manifest.feature_layers, manifest.pooling, manifest.max_tokens
    )


def _quantised(source: Checkpoint) -> dict[str, NDArray[Any]]:
    if source.manifest.quantization != "none":
        return dict(source.tensors)
    tensors: dict[str, NDArray[Any]] = dict(source.heads.tensors())
    for name, weight in _exact(source).items():
        if weight.ndim == 2:
            tensors[name], tensors[f"{name}_scale"] = quantize_rows(weight)
        else:
            tensors[name] = weight
    return tensors


def _exact(source: Checkpoint) -> dict[str, NDArray[np.float32]]:
    """The backbone's weights in float32. numpy has no bfloat16, so torch reads them."""
    try:
        from p2l_model.engine.network import stored_weights
    except ImportError as error:
        raise ExtraMissingError(error.name or "torch", "torch") from error
    return {name: w.float().numpy() for name, w in stored_weights(source).items()}
