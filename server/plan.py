"""A request that is ready to be decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2l_model.types import Conversation
from router.catalog import ModelCard
from router.decide import RoutingRequest
from server.auth import Caller
from server.served import ServedModels
from server.tastes import OwnTaste
from server.upstream.base import Fit


@dataclass(slots=True)
class Plan:
    """A request ready to be decided. routed: false for a model asked for by its own name.
    fits: catalogue name -> what its provider can express of the request. taste: of the caller, that
    its leaderboard was moved by. fallbacks: further models that may be tried. named: by option or
    rule, where it was said. counted_tokens: the input where all of it is text that was tokenised,
    else 0. served: knows what the names in answers stand for. tags: what spend is told by.
    is_large: nothing that goes through all of its body is done on the event loop. prefixes: see
    Learned.prefixes; None: unknown yet."""

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
    prefixes: Sequence[bytes] | None = field(default=None, repr=False)
    named: Callable[[], Mapping[str, str]] = dict
    served: ServedModels = field(default_factory=ServedModels, repr=False)
    tags: tuple[str, ...] = ()

    @property
    def scoring(self) -> str:
        """What the leaderboard came from: the prompt, the marginal that stood in, or nothing (a
        model asked for by name)."""
        if not self.routed:
            return "none"
        return "marginal" if self.marginal else "prompt"
