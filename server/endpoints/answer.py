"""Builds the response: the provider's answer with our name for the model and its cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any

from server.accounts.accounts import Accounts
from server.endpoints.decision_json import (
    decision_headers,
    decision_json,
    encoded_name,
    names_header,
    plain,
)
from server.errors import OVERLOADED, ApiError
from server.gateway.failures import with_words
from server.gateway.routed_request import Exchange
from server.http.anthropic_error import error_body
from server.http.disconnect import BrokenOffError
from server.http.guard import log_bug
from server.ledger.window import from_nano
from server.storage.errors import StorageError
from server.surfaces.base import GatewayRequest
from server.surfaces.messages.reply import MessageEvents, to_message
from server.surfaces.presenters import (
    ChunkPresenter,
    MessagesPresenter,
    NativePresenter,
    Presenter,
    ResponsesPresenter,
    named_event,
    with_cost,
)
from server.surfaces.responses.compaction import CompactionStream, compacted
from server.surfaces.responses.reply import blank_response, to_response
from server.surfaces.responses.stream import ResponseStream
from server.surfaces.responses.tools import Toolbox
from server.upstream.base import UpstreamReply, UpstreamStream
from server.upstream.errors import UpstreamError, UpstreamTimeoutError
from server.wire.chat_shape import COMPLETION
from server.wire.shapes import fitted
from server.wire.sse import error_event
from server.wire.surface import Surface
from server.wire.usage import openai_usage, parse_usage

Keep = Callable[[dict[str, Any]], Awaitable[object]]


def response_headers(exchange: Exchange) -> dict[str, str]:
    """The headers of every answer, streamed or not."""
    headers = decision_headers(exchange.decision, routed=exchange.plan.routed)
    if exchange.plan.marginal:
        headers["x-p2l-scoring"] = "marginal"
    fit = exchange.plan.fits.get(exchange.decision.model)
    if fit is not None and fit.left_out:
        headers["x-p2l-left-out-fields"] = names_header(fit.left_out)
    effort = exchange.plan.effort_sent(exchange.decision.card)
    if effort is not None:
        headers["x-p2l-effort"] = effort
    served = None if exchange.entry is None else exchange.entry.row.served_model
    if served is not None:
        headers["x-p2l-served-model"] = encoded_name(served)
    if exchange.kept is not None:
        headers["x-p2l-kept"] = exchange.kept
    headers["x-p2l-attempts"] = str(exchange.attempts)
    headers["server-timing"] = exchange.timings.header
    return headers


def whole_answer(
    exchange: Exchange, request: GatewayRequest, reply: UpstreamReply
) -> tuple[dict[str, Any], Decimal | None]:
    """The response body, and its cost in USD (None where no usage was reported)."""
    body = dict(reply.body)
    card = exchange.decision.card
    # The entry is settled: it has already read the usage.
    cost_usd = None if exchange.entry is None else exchange.entry.reported_cost_usd
    if isinstance(body.get("usage"), dict):
        body["usage"] = with_cost(body["usage"], None if cost_usd is None else float(cost_usd))
    if exchange.sent_as is not request.surface:
        body = _bridged(exchange, request, body)
    if request.turn is not None:
        body |= request.turn.marks
    body["model"] = card.name
    if exchange.plan.explain:
        body["p2l"] = decision_json(exchange.decision, exchange.plan)
    return body, cost_usd


async def streamed_answer(
    exchange: Exchange,
    request: GatewayRequest,
    stream: UpstreamStream,
    request_id: str,
    keep: Keep | None = None,
) -> AsyncIterator[bytes]:
    """The events of a streamed answer.

    The last event is the surface's own final event, or an error event; after an error event
    BrokenOffError is raised, unless the event says overloaded. Events after the beginning of a tool
    call are held back until the answer has ended: agents that retry after a broken answer would
    keep half of the call.

    keep: stores a finished response before the caller sees that it has finished.
    """
    presenter = _presenter(exchange, request, request_id)
    together: list[bytes] = []
    held: list[bytes] = []
    holds, in_call = _holds_calls(exchange, request), False
    try:
        begun = b"".join(presenter.begin())
        if begun:
            yield begun
        while events := await stream.read():
            for event in events:
                in_call = in_call or (holds and event.in_call)
                if in_call:
                    held += presenter.event(event)
                else:
                    together += presenter.event(event)
            if together:
                keep = await _kept(presenter, keep)
                yield b"".join(together)
                together.clear()
        together += held
        together += presenter.end()
        await _kept(presenter, keep)
        yield b"".join(together)
    except UpstreamError as error:
        yield b"".join([*together, presenter.failure(_broken(error, request.surface))])
        if not _is_overloaded(error):
            raise BrokenOffError from None
    except Exception as error:
        # A stream never ends without an event, not even after a bug of our own.
        log_bug(error)
        failure = ApiError("Internal error.", code="internal_error").body["error"]
        yield b"".join([*together, presenter.failure(failure)])
        raise BrokenOffError from None


def _holds_calls(exchange: Exchange, request: GatewayRequest) -> bool:
    """Whether tool calls are held back. Not where the caller names the tool: then it wants the
    arguments as they arrive."""
    named = isinstance(request.body.get("tool_choice"), Mapping)
    return exchange.sent_as is Surface.CHAT and not named


async def _kept(presenter: Presenter, keep: Keep | None) -> Keep | None:
    """Returns None after the response has been stored."""
    if keep is None or presenter.ended is None:
        return keep
    await keep(presenter.ended)
    return None


def _bridged(exchange: Exchange, request: GatewayRequest, body: dict[str, Any]) -> dict[str, Any]:
    """Converts a chat completion to the form of the surface that was asked for."""
    body = fitted(body, COMPLETION)
    model = exchange.decision.card.name
    booked = None if exchange.entry is None else exchange.entry.row.usage
    if booked is not None and parse_usage(body.get("usage")) is None:
        # Clients count on it: the estimate that is booked is better than none.
        body["usage"] = openai_usage(booked)
    if request.surface is Surface.MESSAGES:
        return to_message(body, model)
    blank = _blank(exchange, request)
    tools = request.tools or Toolbox()
    response = to_response(body, blank, tools, with_thoughts=_wants_thoughts(request))
    return compacted(response) if _compacts(request) else response


def _presenter(exchange: Exchange, request: GatewayRequest, request_id: str) -> Presenter:
    card, sent_as = exchange.decision.card, exchange.sent_as

    def cost() -> float | None:
        # The entry sees each event before its reader does.
        cost_usd = None if exchange.entry is None else exchange.entry.reported_cost_usd
        return None if cost_usd is None else float(cost_usd)

    marks = {} if request.turn is None else request.turn.marks
    if request.surface in (Surface.RESPONSES, Surface.MESSAGES) and sent_as is request.surface:
        return NativePresenter(card, cost, sent_as, request_id, marks)
    if request.surface is Surface.MESSAGES:
        events = MessageEvents(card.name, exchange.plan.routing.shape.input_tokens)
        return MessagesPresenter(events, cost, request_id)
    if request.surface is Surface.RESPONSES:
        blank = _blank(exchange, request) | marks
        tools = request.tools or Toolbox()
        if _compacts(request):
            return ResponsesPresenter(CompactionStream(blank), cost)
        stream = ResponseStream(blank, tools, with_thoughts=_wants_thoughts(request))
        return ResponsesPresenter(stream, cost)
    explanation = None
    if exchange.plan.explain:
        explanation = decision_json(exchange.decision, exchange.plan)
    return ChunkPresenter(card, cost, include_usage=request.include_usage, explanation=explanation)


def _blank(exchange: Exchange, request: GatewayRequest) -> dict[str, Any]:
    """A response that has just begun. It repeats the effort that was sent, where the router or an
    option has set it, and not the caller's."""
    name = exchange.decision.card.name
    blank, fit = blank_response(request.native or {}, name), exchange.plan.fits.get(name)
    if fit is not None and fit.effort is not None:
        blank["reasoning"] = {**blank["reasoning"], "effort": fit.effort}
    return blank


def _compacts(request: GatewayRequest) -> bool:
    return request.turn is not None and request.turn.compacts


def _wants_thoughts(request: GatewayRequest) -> bool:
    """Whether thoughts are included. Where the answer is kept, the next turn needs them."""
    included = (request.native or {}).get("include") or ()
    kept = request.turn is not None and request.turn.kept_as is not None
    return kept or "reasoning.encrypted_content" in included


def failure_event(surface: Surface, request_id: str, error: ApiError) -> bytes:
    """The error event of a surface, for a stream in which no model has begun to answer yet."""
    body = error.body["error"]
    if surface is Surface.MESSAGES:
        return named_event(error_body(error.status, error.for_anthropics, request_id))
    if surface is Surface.RESPONSES:
        told = {name: body.get(name) for name in ("code", "message", "param")}
        return named_event({"type": "error", **told, "sequence_number": 0})
    return error_event(body)


def cost_header(cost_usd: Decimal | None) -> Mapping[str, str]:
    """The x-p2l-cost-usd header, where the cost is known."""
    return {} if cost_usd is None else {"x-p2l-cost-usd": plain(cost_usd)}


async def session_headers(accounts: Accounts, exchange: Exchange) -> Mapping[str, str]:
    """The headers with the session's spend, including this answer where it is whole, and what is
    left of its budget; none where it has no budget, or where the amounts are not available."""
    purse = exchange.plan.purse
    if purse is None or purse.spec is None:
        return {}
    try:
        balance = await accounts.session_balance(purse.spec, exchange.entry)
    except StorageError:
        return {}
    spent, left = balance.spent, max(0, purse.spec.amount_nano - balance.spent)
    return {
        "x-p2l-session-cost-usd": plain(from_nano(spent)),
        "x-p2l-session-left-usd": plain(from_nano(left)),
    }


def _is_overloaded(error: UpstreamError) -> bool:
    """Whether the error event alone tells clients to retry, so that the connection need not be
    broken."""
    return error.said is not None and error.said.overloaded


def _broken(error: UpstreamError, surface: Surface) -> dict[str, Any]:
    """The error, worded so that clients know that they may retry: as OpenAI's and Anthropic's own
    servers word it."""
    late = isinstance(error.__cause__, UpstreamTimeoutError)
    code = "upstream_timeout" if late else "upstream_error"
    overloaded = _is_overloaded(error)
    if overloaded and surface is Surface.RESPONSES:
        # The events of this surface have no other field for it.
        code = OVERLOADED
    return {
        "message": f"The answer was cut short: {with_words(error)}. You can retry your request.",
        "type": OVERLOADED if overloaded else "server_error",
        "param": None,
        "code": code,
    }
