"""What leaves the gateway: an upstream's answer with our name for the model and its cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import orjson

from router.catalog import ModelCard
from router.cost import actual_cost_usd
from server.decision_view import decision_headers, decision_json, plain
from server.errors import ApiError
from server.gateway import Exchange
from server.guard import log_bug
from server.request import GatewayRequest
from server.sse import DONE, SseEvent, encode_event, error_event
from server.upstream.base import Surface, UpstreamReply, UpstreamStream
from server.upstream.errors import UpstreamError, UpstreamTimeoutError
from server.usage import parse_usage


def response_headers(exchange: Exchange) -> dict[str, str]:
    """The headers of every answer, streamed or not."""
    headers = decision_headers(exchange.decision, routed=exchange.plan.routed)
    if exchange.plan.marginal:
        headers["x-p2l-scoring"] = "marginal"
    fit = exchange.plan.fits.get(exchange.decision.model)
    if fit is not None and fit.left_out:
        headers["x-p2l-left-out-fields"] = ",".join(fit.left_out)
    headers["x-p2l-attempts"] = str(exchange.attempts)
    headers["server-timing"] = exchange.timings.header
    return headers


def whole_answer(
    exchange: Exchange,
    request: GatewayRequest,  # noqa: ARG001
    reply: UpstreamReply,
    request_id: str,
) -> tuple[dict[str, Any], Decimal | None]:
    """The body for the caller and what it cost in USD (None where no usage was reported)."""
    body = dict(reply.body)
    card = exchange.decision.card
    body["model"] = card.name
    cost_usd = cost_of(card, body.get("usage"), exchange.sent_as)
    if cost_usd is not None:
        body["usage"] = {**body["usage"], "cost": float(cost_usd)}
    if exchange.plan.explain:
        body["p2l"] = decision_json(exchange.decision, request_id, exchange.plan.scoring)
    return body, cost_usd


async def streamed_answer(
    exchange: Exchange, request: GatewayRequest, stream: UpstreamStream, request_id: str
) -> AsyncIterator[bytes]:
    """The events for the caller, `[DONE]` or an error event last."""
    rewrite = _Rewriter(exchange, request, request_id)
    together: list[bytes] = []
    try:
        async for event in stream:
            payload = rewrite(event)
            if payload is not None:
                together.append(encode_event(payload))
            if together and not event.more:
                yield b"".join(together)
                together.clear()
        yield b"".join([*together, DONE])
    except UpstreamError as error:
        yield b"".join([*together, error_event(_broken(error))])
    except Exception as error:
        # never a silent end, not even for a mistake of our own
        log_bug(error)
        yield error_event(ApiError("Internal error.", code="internal_error").body["error"])


class _Rewriter:
    """Changes what must change in a chunk and passes on the bytes of every other."""

    def __init__(self, exchange: Exchange, request: GatewayRequest, request_id: str) -> None:
        self._card = exchange.decision.card
        self._include_usage = request.include_usage
        self._explanation: dict[str, Any] | None = None
        if exchange.plan.explain:
            self._explanation = decision_json(exchange.decision, request_id, exchange.plan.scoring)

    def __call__(self, event: SseEvent) -> bytes | None:
        chunk = event.json()
        untouched = chunk.get("model") == self._card.name and self._explanation is None
        if untouched and "usage" not in chunk:
            return event.data
        chunk["model"] = self._card.name
        if self._explanation is not None:
            chunk["p2l"], self._explanation = self._explanation, None
        return self._with_usage(chunk)

    def _with_usage(self, chunk: dict[str, Any]) -> bytes | None:
        usage = chunk.get("usage")
        cost_usd = cost_of(self._card, usage)
        if not self._include_usage:
            chunk.pop("usage", None)
            if usage is not None and not chunk.get("choices"):
                return None
        elif cost_usd is not None:
            chunk["usage"] = {**chunk["usage"], "cost": float(cost_usd)}
        return orjson.dumps(chunk)


def cost_header(cost_usd: Decimal | None) -> Mapping[str, str]:
    """x-p2l-cost-usd, where the cost is known."""
    return {} if cost_usd is None else {"x-p2l-cost-usd": plain(cost_usd)}


def cost_of(card: ModelCard, usage: object, surface: Surface = Surface.CHAT) -> Decimal | None:
    """USD for a usage object of the surface; None where there is none or the price is unknown."""
    parsed = parse_usage(usage, surface)
    return None if parsed is None else actual_cost_usd(card, parsed)


def _broken(error: UpstreamError) -> dict[str, Any]:
    late = isinstance(error.__cause__, UpstreamTimeoutError)
    return {
        "message": f"The answer broke off: {error.message}",
        "type": "upstream_error",
        "param": None,
        "code": "upstream_timeout" if late else "upstream_error",
    }
