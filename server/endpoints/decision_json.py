"""Encodes a decision as response headers and as JSON. Numbers are plain decimals without an
exponent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from router.choice import Alternative, Decision
from router.explain import worth_shown
from server.endpoints.intervals import certainty
from server.gateway.plan import Plan

# Limits on names that a caller chooses in a header: how many, and the characters of each.
_MOST_NAMES = 32
_MOST_CHARS = 64
# Of a probability in a header; receipts have all digits.
_MIX_DIGITS = 6
# The characters allowed in a name within `name=prob,name=prob`: all printable ASCII but , = and %.
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in ",=%")


def plain(number: Decimal | float) -> str:
    """A number as a plain decimal with all its digits."""
    text = str(number) if isinstance(number, Decimal) else repr(float(number))
    if "e" in text or "E" in text:
        text = format(Decimal(text), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@lru_cache(maxsize=1024)
def encoded_name(name: str) -> str:
    """A model's name, encoded for a header."""
    return quote(name, safe=_SAFE)


def names_header(names: Sequence[str]) -> str:
    """Names, encoded for a header. Callers choose them, so their number and lengths are limited."""
    shown = [encoded_name(name[:_MOST_CHARS]) for name in names[:_MOST_NAMES]]
    return ",".join(shown if len(names) <= _MOST_NAMES else [*shown, "..."])


def decision_headers(decision: Decision, *, routed: bool) -> dict[str, str]:
    """The x-p2l-* headers of a decision (docs/api.md). routed: False for a model that was asked for
    by name."""
    shares = {name: round(p, _MIX_DIGITS) for name, p in decision.mix.items()}
    mix = ",".join([f"{encoded_name(name)}={plain(p)}" for name, p in shares.items()])
    headers = {"x-p2l-model": encoded_name(decision.model), "x-p2l-mix": mix}
    if routed:
        headers["x-p2l-win-rate"] = plain(decision.win_rate)
    if decision.expected_cost_usd is not None:
        headers["x-p2l-expected-cost-usd"] = plain(decision.expected_cost_usd)
    if decision.budget_usd is not None:
        headers["x-p2l-budget-usd"] = plain(decision.budget_usd)
        headers["x-p2l-budget-mode"] = str(decision.budget_mode)
    if decision.max_output_tokens is not None:
        headers["x-p2l-max-output-tokens"] = str(decision.max_output_tokens)
    return headers


def decision_json(decision: Decision, plan: Plan) -> dict[str, Any]:
    """The body of /v1/route, and the part that `explain` adds to an answer."""
    known = certainty(decision, plan.local)
    return {
        "object": "route",
        "request_id": plan.request_id,
        "scoring": plan.scoring,
        "local": None if plan.local is None else plan.local.to_json(),
        "model": decision.model,
        "mix": dict(decision.mix),
        "win_rate": decision.win_rate,
        "expected_cost_usd": _number(decision.expected_cost_usd),
        "mix_win_rate": decision.mix_win_rate,
        "mix_expected_cost_usd": _number(decision.mix_expected_cost_usd),
        "objective": decision.objective.value,
        "value": decision.value,
        "mix_value": decision.mix_value,
        "coefficient": decision.coefficient,
        "shadow_price": decision.shadow_price,
        "usd_per_win": _number(decision.usd_per_win),
        "own_usd_per_win": _number(plan.own_usd_per_win) if plan.routed else None,
        "budget_usd": _number(decision.budget_usd),
        "budget_mode": None if decision.budget_usd is None else decision.budget_mode.value,
        "max_output_tokens": decision.max_output_tokens,
        "lane": decision.lane,
        "lane_note": decision.lane_note,
        "is_kept": decision.is_kept,
        "kept_note": decision.kept_note,
        "is_held": decision.is_held,
        "draw_budget_usd": _number(decision.request.draw_budget_usd),
        "further_requests": decision.request.further_requests,
        "alternatives": [
            {**alternative_json(item), **known[item.model]} for item in decision.alternatives
        ],
        "explanation": f"{decision.explanation}{_lowered(decision, plan)}",
    }


def _lowered(decision: Decision, plan: Plan) -> str:
    """Says that the budget of a window or a session has changed what a win is worth."""
    worth, own = decision.usd_per_win, plan.own_usd_per_win
    if worth is None or not plan.routed or (own is not None and worth >= own):
        return ""
    now = worth_shown(worth)
    before = "" if own is None else f" in place of {worth_shown(own)}"
    return f"; a win is worth {now} USD{before}, so that the budget of a window or session lasts"


def alternative_json(alternative: Alternative) -> Mapping[str, Any]:
    """One candidate: its expected win rate and cost, or why it was excluded."""
    return {
        "model": alternative.model,
        "coefficient": alternative.coefficient,
        "win_rate": alternative.win_rate,
        "value": alternative.value,
        "expected_output_tokens": alternative.expected_output_tokens,
        "expected_cost_usd": _number(alternative.expected_cost_usd),
        "eligible": alternative.eligible,
        "reason": alternative.reason,
    }


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)
