"""The settings of a training run: a YAML file, overridden by the flags of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from p2l_model.checkpoint.manifest import STATIC, Pooling
from p2l_model.data.files import VoteTable
from p2l_model.data.soft_labels import balanced
from p2l_model.errors import DataError
from p2l_model.types import PreferenceFamily

Penalty = Annotated[float, Field(gt=0, allow_inf_nan=False)]


Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(gt=0)]


class TrunkConfig(BaseModel):
    """A hidden layer under the heads.

    hidden: the units of a member. votes_per_prompt: of a prompt with more votes about so many are
    drawn in each epoch, which saves time; without it all count each time. members: how many
    networks, each with its own seed, are averaged. length_weight: the weight of the squared error
    of the (standardised) log lengths, relative to the log-loss. score_weight: the weight of the
    cross-entropy of graded scores; at 0 the score heads are fitted afterwards, on the trunk that
    the preferences made. stranger_weight: the weight of a penalty on models that the prompt's
    source has no votes on, or that no chain of votes compares with those of the prompt: the squared
    distance of their rows' outputs from where they belong. place_scale: that is the others' mean,
    and above it this much (in natural log-odds) for each unit of the strength by which their places
    (from published results, family and date) lie above theirs; 0: the mean. place_stiffness: how
    much this worth of a place is held against what the prompt's known models say it is worth there,
    in squares of place; without it it is the same everywhere. blanks: how many prompts of random
    tokens are made, on which all models are drawn to their places, at the same weight. teacher: a
    checkpoint whose predictions make up teacher_share of the targets of votes and graded scores, on
    prompts of teacher_sources, or of all without them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: Count = 192
    members: Count = 3
    epochs: Count = 20
    batch_prompts: Count = 256
    votes_per_prompt: Count | None = None
    input_dropout: Share = 0.5
    dropout: Share = 0.3
    learning_rate: Penalty = 5e-4
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.05
    length_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.3
    score_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    stranger_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    place_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    place_stiffness: Penalty | None = None
    blanks: Annotated[int, Field(ge=0)] = 0
    teacher: str | None = None
    teacher_share: Share = 0.5
    teacher_sources: list[str] | None = None


class StaticConfig(BaseModel):
    """The table of token vectors of `base: static`.

    source: the encoder or decoder that it is taken from: minilm, smollm2 or a folder. layers: 0 is
    its table of word vectors; of another layer each token has its mean output over the training
    prompts. The layers are joined. prompts: how many of the training prompts are read for these
    means. alone: a token's output without a prompt counts like so many occurrences. importance: a
    in a / (a + p), how much a token counts in a prompt's mean, where p is its share of all tokens;
    without it all count alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = "minilm"
    layers: list[Annotated[int, Field(ge=0)]] = [0]
    prompts: Count = 10_000
    alone: Penalty = 3.0
    importance: Penalty | None = None


class FinetuneConfig(BaseModel):
    """The fine-tuning of the backbone, before the heads are fitted.

    method: all weights, or LoRA (with alpha twice its rank). patience: the epochs without an
    improvement on validation before it stops. precision: mixed precision, on hardware that has it.
    save_batches: the state is saved after this many batches, and after each epoch. accumulate:
    batches per update. learning_rate: of the backbone; both learning rates rise during the share
    warm_up of all updates and then fall as a cosine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["full", "lora"] = "full"
    epochs: Count = 3
    batch_prompts: Count = 32
    accumulate: Count = 1
    learning_rate: Penalty = 2e-5
    head_learning_rate: Penalty = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    warm_up: Share = 0.1
    precision: Literal["no", "bf16", "fp16"] = "no"
    patience: Count = 2
    save_batches: Count = 200
    lora_rank: Count = 8
    lora_dropout: Share = 0.05


class TrainConfig(BaseModel):
    """All settings.

    l2: penalties to choose from on validation. l2_common: the penalty on the weights common to all
    models. balance: votes weigh 1 / (votes on their prompt) ** balance, and likewise by the prompts
    of their source and source_balance, so that a large source does not drown the others;
    source_weights: a factor on top, by the source's name. bare_names: whether models lose the
    vendor and the host in their names. length_l2: the penalty of the length head.
    validation_fraction: the share of the prompts, where no validation files are given. trunk: a
    hidden layer under all heads; without it the heads are linear in the features, and l2,
    l2_common, length_l2 and max_steps control their fit. finetune: settings for the backbone, which
    stays frozen without them. static: the table of `base: static`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: PreferenceFamily = PreferenceFamily.GRK
    base: str = "minilm"
    feature_layers: list[int] = [-1]
    pooling: Pooling = "mean"
    max_tokens: Annotated[int, Field(ge=8)] = 512
    engine_precision: Literal["fp32", "int8"] = "fp32"
    l2: list[Penalty] = [0.01, 0.03, 0.1]
    l2_common: Penalty = 0.03
    balance: Annotated[float, Field(ge=0, le=1)] = 0.5
    source_balance: Annotated[float, Field(ge=0, le=1)] = 0.0
    source_weights: dict[str, Penalty] = {}
    bare_names: bool = False
    length_l2: Penalty = 0.3
    max_steps: Annotated[int, Field(gt=0)] = 400
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    seed: int = 0
    trunk: TrunkConfig | None = None
    finetune: FinetuneConfig | None = None
    static: StaticConfig = StaticConfig()

    def weighted(self, votes: VoteTable) -> VoteTable:
        """The votes with the weights of training."""
        return balanced(votes, self.balance, self.source_balance, self.source_weights)

    @model_validator(mode="after")
    def _fits_the_base(self) -> TrainConfig:
        if self.base == STATIC and self.finetune is not None:
            raise ValueError("finetune needs layers: base static has only a table of vectors")
        if self.base != STATIC and self.trunk is not None and self.trunk.blanks > 0:
            raise ValueError("trunk.blanks needs base static: layers read tokens in their order")
        return self


def load_train_config(path: Path | None, overrides: dict[str, Any]) -> TrainConfig:
    """Reads the settings. overrides: values that are not None override the file. Raises DataError
    that names the key."""
    stored = {} if path is None else _stored(path)
    if not isinstance(stored, dict):
        raise DataError(f"{path} must hold keys such as family and l2")
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return TrainConfig.model_validate(stored | given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path or 'training options'}: {key}: {first['msg']}") from error


def _stored(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    # A ValueError is of the encoding, or of a value such as the 30th of February.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
