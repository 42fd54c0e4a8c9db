"""What a planner gathers about a request before it writes the router's input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from p2l_model.types import Conversation
from router.catalog import ModelCard
from router.choice import BudgetMode
from server.auth.authenticator import Caller
from server.config.aliases import Aliases, is_routing
from server.config.settings import RoutingRules, RoutingSettings
from server.errors import InvalidRequestError, NotFoundError
from server.gateway.exclusions import check_payable, check_routable
from server.gateway.prompt_cache import Prefixes
from server.ledger.purse import Purse
from server.sessions.sessions import Visit
from server.surfaces.base import GatewayRequest
from server.surfaces.chat.request import ChatRequest
from server.surfaces.effort import effort_of
from server.surfaces.input_size import Counted
from server.surfaces.named import places
from server.surfaces.routing_options import RoutingOptions
from server.upstream.base import Fit


class Asked(NamedTuple):
    """What the caller asks for. direct: the model that is asked for by its name; None where the
    router chooses. catalogue: the models to choose from. named: where each option or rule was set.
    body, effort: see `Plan`. pinned: the effort that pins columns; empty where none does. profile:
    of the rules; None for the usual ones."""

    request: GatewayRequest
    options: RoutingOptions
    caller: Caller
    direct: ModelCard | None
    catalogue: tuple[ModelCard, ...]
    rules: RoutingRules
    budget_usd: Decimal | None
    mode: BudgetMode
    named: Callable[[], Mapping[str, str]]
    body: Mapping[str, Any]
    effort: str
    pinned: str
    profile: str | None = None

    @property
    def budget(self) -> tuple[Decimal | None, BudgetMode]:
        """The budget and how it holds."""
        return self.budget_usd, self.mode

    @property
    def is_hard(self) -> bool:
        """Whether this one request must not cost more than its budget."""
        return self.mode is BudgetMode.HARD and self.budget_usd is not None


class Found(NamedTuple):
    """What is known of the request's session, its money and its size. in_window: its worst case is
    reserved. pays_for_cap: a larger output cap makes it dearer. fits: by catalogue name."""

    prefixes: Prefixes | None
    visit: Visit | None
    purse: Purse | None
    in_window: bool
    pays_for_cap: bool
    fits: dict[str, Fit]
    counted: Counted
    conversation: Conversation

    @property
    def has_purse(self) -> bool:
        """Whether the session has a budget."""
        return self.purse is not None and self.purse.spec is not None


def asked_of(
    request: GatewayRequest,
    options: RoutingOptions,
    caller: Caller,
    aliases: Aliases,
    routing: RoutingSettings,
    catalogue: Mapping[str, ModelCard],
    cards: tuple[ModelCard, ...],
) -> Asked:
    """What the caller asks for. catalogue: the models and columns that can be asked for, by name;
    cards: those that the router chooses from, in order. Raises NotFoundError for an unknown model
    or profile, InvalidRequestError for bad options."""
    model = aliases.meant(request.model, catalogue)
    direct = _direct(model, caller, catalogue)
    if direct is None:
        check_routable(request)
        profile = model.removeprefix("p2l:") if model.startswith("p2l:") else None
        rules = _rules(profile, routing)
        budget = rules.budget_usd
    else:
        _check_effort(direct, options)
        profile, rules, cards = None, RoutingRules(), (direct,)
        budget = routing.budget_usd
    if options.budget_usd is not None:
        budget = options.budget_usd
    mode = options.budget_mode or rules.budget_mode
    named = partial(places, options, routing, profile)
    check_payable(request, budget, named)
    # Only the messages of chat completions are looked at.
    body = request.body if isinstance(request, ChatRequest) else {}
    effort, pinned = _efforts(request, options, rules, caller)
    return Asked(
        *(request, options, caller, direct, cards, rules, budget, mode, named, body),
        effort=effort,
        pinned=pinned if direct is None else "",
        profile=profile,
    )


def may_use(caller: Caller, card: ModelCard) -> bool:
    """Whether a caller's key allows a model, or a column by its own or its model's name."""
    models = caller.models
    return models is None or card.name in models or card.base in models


def _direct(model: str, caller: Caller, catalogue: Mapping[str, ModelCard]) -> ModelCard | None:
    if is_routing(model):
        return None
    card = catalogue.get(model)
    if card is None or not may_use(caller, card):
        raise NotFoundError(
            f"The model {model[:200]!r} does not exist. Ask for p2l, which is routed, or for "
            "a model that GET /v1/models lists.",
            code="model_not_found",
            param="model",
        )
    return card


def _check_effort(card: ModelCard, options: RoutingOptions) -> None:
    """Raises InvalidRequestError for a column that is asked for by name together with another
    effort."""
    if card.effort is None or options.effort in (None, card.effort):
        return
    place = options.named["effort"]
    raise InvalidRequestError(
        f"{place} is {options.effort}, but the model {card.name[:200]} is asked for at "
        f"{card.effort}: give one of them.",
        param=place,
        code="conflicting_routing_options",
    )


def _efforts(
    request: GatewayRequest, options: RoutingOptions, rules: RoutingRules, caller: Caller
) -> tuple[str, str]:
    """The effort for models without columns, and the effort that pins columns; each is empty where
    there is none."""
    if options.effort is not None:
        return options.effort, options.effort
    own = effort_of(request)
    if own is None:
        return "", ""
    mode = rules.effort if caller.effort is None else caller.effort
    return own, own if mode == "caller" else ""


def _rules(profile: str | None, routing: RoutingSettings) -> RoutingRules:
    try:
        return routing.rules(profile)
    except KeyError:
        known = ", ".join(routing.profiles) or "none are configured"
        raise NotFoundError(
            f"There is no routing profile {(profile or '')[:200]!r} ({known}).",
            code="model_not_found",
            param="model",
        ) from None
