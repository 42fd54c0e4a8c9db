"""The entry point that vLLM calls in each of its processes (group vllm.general_plugins)."""

from __future__ import annotations

from typing import Final

ARCHITECTURE: Final = "P2LModel"


def register() -> None:
    """Registers the architecture; may be called repeatedly. The class is imported only if used."""
    from vllm import ModelRegistry

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, "p2l_model.engine.vllm.model:P2LModel")
