"""The encoder as an ONNX graph without weights: those are the checkpoint's own, by name.

One prompt a run (on a CPU a batch gains nothing and its padding costs), so the graph has no
batch axis and no attention mask. Made when a checkpoint is written; needs the onnx package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.errors import CheckpointError, ExtraMissingError
from p2l_model.quantize import dequantize_rows

INT8: Final = "int8"
FP32: Final = "fp32"
INPUT: Final = "words"
_OPSET: Final = 20
_EMBEDDINGS: Final = "model.embeddings"
WORDS: Final = f"{_EMBEDDINGS}.word_embeddings.weight"
_LAYER: Final = "model.encoder.layer."


def build_graph(config: Mapping[str, Any], precision: str, feature_layers: Sequence[int]) -> bytes:
    """The graph: words (S, H) float32 -> features (H * layers,) float32, mean over positions.

    words: the rows of the word table that the prompt's ids name. The table stays outside: it is
    the largest tensor, onnxruntime would copy it, and a prompt needs few of its rows.

    config: the backbone's config.json (BERT). precision: int8 (dynamic activations) or fp32.
    feature_layers: hidden states whose means are joined; -1 is the last, 0 the embeddings.
    Raises CheckpointError for another architecture, ExtraMissingError without onnx.
    """
    if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
        raise CheckpointError("the CPU engine's graph is made for BERT encoders with gelu only")
    return _Builder(config, precision).build(feature_layers)


def layers_used(feature_layers: Sequence[int], n_layers: int) -> int:
    """How many of the backbone's layers the features need: what lies above is never computed."""
    return max(_state(layer, n_layers) for layer in feature_layers)


def initializers(
    tensors: Mapping[str, NDArray[Any]], precision: str, n_layers: int
) -> dict[str, NDArray[Any]]:
    """The weights, by name, of a graph of n_layers layers, from the checkpoint's tensors."""
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
            feeds[name], feeds[f"{name}_scale"] = np.ascontiguousarray(tensor.T), scale
        else:
            # as they are: the graph makes them exact, so that onnxruntime owns what it keeps
            feeds[name], feeds[f"{name}_scale"] = tensor, scale[:, None]
    return feeds


def _state(layer: int, n_layers: int) -> int:
    """The index from the front: 0 the embeddings, n_layers the last layer's output."""
    return layer if layer >= 0 else n_layers + 1 + layer


def _is_used(name: str, n_layers: int) -> bool:
    if not name.startswith("model.") or name.endswith("_scale") or name == WORDS:
        return False
    layer = name.removeprefix(_LAYER)
    return layer == name or int(layer.split(".")[0]) < n_layers


class _Builder:
    """Collects nodes; every method returns the name of its output."""

    def __init__(self, config: Mapping[str, Any], precision: str) -> None:
        try:
            import onnx
        except ImportError as error:
            raise ExtraMissingError("onnx", "train") from error
        self._onnx = onnx
        self._precision = precision
        self._width = int(config["hidden_size"])
        self._heads = int(config["num_attention_heads"])
        self._layers = int(config["num_hidden_layers"])
        self._inner = int(config["intermediate_size"])
        self._positions = int(config["max_position_embeddings"])
        self._types = int(config["type_vocab_size"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def build(self, feature_layers: Sequence[int]) -> bytes:
        """The serialised model."""
        hidden = [self._embedded()]  # (S, H) each
        for layer in range(layers_used(feature_layers, self._layers)):
            hidden.append(self._layer(hidden[-1], f"{_LAYER}{layer}"))
        means = [
            self._op("ReduceMean", [hidden[index], self._ints("axis0", [0])], keepdims=0)
            for index in (_state(layer, self._layers) for layer in feature_layers)
        ]
        self._nodes.append(self._onnx.helper.make_node("Concat", means, ["features"], axis=0))
        return self._serialised(self._width * len(means))

    def _serialised(self, width: int) -> bytes:
        helper, kind = self._onnx.helper, self._onnx.TensorProto
        graph = helper.make_graph(
            self._nodes,
            "p2l-encoder",
            [helper.make_tensor_value_info(INPUT, kind.FLOAT, ["tokens", self._width])],
            [helper.make_tensor_value_info("features", kind.FLOAT, [width])],
            initializer=self._weights,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        serialised: bytes = model.SerializeToString()
        return serialised

    def _embedded(self) -> str:
        length = self._op("Shape", [INPUT], start=0, end=1)
        table = f"{_EMBEDDINGS}.position_embeddings.weight"
        self._weight(table, [self._positions, self._width])
        start, axis = self._ints("zero", [0]), self._ints("axis0", [0])
        positions = self._op("Slice", [table, start, length, axis])
        table = f"{_EMBEDDINGS}.token_type_embeddings.weight"
        self._weight(table, [self._types, self._width])
        kind = self._op("Gather", [table, self._ints("zero", [0])], axis=0)  # (1, H)
        total = self._op("Add", [self._op("Add", [INPUT, positions]), kind])
        return self._norm(total, f"{_EMBEDDINGS}.LayerNorm")

    def _layer(self, x: str, name: str) -> str:
        attention = f"{name}.attention"
        mixed = self._attention(x, f"{attention}.self")
        mixed = self._linear(mixed, f"{attention}.output.dense", self._width, self._width)
        x = self._norm(self._op("Add", [mixed, x]), f"{attention}.output.LayerNorm")
        inner = self._linear(x, f"{name}.intermediate.dense", self._width, self._inner)
        inner = self._op("Gelu", [inner])
        outer = self._linear(inner, f"{name}.output.dense", self._inner, self._width)
        return self._norm(self._op("Add", [outer, x]), f"{name}.output.LayerNorm")

    def _attention(self, x: str, name: str) -> str:
        size = self._width // self._heads
        split = self._ints("split", [-1, self._heads, size])
        parts = {}
        for part, order in (("query", [1, 0, 2]), ("key", [1, 2, 0]), ("value", [1, 0, 2])):
            flat = self._linear(x, f"{name}.{part}", self._width, self._width)
            if part == "query":
                # here and not on the scores, which are S times as many
                flat = self._op("Mul", [flat, self._float("scale", size**-0.5)])
            parts[part] = self._op("Transpose", [self._op("Reshape", [flat, split])], perm=order)
        scores = self._op("MatMul", [parts["query"], parts["key"]])  # (heads, S, S)
        mixed = self._op("MatMul", [self._op("Softmax", [scores], axis=-1), parts["value"]])
        mixed = self._op("Transpose", [mixed], perm=[1, 0, 2])
        return self._op("Reshape", [mixed, self._ints("join", [-1, self._width])])

    def _linear(self, x: str, name: str, n_in: int, n_out: int) -> str:
        weight, bias = f"{name}.weight", f"{name}.bias"
        self._weight(bias, [n_out])
        if self._precision == FP32:
            return self._op("Gemm", [x, self._exact(weight, n_out, n_in), bias], transB=1)
        self._weight(weight, [n_in, n_out], self._onnx.TensorProto.INT8)
        self._weight(f"{weight}_scale", [n_out])
        operands = [x, weight, f"{weight}_scale", "", bias]
        return self._op("DynamicQuantizeMatMul", operands, domain="com.microsoft")

    def _exact(self, weight: str, n_rows: int, n_columns: int) -> str:
        # onnxruntime computes this once, at load, keeps what its matrix multiplication packs and
        # lets go of the rest: weights handed over as float32 would stay in memory twice
        self._weight(weight, [n_rows, n_columns], self._onnx.TensorProto.INT8)
        self._weight(f"{weight}_scale", [n_rows, 1])
        exact = self._op("Cast", [weight], to=self._onnx.TensorProto.FLOAT)
        return self._op("Mul", [exact, f"{weight}_scale"])

    def _norm(self, x: str, name: str) -> str:
        self._weight(f"{name}.weight", [self._width])
        self._weight(f"{name}.bias", [self._width])
        inputs = [x, f"{name}.weight", f"{name}.bias"]
        return self._op("LayerNormalization", inputs, axis=-1, epsilon=self._epsilon)

    def _op(self, kind: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        output = f"v{len(self._nodes)}"
        make = self._onnx.helper.make_node
        self._nodes.append(make(kind, inputs, [output], domain=domain, **attributes))
        return output

    def _weight(self, name: str, shape: list[int], kind: int | None = None) -> None:
        tensor = self._onnx.TensorProto(name=name, dims=shape)
        tensor.data_type = self._onnx.TensorProto.FLOAT if kind is None else kind
        tensor.data_location = self._onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="given-at-load")
        self._weights.append(tensor)

    def _ints(self, name: str, values: list[int]) -> str:
        return self._constant(name, np.array(values, dtype=np.int64))

    def _float(self, name: str, value: float) -> str:
        return self._constant(name, np.array(value, dtype=np.float32))

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        if all(tensor.name != name for tensor in self._weights):
            self._weights.append(self._onnx.numpy_helper.from_array(value, name))
        return name
