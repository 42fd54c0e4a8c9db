"""GET /v1/models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from server.aliases import is_pattern
from server.endpoints.common import CallerDep, State, StateDep, json_response
from server.errors import NotFoundError

router = APIRouter()


@router.get("/v1/models")
async def list_models(caller: CallerDep, state: StateDep) -> Response:
    """p2l first, then its profiles, then the catalogue."""
    names = [("p2l", "p2l-router")]
    names += [(f"p2l:{name}", "p2l-router") for name in state.settings.routing.profiles]
    visible = state.gateway.planner.visible(caller)
    names += [(card.name, card.provider) for card in visible]
    names += _aliases(state, {name for name, _ in names})
    data = [_model(name, owner, state) for name, owner in names]
    return json_response({"object": "list", "data": data})


@router.get("/v1/models/{model:path}")
async def get_model(model: str, caller: CallerDep, state: StateDep) -> Response:
    """One model. Raises NotFoundError."""
    owners = {card.name: card.provider for card in state.gateway.planner.visible(caller)}
    routed = {"p2l", "auto", *(f"p2l:{name}" for name in state.settings.routing.profiles)}
    if model in routed:
        return json_response(_model(model, "p2l-router", state))
    if model not in owners and state.gateway.planner.meant(model) in routed | set(owners):
        return json_response(_model(model, "p2l-router", state))
    if model not in owners:
        raise NotFoundError(
            f"The model {model[:200]!r} does not exist.", code="model_not_found", param="model"
        )
    return json_response(_model(model, owners[model], state))


def _aliases(state: State, known: set[str]) -> list[tuple[str, str]]:
    """Other names for what the caller may ask for; a pattern is no name."""
    return [
        (name, "p2l-router")
        for name, target in state.settings.aliases.items()
        if target in {"auto", *known} and not is_pattern(name)
    ]


def _model(name: str, owner: str, state: State) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": state.created, "owned_by": owner}
