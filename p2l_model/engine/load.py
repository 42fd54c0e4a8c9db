"""Chooses an engine by name."""

from __future__ import annotations

from p2l_model.checkpoint.folder import GRAPH, Checkpoint
from p2l_model.engine.base import Engine
from p2l_model.engine.options import EngineOptions
from p2l_model.errors import CheckpointError, ExtraMissingError

__all__ = ["EngineOptions", "load_engine"]


def load_engine(
    checkpoint: Checkpoint,
    kind: str = "auto",
    options: EngineOptions | None = None,
    *,
    n_threads: int = 0,
) -> Engine:
    """Loads an engine.

    kind: onnx is the CPU engine; torch runs on a GPU or a CPU; vllm is vLLM, in this process or on
    servers; auto is onnx where the checkpoint has its graph, else torch. Raises CheckpointError,
    ExtraMissingError.
    """
    chosen = options or EngineOptions(n_threads=n_threads)
    if kind == "auto":
        kind = "onnx" if (checkpoint.path / GRAPH).exists() else "torch"
    if kind == "onnx":
        from p2l_model.engine.onnx_engine import OnnxEngine

        return OnnxEngine(checkpoint, n_threads=chosen.n_threads)
    if kind == "torch":
        return _torch_engine(checkpoint, chosen)
    if kind == "vllm":
        return _vllm_engine(checkpoint, chosen)
    raise CheckpointError(f"there is no engine {kind!r}: use auto, onnx, torch or vllm")


def _vllm_engine(checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    if options.vllm_urls:
        from p2l_model.engine.vllm.server import VllmServerEngine

        return VllmServerEngine(checkpoint, options)
    from p2l_model.engine.vllm.offline import VllmEngine

    return VllmEngine(checkpoint, options)


def _torch_engine(checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError("torch", "torch") from error
    from p2l_model.engine.torch_engine import TorchEngine

    return TorchEngine(checkpoint, options)
