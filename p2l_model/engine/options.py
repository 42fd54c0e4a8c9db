"""How an engine is set up. What an engine has no use for, it ignores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

DType = Literal["auto", "float32", "bfloat16", "float16"]
DTYPES: Final[tuple[DType, ...]] = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """n_threads: of a CPU engine, for each prompt, one prompt at a time; 0: onnx takes one for each
    and as many prompts at a time as there are cores but one, torch every core. dtype: of the
    backbone (torch, vllm); auto is float32 on a CPU and bfloat16 on a GPU. compile: torch.compile.
    batch_tokens: the most tokens of a batch, padding included. vllm_urls: vLLM servers; without
    any, vllm runs in this process, with vllm_args as further arguments of its LLM class."""

    n_threads: int = 0
    dtype: DType = "auto"
    compile: bool = False
    batch_tokens: int | None = None
    vllm_urls: tuple[str, ...] = ()
    vllm_args: Mapping[str, object] = field(default_factory=dict)
