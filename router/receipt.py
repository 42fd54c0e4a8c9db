"""A decision's receipt: a JSON document from which the decision can be recomputed bit for bit.

It holds all inputs (leaderboard, catalogue, request, seed, draw) and all results of every attempt,
and no word of the prompt. Amounts of money are strings with all their digits; other numbers are
JSON numbers, which keep every bit of a float; unknown values are null.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic import ValidationError

from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard
from router.choice import decide
from router.constrained import SlowLane
from router.errors import RouterError
from router.receipt_form import (
    VERSION,
    Attempt,
    cards_adapter,
    decision_json,
    digest,
    fold,
    requests_adapter,
    unfold_decision,
)

__all__ = ["Attempt", "InvalidReceiptError", "Replay", "build_receipt", "replay"]

# An attempt that failed took a draw too: this many draws are searched for each attempt's.
_DRAWS_PER_ATTEMPT: Final = 8
# What is said in words may be said otherwise by a later version.
_WORDS: Final = frozenset({"reason", "explanation", "lane_note", "kept_note"})


class InvalidReceiptError(RouterError):
    """The document is not a receipt, or not one of this version."""


class Replay(NamedTuple):
    """The result of a replay.

    models: the model that each attempt's decision yields now. differences: "path: recorded, now
    other" for each value that differs from the receipt; empty where all agree.
    """

    models: list[str]
    differences: list[str]


def build_receipt(
    leaderboard: PromptLeaderboard,
    catalogue: Sequence[ModelCard],
    attempts: Sequence[Attempt],
    *,
    seed: int | None,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the receipt of a request.

    attempts: all attempts, in order. seed: of the draws, None where there was no seed. about: who
    and when (request_id, created, checkpoint, ...); it is copied to the top level as it is.
    """
    return fold(leaderboard, catalogue, attempts, seed=seed, about=about).unfolded()


def replay(receipt: Mapping[str, Any], slow_lane: SlowLane | None = None) -> Replay:
    """Computes the receipt's decisions again and compares them with the recorded ones.

    slow_lane: solves requests with constraints. Raises InvalidReceiptError; RouterError where a
    decision is now refused.
    """
    if receipt.get("object") != "receipt" or receipt.get("version") != VERSION:
        raise InvalidReceiptError(f"This is not a receipt of version {VERSION}.")
    try:
        leaderboard = _leaderboard_from(receipt["leaderboard"])
        catalogue = cards_adapter().validate_python(receipt["catalogue"])
        attempts, seed = list(receipt["attempts"]), receipt["seed"]
        requests = [requests_adapter().validate_python(attempt["request"]) for attempt in attempts]
        draws = [float(attempt["draw"]) for attempt in attempts]
        recorded = [attempt["decision"] for attempt in attempts]
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise InvalidReceiptError(f"The receipt is damaged: {_first_line(error)}") from error
    differences = list(_draws_differ(draws, seed))
    models = []
    for k, request in enumerate(requests):
        decision = decide(leaderboard, catalogue, request, _Recorded(draws[k]), slow_lane)
        models.append(decision.model)
        again = unfold_decision(decision_json(decision), attempts[k]["request"])
        differences += _differences(recorded[k], again, f"attempts[{k}]")
    if receipt.get("catalogue_version") != digest(receipt["catalogue"]):
        differences.append("catalogue_version: not that of the catalogue in the receipt")
    return Replay(models, differences)


class _Recorded(random.Random):
    """A generator that returns the recorded draw."""

    def __init__(self, draw: float) -> None:
        super().__init__(0)
        self._draw = draw

    def random(self) -> float:
        return self._draw


def _leaderboard_from(stored: Mapping[str, Any]) -> PromptLeaderboard:
    coefficients = _array(stored["coefficients"])
    if coefficients is None:
        raise ValueError("leaderboard.coefficients is null")
    board = PromptLeaderboard(
        family=PreferenceFamily(stored["family"]),
        models=tuple(stored["models"]),
        coefficients=coefficients,
        eta=stored["eta"],
        gamma=stored["gamma"],
        expected_output_tokens=_array(stored["expected_output_tokens"]),
        expected_scores=_array(stored["expected_scores"]),
        variance=_array(stored.get("variance")),
    )
    numbers = (board.expected_output_tokens, board.expected_scores, board.variance)
    for array in (coefficients, *numbers):
        if array is not None and array.size != len(board.models):
            raise ValueError("leaderboard has not one number per model")
    return board


def _draws_differ(draws: Sequence[float], seed: int | None) -> Iterator[str]:
    """Each recorded draw must be one of the seed's, in order."""
    if seed is None:
        return
    rng = random.Random(seed)
    stream = [rng.random() for _ in range(_DRAWS_PER_ATTEMPT * max(1, len(draws)))]
    start = 0
    for k, draw in enumerate(draws):
        if draw not in stream[start:]:
            yield f"attempts[{k}].draw: {draw!r} is not a draw of the seed {seed}"
            return
        start = stream.index(draw, start) + 1


def _differences(recorded: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(recorded, Mapping) and isinstance(now, Mapping):
        for key in sorted({*recorded, *now} - _WORDS):
            yield from _differences(recorded.get(key), now.get(key), f"{path}.{key}")
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for k, (then, again) in enumerate(zip(recorded, now, strict=True)):
            yield from _differences(then, again, f"{path}[{k}]")
    elif recorded != now:
        yield f"{path}: recorded {recorded!r}, now {now!r}"


def _array(stored: Sequence[float | None] | None) -> FloatArray | None:
    if stored is None:
        return None
    return np.array([math.nan if v is None else v for v in stored], dtype=np.float64)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
