"""The receipt of a request: the stored record of its decisions, without the prompt."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from typing import Any

from p2l_model.checkpoint.folder import resolve_checkpoint
from router.receipt_form import Folded, fold
from server.config.settings import ScorerSettings
from server.gateway.plan import Plan
from server.gateway.routed_request import Exchange
from server.sessions.sessions import Visit


def exchange_receipt(
    exchange: Exchange, *, created_s: int, checkpoint: str | None
) -> dict[str, Any]:
    """The receipt as a document (see router.receipt). checkpoint: the version of the checkpoint
    that made the leaderboard, from checkpoint_version; None where a model was asked for by name and
    nothing was scored."""
    return folded_receipt(exchange, created_s=created_s, checkpoint=checkpoint).unfolded()


def folded_receipt(exchange: Exchange, *, created_s: int, checkpoint: str | None) -> Folded:
    """The receipt in its stored form."""
    plan = exchange.plan
    about = {
        "request_id": plan.request_id,
        "created": created_s,
        "software": _software(),
        "checkpoint": checkpoint if plan.routed else None,
        "scoring": plan.scoring,
        "routed": plan.routed,
        "profile": plan.profile,
        **({} if plan.trial is None else {"trial": plan.trial.to_json()}),
        "local": None if plan.local is None else plan.local.to_json(),
        "effort": plan.effort or None,
        "session": None if plan.visit is None else _session_json(plan, plan.visit),
    }
    return fold(exchange.leaderboard, plan.catalogue, exchange.history, seed=plan.seed, about=about)


def _session_json(plan: Plan, visit: Visit) -> dict[str, Any]:
    """The request's place in its session; no name of it. branch: None where no model answered.
    new_words: whether a person said something since the last answer. seeded: whether the request
    brought a seed of its own."""
    return {
        "branch": visit.number,
        "tool_loop": visit.results is not None,
        "new_words": visit.results is None or visit.results.has_words,
        "seeded": plan.seed != visit.session.seed,
    }


@cache
def _software() -> str:
    return version("p2l-router")


def checkpoint_version(scoring: ScorerSettings) -> str | None:
    """The SHA-256 of the manifest of the checkpoint that this process serves; `fixed` for a
    constant leaderboard; None where another service scores."""
    if scoring.url is not None:
        return None
    if scoring.fixed is not None:
        return "fixed"
    manifest = resolve_checkpoint(scoring.checkpoint_name) / "p2l.json"
    return f"sha256:{hashlib.sha256(manifest.read_bytes()).hexdigest()}"
