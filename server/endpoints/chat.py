"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from server.chat_request import ChatRequest, parse_chat_request
from server.endpoints.common import CallerDep, StateDep
from server.endpoints.flow import forward

router = APIRouter()
PATH = "/v1/chat/completions"


@router.post(PATH)
async def chat_completions(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Routes and forwards a chat completion; see interface section 1."""
    return await forward(request, caller, state, parse)


async def parse(body: dict[str, Any]) -> ChatRequest:
    """Raises InvalidRequestError."""
    return parse_chat_request(body)
