"""The manifest of a checkpoint (p2l.json): all facts that serving it requires."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from p2l_model.errors import CheckpointError
from p2l_model.types import PreferenceFamily

Finite = Annotated[float, Field(allow_inf_nan=False)]
Pooling = Literal["mean", "max", "mean-max", "first", "last"]
Kind = Literal["network", "static"]
STATIC: Final = "static"
MEAN: Final = "mean"
MAX: Final = "max"
MEAN_MAX: Final = "mean-max"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Marginal(_Strict):
    """One leaderboard for all prompts, fitted on the checkpoint's own training votes.

    coefficients: one per model, natural log-odds. eta, gamma: raw, like the network's outputs.
    mean_output_tokens: of each model's answers in training, None where unknown.
    """

    coefficients: list[Finite]
    eta: Finite | None = None
    gamma: Finite | None = None
    mean_output_tokens: list[Finite | None] | None = None


class Onboarded(_Strict):
    """The origin of the row of a model that was added after training. n_votes: votes and graded
    answers of it that the row was learnt from."""

    n_votes: Annotated[int, Field(ge=0)]
    like: str | None = None


class Manifest(_Strict):
    """The content of p2l.json.

    kind: network, whose layers read the prompt; static, a table with one vector per token. pooling:
    each unit's mean or maximum over the positions, or both side by side (mean-max), or the state at
    the first position (an encoder's CLS) or at the last one. feature_layers: the hidden
    states whose pooled vectors are joined (-1: the last). quantization: how the backbone is stored;
    none: in its original type, which only torch reads. prompt_format_hash: SHA-256 over the prompt
    format and the tokenizer. temperature: served coefficient = raw coefficient / temperature.
    length_sigma: per model the spread of log output tokens, None where unknown; the expected number
    is exp(mu + sigma^2 / 2). scored: per model whether the score head knows it, None without a
    score head. onboarded: models added after training, whose rows have a variance.
    """

    version: Literal[1] = 1
    kind: Kind = "network"
    family: PreferenceFamily
    backbone: str
    pooling: Pooling = "mean"
    feature_layers: list[int] = [-1]
    max_tokens: Annotated[int, Field(ge=8)]
    prompt_format: str
    prompt_format_hash: str
    models: list[str]
    quantization: Literal["int8-rows", "none"] = "int8-rows"
    engine_precision: Literal["fp32", "int8"] = "fp32"
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    marginal: Marginal
    length_sigma: list[Finite | None] | None = None
    scored: list[bool] | None = None
    onboarded: dict[str, Onboarded] = Field(default_factory=dict)
    training_data: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)

    @property
    def scored_models(self) -> frozenset[str]:
        """The models whose graded scores are predicted."""
        known = self.scored or [False] * len(self.models)
        return frozenset(m for m, scored in zip(self.models, known, strict=True) if scored)

    @model_validator(mode="after")
    def _counts_agree(self) -> Manifest:
        n_models = len(self.models)
        if n_models == 0 or len(set(self.models)) != n_models:
            raise ValueError("models must be at least one, each named once")
        if len(self.marginal.coefficients) != n_models:
            raise ValueError("marginal.coefficients must be one per model")
        if self.length_sigma is not None and len(self.length_sigma) != n_models:
            raise ValueError("length_sigma must be one per model")
        if self.scored is not None and len(self.scored) != n_models:
            raise ValueError("scored must be one per model")
        return self


def feature_width(hidden_size: int, feature_layers: Sequence[int], pooling: str) -> int:
    """The number of features that such a backbone gives to the heads, or to the trunk."""
    return hidden_size * len(feature_layers) * (2 if pooling == MEAN_MAX else 1)


def parse_manifest(text: str, source: str) -> Manifest:
    """Reads a manifest. Raises CheckpointError that names the file and the field."""
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{source}: {field}: {first['msg']}") from error
