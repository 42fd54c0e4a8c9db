"""What anybody writes first: a proxy of FastAPI and httpx. The floor that ours is compared with.

UPSTREAM=http://127.0.0.1:9100/v1 uvicorn minimal_proxy:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

_URL = os.environ.get("UPSTREAM", "http://127.0.0.1:9100/v1") + "/chat/completions"


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: str
    content: Any = None


class ChatRequest(BaseModel):
    model_config = ConfigDict(extra="allow")
    model: str
    messages: list[Message]
    stream: bool = False


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions")
async def chat(request: ChatRequest) -> Response:
    body = request.model_dump(exclude_unset=True)
    if not request.stream:
        answer = await app.state.client.post(_URL, json=body)
        return Response(answer.content, answer.status_code, media_type="application/json")
    return StreamingResponse(_lines(body), media_type="text/event-stream")


async def _lines(body: dict[str, Any]) -> AsyncIterator[bytes]:
    async with app.state.client.stream("POST", _URL, json=body) as answer:
        async for line in answer.aiter_lines():
            if line:
                yield (line + "\n\n").encode()
