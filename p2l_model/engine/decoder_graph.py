"""A Llama or Qwen2 decoder as an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.engine.graph_writer import INPUT, GraphWriter
from p2l_model.errors import CheckpointError

WORDS: Final = "model.embed_tokens.weight"
LAYER: Final = "model.layers."
NORM: Final = "model.norm.weight"
COSINES: Final = "rotary.cosines"
SINES: Final = "rotary.sines"


def check_decoder(config: Mapping[str, Any]) -> None:
    """Raises CheckpointError for features of a decoder that the graph does not compute."""
    kind, rope = _rope(config)
    if kind not in (None, "default"):
        raise CheckpointError(f"the CPU engine's graph has no rotary scaling {kind!r}")
    if rope <= 0 or config.get("hidden_act", "silu") != "silu":
        raise CheckpointError("the CPU engine's graph is made for decoders with silu")
    if config.get("use_sliding_window") is True:
        raise CheckpointError("the CPU engine's graph has no sliding window")


def rotary_tables(config: Mapping[str, Any], max_tokens: int) -> dict[str, NDArray[np.float32]]:
    """The cosines and sines (max_tokens, head size / 2) of each position's angles."""
    size = _head_size(config)
    frequencies = _rope(config)[1] ** (-np.arange(0, size, 2, dtype=np.float64) / size)
    angles = np.arange(max_tokens, dtype=np.float64)[:, None] * frequencies
    return {
        COSINES: np.cos(angles).astype(np.float32),
        SINES: np.sin(angles).astype(np.float32),
    }


def _rope(config: Mapping[str, Any]) -> tuple[str | None, float]:
    """The kind of scaling, and theta; transformers 5 stores both in rope_parameters."""
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = parameters.get("rope_type", parameters.get("type"))
    theta = parameters.get("rope_theta", config.get("rope_theta", 10_000.0))
    return kind, float(theta)


def _head_size(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


class DecoderGraph(GraphWriter):
    """Writes the graph. config: the backbone's config.json. Pooling is the last position, or the
    mean."""

    def __init__(self, config: Mapping[str, Any], precision: str, max_tokens: int) -> None:
        """Raises CheckpointError."""
        check_decoder(config)
        super().__init__(precision)
        self._width = int(config["hidden_size"])
        self._inner = int(config["intermediate_size"])
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self._kv_heads = int(config.get("num_key_value_heads") or self._heads)
        self._size = _head_size(config)
        self._epsilon = float(config.get("rms_norm_eps", 1e-6))
        self._max_tokens = max_tokens
        qwen2 = config.get("model_type") == "qwen2"
        self._qkv_bias = qwen2 or bool(config.get("attention_bias", False))
        self._out_bias = not qwen2 and bool(config.get("attention_bias", False))
        self._mlp_bias = bool(config.get("mlp_bias", False))

    def build(self, pooling: str) -> bytes:
        """The serialised graph. Its output is the pooled states of the last layer, after the final
        norm."""
        x = INPUT
        for name in (COSINES, SINES):
            self.weight(name, [self._max_tokens, self._size // 2])
        for layer in range(self._layers):
            x = self._layer(x, f"{LAYER}{layer}")
        if pooling == "last":
            last = self.op("Gather", [x, self.ints("minus_one", [-1])], axis=0)  # (1, H)
            pooled = self.op("Reshape", [self._norm(last, NORM), self.ints("flat", [-1])])
        else:
            mean = [self._norm(x, NORM), self.ints("axis0", [0])]
            pooled = self.op("ReduceMean", mean, keepdims=0)
        return self.serialised(pooled, self._width, self._width, "p2l-decoder")

    def _layer(self, x: str, name: str) -> str:
        mixed = self._attention(self._norm(x, f"{name}.input_layernorm.weight"), name)
        x = self.op("Add", [x, mixed])
        inner = self._norm(x, f"{name}.post_attention_layernorm.weight")
        gate, up = (
            self.linear(inner, f"{name}.mlp.{part}", self._width, self._inner, bias=self._mlp_bias)
            for part in ("gate_proj", "up_proj")
        )
        silu = self.op("Mul", [gate, self.op("Sigmoid", [gate])])
        product = self.op("Mul", [silu, up])
        down = self.linear(
            product, f"{name}.mlp.down_proj", self._inner, self._width, bias=self._mlp_bias
        )
        return self.op("Add", [x, down])

    def _attention(self, x: str, layer: str) -> str:
        name, axis = f"{layer}.self_attn", self.ints("axis0", [0])
        parts = []
        for part, heads in (("q", self._heads), ("k", self._kv_heads), ("v", self._kv_heads)):
            n_out = heads * self._size
            flat = self.linear(x, f"{name}.{part}_proj", self._width, n_out, bias=self._qkv_bias)
            flat = self.op("Unsqueeze", [flat, axis])  # (1, S, heads * size)
            parts.append(flat if part == "v" else self._rotated(flat, heads))
        query, key, value = parts
        if self._kv_heads != self._heads:
            key, value = self._repeated(key), self._repeated(value)
        mixed = self.ms(
            "MultiHeadAttention", [query, key, value], num_heads=self._heads, unidirectional=1
        )
        n_in = self._heads * self._size
        flat = self.op("Squeeze", [mixed, axis])
        return self.linear(flat, f"{name}.o_proj", n_in, self._width, bias=self._out_bias)

    def _rotated(self, x: str, heads: int) -> str:
        """Rotates x by position. position_ids is a single number: the position of the first
        token."""
        inputs = [x, self.ints("zero", [0]), COSINES, SINES]
        return self.ms("RotaryEmbedding", inputs, num_heads=heads, rotary_embedding_dim=0)

    def _repeated(self, x: str) -> str:
        """(1, S, kv heads * size) -> (1, S, heads * size): each key-value head serves a group of
        queries."""
        groups = self._heads // self._kv_heads
        split = self.ints("kv_split", [1, -1, self._kv_heads, 1, self._size])
        wide = self.ints("kv_repeat", [1, 1, 1, groups, 1])
        joined = self.ints("kv_join", [1, -1, self._heads * self._size])
        repeated = self.op("Expand", [self.op("Reshape", [x, split]), wide])
        return self.op("Reshape", [repeated, joined])

    def _norm(self, x: str, name: str) -> str:
        """Root mean square norm, without a mean or a bias."""
        self.weight(name, [self._width])
        return self.op(
            "SimplifiedLayerNormalization", [x, name], axis=-1, epsilon=self._epsilon, stash_type=1
        )
