"""A decision's receipt: a JSON document from which it is computed again, bit for bit.

It holds all that went in (leaderboard, catalogue, request, seed, draw) and all that came out, of
every attempt, and no word of the prompt. Money is text with its exact digits; other numbers are
JSON numbers, which keep a float's every bit; what is not known is null.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard
from router.constrained import SlowLane
from router.decide import decide
from router.decision import Alternative, Decision
from router.errors import RouterError
from router.request import RoutingRequest

VERSION: Final = 1
# An attempt that came to nothing took a draw too: so many are looked through for the next.
_DRAWS_PER_ATTEMPT: Final = 8


class InvalidReceiptError(RouterError):
    """The document is not a receipt, or not one of this version."""


class Attempt(NamedTuple):
    """decision: as the router gave it. failure: what became of it, None where it was answered."""

    decision: Decision
    failure: str | None = None


class Replay(NamedTuple):
    """models: what each attempt is decided to be, again. differences: where the receipt says
    otherwise, as "path: recorded, now other"; none where all is the same."""

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
    """The document. seed: of the draws, None where they came without one. about: who and when
    (request_id, created, checkpoint, ...), kept as given at the top."""
    cards, digest = _catalogue_json(_Same(catalogue))
    return {
        "object": "receipt",
        "version": VERSION,
        **about,
        "catalogue_version": digest,
        "seed": seed,
        "leaderboard": _leaderboard_json(leaderboard),
        "catalogue": cards,
        "attempts": [_attempt_json(attempt) for attempt in attempts],
    }


def replay(receipt: Mapping[str, Any], slow_lane: SlowLane | None = None) -> Replay:
    """Decides again. slow_lane: for requests with constraints. Raises InvalidReceiptError,
    RouterError where a decision is now refused."""
    if receipt.get("object") != "receipt" or receipt.get("version") != VERSION:
        raise InvalidReceiptError(f"This is not a receipt of version {VERSION}.")
    try:
        leaderboard = _leaderboard_from(receipt["leaderboard"])
        catalogue = _cards().validate_python(receipt["catalogue"])
        attempts, seed = list(receipt["attempts"]), receipt["seed"]
        requests = [_requests().validate_python(attempt["request"]) for attempt in attempts]
        draws = [float(attempt["draw"]) for attempt in attempts]
        recorded = [attempt["decision"] for attempt in attempts]
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise InvalidReceiptError(f"The receipt is damaged: {_first_line(error)}") from error
    differences = list(_draws_differ(draws, seed))
    models = []
    for k, request in enumerate(requests):
        decision = decide(leaderboard, catalogue, request, _Recorded(draws[k]), slow_lane)
        models.append(decision.model)
        differences += _differences(recorded[k], _decision_json(decision), f"attempts[{k}]")
    if receipt.get("catalogue_version") != _digest(receipt["catalogue"]):
        differences.append("catalogue_version: not that of the catalogue in the receipt")
    return Replay(models, differences)


class _Recorded(random.Random):
    """Draws what was drawn then."""

    def __init__(self, draw: float) -> None:
        super().__init__(0)
        self._draw = draw

    def random(self) -> float:
        return self._draw


@cache
def _cards() -> TypeAdapter[tuple[ModelCard, ...]]:
    return TypeAdapter(tuple[ModelCard, ...])


@cache
def _requests() -> TypeAdapter[RoutingRequest]:
    return TypeAdapter(RoutingRequest)


class _Same:
    """Cards, equal only where they are the same objects: cards are dear to hash."""

    __slots__ = ("_ids", "cards")

    def __init__(self, cards: Sequence[ModelCard]) -> None:
        self.cards = tuple(cards)
        self._ids = tuple(map(id, self.cards))

    def __hash__(self) -> int:
        return hash(self._ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._ids == other._ids


@lru_cache(maxsize=16)
def _catalogue_json(catalogue: _Same) -> tuple[Any, str]:
    """The same few catalogues come again and again."""
    cards = _cards().dump_python(catalogue.cards, mode="json")
    return cards, _digest(cards)


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    decision = attempt.decision
    return {
        "request": _requests().dump_python(decision.request, mode="json"),
        "draw": decision.draw,
        "decision": _decision_json(decision),
        "failure": attempt.failure,
    }


def _decision_json(decision: Decision) -> dict[str, Any]:
    return {
        "model": decision.model,
        "mix": {name: _number(share) for name, share in decision.mix.items()},
        "objective": decision.objective.value,
        "value": _number(decision.value),
        "mix_value": _number(decision.mix_value),
        "win_rate": _number(decision.win_rate),
        "mix_win_rate": _number(decision.mix_win_rate),
        "expected_cost_usd": _money(decision.expected_cost_usd),
        "mix_expected_cost_usd": _money(decision.mix_expected_cost_usd),
        "coefficient": _number(decision.coefficient),
        "shadow_price": _number(decision.shadow_price),
        "usd_per_win": _money(decision.usd_per_win),
        "max_output_tokens": decision.max_output_tokens,
        "worst_case_cost_usd": _money(decision.worst_case_cost_usd),
        "lane": decision.lane,
        "lane_note": decision.lane_note,
        "alternatives": [_alternative_json(row) for row in decision.alternatives],
        "explanation": decision.explanation,
    }


def _alternative_json(row: Alternative) -> dict[str, Any]:
    shown = dict(zip(Alternative._fields, row, strict=True))
    shown["expected_cost_usd"] = _money(row.expected_cost_usd)
    return shown


def _leaderboard_json(board: PromptLeaderboard) -> dict[str, Any]:
    return {
        "family": board.family.value,
        "models": list(board.models),
        "coefficients": _numbers(board.coefficients),
        "eta": board.eta,
        "gamma": board.gamma,
        "expected_output_tokens": _numbers(board.expected_output_tokens),
        "expected_scores": _numbers(board.expected_scores),
    }


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
    )
    for array in (coefficients, board.expected_output_tokens, board.expected_scores):
        if array is not None and array.size != len(board.models):
            raise ValueError("leaderboard has not one number per model")
    return board


def _draws_differ(draws: Sequence[float], seed: int | None) -> Iterator[str]:
    """Each recorded draw must be among the seed's, in order."""
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
        for key in sorted({*recorded, *now}):
            yield from _differences(recorded.get(key), now.get(key), f"{path}.{key}")
    elif isinstance(recorded, list) and isinstance(now, list) and len(recorded) == len(now):
        for k, (then, again) in enumerate(zip(recorded, now, strict=True)):
            yield from _differences(then, again, f"{path}[{k}]")
    elif recorded != now:
        yield f"{path}: recorded {recorded!r}, now {now!r}"


def _digest(cards: Any) -> str:
    text = json.dumps(cards, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(array: FloatArray | None) -> Sequence[float | None] | None:
    if array is None:
        return None
    values: list[float] = array.tolist()
    if all(map(math.isfinite, values)):
        return values
    return [value if math.isfinite(value) else None for value in values]


def _array(stored: Sequence[float | None] | None) -> FloatArray | None:
    if stored is None:
        return None
    return np.array([math.nan if v is None else v for v in stored], dtype=np.float64)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
