"""The path of a forwarded request, from its body to the response, for all endpoints that
forward."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from server.auth.authenticator import Caller
from server.endpoints.answer import (
    cost_header,
    failure_event,
    response_headers,
    session_headers,
    streamed_answer,
    whole_answer,
)
from server.endpoints.common import json_response, parse_json, read_raw
from server.errors import ApiError
from server.gateway.admission import Place
from server.gateway.gateway import Gateway
from server.gateway.plan import Plan
from server.gateway.routed_request import Opening
from server.http.disconnect import (
    BrokenOffError,
    EventStreamResponse,
    StreamHead,
    run_while_connected,
)
from server.http.guard import log_bug
from server.http.joining import followed, may_be_repeated
from server.http.keepalive import KeepAlive, RawHeaders, beat_of
from server.http.recording import Recording
from server.process.request_id import CURRENT_REQUEST
from server.shadow.shadow import Hearing
from server.state import State
from server.storage.responses import KeptResponse
from server.surfaces.base import GatewayRequest
from server.surfaces.responses.keeping import KeptResponses
from server.surfaces.routing_options import RoutingOptions, parse_options
from server.telemetry.tracing import NO_TRACE, Trace
from server.wire.json_pieces import dumps_in_pieces


class Reading(NamedTuple):
    """Further input for parsing a body: the headers, the key's stored responses, and the responses
    that the request continues."""

    headers: Headers
    kept: KeptResponses
    earlier: Sequence[KeptResponse]


@dataclass(frozen=True, slots=True)
class Parser:
    """Parses the bodies of one surface. read: parses a body; raises InvalidRequestError; may be
    called in a thread. continues: whether a request of this surface may continue earlier
    responses."""

    read: Callable[[dict[str, Any], Reading], GatewayRequest]
    continues: bool = False


async def forward(request: Request, caller: Caller, state: State, parser: Parser) -> Response:
    """Parses, routes, forwards and answers, streamed or not. Raises ApiError."""
    place = await state.gateway.admit(caller)
    response: Response | Recording | None = None
    try:
        response = await _answer(request, caller, state, parser, place)
    finally:
        # A stream counts as in progress until its last event is sent.
        if not isinstance(response, EventStreamResponse):
            place.leave()
    # A request that joins another needs no place.
    return await followed(request, response) if isinstance(response, Recording) else response


async def _answer(
    request: Request, caller: Caller, state: State, parser: Parser, place: Place
) -> Response | Recording:
    gateway, headers = state.gateway, request.headers
    raw = await read_raw(request, state)
    if may_be_repeated(request):
        first = await state.joining.join(request, caller.name, raw, gateway.heavy)
        if first is not None:
            return first
    body, large = await parse_json(raw, state)
    noted = request.scope.setdefault("state", {})
    trace: Trace = noted.get("trace", NO_TRACE)
    trace.hop("read")
    kept = KeptResponses(state.store, state.settings, caller.name)
    earlier = await kept.before(body) if parser.continues else ()
    large = large or len(earlier) > 0

    def read() -> tuple[GatewayRequest, RoutingOptions]:
        return parser.read(body, Reading(headers, kept, earlier)), parse_options(headers, body)

    wanted, options = await gateway.heavy.run(read) if large else read()
    plan = await gateway.planner.plan(wanted, options, caller, is_large=large)
    noted["request_id"] = plan.request_id
    CURRENT_REQUEST.set(plan.request_id)
    trace.planned(plan.request_id)
    heard = None
    if state.shadow is not None and state.settings.learning.share > 0:
        heard = state.shadow.hears(wanted, options, caller, plan)
    if not wanted.stream:
        return await _whole(request, gateway, wanted, plan, kept, heard)
    return await _streamed(request, state.keepalive_s, gateway, wanted, plan, kept, place, heard)


async def _streamed(
    request: Request,
    keepalive_s: float,
    gateway: Gateway,
    wanted: GatewayRequest,
    plan: Plan,
    kept: KeptResponses,
    place: Place,
    heard: Hearing | None,
) -> Response:
    opening = Opening()
    head = partial(_early_head, opening, plan.request_id)
    alive = KeepAlive(request._send, beat_of(wanted.surface), keepalive_s, head)
    failure = partial(failure_event, wanted.surface, plan.request_id)
    try:
        exchange, stream = await run_while_connected(
            request, lambda: gateway.stream(wanted, plan, opening)
        )
        request.scope["state"]["exchange"] = exchange
        if heard is not None:
            heard.follow(exchange, stream)
    except Exception as error:
        # Hanging up is not a failure, and where nothing was sent, an ordinary error response is
        # better.
        if isinstance(error, ClientDisconnect) or not await alive.cease():
            alive.stop()
            raise
        return _failed_late(error, failure, alive, place)
    except BaseException:
        alive.stop()
        if alive.has_begun:
            # The process is stopping; the caller would take silence for the end of the answer.
            await EventStreamResponse.send_last(request.scope, request._send, alive, failure)
        raise
    try:
        headers = response_headers(exchange) | {"x-request-id": plan.request_id}
        if plan.purse is not None:
            headers |= await session_headers(gateway.accounts, exchange)
        events = streamed_answer(exchange, wanted, stream, plan.request_id, _keep(wanted, kept))
        return EventStreamResponse(events, stream.aclose, place.leave, headers, alive, failure)
    except BaseException:
        alive.stop()
        await stream.aclose()
        raise


def _early_head(opening: Opening, request_id: str) -> RawHeaders:
    """The headers for a caller who has waited long: the model that is being asked; the body will
    name the model that answered."""
    exchange = opening.exchange
    told = {} if exchange is None else response_headers(exchange)
    return StreamHead(told | {"x-request-id": request_id}).raw_headers


def _failed_late(
    error: Exception, failure: Callable[[ApiError], bytes], alive: KeepAlive, place: Place
) -> EventStreamResponse:
    """The response to a failure, for a caller who has already received status 200."""
    if not isinstance(error, ApiError):
        log_bug(error)
        error = ApiError("Internal error.", code="internal_error")
    last = failure(error)

    async def events() -> AsyncIterator[bytes]:
        yield last
        raise BrokenOffError

    async def nothing() -> None:
        """Does nothing: there is nothing to close."""

    return EventStreamResponse(events(), nothing, place.leave, {}, alive, failure)


async def _whole(
    request: Request,
    gateway: Gateway,
    wanted: GatewayRequest,
    plan: Plan,
    kept: KeptResponses,
    heard: Hearing | None,
) -> Response:
    exchange, reply = await run_while_connected(request, lambda: gateway.complete(wanted, plan))
    if heard is not None:
        heard.whole(exchange, reply)
    heavy, large = gateway.heavy, reply.is_large
    said = partial(whole_answer, exchange, wanted, reply)
    answer, cost_usd = await heavy.run(said) if large else said()
    keep = _keep(wanted, kept)
    if keep is not None:
        answer["store"] = await keep(answer)
    headers = {**response_headers(exchange), **cost_header(cost_usd)}
    headers["x-request-id"] = plan.request_id
    if plan.purse is not None:
        headers |= await session_headers(gateway.accounts, exchange)
    written = await heavy.run(partial(dumps_in_pieces, answer)) if large else answer
    return json_response(written, headers)


def _keep(
    wanted: GatewayRequest, kept: KeptResponses
) -> Callable[[dict[str, Any]], Awaitable[bool]] | None:
    """A function that stores the answer; None where it is not to be stored."""
    turn = wanted.turn
    if turn is None or turn.kept_as is None:
        return None
    return partial(kept.keep, turn)
