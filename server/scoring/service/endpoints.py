"""The model service's routes (docs/model-service.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response

from p2l_model.types import Conversation, user_turns
from p2l_model.words import said
from server.errors import InvalidRequestError, OverloadedError
from server.http.body import json_response, read_body
from server.http.disconnect import run_while_connected
from server.process.heavy import is_large
from server.scoring.service.metrics import CONTENT_TYPE
from server.scoring.service.service import ModelService
from server.scoring.service.wire import board_to_wire
from server.surfaces.json_body import parse_body

router = APIRouter()
T = TypeVar("T")


async def service_of(request: Request) -> ModelService:
    """The app's service."""
    service: ModelService = request.app.state.service
    return service


ServiceDep = Annotated[ModelService, Depends(service_of)]


async def authenticated(request: Request, service: ServiceDep) -> None:
    """Checks the key, which may also be in the reference's api-key header. Raises
    AuthenticationError."""
    key = request.headers.get("api-key")
    if key is None:
        service.authenticator.caller(request.headers)
    else:
        service.authenticator.caller_with(key)


KeyDep = Depends(authenticated)


@router.post("/v1/score", dependencies=[KeyDep])
async def score(request: Request, service: ServiceDep) -> Response:
    """Leaderboards of conversations."""
    most = service.limits.max_conversations
    conversations = await _read(request, service, lambda body: _conversations(body, most))
    scored = await run_while_connected(request, lambda: service.score(conversations))
    data = [board_to_wire(one.leaderboard) | {"n_tokens": one.n_tokens} for one in scored]
    return json_response({"object": "list", "data": data, **_names(service)})


@router.post("/predict", dependencies=[KeyDep])
async def predict(request: Request, service: ServiceDep) -> Response:
    """The reference's endpoint: takes the user's turns, returns coefficients and eta."""
    turns = await _read(request, service, lambda body: body.get("prompt"))
    turns = [turns] if isinstance(turns, str) else turns
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise InvalidRequestError("prompt must be a list of user turns (text).", param="prompt")
    if not turns:
        raise InvalidRequestError("prompt needs at least one turn.", param="prompt")
    wanted = [Conversation(said((turn,) for turn in turns))]
    scored = await run_while_connected(request, lambda: service.score(wanted))
    board = scored[0].leaderboard
    return json_response({"coefs": board.coefficients.tolist(), "eta": board.eta})


@router.get("/models", dependencies=[KeyDep])
async def models(service: ServiceDep) -> Response:
    """The models, in the order of the coefficients."""
    return json_response({"models": service.checkpoint.manifest.models})


@router.get("/v1/checkpoint", dependencies=[KeyDep])
async def checkpoint(service: ServiceDep) -> Response:
    """What a gateway needs besides scores, especially the leaderboard to fall back on."""
    manifest = service.checkpoint.manifest
    return json_response(
        {
            "object": "checkpoint",
            **_names(service),
            "backbone": manifest.backbone,
            "max_tokens": service.checkpoint.max_tokens,
            "scored": sorted(manifest.scored_models),
            "marginal": board_to_wire(service.checkpoint.marginal),
        }
    )


@router.get("/healthz")
async def healthz() -> Response:
    """Answers as long as the process runs."""
    return json_response({"status": "ok"})


@router.get("/readyz")
async def readyz(service: ServiceDep) -> Response:
    """Answers 200 once the engine is warm. Raises OverloadedError before that, and while
    draining."""
    if not service.is_ready:
        raise OverloadedError("The model is not ready.", 2.0)
    return json_response({"status": "ready"})


@router.get("/metrics", dependencies=[KeyDep])
async def metrics(service: ServiceDep) -> Response:
    """The metrics in Prometheus' text format."""
    return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE})


def _names(service: ModelService) -> dict[str, Any]:
    manifest = service.checkpoint.manifest
    return {"models": manifest.models, "family": manifest.family.value}


async def _read(request: Request, service: ModelService, parse: Callable[[dict[str, Any]], T]) -> T:
    """The parsed body; parsed in a thread where it is large."""
    raw = await read_body(request, service.limits.max_body_bytes)
    return await service.heavy.run_where(is_large(raw), lambda: parse(parse_body(raw)))


def _conversations(body: dict[str, Any], most: int) -> list[Conversation]:
    """The conversations of a body. Raises InvalidRequestError, which names the conversation."""
    given = body.get("conversations")
    if not isinstance(given, list) or not given:
        raise InvalidRequestError(
            "conversations must be a list of at least one conversation, each a list of messages.",
            param="conversations",
        )
    if len(given) > most:
        raise InvalidRequestError(
            f"{len(given)} conversations are too many for one request: send at most {most}.",
            param="conversations",
        )
    return [_conversation(messages, index) for index, messages in enumerate(given)]


def _conversation(messages: object, index: int) -> Conversation:
    where = f"conversations[{index}]"
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError(f"{where} must be a list of messages.", param=where)
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidRequestError(
                f"{where}[{place}] must be a message with a role and content.", param=where
            )
    return Conversation(user_turns(messages))
