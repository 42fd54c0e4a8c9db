"""Asks one model by name through the gateway: its providers, breakers, windows and ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.auth.authenticator import Caller
from server.gateway.gateway import Gateway
from server.shadow.hearing import text_of
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import RoutingOptions

# The ledger counts the money of second answers and of their grades under this name.
KEY: Final = "p2l-shadow"


async def asked(
    gateway: Gateway, caller: Caller, model: str, body: Mapping[str, Any], tag: str
) -> str | None:
    """The text of a model's whole answer; None where it gives none. tag: the ledger's. Raises
    ApiError."""
    request = parse_chat_request({**body, "model": model})
    options = RoutingOptions(tags=(KEY, tag), shadow=False)
    plan = await gateway.planner.plan(request, options, caller)
    place = await gateway.admit(caller)
    with place:
        _, reply = await gateway.complete(request, plan)
    return text_of(reply.body)
