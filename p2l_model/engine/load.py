"""Chooses an engine by name."""

from __future__ import annotations

from p2l_model.checkpoint.folder import GRAPH, Checkpoint
from p2l_model.checkpoint.manifest import STATIC
from p2l_model.engine.base import Engine
from p2l_model.engine.options import ENGINES, EngineOptions
from p2l_model.engine.static_engine import StaticEngine
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

    kind: static is for checkpoints with a table of token vectors; onnx is the CPU engine of the
    others; torch runs on a GPU or a CPU; vllm is vLLM, in this process or on servers; auto is
    static where the checkpoint is, onnx where it has its graph, else torch. Raises CheckpointError,
    ExtraMissingError.
    """
    chosen = options or EngineOptions(n_threads=n_threads)
    if kind == "auto":
        kind = _best_kind(checkpoint)
    if kind == "static":
        return StaticEngine(checkpoint)
    if kind == "onnx":
        return _onnx_engine(checkpoint, chosen)
    if kind == "torch":
        return _torch_engine(checkpoint, chosen)
    if kind == "vllm":
        return _vllm_engine(checkpoint, chosen)
    raise CheckpointError(f"there is no engine {kind!r}: use {', '.join(ENGINES)}")


def _best_kind(checkpoint: Checkpoint) -> str:
    if checkpoint.manifest.kind == STATIC:
        return "static"
    return "onnx" if (checkpoint.path / GRAPH).exists() else "torch"


def _needs_layers(checkpoint: Checkpoint, kind: str) -> None:
    """Raises CheckpointError for a static checkpoint."""
    if checkpoint.manifest.kind == STATIC:
        raise CheckpointError(
            f"{checkpoint.path} has a table of token vectors and no layers for the engine "
            f"{kind}: use auto or static"
        )


def _onnx_engine(checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    _needs_layers(checkpoint, "onnx")
    from p2l_model.engine.onnx_engine import OnnxEngine

    return OnnxEngine(checkpoint, n_threads=options.n_threads)


def _vllm_engine(checkpoint: Checkpoint, options: EngineOptions) -> Engine:
    _needs_layers(checkpoint, "vllm")
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
