"""What all endpoints that forward a request do, from its body to the response."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from server.admission import Place
from server.answer import (
    cost_header,
    failure_event,
    response_headers,
    streamed_answer,
    whole_answer,
)
from server.auth import Caller
from server.disconnect import EventStreamResponse, StreamHead, run_while_connected
from server.endpoints.common import State, json_response, read_json
from server.errors import ApiError
from server.exchange import Opening
from server.gateway import Gateway
from server.guard import log_bug
from server.keepalive import KeepAlive, RawHeaders, beat_of
from server.options import parse_options
from server.plan import Plan
from server.request import GatewayRequest
from server.request_id import CURRENT_REQUEST
from server.responses.keeping import KeptResponses
from server.tracing import NO_TRACE, Trace

# Reads a body, with what it may need besides: the headers, and what the key has kept.
Parser = Callable[[dict[str, Any], Headers, KeptResponses], Awaitable[GatewayRequest]]


async def forward(request: Request, caller: Caller, state: State, parse: Parser) -> Response:
    """Parses, routes, forwards and answers, streamed or not. Raises ApiError."""
    place = await state.gateway.admit(caller)
    response: Response | None = None
    try:
        response = await _answer(request, caller, state, parse, place)
        return response
    finally:
        # a stream counts as under way until its last event is sent
        if not isinstance(response, EventStreamResponse):
            place.leave()


async def _answer(
    request: Request, caller: Caller, state: State, parse: Parser, place: Place
) -> Response:
    gateway, headers = state.gateway, request.headers
    body = await read_json(request, state)
    noted = request.scope.setdefault("state", {})
    trace: Trace = noted.get("trace", NO_TRACE)
    trace.hop("read")
    kept = KeptResponses(state.store, state.settings, caller.name)
    wanted = await parse(body, headers, kept)
    plan = await gateway.planner.plan(wanted, parse_options(headers, body), caller)
    noted["request_id"] = plan.request_id
    CURRENT_REQUEST.set(plan.request_id)
    trace.planned(plan.request_id)
    if not wanted.stream:
        return await _whole(request, gateway, wanted, plan, kept)
    return await _streamed(request, state, wanted, plan, kept, place)


async def _streamed(
    request: Request,
    state: State,
    wanted: GatewayRequest,
    plan: Plan,
    kept: KeptResponses,
    place: Place,
) -> Response:
    opening = Opening()
    head = partial(_early_head, opening, plan.request_id)
    alive = KeepAlive(request._send, beat_of(wanted.surface), state.keepalive_s, head)
    failure = partial(failure_event, wanted.surface, plan.request_id)
    try:
        exchange, stream = await run_while_connected(
            request, lambda: state.gateway.stream(wanted, plan, opening)
        )
    except Exception as error:
        # hanging up is no failure, and where nothing was sent there is a better way to say it
        if isinstance(error, ClientDisconnect) or not await alive.cease():
            alive.stop()
            raise
        return _failed_late(error, failure, alive, place)
    except BaseException:
        alive.stop()
        if alive.has_begun:
            # a process that stops; the caller would take the silence for the end
            await EventStreamResponse.send_last(request._send, alive, failure)
        raise
    try:
        headers = response_headers(exchange) | {"x-request-id": plan.request_id}
        events = streamed_answer(exchange, wanted, stream, plan.request_id, _keep(wanted, kept))
        return EventStreamResponse(events, stream.aclose, place.leave, headers, alive, failure)
    except BaseException:
        alive.stop()
        await stream.aclose()
        raise


def _early_head(opening: Opening, request_id: str) -> RawHeaders:
    """Where a caller has waited long: who is being asked; the body will say who answered."""
    exchange = opening.exchange
    told = {} if exchange is None else response_headers(exchange)
    return StreamHead(told | {"x-request-id": request_id}).raw_headers


def _failed_late(
    error: Exception, failure: Callable[[ApiError], bytes], alive: KeepAlive, place: Place
) -> EventStreamResponse:
    """For a caller who has been told 200 already."""
    if not isinstance(error, ApiError):
        log_bug(error)
        error = ApiError("Internal error.", code="internal_error")
    last = failure(error)

    async def events() -> AsyncIterator[bytes]:
        yield last

    async def nothing() -> None:
        """There is nothing to be closed."""

    return EventStreamResponse(events(), nothing, place.leave, {}, alive, failure, breaks=True)


async def _whole(
    request: Request, gateway: Gateway, wanted: GatewayRequest, plan: Plan, kept: KeptResponses
) -> Response:
    exchange, reply = await run_while_connected(request, lambda: gateway.complete(wanted, plan))
    answer, cost_usd = whole_answer(exchange, wanted, reply, plan.request_id)
    keep = _keep(wanted, kept)
    if keep is not None:
        answer["store"] = await keep(answer)
    headers = {**response_headers(exchange), **cost_header(cost_usd)}
    return json_response(answer, headers | {"x-request-id": plan.request_id})


def _keep(
    wanted: GatewayRequest, kept: KeptResponses
) -> Callable[[dict[str, Any]], Awaitable[bool]] | None:
    """None where the answer is not to be kept."""
    turn = wanted.turn
    if turn is None or turn.kept_as is None:
        return None
    return partial(kept.keep, turn)
