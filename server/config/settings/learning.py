"""The settings for what is learnt from the answers of this gateway."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, PositiveInt

from server.config.settings.fields import PositiveSeconds, Section, Usd

_Days = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LearningSettings(Section):
    """What is learnt from grades and comparisons of this gateway's own answers.

    local: whether what was learnt moves the models' values. share: the share of live requests that
    a second model answers as well, after the caller has its answer, so that both can be graded; 0
    for none. usd_per_day: what these second answers and their grades may cost in a day; 0 for
    nothing. judge: the model that grades them; default: none, and no second model is asked.
    half_life_days: after how many days an answer counts for half, since models change under their
    names. min_answers: from how many answers on all requests are decided by them.
    min_own_answers: from how many of its own a profile or a key is decided by its own too, where
    profiles or keys differ. own_layers_of: the names of the keys for which this holds; default:
    all. every_s: how often new feedback is learnt, in seconds.
    """

    local: bool = True
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    usd_per_day: Usd = Decimal(0)
    judge: str | None = None
    half_life_days: _Days = 60.0
    min_answers: PositiveInt = 20
    min_own_answers: PositiveInt = 10
    own_layers_of: list[str] | None = None
    every_s: PositiveSeconds = 60.0
