"""The receipt of a request: what the ledger keeps of its decisions, without the prompt."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from typing import Any

from p2l_model.checkpoint.folder import resolve_checkpoint
from router.receipt_form import Folded, fold
from server.config.settings import ScorerSettings
from server.gateway.routed_request import Exchange


def exchange_receipt(
    exchange: Exchange, *, created_s: int, checkpoint: str | None
) -> dict[str, Any]:
    """The document of router.receipt. checkpoint: which one made the leaderboard, as told by
    checkpoint_version; None where a name was asked for and nothing was scored."""
    return folded_receipt(exchange, created_s=created_s, checkpoint=checkpoint).unfolded()


def folded_receipt(exchange: Exchange, *, created_s: int, checkpoint: str | None) -> Folded:
    """The same, as it is stored."""
    plan = exchange.plan
    about = {
        "request_id": plan.request_id,
        "created": created_s,
        "software": _software(),
        "checkpoint": checkpoint if plan.routed else None,
        "scoring": plan.scoring,
        "routed": plan.routed,
        "taste": None if plan.taste is None else plan.taste.to_json(),
    }
    return fold(exchange.leaderboard, plan.catalogue, exchange.history, seed=plan.seed, about=about)


@cache
def _software() -> str:
    return version("p2l-router")


def checkpoint_version(scoring: ScorerSettings) -> str | None:
    """A SHA-256 of the manifest of the checkpoint served in this process; `fixed` for a constant
    leaderboard; None where another service scores."""
    if scoring.url is not None:
        return None
    if scoring.fixed is not None:
        return "fixed"
    manifest = resolve_checkpoint(scoring.checkpoint) / "p2l.json"
    return f"sha256:{hashlib.sha256(manifest.read_bytes()).hexdigest()}"
