"""Writes a backbone as an ONNX graph without weights, which come from the checkpoint by name.

A run has one prompt (on a CPU a batch brings no gain and its padding costs time), so that the graph
has no batch axis and no attention mask. Graphs are made when a checkpoint is written, which needs
the onnx package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.int8 import dequantize_rows
from p2l_model.engine import decoder_graph, encoder_graph
from p2l_model.engine.decoder_graph import DecoderGraph, rotary_tables
from p2l_model.engine.encoder_graph import EncoderGraph
from p2l_model.engine.graph_writer import FP32, INT8
from p2l_model.errors import CheckpointError

__all__ = ["FP32", "INT8", "build_graph", "initializers", "layers_used", "word_table"]

_DECODERS: Final = ("llama", "qwen2")
_EMBEDDINGS: Final = "model.embeddings"
_WORDS: Final = (encoder_graph.WORDS, decoder_graph.WORDS)
_LAYERS: Final = (encoder_graph.LAYER, decoder_graph.LAYER)


def build_graph(
    config: Mapping[str, Any],
    precision: str,
    feature_layers: Sequence[int],
    pooling: str = "mean",
    max_tokens: int = 0,
) -> bytes:
    """The serialised graph: words (S, H) float32 -> features (F,) float32.

    words: the rows of the word table for the prompt's ids. The table itself stays outside: it is
    the largest tensor, onnxruntime would copy it, and a prompt needs few of its rows.

    config: the backbone's config.json. precision: int8 (also for activations, see GraphWriter) or
    fp32. feature_layers: hidden states whose pooled vectors are joined; -1 is the last, 0 the
    embeddings. max_tokens: the most tokens of a decoder's prompt. Raises CheckpointError for other
    architectures, ExtraMissingError without onnx.
    """
    kind = config.get("model_type")
    known = pooling in encoder_graph.POOLINGS
    if kind == "bert" and config.get("hidden_act") == "gelu" and known:
        n_layers = int(config["num_hidden_layers"])
        states = [_state(k, n_layers) for k in feature_layers]
        return EncoderGraph(config, precision).build(states, pooling)
    if kind in _DECODERS and pooling in ("last", "mean") and list(feature_layers) == [-1]:
        return DecoderGraph(config, precision, max_tokens).build(pooling)
    raise CheckpointError(
        "the CPU engine's graph is made for BERT encoders with gelu pooled by mean or "
        "maximum, and for "
        f"Llama and Qwen2 decoders pooled at their last layer; this is {kind!r}, pooling "
        f"{pooling!r}, layers {list(feature_layers)}: use --engine torch"
    )


def word_table(config: Mapping[str, Any]) -> str:
    """The name of the tensor whose rows are the graph's input."""
    return encoder_graph.WORDS if config.get("model_type") == "bert" else decoder_graph.WORDS


def layers_used(feature_layers: Sequence[int], n_layers: int) -> int:
    """How many of the backbone's layers the features need; the layers above are never computed."""
    return max(_state(layer, n_layers) for layer in feature_layers)


def initializers(
    tensors: Mapping[str, NDArray[Any]],
    precision: str,
    n_layers: int,
    config: Mapping[str, Any] | None = None,
    max_tokens: int = 0,
    *,
    turned: bool = False,
) -> dict[str, NDArray[Any]]:
    """The weights, by name, of a graph of n_layers layers, from the checkpoint's tensors. turned:
    transposes weights for a graph that does not do so itself."""
    feeds: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        if not _is_used(name, n_layers):
            continue
        scale = tensors.get(f"{name}_scale")
        if scale is None:
            feeds[name] = tensor
        elif _EMBEDDINGS in name:
            feeds[name] = dequantize_rows(tensor, scale)
        elif precision == INT8:
            weight = np.ascontiguousarray(tensor.T) if turned else tensor
            feeds[name], feeds[f"{name}_scale"] = weight, scale
        else:
            # Given as stored: the graph converts them to float32, so that onnxruntime owns the
            # result.
            feeds[name], feeds[f"{name}_scale"] = tensor, scale[:, None]
    if config is not None and config.get("model_type") in _DECODERS:
        feeds |= rotary_tables(config, max_tokens)
    return feeds


def _state(layer: int, n_layers: int) -> int:
    """The index of a state from the front: 0 the embeddings, n_layers the last layer's output."""
    return layer if layer >= 0 else n_layers + 1 + layer


def _is_used(name: str, n_layers: int) -> bool:
    if not name.startswith("model.") or name.endswith("_scale") or name in _WORDS:
        return False
    for prefix in _LAYERS:
        if name.startswith(prefix):
            return int(name.removeprefix(prefix).split(".")[0]) < n_layers
    return True
