"""The dashboard's JSON for what is learnt: what is turned on, and which answers were seen."""

from __future__ import annotations

from typing import Any

from server.state import State
from server.storage.answers_seen import answers_seen
from server.storage.rows import MICRO


def learning(state: State) -> dict[str, Any]:
    """What learning is on, and the answers of callers, checkers and judges by model. scopes: how
    many answers each layer in force was learnt from. changed: models whose grades are no longer
    what they were, and since when (seconds since 1970). Blocks. Raises StorageError."""
    terms = state.settings.learning
    layers = state.gateway.planner.local
    return {
        "object": "learning",
        "local": terms.local,
        "min_answers": terms.min_answers,
        "version": layers.version or None,
        "scopes": {scope: one.state.n_answers for scope, one in layers.by_scope.items()},
        "changed": {name: at / MICRO for name, at in layers.changed.items()},
        "share": terms.share,
        "usd_per_day": float(terms.usd_per_day),
        "judge": terms.judge,
        "own_layers_of": terms.own_layers_of,
        "keep_prompts": state.settings.storage.keep_prompts,
        "data": [one._asdict() for one in answers_seen(state.store.database)],
    }
