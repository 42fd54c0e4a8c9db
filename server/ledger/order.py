"""What the ledger needs to know of a request that is about to be sent."""

from __future__ import annotations

from typing import Protocol

from router.request import RoutingRequest
from server.auth.authenticator import Caller


class Order(Protocol):
    """request_id: of the request. caller: who pays. routing: what the router was asked. routed:
    false for a model asked for by its own name. tags: what spending is told apart by."""

    @property
    def request_id(self) -> str: ...
    @property
    def caller(self) -> Caller: ...
    @property
    def routing(self) -> RoutingRequest: ...
    @property
    def routed(self) -> bool: ...
    @property
    def streamed(self) -> bool: ...
    @property
    def tags(self) -> tuple[str, ...]: ...
