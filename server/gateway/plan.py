"""A request that is ready to be decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from p2l_model.types import Conversation
from router.catalog import ModelCard
from router.choice import RoutingRequest
from server.auth.authenticator import Caller
from server.gateway.prompt_cache import Prefixes
from server.gateway.served_model import ServedModels
from server.gateway.tastes import OwnTaste
from server.sessions.sessions import Visit
from server.upstream.base import Fit


@dataclass(slots=True)
class Plan:
    """A request ready to be decided. routed: false for a model asked for by its own name.
    fits: catalogue name -> what its provider can express of the request. taste: of the caller, that
    its leaderboard was moved by. fallbacks: further models that may be tried. named: by option or
    rule, where it was said. counted_tokens: the input where all of it is text that was tokenised,
    else 0. served: knows what the names in answers stand for. tags: what spend is told by.
    is_large: nothing that goes through all of its body is done on the event loop. prefixes: see
    Learned.prefixes; None: unknown yet. visit: to its session; None where it has none. kept: what
    of the session it is decided by, see x-p2l-kept. is_scored_before: for another request of the
    same tool loop."""

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
    taste: OwnTaste | None = None
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

    @property
    def scoring(self) -> str:
        """What the leaderboard came from: the prompt, an earlier request of its tool loop, the
        marginal that stood in, or nothing (a model asked for by name)."""
        if not self.routed:
            return "none"
        if self.marginal:
            return "marginal"
        return "kept" if self.is_scored_before else "prompt"
