"""A checkpoint's backbone as a vLLM pooling model: the last token's hidden state, in float32.

The heads are computed outside vLLM, in one place for all engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.layers.pooler import DispatchPooler, Pooler
from vllm.model_executor.models.llama import LlamaModel
from vllm.model_executor.models.qwen2 import Qwen2Model
from vllm.model_executor.models.utils import AutoWeightsLoader, maybe_prefix

_BACKBONES = {"qwen2": Qwen2Model, "llama": LlamaModel}
# The heads and the rows added by onboarding: not read by vLLM.
_OURS = ("head.", "onboarded.")


class _LastState(Pooler):  # type: ignore[misc]  # vllm is not installed where types are checked
    """Takes the last position; no special id is looked for, so that a CLS in the text changes
    nothing."""

    def get_supported_tasks(self) -> set[str]:
        return {"classify"}

    def forward(self, hidden_states: Tensor, pooling_metadata: Any) -> Tensor:
        """(tokens, H) -> (requests, H)."""
        last = pooling_metadata.pooling_cursor.last_token_indices_gpu
        return hidden_states[last].float()


class P2LModel(nn.Module):
    """The backbone. Raises ValueError for an architecture that is not in the table above."""

    is_pooling_model: ClassVar = True
    default_seq_pooling_type: ClassVar = "LAST"
    default_tok_pooling_type: ClassVar = "ALL"
    packed_modules_mapping: ClassVar = {
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        kind = vllm_config.model_config.hf_config.model_type
        if kind not in _BACKBONES:
            raise ValueError(f"the vLLM engine has no backbone {kind!r}: {', '.join(_BACKBONES)}")
        self.model = _BACKBONES[kind](vllm_config=vllm_config, prefix=maybe_prefix(prefix, "model"))
        self.make_empty_intermediate_tensors = self.model.make_empty_intermediate_tensors
        self.pooler = DispatchPooler({"classify": _LastState()})

    def embed_input_ids(self, input_ids: Tensor) -> Tensor:
        """(tokens,) -> (tokens, H)."""
        embedded: Tensor = self.model.embed_input_ids(input_ids)
        return embedded

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
    ) -> Any:
        """The hidden states (tokens, H) after the final norm."""
        return self.model(input_ids, positions, intermediate_tensors, inputs_embeds)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Loads the weights and returns their names. vLLM reports missing and unknown ones."""
        backbone = ((name, w) for name, w in weights if not name.startswith(_OURS))
        loaded: set[str] = AutoWeightsLoader(self).load_weights(exact_weights(backbone))
        return loaded


def exact_weights(weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Multiplies int8 rows by their scales, whichever of the two comes first."""
    waiting: dict[str, Tensor] = {}
    for name, tensor in weights:
        if tensor.dtype != torch.int8 and not name.endswith("_scale"):
            yield name, tensor
            continue
        partner = waiting.pop(name.removesuffix("_scale"), None)
        if partner is None:
            waiting[name.removesuffix("_scale")] = tensor
            continue
        rows, scale = (partner, tensor) if tensor.ndim == 1 else (tensor, partner)
        yield name.removesuffix("_scale"), rows.float() * scale[:, None]
