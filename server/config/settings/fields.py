"""What the sections share: types of amounts and durations, and a base class that refuses unknown
keys."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _exact(value: object) -> object:
    # YAML reads 2.5 as a binary float; its shortest form is what was written in the file.
    return repr(value) if isinstance(value, float) else value


def _non_negative(value: Decimal) -> Decimal:
    if not value.is_finite() or value < 0:
        raise ValueError("must be a finite amount of at least 0")
    return value


def _positive(value: Decimal) -> Decimal:
    if not value.is_finite() or value <= 0:
        raise ValueError("must be a finite amount above 0")
    return value


Usd = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_non_negative)]
PositiveUsd = Annotated[Decimal, BeforeValidator(_exact), AfterValidator(_positive)]
PositiveFactor = Annotated[
    Decimal, BeforeValidator(_exact), Field(gt=0, allow_inf_nan=False, title="number")
]
# Whether an effort that a request names pins the columns, or the router chooses among all of them.
EffortMode = Literal["caller", "route"]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A section of the configuration. Unknown keys are errors: a misspelt key must not be
    ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
