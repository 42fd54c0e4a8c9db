"""What endpoints share: the caller, the body, the state of the app."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from server.auth import Authenticator, Caller
from server.background import Background, HasBackground, JobState
from server.body import json_response, read_body
from server.errors import ForbiddenError
from server.gateway import Gateway
from server.json_body import parse_body
from server.keepalive import KEEPALIVE_S
from server.observer import Observer
from server.settings import Settings
from server.storage.store import Store

__all__ = ["CallerDep", "State", "StateDep", "check_dashboard", "json_response", "read_json"]


@dataclass(slots=True)
class State:
    """What the app holds: nothing of it is global. keepalive_s: the longest silence of a stream
    that its caller is let sit through."""

    settings: Settings
    gateway: Gateway
    authenticator: Authenticator
    store: Store
    observer: Observer
    created: int
    ready: bool = False
    background: Background = field(default_factory=Background)
    reading_keys: asyncio.Lock = field(default_factory=asyncio.Lock)
    keepalive_s: float = KEEPALIVE_S

    @property
    def jobs(self) -> list[JobState]:
        """The work in the background, that of the scorer in force too."""
        scorer = self.gateway.planner.scorer
        own = scorer.background.states() if isinstance(scorer, HasBackground) else []
        return [*self.background.states(), *own]

    def replace(self, settings: Settings, gateway: Gateway, authenticator: Authenticator) -> None:
        """For requests from now on; those under way hold on to what they began with."""
        self.settings, self.gateway, self.authenticator = settings, gateway, authenticator


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


def check_dashboard(request: Request, state: State) -> None:
    """An admin, or anybody on this machine where no key is configured.

    Raises AuthenticationError, ForbiddenError.
    """
    if not state.authenticator.caller(request.headers).admin:
        raise ForbiddenError


async def read_json(request: Request, state: State) -> dict[str, Any]:
    """The body's JSON object.

    Raises RequestTooLargeError, RequestTimeoutError, InvalidRequestError, ClientDisconnect.
    """
    limits = state.settings.limits
    return parse_body(await read_body(request, limits.max_body_bytes, limits.body_timeout_s))
