"""The plan: a request with all that is needed to decide on a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from p2l_model.types import Conversation
from router.catalog import ModelCard
from router.choice import RoutingRequest
from server.auth.authenticator import Caller
from server.gateway.local_layers import Used
from server.gateway.prompt_cache import Prefixes
from server.gateway.served_model import ServedModels
from server.ledger.purse import Purse
from server.sessions.sessions import Visit
from server.surfaces.effort import effort_in, is_sent
from server.trials.arms import Arm
from server.upstream.base import Fit


@dataclass(slots=True)
class Plan:
    """A request with all that is needed to decide on a model.

    routed: False for a model that is asked for by its own name. fits: what each model's provider
    can express of the request, by catalogue name. profile: the routing profile that was asked for,
    and trial: the arm of its trial. local: what of this gateway's own answers moved the models'
    values; None for nothing. fallbacks: how many further models may be tried. named: where each
    option or rule was set. counted_tokens: the input tokens where all of the input is text that was
    tokenised, else 0. served: finds the models that the names in answers stand for. tags: the
    labels by which spend is told apart. is_large: the body must not be processed on the event loop.
    prefixes: see Learned.prefixes; None: not computed yet. visit: the request's visit to its
    session; None where it has none. kept: the part of the session that decides the request, see
    x-p2l-kept. is_scored_before: the leaderboard was scored for another request of the same tool
    loop. purse: the money of the session; None where it has none. effort: the effort that models
    without columns are asked for; empty where the request names none. own_usd_per_win: what a win
    is worth by the configuration, before windows and sessions.
    """

    request_id: str
    caller: Caller
    conversation: Conversation
    routing: RoutingRequest
    catalogue: tuple[ModelCard, ...]
    routed: bool
    seed: int | None
    explain: bool
    streamed: bool = False
    fits: Mapping[str, Fit] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    effort: str = ""
    marginal: bool = field(default=False)
    profile: str | None = None
    trial: Arm | None = None
    local: Used | None = None
    fallbacks: int = 0
    counted_tokens: int = 0
    is_large: bool = False
    prefixes: Prefixes | None = field(default=None, repr=False)
    named: Callable[[], Mapping[str, str]] = dict
    served: ServedModels = field(default_factory=ServedModels, repr=False)
    tags: tuple[str, ...] = ()
    visit: Visit | None = field(default=None, repr=False)
    kept: str | None = None
    is_scored_before: bool = False
    purse: Purse | None = None
    own_usd_per_win: Decimal | None = None

    def effort_sent(self, card: ModelCard) -> str | None:
        """The effort that the provider is asked for with a model of the catalogue; None where it is
        asked for none."""
        if card.effort is None and self.effort == "":
            return None
        fit = self.fits.get(card.name)
        if fit is None or fit.effort is not None or card.effort is not None:
            return None if fit is None else fit.effort
        if fit.body is None:
            return self.effort
        sent = effort_in(fit.body)
        return self.effort if sent is not None and is_sent(self.effort, fit.body) else sent

    @property
    def scoring(self) -> str:
        """The source of the leaderboard: the prompt, an earlier request of the same tool loop, the
        marginal leaderboard as a fallback, or none (a model asked for by name)."""
        if not self.routed:
            return "none"
        if self.marginal:
            return "marginal"
        return "kept" if self.is_scored_before else "prompt"
