"""vLLM in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import Checkpoint
from p2l_model.engine.base import EngineLimits
from p2l_model.engine.options import EngineOptions
from p2l_model.engine.vllm.launch import check_servable, max_model_len, overrides
from p2l_model.errors import CheckpointError, ExtraMissingError, ScoringError

_BATCH_TOKENS: Final = 32_768
_BATCH_PROMPTS: Final = 256
_WAIT_MS: Final = 2.0


class VllmEngine:
    """vLLM makes its own batches without padding, and caches the keys and values of prefixes."""

    def __init__(self, checkpoint: Checkpoint, options: EngineOptions) -> None:
        """options.vllm_args override the arguments chosen here. Raises CheckpointError,
        ExtraMissingError."""
        check_servable(checkpoint)
        try:
            from vllm import LLM
        except ImportError as error:
            raise ExtraMissingError("vllm", "vllm") from error
        from vllm.platforms import current_platform

        self._on_cpu = current_platform.is_cpu()
        self._batch_tokens = options.batch_tokens or _BATCH_TOKENS
        chosen = "float32" if self._on_cpu else "bfloat16"
        arguments: dict[str, Any] = {
            "dtype": chosen if options.dtype == "auto" else options.dtype,
            "max_model_len": max_model_len(checkpoint),
            "hf_overrides": overrides(checkpoint),
            # On a CPU compiling takes a minute and brings no gain; on a GPU it makes CUDA graphs.
            "enforce_eager": self._on_cpu,
            "skip_tokenizer_init": True,
            "disable_log_stats": True,
            **options.vllm_args,
        }
        try:
            self._llm = LLM(model=str(checkpoint.path), runner="pooling", **arguments)
        except Exception as error:  # of any type: pydantic's, RuntimeError, OSError
            raise CheckpointError(f"{checkpoint.path}: vLLM does not start: {error}") from error
        self._longest = checkpoint.max_tokens

    @property
    def limits(self) -> EngineLimits:
        """The limits; on a CPU a batch brings no gain."""
        if self._on_cpu:
            return EngineLimits(batch_tokens=1, batch_prompts=1)
        return EngineLimits(self._batch_tokens, _BATCH_PROMPTS, _WAIT_MS)

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Features (B, F) of B prompts given as token ids. Raises ScoringError."""
        prompts = [{"prompt_token_ids": list(ids)} for ids in batch]
        try:
            outputs = self._llm.encode(prompts, pooling_task="classify", use_tqdm=False)
        except Exception as error:  # vLLM's errors have no common base
            raise ScoringError("vLLM failed on a batch") from error
        return np.stack([np.asarray(output.outputs.data, dtype=np.float32) for output in outputs])

    def warm_up(self) -> None:
        """Scores a short prompt and one of the greatest length."""
        self.features([[0] * 8])
        self.features([[0] * self._longest])

    def close(self) -> None:
        """Ends vLLM's processes."""
        engine = getattr(self._llm.llm_engine, "engine_core", None)
        if engine is not None:
            engine.shutdown()
        del self._llm
