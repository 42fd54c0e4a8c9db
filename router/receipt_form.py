"""The two forms of a receipt: unfolded, as it is read, and folded, as it is stored.

The folded form is about half as long and takes less work to make: the parts that many receipts
share are stored apart, a leaderboard's numbers are the base64 of little-endian float64s, and an
alternative is a row without field names. Amounts of money are strings with all their digits; other
numbers are JSON numbers, which keep every bit of a float; unknown values are null.
"""

from __future__ import annotations

import hashlib
import json
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from pydantic import TypeAdapter

from p2l_model.types import FloatArray, PromptLeaderboard
from router.catalog import ModelCard
from router.constraints import Constraints
from router.cost import RequestShape
from router.decision import Decision, known
from router.explain import Alternative, Told, explain
from router.objective import Objective
from router.request import BudgetMode, RoutingRequest

VERSION: Final = 1
_KEPT: Final = 32
_NUMBERS: Final = ("coefficients", "expected_output_tokens", "expected_scores", "variance")


class Attempt(NamedTuple):
    """One attempt of a request.

    decision: the router's. failure: why the attempt failed, None where it was answered.
    served_model: the provider's name of the model that answered, where it was another one. effort:
    the effort that its provider was asked for, None where it was asked for none.
    """

    decision: Decision
    failure: str | None = None
    served_model: str | None = None
    effort: str | None = None


class Common(NamedTuple):
    """The part that many receipts share: the catalogue and the names of the leaderboard's models.

    version: the SHA-256 of the whole document; catalogue_version: that of the catalogue alone.
    """

    version: str
    catalogue_version: str
    document: Mapping[str, Any]


class Folded(NamedTuple):
    """A receipt in its stored form, and the shared part, which is stored once."""

    document: dict[str, Any]
    common: Common

    def unfolded(self) -> dict[str, Any]:
        """Returns the receipt in the form in which it is read."""
        return unfold(self.document, self.common.document)


def fold(
    leaderboard: PromptLeaderboard,
    catalogue: Sequence[ModelCard],
    attempts: Sequence[Attempt],
    *,
    seed: int | None,
    about: Mapping[str, Any],
) -> Folded:
    """Returns the stored form. The arguments are those of router.receipt.build_receipt."""
    common = _common(_Same(catalogue), leaderboard.models)
    document = {
        "object": "receipt",
        "version": VERSION,
        **about,
        "catalogue_version": common.catalogue_version,
        "seed": seed,
        "leaderboard": _leaderboard_json(leaderboard),
        "attempts": [_attempt_json(attempt) for attempt in attempts],
    }
    return Folded(document, common)


def unfold(document: Mapping[str, Any], common: Any) -> dict[str, Any]:
    """Returns the receipt in the form in which it is read.

    common: the shared document stored for it; for receipts of releases that stored them unfolded,
    it is the catalogue alone.
    """
    return {
        **document,
        "leaderboard": unfold_leaderboard(document, models_of(common)),
        "catalogue": common if isinstance(common, list) else common["catalogue"],
        "attempts": unfold_attempts(document),
    }


def models_of(common: Any) -> list[str] | None:
    """The names of the leaderboard's models; None where the release stored them in each receipt."""
    models: list[str] | None = None if isinstance(common, list) else common["models"]
    return models


def unfold_leaderboard(document: Mapping[str, Any], models: Sequence[str] | None) -> dict[str, Any]:
    """The leaderboard of a stored receipt. models: the result of `models_of`. Raises ValueError
    where the receipt has no names and none are given."""
    board: dict[str, Any] = document["leaderboard"]
    if "models" in board:
        return board
    if models is None:
        raise ValueError("what this receipt shares with others is not stored")
    numbers: dict[str, Any] = {name: _unpacked(board[name]) for name in _NUMBERS if name in board}
    return {**board, "models": models, **numbers}


def unfold_attempts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The attempts of a stored receipt; the shared part is not needed for them."""
    return [
        {**attempt, "decision": unfold_decision(attempt["decision"], attempt["request"])}
        for attempt in document["attempts"]
    ]


def unfold_decision(decision: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """The decision in the form in which it is read: alternatives with field names, and an
    explanation in words. request: the stored request of the same attempt."""
    rows = [row if isinstance(row, dict) else _named(row) for row in decision["alternatives"]]
    whole = {**decision, "alternatives": rows}
    return {**whole, "explanation": decision.get("explanation") or explain(_told(whole, request))}


def decision_json(decision: Decision) -> dict[str, Any]:
    """The stored form of a decision."""
    return {
        "model": decision.model,
        "mix": {name: known(share) for name, share in decision.mix.items()},
        "objective": str(decision.objective),
        "value": known(decision.value),
        "mix_value": known(decision.mix_value),
        "win_rate": known(decision.win_rate),
        "mix_win_rate": known(decision.mix_win_rate),
        "expected_cost_usd": _money(decision.expected_cost_usd),
        "mix_expected_cost_usd": _money(decision.mix_expected_cost_usd),
        "coefficient": known(decision.coefficient),
        "shadow_price": known(decision.shadow_price),
        "usd_per_win": _money(decision.usd_per_win),
        "max_output_tokens": decision.max_output_tokens,
        "worst_case_cost_usd": _money(decision.worst_case_cost_usd),
        "lane": decision.lane,
        "lane_note": decision.lane_note,
        "alternatives": _rows(decision),
        **({} if decision.request.kept is None else _kept_json(decision)),
        **({} if decision.request.held is None else {"is_held": decision.is_held}),
        **({} if not decision.request.has_later else _later_json(decision)),
    }


def _kept_json(decision: Decision) -> dict[str, Any]:
    return {"is_kept": decision.is_kept, "kept_note": decision.kept_note}


def _later_json(decision: Decision) -> dict[str, Any]:
    """What later requests of the same job cost: model -> cost, for the models where that differs
    from the cost of this one."""
    warm = {c.card.name: c.warm_cost_usd for c in decision.ranked if c.warm_cost_usd is not None}
    return {
        "warm_costs_usd": {name: str(cost) for name, cost in warm.items()},
        "mix_mean_cost_usd": _money(decision.mix_mean_cost_usd),
    }


def digest(cards: Any) -> str:
    """The SHA-256 of a JSON value, in hexadecimal."""
    text = json.dumps(cards, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def cards_adapter() -> TypeAdapter[tuple[ModelCard, ...]]:
    """Reads and writes a catalogue."""
    return TypeAdapter(tuple[ModelCard, ...])


@cache
def _constraints_adapter() -> TypeAdapter[Constraints]:
    return TypeAdapter(Constraints)


@cache
def requests_adapter() -> TypeAdapter[RoutingRequest]:
    """Reads and writes a request."""
    return TypeAdapter(RoutingRequest)


class _Same:
    """Cards that compare equal only where they are the same objects, since hashing their content
    would be slow."""

    __slots__ = ("_ids", "cards")

    def __init__(self, cards: Sequence[ModelCard]) -> None:
        self.cards = tuple(cards)
        self._ids = tuple(map(id, self.cards))

    def __hash__(self) -> int:
        return hash(self._ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._ids == other._ids


@lru_cache(maxsize=_KEPT)
def _common(catalogue: _Same, models: tuple[str, ...]) -> Common:
    """Cached: the same few catalogues and leaderboards come again and again."""
    cards = cards_adapter().dump_python(catalogue.cards, mode="json")
    document = {"catalogue": cards, "models": list(models)}
    return Common(digest(document), digest(cards), document)


def request_json(request: RoutingRequest) -> dict[str, Any]:
    """The same as requests_adapter would write, in a tenth of the time."""
    constraints = request.constraints
    return {
        "shape": _shape_json(request.shape),
        "budget_usd": _money(request.budget_usd),
        "budget_mode": str(request.budget_mode),
        "allowed": None if request.allowed is None else list(request.allowed),
        "opponents": None if request.opponents is None else dict(request.opponents),
        "excluded": dict(request.excluded),
        "usd_per_win": _money(request.usd_per_win),
        "objective": str(request.objective),
        "ceiling_usd": _money(request.ceiling_usd),
        "in_window": request.in_window,
        "available_usd": _money(request.available_usd),
        "constraints": None if constraints is None else _constraints_json(constraints),
        "input_tokens": dict(request.input_tokens),
        "cached_tokens": dict(request.cached_tokens),
        "thought_tokens": dict(request.thought_tokens),
        "length_factors": dict(request.length_factors),
        "kept": request.kept,
        "kept_limit_usd": _money(request.kept_limit_usd),
        "order": list(request.order),
        "draw_budget_usd": _money(request.draw_budget_usd),
        "caching": dict(request.caching),
        "further_requests": request.further_requests,
        "held": request.held,
        "min_gain": request.min_gain,
        "coefficient_shifts": {n: list(s) for n, s in request.coefficient_shifts.items()},
        "value_shifts": {n: list(s) for n, s in request.value_shifts.items()},
    }


def _shape_json(shape: RequestShape) -> dict[str, Any]:
    return {
        "input_tokens": shape.input_tokens,
        "input_tokens_upper_bound": shape.input_tokens_upper_bound,
        "max_output_tokens": shape.max_output_tokens,
        "n": shape.n,
        "needs": list(shape.needs),
        "tier": shape.tier,
        "other_tiers": dict(shape.other_tiers),
        "thinking_tokens": dict(shape.thinking_tokens),
        "thinkers": None if shape.thinkers is None else list(shape.thinkers),
    }


def _constraints_json(constraints: Constraints) -> Any:
    return _constraints_adapter().dump_python(constraints, mode="json")


def _attempt_json(attempt: Attempt) -> dict[str, Any]:
    decision, served = attempt.decision, attempt.served_model
    return {
        "request": request_json(decision.request),
        "draw": decision.draw,
        "decision": decision_json(decision),
        "failure": attempt.failure,
        **({} if served is None else {"served_model": served}),
        **({} if attempt.effort is None else {"effort": attempt.effort}),
    }


def _rows(decision: Decision) -> list[list[Any]]:
    """One row per model: name, coefficient, win rate, expected output tokens, expected cost, reason
    why it is out; and the value, where the objective is not the win rate."""
    ranked, finite = decision.ranked, math.isfinite
    rows = [
        [
            c.card.name,
            c.coefficient if finite(c.coefficient) else None,
            c.win_rate if finite(c.win_rate) else None,
            c.expected_output_tokens,
            None if c.expected_cost_usd is None else str(c.expected_cost_usd),
            c.reason,
        ]
        for c in ranked
    ]
    if decision.objective is not Objective.WIN_RATE:
        for row, candidate in zip(rows, ranked, strict=True):
            row.append(known(candidate.value))
    return rows


def _named(row: Sequence[Any]) -> dict[str, Any]:
    model, coefficient, win_rate, tokens, cost_usd, reason, *value = row
    fields = (
        *(model, coefficient, win_rate, value[0] if value else win_rate),
        *(tokens, cost_usd, reason is None, reason),
    )
    return dict(zip(Alternative._fields, fields, strict=True))


def _told(decision: Mapping[str, Any], request: Mapping[str, Any]) -> Told:
    return Told(
        model=decision["model"],
        objective=Objective(decision["objective"]),
        value=_float(decision["value"]),
        expected_cost_usd=_decimal(decision["expected_cost_usd"]),
        max_output_tokens=decision["max_output_tokens"],
        worst_case_cost_usd=_decimal(decision["worst_case_cost_usd"]),
        mix=decision["mix"],
        mix_value=_float(decision["mix_value"]),
        usd_per_win=_decimal(decision["usd_per_win"]),
        budget_usd=_decimal(request["budget_usd"]),
        budget_mode=BudgetMode(request["budget_mode"]),
        alternatives=[
            Alternative(**{**row, "expected_cost_usd": _decimal(row["expected_cost_usd"])})
            for row in decision["alternatives"]
        ],
        is_kept=decision.get("is_kept", False),
        kept_note=decision.get("kept_note"),
        is_held=decision.get("is_held", False),
    )


@lru_cache(maxsize=_KEPT)
def _leaderboard_json(board: PromptLeaderboard) -> dict[str, Any]:
    return {
        "family": str(board.family),
        "coefficients": _packed(board.coefficients),
        "eta": board.eta,
        "gamma": board.gamma,
        "expected_output_tokens": _packed(board.expected_output_tokens),
        "expected_scores": _packed(board.expected_scores),
        **({} if board.variance is None else {"variance": _packed(board.variance)}),
    }


def _packed(array: FloatArray | None) -> str | None:
    return None if array is None else b64encode(array.astype("<f8").tobytes()).decode()


def _unpacked(packed: str | None) -> list[float | None] | None:
    if packed is None:
        return None
    values: list[float] = np.frombuffer(b64decode(packed), dtype="<f8").tolist()
    return [value if math.isfinite(value) else None for value in values]


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _decimal(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)


def _float(number: float | None) -> float:
    return math.nan if number is None else number
