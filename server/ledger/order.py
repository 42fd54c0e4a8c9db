"""What the ledger needs to know about a request that is about to be sent."""

from __future__ import annotations

from typing import Protocol

from router.request import RoutingRequest
from server.auth.authenticator import Caller
from server.ledger.purse import Purse


class Order(Protocol):
    """A request that is about to be sent. request_id: its id. caller: who pays. routing: the input
    of the router. routed: False for a model that is asked for by its own name. tags: the labels by
    which spend is told apart. purse: the money of the session."""

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
    @property
    def purse(self) -> Purse | None: ...
