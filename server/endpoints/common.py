"""What endpoints share: the caller, the body, the state of the app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import Depends, Request, Response

from server.auth import Authenticator, Caller
from server.chat_request import parse_body
from server.errors import InvalidRequestError, RequestTooLargeError
from server.gateway import Gateway
from server.settings import Settings


@dataclass(slots=True)
class State:
    """What the app holds: nothing of it is global."""

    settings: Settings
    gateway: Gateway
    authenticator: Authenticator
    created: int
    ready: bool = False


# asynchronous, both: the framework would run a plain function in a thread
async def state_of(request: Request) -> State:
    """The app's state."""
    state: State = request.app.state.p2l
    return state


async def authenticated(request: Request) -> Caller:
    """The caller. Raises AuthenticationError."""
    return (await state_of(request)).authenticator.caller(request.headers)


CallerDep = Annotated[Caller, Depends(authenticated)]
StateDep = Annotated[State, Depends(state_of)]


async def read_json(request: Request) -> dict[str, Any]:
    """The body's JSON object. Raises RequestTooLargeError, InvalidRequestError."""
    limit = (await state_of(request)).settings.limits.max_body_bytes
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
        raise RequestTooLargeError(limit)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequestError("content-encoding is not supported: send the body as it is.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise RequestTooLargeError(limit)
    return parse_body(bytes(body))


def json_response(
    body: object, headers: dict[str, str] | None = None, status: int = 200
) -> Response:
    """JSON without a detour through the framework's encoder."""
    return Response(orjson.dumps(body), status, headers, "application/json")
