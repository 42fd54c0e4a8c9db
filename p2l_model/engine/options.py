"""The settings of an engine. An engine ignores those that it does not use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

DType = Literal["auto", "float32", "bfloat16", "float16"]
EngineKind = Literal["auto", "static", "onnx", "torch", "vllm"]
ENGINES: Final[tuple[EngineKind, ...]] = ("auto", "static", "onnx", "torch", "vllm")
DTYPES: Final[tuple[DType, ...]] = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """The settings of an engine.

    n_threads: the CPU threads per prompt, with one prompt at a time; 0: onnx uses one per prompt
    and one concurrent prompt per core but one, torch uses every core. dtype: of the backbone
    (torch, vllm); auto is float32 on a CPU and bfloat16 on a GPU. compile: whether torch.compile is
    used. batch_tokens: the most tokens of a batch, padding included. vllm_urls: vLLM servers;
    without any, vllm runs in this process, and vllm_args are further arguments of its LLM class.
    """

    n_threads: int = 0
    dtype: DType = "auto"
    compile: bool = False
    batch_tokens: int | None = None
    vllm_urls: tuple[str, ...] = ()
    vllm_args: Mapping[str, object] = field(default_factory=dict)
