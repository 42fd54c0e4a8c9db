"""Converts leaderboards to JSON and back, for the model service and the gateway's scorer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from p2l_model.errors import ScoringError
from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard


def board_to_wire(board: PromptLeaderboard) -> dict[str, Any]:
    """A leaderboard without names and family, which are the same for all prompts; null where
    unknown."""
    return {
        "coefficients": board.coefficients.tolist(),
        "eta": board.eta,
        "gamma": board.gamma,
        "expected_output_tokens": _nullable(board.expected_output_tokens),
        "expected_scores": _nullable(board.expected_scores),
        "variance": _nullable(board.variance),
    }


def board_from_wire(
    item: object, models: Sequence[str], family: PreferenceFamily
) -> PromptLeaderboard:
    """The leaderboard of a JSON object. Raises ScoringError where it is not what board_to_wire
    makes for these models."""
    if not isinstance(item, Mapping):
        raise ScoringError("the model service sent something that is not a leaderboard")
    coefficients = _row(item, "coefficients", len(models))
    if coefficients is None or not np.all(np.isfinite(coefficients)):
        raise ScoringError("the model service sent coefficients that are not finite numbers")
    return PromptLeaderboard(
        family=family,
        models=tuple(models),
        coefficients=coefficients,
        eta=_number(item, "eta"),
        gamma=_number(item, "gamma"),
        expected_output_tokens=_row(item, "expected_output_tokens", len(models)),
        expected_scores=_row(item, "expected_scores", len(models)),
        variance=_row(item, "variance", len(models)),
    )


def names_from_wire(body: Mapping[str, Any]) -> tuple[tuple[str, ...], PreferenceFamily]:
    """The models and the family in an answer. Raises ScoringError."""
    models = body.get("models")
    if not isinstance(models, list) or not all(isinstance(name, str) for name in models):
        raise ScoringError("the model service named no models")
    try:
        return tuple(models), PreferenceFamily(str(body.get("family")))
    except ValueError as error:
        raise ScoringError("the model service named a family that is not known here") from error


def _nullable(values: FloatArray | None) -> list[float | None] | None:
    if values is None:
        return None
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _row(item: Mapping[str, Any], field: str, size: int) -> FloatArray | None:
    """A row of numbers, shape (M,), with NaN for null."""
    values = item.get(field)
    if values is None:
        return None
    try:
        row = np.array([math.nan if v is None else v for v in values], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ScoringError(f"the model service sent {field} that are not numbers") from error
    if row.shape != (size,):
        raise ScoringError(f"the model service sent {field} for another number of models")
    return row


def _number(item: Mapping[str, Any], field: str) -> float | None:
    value = item.get(field)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ScoringError(f"the model service sent an {field} that is not a finite number")
    return float(value)
