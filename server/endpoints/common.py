"""What endpoints share: access to the state, authentication of the caller, reading the body."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from server.auth.authenticator import Caller
from server.errors import ForbiddenError
from server.http.body import json_response, read_body
from server.process.heavy import is_large
from server.state import State
from server.surfaces.json_body import parse_body
from server.surfaces.routing_options import RoutingOptions, parse_options

__all__ = [
    "CallerDep",
    "State",
    "StateDep",
    "check_dashboard",
    "json_response",
    "parse_json",
    "read_json",
    "read_raw",
    "read_request",
]

R = TypeVar("R")


# Both are coroutines: the framework would run a plain function in a thread.
async def state_of(request: Request) -> State:
    """The application's state."""
    state: State = request.app.state.p2l
    return state


async def authenticated(request: Request) -> Caller:
    """The caller of the request. Raises AuthenticationError."""
    return (await state_of(request)).authenticator.caller(request.headers)


CallerDep = Annotated[Caller, Depends(authenticated)]
StateDep = Annotated[State, Depends(state_of)]


def check_dashboard(request: Request, state: State) -> None:
    """Checks that the caller may see the dashboard: an admin, or anybody on this machine where no
    key is configured.

    Raises AuthenticationError, ForbiddenError.
    """
    if not state.authenticator.caller(request.headers).admin:
        raise ForbiddenError


async def read_request(
    request: Request, state: State, parse: Callable[[dict[str, Any]], R]
) -> tuple[R, RoutingOptions, bool]:
    """The parsed body, the routing options, and whether the body is large.

    Raises the errors of read_json, parse_options and parse.
    """
    body, large = await read_json(request, state)

    def read() -> tuple[R, RoutingOptions]:
        return parse(body), parse_options(request.headers, body)

    wanted, options = await state.gateway.heavy.run_where(large, read)
    return wanted, options, large


async def read_json(request: Request, state: State) -> tuple[dict[str, Any], bool]:
    """The JSON object in the body, and whether it is large. The whole of a large body must not be
    processed on the event loop.

    Raises RequestTooLargeError, RequestTimeoutError, InvalidRequestError, ClientDisconnect,
    OverloadedError.
    """
    return await parse_json(await read_raw(request, state), state)


async def read_raw(request: Request, state: State) -> bytes:
    """The bytes of the body. Raises the errors of read_json except InvalidRequestError."""
    limits = state.settings.limits
    arrivals = state.gateway.admission.arrivals
    return await read_body(request, limits.max_body_bytes, limits.body_timeout_s, arrivals)


async def parse_json(raw: bytes, state: State) -> tuple[dict[str, Any], bool]:
    """Parses the bytes; the second part of read_json. Raises InvalidRequestError."""
    if not is_large(raw):
        return parse_body(raw), False
    return await state.gateway.heavy.run(partial(parse_body, raw)), True
