"""POST /v1/chat/completions."""

from __future__ import annotations

from contextlib import ExitStack

from fastapi import APIRouter, Request, Response

from server.answer import cost_header, response_headers, streamed_answer, whole_answer
from server.chat_request import ChatRequest, parse_chat_request
from server.disconnect import EventStreamResponse, run_while_connected
from server.endpoints.common import CallerDep, StateDep, json_response, read_json
from server.gateway import Gateway
from server.options import parse_options
from server.plan import Plan

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Routes and forwards a chat completion; see interface section 1."""
    gateway = state.gateway
    with ExitStack() as stack:
        stack.enter_context(await gateway.admit(caller))
        body = await read_json(request)
        chat = parse_chat_request(body)
        plan = await gateway.planner.plan(chat, parse_options(request.headers, body), caller)
        request.state.request_id = plan.request_id
        if not chat.stream:
            return await _whole(request, gateway, chat, plan)
        exchange, stream = await run_while_connected(request, lambda: gateway.stream(chat, plan))
        headers = response_headers(exchange) | {"x-request-id": plan.request_id}
        # the request stays counted as under way until its last event is sent
        release = stack.pop_all().close
        events = streamed_answer(exchange, chat, stream, plan.request_id)
        return EventStreamResponse(events, stream.aclose, release, headers)


async def _whole(request: Request, gateway: Gateway, chat: ChatRequest, plan: Plan) -> Response:
    exchange, reply = await run_while_connected(request, lambda: gateway.complete(chat, plan))
    answer, cost_usd = whole_answer(exchange, reply, plan.request_id)
    headers = response_headers(exchange) | {
        "x-request-id": plan.request_id,
        **cost_header(cost_usd),
    }
    return json_response(answer, headers)
