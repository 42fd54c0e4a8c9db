"""A BERT encoder as an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from p2l_model.checkpoint.manifest import MAX, MEAN_MAX
from p2l_model.engine.graph_writer import INPUT, GraphWriter

_EMBEDDINGS: Final = "model.embeddings"
WORDS: Final = f"{_EMBEDDINGS}.word_embeddings.weight"
LAYER: Final = "model.encoder.layer."
POOLINGS: Final = {
    "mean": ("ReduceMean",),
    MAX: ("ReduceMax",),
    MEAN_MAX: ("ReduceMean", "ReduceMax"),
}


class EncoderGraph(GraphWriter):
    """Writes the graph. config: the backbone's config.json."""

    def __init__(self, config: Mapping[str, Any], precision: str) -> None:
        super().__init__(precision)
        self._width = int(config["hidden_size"])
        self._heads = int(config["num_attention_heads"])
        self._inner = int(config["intermediate_size"])
        self._positions = int(config["max_position_embeddings"])
        self._types = int(config["type_vocab_size"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))

    def build(self, states: Sequence[int], pooling: str = "mean") -> bytes:
        """The serialised graph.

        states: the hidden states that are pooled and joined, counted from the front (0:
        embeddings). pooling: one of POOLINGS; mean-max gives all means, then all maxima.
        """
        hidden = [self._embedded()]  # (S, H) each
        for layer in range(max(states)):
            hidden.append(self._layer(hidden[-1], f"{LAYER}{layer}"))
        axis = self.ints("axis0", [0])
        pooled = [
            self.op(reduce, [hidden[state], axis], keepdims=0)
            for reduce in POOLINGS[pooling]
            for state in states
        ]
        joined = self.op("Concat", pooled, axis=0)
        return self.serialised(joined, self._width, self._width * len(pooled), "p2l-encoder")

    def _embedded(self) -> str:
        length = self.op("Shape", [INPUT], start=0, end=1)
        table = f"{_EMBEDDINGS}.position_embeddings.weight"
        self.weight(table, [self._positions, self._width])
        start, axis = self.ints("zero", [0]), self.ints("axis0", [0])
        positions = self.op("Slice", [table, start, length, axis])
        table = f"{_EMBEDDINGS}.token_type_embeddings.weight"
        self.weight(table, [self._types, self._width])
        kind = self.op("Gather", [table, start], axis=0)  # (1, H)
        total = self.op("Add", [self.op("Add", [INPUT, positions]), kind])
        return self._norm(total, f"{_EMBEDDINGS}.LayerNorm")

    def _layer(self, x: str, name: str) -> str:
        attention, width = f"{name}.attention", self._width
        mixed = self._attention(x, f"{attention}.self")
        mixed = self.linear(mixed, f"{attention}.output.dense", width, width)
        x = self._norm(self.op("Add", [mixed, x]), f"{attention}.output.LayerNorm")
        inner = self.linear(x, f"{name}.intermediate.dense", width, self._inner)
        outer = self.linear(self.op("Gelu", [inner]), f"{name}.output.dense", self._inner, width)
        return self._norm(self.op("Add", [outer, x]), f"{name}.output.LayerNorm")

    def _attention(self, x: str, name: str) -> str:
        """Attention in blocks that fit the CPU's cache; the whole (heads, S, S) scores are never
        stored."""
        batch = self.ints("axis0", [0])
        parts = [
            self.op(
                "Unsqueeze", [self.linear(x, f"{name}.{part}", self._width, self._width), batch]
            )
            for part in ("query", "key", "value")
        ]
        mixed = self.ms("MultiHeadAttention", parts, num_heads=self._heads)
        return self.op("Squeeze", [mixed, batch])

    def _norm(self, x: str, name: str) -> str:
        self.weight(f"{name}.weight", [self._width])
        self.weight(f"{name}.bias", [self._width])
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        return self.op("LayerNormalization", inputs, axis=-1, epsilon=self._epsilon)
