"""POST /v1/leaderboard and /v1/route: what would be chosen, and why. Nothing is forwarded."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from p2l_model.types import PromptLeaderboard
from router.catalog import ModelCard
from router.choice import Decision
from server.endpoints.answer import response_headers, session_headers
from server.endpoints.common import CallerDep, StateDep, json_response, read_request
from server.endpoints.decision_json import decision_json
from server.endpoints.intervals import certainty
from server.endpoints.leaderboard import leaderboard_json
from server.endpoints.openapi import LEADERBOARD, body_of
from server.errors import ApiError, InvalidRequestError
from server.surfaces.chat.request import ChatRequest, parse_chat_request
from server.wire.surface import Surface

router = APIRouter()


@router.post("/v1/route", **body_of(Surface.CHAT))
async def route(
    request: Request, caller: CallerDep, state: StateDep, receipt: bool = True
) -> Response:
    """The decision for a chat-completions body; nothing is sent. receipt: false to leave none in
    the storage."""
    gateway = state.gateway
    with await gateway.admit(caller):
        parse = partial(parse_chat_request, default_model="p2l")
        chat, options, large = await read_request(request, state, parse)
        plan = await gateway.planner.plan(chat, options, caller, is_large=large, is_dry=True)
        leaderboard, score_ms = await gateway.planner.leaderboard(plan)
        exchange = await gateway.rehearse(plan, leaderboard, score_ms)
        headers = response_headers(exchange) | {"x-request-id": plan.request_id}
        headers |= await session_headers(gateway.accounts, exchange)
    if receipt:
        gateway.keep(exchange)
    return json_response(decision_json(exchange.decision, plan), headers)


@router.post("/v1/leaderboard", **LEADERBOARD)
async def leaderboard(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """The leaderboard of a prompt, with the cost of each model of the catalogue."""
    gateway = state.gateway
    planner = gateway.planner
    with await gateway.admit(caller):
        chat, options, large = await read_request(request, state, _as_chat)
        plan = await planner.plan(chat, options, caller, is_large=large, is_dry=True)
        board, _ = await planner.leaderboard(plan)
    decision = _decision(gateway, plan, board)
    rows, cards = () if decision is None else decision.alternatives, planner.catalogue
    own = {cards[row.model].leaderboard_name: row for row in rows if _has_row(cards[row.model])}
    further = [row for row in rows if not _has_row(cards[row.model])]
    known = {} if decision is None else certainty(decision, plan.local)
    body = leaderboard_json(board, own, further, known)
    return json_response(body, {"x-request-id": plan.request_id})


def _has_row(card: ModelCard) -> bool:
    return card.effort is None and card.coefficient_sd == 0.0 and card.coefficient_shift == 0.0


def _decision(gateway: Any, plan: Any, board: PromptLeaderboard) -> Decision | None:
    """The decision whose costs are shown; None where no catalogue model is on the leaderboard."""
    try:
        decision: Decision = gateway.route(plan, board, 0.0).decision
    except ApiError:
        return None
    return decision


def _as_chat(body: dict[str, Any]) -> ChatRequest:
    """Reads `{"messages": [...]}` or `{"prompt": "..."}` as a chat request."""
    if ("prompt" in body) == ("messages" in body):
        raise InvalidRequestError("Give either messages or prompt.", param="messages")
    if "messages" in body:
        return parse_chat_request({**body, "model": "p2l", "stream": False})
    prompt = body["prompt"]
    if not isinstance(prompt, str):
        raise InvalidRequestError("prompt must be a string.", param="prompt")
    return parse_chat_request({"model": "p2l", "messages": [{"role": "user", "content": prompt}]})
