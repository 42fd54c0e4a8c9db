"""The endpoints that forward a request: chat completions, responses, messages, completions and
embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from server.endpoints.application import Endpoint
from server.endpoints.common import CallerDep, StateDep, parse_json, read_raw, read_request
from server.endpoints.flow import Parser, Reading, forward
from server.endpoints.openapi import body_of
from server.http.body import json_response
from server.process.request_id import new_request_id
from server.surfaces.chat.forms import parse_any_chat_request
from server.surfaces.chat.request import ChatRequest
from server.surfaces.forwarded import (
    PassThroughRequest,
    parse_completions_request,
    parse_embeddings_request,
)
from server.surfaces.messages.request import betas_in, parse_messages_request
from server.surfaces.responses.keeping import KeptResponses
from server.surfaces.responses.request import parse_compact_request, parse_responses_request
from server.surfaces.responses.turn import history_of
from server.surfaces.routing_options import RoutingOptions, parse_options
from server.wire.surface import Surface

router = APIRouter()
_ROUTED: Final = "p2l"


@router.post("/v1/chat/completions", **body_of(Surface.CHAT))
async def chat_completions(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Routes and forwards a chat completion (OpenAI's Chat Completions)."""
    return await forward(request, caller, state, CHAT)


@router.post("/v1/responses", **body_of(Surface.RESPONSES))
async def responses(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Routes and forwards a response (OpenAI's Responses)."""
    return await forward(request, caller, state, RESPONSES)


@router.post("/v1/responses/compact", **body_of(Surface.COMPACT))
async def compact(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Has a provider shorten a conversation (OpenAI's Responses). Only that provider can read the
    result."""
    return await forward(request, caller, state, COMPACT)


@router.post("/v1/messages", **body_of(Surface.MESSAGES))
async def messages(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Routes and forwards a message (Anthropic's Messages)."""
    return await forward(request, caller, state, MESSAGES)


@router.post("/v1/messages/count_tokens", **body_of(Surface.MESSAGES))
async def count_tokens(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Counts the input tokens of a message: an estimate, by the tokenizer of the checkpoint."""
    gateway = state.gateway
    with await gateway.admit(caller):
        wanted, _, large = await read_request(request, state, _parse_to_count)
        plan = await gateway.planner.plan(wanted, RoutingOptions(), caller, is_large=large)
    headers = {"x-request-id": new_request_id()}
    return json_response({"input_tokens": plan.routing.shape.input_tokens}, headers)


@router.post("/v1/responses/input_tokens", **body_of(Surface.RESPONSES))
async def input_tokens(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Counts the input tokens of a response, and of those that it continues: an estimate, by the
    tokenizer of the checkpoint. Without a model, as for a request that is routed."""
    gateway = state.gateway
    with await gateway.admit(caller):
        body, large = await parse_json(await read_raw(request, state), state)
        kept = KeptResponses(state.store, state.settings, caller.name)
        earlier = await kept.before(body)
        large = large or len(earlier) > 0

        def read() -> ChatRequest:
            # A wrong option is an error here as well.
            parse_options(request.headers, body)
            return parse_responses_request(_routed(body), history_of(earlier))

        wanted = await gateway.heavy.run_where(large, read)
        plan = await gateway.planner.plan(wanted, RoutingOptions(), caller, is_large=large)
    told = {"object": "response.input_tokens", "input_tokens": plan.routing.shape.input_tokens}
    return json_response(told, {"x-request-id": new_request_id()})


@router.post("/v1/completions", **body_of(Surface.COMPLETIONS))
async def completions(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Forwards a completion to the model that it names (OpenAI's legacy Completions)."""
    return await forward(request, caller, state, COMPLETIONS)


@router.post("/v1/embeddings", **body_of(Surface.EMBEDDINGS))
async def embeddings(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Forwards texts to the embedding model that the request names (OpenAI's Embeddings)."""
    return await forward(request, caller, state, EMBEDDINGS)


def _parse_to_count(body: dict[str, Any]) -> ChatRequest:
    return parse_messages_request({"max_tokens": 1, **body})


def _routed(body: dict[str, Any]) -> dict[str, Any]:
    """The body with the name of the router where it names no model."""
    return body if body.get("model") is not None else {**body, "model": _ROUTED}


def _parse_chat(body: dict[str, Any], _: Reading) -> ChatRequest:
    return parse_any_chat_request(body)


def _parse_responses(body: dict[str, Any], reading: Reading) -> ChatRequest:
    kept_as = reading.kept.new_id(body)
    return parse_responses_request(body, history_of(reading.earlier), kept_as)


def _parse_compact(body: dict[str, Any], reading: Reading) -> ChatRequest:
    return parse_compact_request(body, history_of(reading.earlier))


def _parse_messages(body: dict[str, Any], reading: Reading) -> ChatRequest:
    return parse_messages_request(body, betas_in(reading.headers))


def _parse_completions(body: dict[str, Any], _: Reading) -> PassThroughRequest:
    return parse_completions_request(body)


def _parse_embeddings(body: dict[str, Any], _: Reading) -> PassThroughRequest:
    return parse_embeddings_request(body)


CHAT: Final = Parser(_parse_chat)
RESPONSES: Final = Parser(_parse_responses, continues=True)
COMPACT: Final = Parser(_parse_compact, continues=True)
MESSAGES: Final = Parser(_parse_messages)
COMPLETIONS: Final = Parser(_parse_completions)
EMBEDDINGS: Final = Parser(_parse_embeddings)
# Maps each path to the endpoint for a POST to it, which bypasses the framework.
FORWARDING: Final[Mapping[str, Endpoint]] = {
    f"/v1/{Surface.CHAT}": chat_completions,
    f"/v1/{Surface.RESPONSES}": responses,
    f"/v1/{Surface.COMPACT}": compact,
    f"/v1/{Surface.MESSAGES}": messages,
    f"/v1/{Surface.COMPLETIONS}": completions,
    f"/v1/{Surface.EMBEDDINGS}": embeddings,
}
