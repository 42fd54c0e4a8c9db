"""Decides among the models that may be asked at this moment."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from p2l_model.errors import ExtraMissingError
from p2l_model.types import PromptLeaderboard
from router.choice import Decision, decide
from router.cvxpy_lp import GeneralLp
from router.errors import RouterError
from server.gateway.failures import from_resting, from_router
from server.gateway.plan import Plan
from server.health import Health, Resting


class Decider:
    """Decides, leaving out the models that rest. with_solver: whether any rule has constraints.

    Raises ExtraMissingError where the solver is needed and not installed.
    """

    def __init__(self, health: Health, *, with_solver: bool) -> None:
        self._health = health
        self._slow_lane = _solver() if with_solver else None

    def decide(
        self,
        plan: Plan,
        leaderboard: PromptLeaderboard,
        rng: random.Random,
        excluded: Mapping[str, str] | None = None,
    ) -> Decision:
        """Chooses a model for the plan. excluded: maps the catalogue names of further models that
        are left out to the reason. Raises ApiError."""
        resting = self._health.resting(plan.catalogue)
        request = plan.routing
        if resting or excluded:
            reasons = {name: rest.reason for name, rest in resting.items()}
            out = {**request.excluded, **reasons, **(excluded or {})}
            request = replace(request, excluded=out)
        try:
            return decide(leaderboard, plan.catalogue, request, rng, self._slow_lane)
        except RouterError as error:
            self._blame_resting(plan, leaderboard, excluded or {}, resting)
            raise from_router(error, plan.named()) from error

    def _blame_resting(
        self,
        plan: Plan,
        leaderboard: PromptLeaderboard,
        excluded: Mapping[str, str],
        resting: Mapping[str, Resting],
    ) -> None:
        """Tells the caller to wait, not to change the request, where only resting models are in the
        way."""
        allowed, out = plan.routing.allowed, {**plan.routing.excluded, **excluded}
        able = {
            name: rest
            for name, rest in resting.items()
            if (allowed is None or name in allowed) and name not in out
        }
        if not able:
            return
        try:
            request = replace(plan.routing, excluded=out)
            decide(leaderboard, plan.catalogue, request, random.Random(0), self._slow_lane)
        except RouterError as error:
            raise from_router(error, plan.named()) from error
        raise from_resting(able)


def _solver() -> GeneralLp:
    """The solver for rules with constraints. Raises ExtraMissingError where it is not installed."""
    try:
        return GeneralLp()
    except ImportError as error:
        raise ExtraMissingError("cvxpy", "lp") from error
