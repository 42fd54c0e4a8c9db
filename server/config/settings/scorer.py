"""The settings for the source of leaderboards."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from p2l_model.checkpoint.bundled_names import BUNDLED, BUNDLED_HIGH
from p2l_model.engine.options import DType, EngineKind, EngineOptions
from server.config.settings.fields import Section


class ScorerSettings(Section):
    """Where leaderboards come from: a checkpoint in this process, model services, or a constant.

    checkpoint: the checkpoint's name or folder. quality: which of the bundled checkpoints: fast has
    static features (0.1 to 0.4 ms of CPU for each prompt), high has an encoder (2 to 30 ms). url:
    the model service, or a list of its replicas; checkpoint may then name what they serve, and is
    read at start. api_key_env: the variable that holds the key of the model service. fixed: a
    constant leaderboard: model -> coefficient. engine: what computes the backbone. on_failure: what
    happens where scoring fails: the marginal leaderboard is used, or the request fails. timeout_ms:
    how long scoring may take before the marginal leaderboard is used. max_tokens: how many tokens
    at the end of a prompt are read, where that is less than the checkpoint's own limit. cache_size:
    how many leaderboards are cached; 0: none. threads: CPU threads for each prompt, with one prompt
    at a time; 0: one thread for each prompt, and as many prompts at a time as there are cores but
    one. dtype: the number format of the backbone (torch, vllm). compile: whether torch.compile is
    used. batch_tokens: the largest batch in tokens, including padding. vllm_urls: vLLM servers;
    without any, vllm runs in this process. vllm_args: further arguments of vLLM's LLM class.
    """

    checkpoint: str = BUNDLED
    quality: Literal["fast", "high"] = "fast"
    url: str | list[str] | None = None
    api_key_env: str | None = None
    fixed: dict[str, Annotated[float, Field(allow_inf_nan=False)]] | None = None
    engine: EngineKind = "auto"
    on_failure: Literal["marginal", "error"] = "marginal"
    timeout_ms: PositiveInt = 2000
    max_tokens: Annotated[int, Field(ge=8)] | None = None
    cache_size: NonNegativeInt = 4096
    threads: NonNegativeInt = 0
    dtype: DType = "auto"
    compile: bool = False
    batch_tokens: PositiveInt | None = None
    vllm_urls: list[str] = Field(default_factory=list)
    vllm_args: dict[str, Any] = Field(default_factory=dict)

    @field_validator("url", "vllm_urls")
    @classmethod
    def _are_addresses(cls, value: str | list[str] | None) -> str | list[str] | None:
        urls = [value] if isinstance(value, str) else value
        if urls is None or (urls == [] and value == []):
            return value
        for url in urls:
            if not url.startswith(("http://", "https://")) or len(url.split("//")[1]) == 0:
                raise ValueError(f"{url!r} must begin with http:// or https:// and name a host")
        if len(set(urls)) != len(urls):
            raise ValueError("names the same address twice")
        return value

    @model_validator(mode="after")
    def _is_one_thing(self) -> ScorerSettings:
        if self.url == []:
            raise ValueError("url needs at least one address, or leave it out")
        if self.url is not None and self.fixed is not None:
            raise ValueError("give url or fixed, not both")
        if self.fixed is not None and not self.fixed:
            raise ValueError("fixed needs at least one model with its coefficient")
        if self.api_key_env is not None and self.url is None:
            raise ValueError("api_key_env is used only with url, which is not given")
        return self

    @model_validator(mode="after")
    def _quality_is_of_the_bundled(self) -> ScorerSettings:
        if self.quality == "high" and self.checkpoint != BUNDLED:
            raise ValueError(
                f"quality chooses between the bundled checkpoints, and checkpoint is "
                f"{self.checkpoint!r}: leave one of the two out"
            )
        return self

    @property
    def checkpoint_name(self) -> str:
        """The name or folder of the checkpoint, for `resolve_checkpoint`."""
        return BUNDLED_HIGH if self.quality == "high" else self.checkpoint

    @property
    def urls(self) -> list[str]:
        """The URLs of the model services; empty for a scorer in this process."""
        return [self.url] if isinstance(self.url, str) else list(self.url or ())

    @property
    def engine_options(self) -> EngineOptions:
        """The options of the engine in this process."""
        return EngineOptions(
            n_threads=self.threads,
            dtype=self.dtype,
            compile=self.compile,
            batch_tokens=self.batch_tokens,
            vllm_urls=tuple(self.vllm_urls),
            vllm_args=self.vllm_args,
        )
