"""Where leaderboards come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from server.settings.fields import Section


class ScorerSettings(Section):
    """Where leaderboards come from: a checkpoint, or a constant."""

    checkpoint: str = "bundled"
    url: str | None = None
    fixed: dict[str, Annotated[float, Field(allow_inf_nan=False)]] | None = None
    engine: Literal["auto", "onnx", "torch", "vllm"] = "auto"
    on_failure: Literal["marginal", "error"] = "marginal"
    timeout_ms: PositiveInt = 2000

    @model_validator(mode="after")
    def _is_available(self) -> ScorerSettings:
        if self.url is not None:
            raise ValueError("url is not available in this version: name a checkpoint instead")
        if self.engine == "vllm":
            raise ValueError("engine vllm is not available in this version: use auto or torch")
        if self.fixed is not None and not self.fixed:
            raise ValueError("fixed needs at least one model with its coefficient")
        return self
