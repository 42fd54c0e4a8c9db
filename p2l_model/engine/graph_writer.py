"""Collects the nodes of an ONNX graph whose weights are supplied when it is loaded."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.errors import ExtraMissingError

INT8: Final = "int8"
FP32: Final = "fp32"
MICROSOFT: Final = "com.microsoft"
INPUT: Final = "words"
# The graph's mark that its weights are supplied at load in the checkpoint's own layout. Older
# graphs are marked "given-at-load" and expect the weights of integer products transposed.
AS_STORED: Final = "given-as-stored"
_OPSET: Final = 20
_LEVELS: Final = 127.0
# Keeps a row of zeros from being divided by zero; any scale will do for it.
_SMALLEST: Final = 1e-12


class GraphWriter:
    """Every method returns the name of its output.

    precision: of the linear layers. With int8 each position's activations have their own scale
    (their peak over 127), so that a token with outliers does not cost the others precision; the
    integer product is exact.
    """

    def __init__(self, precision: str) -> None:
        """Raises ExtraMissingError without the onnx package."""
        try:
            import onnx
        except ImportError as error:
            raise ExtraMissingError("onnx", "train") from error
        self._onnx = onnx
        self._precision = precision
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._quantised: dict[str, tuple[str, str]] = {}

    def serialised(self, inner: str, words_width: int, width: int, name: str) -> bytes:
        """The serialised model: words (S, words_width) -> features (width,), the tensor named
        `inner`."""
        helper, kind = self._onnx.helper, self._onnx.TensorProto
        self._nodes.append(helper.make_node("Identity", [inner], ["features"]))
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(INPUT, kind.FLOAT, ["tokens", words_width])],
            [helper.make_tensor_value_info("features", kind.FLOAT, [width])],
            initializer=self._weights,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        content: bytes = model.SerializeToString()
        return content

    def op(self, kind: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        """Adds one node."""
        output = f"v{len(self._nodes)}"
        make = self._onnx.helper.make_node
        self._nodes.append(make(kind, inputs, [output], domain=domain, **attributes))
        return output

    def ms(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Adds one node of onnxruntime's own operators."""
        return self.op(kind, inputs, MICROSOFT, **attributes)

    def linear(self, x: str, name: str, n_in: int, n_out: int, *, bias: bool = True) -> str:
        """A linear layer: (S, n_in) -> (S, n_out)."""
        weight = f"{name}.weight"
        if self._precision == FP32:
            operands = [x, self._exact(weight, n_out, n_in)]
            if bias:
                self.weight(f"{name}.bias", [n_out])
                operands.append(f"{name}.bias")
            return self.op("Gemm", operands, transB=1)
        product = self._product_of_integers(x, weight, n_in, n_out)
        if not bias:
            return product
        self.weight(f"{name}.bias", [n_out])
        return self.op("Add", [product, f"{name}.bias"])

    def _product_of_integers(self, x: str, weight: str, n_in: int, n_out: int) -> str:
        # onnxruntime transposes the weight at load, packs it and frees it; a weight supplied
        # already transposed would stay in memory beside the packed one.
        self.weight(weight, [n_out, n_in], int8=True)
        self.weight(f"{weight}_scale", [n_out])
        turned = self.op("Transpose", [weight], perm=[1, 0])
        rows, scale = self._per_row(x)
        one, zero = self.floats("one", 1.0), self._zero_point()
        operands = [rows, turned, one, f"{weight}_scale", zero]
        return self.op("Mul", [self.ms("MatMulIntegerToFloat", operands), scale])

    def _exact(self, weight: str, n_rows: int, n_columns: int) -> str:
        # onnxruntime computes this once, at load, keeps what its matrix multiplication packs and
        # frees the rest; weights supplied as float32 would stay in memory twice.
        self.weight(weight, [n_rows, n_columns], int8=True)
        self.weight(f"{weight}_scale", [n_rows, 1])
        exact = self.op("Cast", [weight], to=self._onnx.TensorProto.FLOAT)
        return self.op("Mul", [exact, f"{weight}_scale"])

    def _per_row(self, x: str) -> tuple[str, str]:
        """Quantises (S, n) to uint8 of the same shape around 128, with scales (S, 1)."""
        if x not in self._quantised:
            peak = self.op("ReduceMax", [self.op("Abs", [x]), self.ints("last", [-1])], keepdims=0)
            scale = self.op("Mul", [peak, self.floats("per_level", 1.0 / _LEVELS)])
            scale = self.op("Max", [scale, self.floats("smallest", _SMALLEST)])  # (S,)
            zeros = self.op("Expand", [self._zero_point(), self.op("Shape", [scale])])
            rows = self.op("QuantizeLinear", [x, scale, zeros], axis=0)
            self._quantised[x] = rows, self.op("Unsqueeze", [scale, self.ints("last", [-1])])
        return self._quantised[x]

    def _zero_point(self) -> str:
        return self.constant("zero_point", np.array(128, dtype=np.uint8))

    def weight(self, name: str, shape: list[int], *, int8: bool = False) -> None:
        """Declares a tensor that the engine supplies at load."""
        kinds = self._onnx.TensorProto
        tensor = kinds(name=name, dims=shape)
        tensor.data_type = kinds.INT8 if int8 else kinds.FLOAT
        tensor.data_location = kinds.EXTERNAL
        tensor.external_data.add(key="location", value=AS_STORED)
        self._weights.append(tensor)

    def ints(self, name: str, values: list[int]) -> str:
        """An int64 vector."""
        return self.constant(name, np.array(values, dtype=np.int64))

    def floats(self, name: str, value: float) -> str:
        """A float32 number."""
        return self.constant(name, np.array(value, dtype=np.float32))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """A small tensor inside the graph; each name is stored once."""
        if all(tensor.name != name for tensor in self._weights):
            self._weights.append(self._onnx.numpy_helper.from_array(value, name))
        return name
