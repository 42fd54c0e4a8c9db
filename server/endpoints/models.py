"""GET /v1/models: the list in OpenAI's format, or in Anthropic's for Anthropic's clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from router.catalog import ModelCard
from server.auth.authenticator import Caller
from server.config.aliases import CLAUDE, is_pattern, is_routing, routed_name
from server.endpoints.common import CallerDep, StateDep, json_response
from server.errors import NotFoundError
from server.state import State
from server.surfaces.messages.models import Listed, model_info, page_of

router = APIRouter()
_OWN: Final = "p2l-router"
# A header that Anthropic's clients send with every request.
_VERSION: Final = "anthropic-version"


@router.get("/v1/models")
async def list_models(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Lists p2l first, then its profiles, then the catalogue, then aliases.

    With an anthropic-version header, the list has Anthropic's format, starts with claude-p2l, and
    is paged where the query asks for it. Raises InvalidRequestError for an invalid page.
    """
    listed = list(_listed(caller, state))
    if _VERSION not in request.headers:
        return json_response({"object": "list", "data": [_model(one, state) for one in listed]})
    names = {one.name for one in listed}
    routed = [_as_claude(one) for one in listed if is_routing(one.name)]
    claude = [one for one in routed if one.name not in names]
    return json_response(page_of([*claude, *listed], request.query_params, state.created))


@router.get("/v1/models/{model:path}")
async def get_model(model: str, request: Request, caller: CallerDep, state: StateDep) -> Response:
    """One model, by any name that a request may use. Raises NotFoundError."""
    found = _found(model, {one.name: one for one in _listed(caller, state)}, state)
    if _VERSION in request.headers:
        return json_response(model_info(found, state.created))
    return json_response(_model(found, state))


def _found(model: str, listed: dict[str, Listed], state: State) -> Listed:
    one = listed.get(model) or listed.get(_canonical(state.gateway.planner.meant(model)))
    if one is None:
        raise NotFoundError(
            f"The model {model[:200]!r} does not exist.", code="model_not_found", param="model"
        )
    return one if one.name == model else replace(one, name=model, owner=_OWN)


def _listed(caller: Caller, state: State) -> Iterator[Listed]:
    cards = state.gateway.planner.visible(caller)
    routing = state.settings.routing
    found = {"p2l": _routed("p2l", "P2L router", cards, routing.models)}
    for name in routing.profiles:
        profile = f"p2l:{name}"
        allowed = routing.rules(name).models
        found[profile] = _routed(profile, f"P2L router ({name})", cards, allowed)
    for card in cards:
        found[card.name] = Listed(
            card.name, card.name, card.provider, card.context_window, card.max_output_tokens
        )
    yield from found.values()
    for alias, target in state.settings.aliases.items():
        meant = found.get(target) or found.get(_canonical(target))
        # a pattern is not a name
        if meant is not None and not is_pattern(alias):
            yield replace(meant, name=alias, shown=alias, owner=_OWN)


def _canonical(name: str) -> str:
    bare = routed_name(name)
    return "p2l" if bare == "auto" else bare


def _routed(
    name: str, shown: str, cards: Sequence[ModelCard], allowed: Sequence[str] | None
) -> Listed:
    """The limits of a routed name: those of its largest model. Models with smaller limits are
    excluded from requests that are too long for them."""
    mine = [card for card in cards if allowed is None or card.name in allowed]
    windows = [card.context_window for card in mine if card.context_window is not None]
    outputs = [card.max_output_tokens for card in mine if card.max_output_tokens is not None]
    return Listed(name, shown, _OWN, max(windows, default=None), max(outputs, default=None))


def _as_claude(one: Listed) -> Listed:
    return replace(one, name=CLAUDE + one.name)


def _model(one: Listed, state: State) -> dict[str, Any]:
    return {"id": one.name, "object": "model", "created": state.created, "owned_by": one.owner}
