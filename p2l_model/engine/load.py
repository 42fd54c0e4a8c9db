"""Chooses an engine by name."""

from __future__ import annotations

from p2l_model.checkpoint import GRAPH, Checkpoint
from p2l_model.engine.base import Engine
from p2l_model.errors import CheckpointError, ExtraMissingError


def load_engine(checkpoint: Checkpoint, kind: str = "auto", *, n_threads: int = 0) -> Engine:
    """onnx: the CPU engine; torch: torch on a GPU or a CPU; auto: onnx where the checkpoint has its
    graph, else torch.

    Raises CheckpointError, ExtraMissingError.
    """
    if kind == "onnx" or (kind == "auto" and (checkpoint.path / GRAPH).exists()):
        from p2l_model.engine.onnx_engine import OnnxEngine

        return OnnxEngine(checkpoint, n_threads=n_threads)
    if kind in ("auto", "torch"):
        return _torch_engine(checkpoint)
    raise CheckpointError(f"there is no engine {kind!r}: use auto, onnx or torch")


def _torch_engine(checkpoint: Checkpoint) -> Engine:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError("torch", "torch") from error
    from p2l_model.engine.torch_engine import TorchEngine

    return TorchEngine(checkpoint)
