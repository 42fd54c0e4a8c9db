"""The dashboard's JSON for stored records and for the current state. Amounts are in USD."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from typing import Any, Final

from sqlalchemy import Row

from router.catalog import ModelCard
from server.accounts.history import spent_slices
from server.catalogue.cards import coverage
from server.config.defaults import is_sandbox_only
from server.ledger.attempt import usd
from server.ledger.window import WindowSpec
from server.state import State
from server.storage.activity import provider_outcomes
from server.storage.rows import MICRO, decoded_tags, micros

HEALTH_SPAN_S: Final = 3600.0
# Each window is a sum over the ledger: a gateway with thousands of keys shows only the first ones.
MOST_WINDOWS: Final = 50


def overview(state: State) -> dict[str, Any]:
    """The current state of the gateway. Reads memory only."""
    gateway = state.gateway
    cards = list(gateway.planner.catalogue.values())
    unknown = set(coverage(cards, gateway.planner.scorer.models).without_coefficient)
    resting = gateway.health.resting(cards)
    breakers = gateway.health.states()
    return {
        "object": "overview",
        "version": version("p2l-router"),
        "sandbox": is_sandbox_only(state.settings),
        "draining": gateway.admission.draining,
        "under_way": gateway.admission.in_flight,
        "waiting": gateway.admission.waiting,
        "storage": {"up": state.store.failure is None, "pending": state.store.n_pending},
        "models": [
            {
                **_model(card),
                "routed": card.base not in unknown,
                "breaker": breakers["model"].get(card.base, "closed"),
                "resting": None if card.name not in resting else resting[card.name].reason,
                "wait_s": None if card.name not in resting else resting[card.name].wait_s,
            }
            for card in cards
        ],
    }


def providers(state: State) -> list[dict[str, Any]]:
    """Each provider's record of the last hour, from the ledger of all gateways, and its breaker in
    this one. Blocks. Raises StorageError."""
    now = time.time()
    lately = provider_outcomes(state.store.database, now - HEALTH_SPAN_S)
    breakers = state.gateway.health.states()["provider"]
    names = {card.provider for card in state.gateway.planner.catalogue.values()}
    shown = []
    for name in sorted(names | lately.keys()):
        seen = lately.get(name)
        shown.append(
            {
                "provider": name,
                "breaker": breakers.get(name, "closed"),
                "attempts": 0 if seen is None else seen.attempts,
                "answered": 0 if seen is None else seen.answered,
                "failed": 0 if seen is None else seen.failed,
                "mean_latency_ms": None if seen is None else seen.mean_latency_ms,
            }
        )
    return shown


def windows(state: State) -> list[dict[str, Any]]:
    """Every window with its spend by the ledger. Blocks. Raises StorageError."""
    return [
        {
            "key": spec.key_name,
            "window_s": spec.window_s,
            "amount_usd": float(spec.amount_usd),
            "spent_usd": sum(nano for _, nano in _spent(state, spec)) / 1e9,
        }
        for spec in _specs(state)
    ]


def attempt_json(row: Row[Any]) -> dict[str, Any]:
    """One attempt at a provider."""
    return {
        "request_id": row.request_id,
        "attempt": row.attempt,
        "key": row.key_name,
        "model": row.model,
        "provider": row.provider,
        "tags": list(decoded_tags(row.tags)),
        "routed": row.routed,
        "streamed": row.streamed,
        "started_at": row.started_at / MICRO,
        "outcome": row.outcome,
        "cost_usd": _usd(row.cost_pico),
        "cost_source": row.cost_source,
        "expected_cost_usd": _usd(row.expected_pico),
        "budget_usd": _usd(row.budget_pico),
        "budget_mode": row.budget_mode,
        "latency_ms": row.latency_ms,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
    }


def receipt_json(document: dict[str, Any]) -> dict[str, Any]:
    """A summary of a receipt."""
    decision = document["attempts"][-1]["decision"]
    return {
        "request_id": document["request_id"],
        "created_us": document["created_us"],
        "key": document["key"],
        "scoring": document["scoring"],
        "model": decision["model"],
        "attempts": len(document["attempts"]),
        "win_rate": decision["win_rate"],
        "explanation": decision["explanation"],
    }


def _model(card: ModelCard) -> dict[str, Any]:
    prices = card.prices
    return {
        "model": card.name,
        "provider": card.provider,
        "input_usd_per_mtok": None if prices is None else float(prices.input_usd_per_mtok),
        "output_usd_per_mtok": None if prices is None else float(prices.output_usd_per_mtok),
    }


def _specs(state: State) -> list[WindowSpec]:
    budgets = state.gateway.accounts.budgets
    if budgets is None:
        return []
    callers = state.authenticator.callers.values()
    found = _unique([*budgets.shared, *(spec for c in callers for spec in budgets.of(c))])
    return list(found)[:MOST_WINDOWS]


def _unique(specs: Iterable[WindowSpec]) -> Iterator[WindowSpec]:
    yield from {spec.name: spec for spec in specs}.values()


def _spent(state: State, spec: WindowSpec) -> list[tuple[int, int]]:
    return spent_slices(state.store.database, spec, micros(time.time()))


def _usd(amount_pico: int | None) -> float | None:
    return None if amount_pico is None else float(usd(amount_pico))
