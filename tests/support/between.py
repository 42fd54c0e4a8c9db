"""Between a client and the gateway: keeps what became of each request, and may name the models
that may answer its turns."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import uvicorn
from quick_server import QuickServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

_HOP = {"host", "content-length", "connection", "transfer-encoding", "keep-alive", "upgrade"}
_KEPT = 4_000
_MESSAGE = re.compile(r'"message":\s*"((?:[^"\\]|\\.)*)"')
_FAILED = re.compile(r'"error":\s*\{|event: error|"response\.failed"')


@dataclass
class Exchange:
    """status: 0 where no answer came. model: that answered; error: what the client was told."""

    method: str
    path: str
    offers_tools: bool
    n_results: int
    bytes_sent: int
    status: int = 0
    model: str | None = None
    error: str | None = None
    cost_usd: str | None = None


class Between:
    """On a port of its own. turns: the model of each turn that offers tools, over and over."""

    def __init__(self, gateway: str, turns: Sequence[str] = ()) -> None:
        self.exchanges: list[Exchange] = []
        self._gateway = gateway
        self._turns = turns
        routes = [Route("/{path:path}", self._pass, methods=["GET", "HEAD", "POST", "OPTIONS"])]
        app = Starlette(routes=routes)
        config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off")
        self._server = QuickServer(config)

    @property
    def url(self) -> str:
        """Where the client finds the gateway."""
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.force_exit = True
        self._server.stop()

    async def _pass(self, request: Request) -> Response:
        content = await request.body()
        body = _parsed(content)
        path = request.url.path
        if request.url.query:
            path = f"{path}?{request.url.query}"
        exchange = Exchange(
            request.method, path, _offers_tools(body), _n_results(body), len(content)
        )
        self.exchanges.append(exchange)
        headers = {n: v for n, v in request.headers.items() if n not in _HOP}
        if self._turns and exchange.offers_tools:
            headers["x-route-models"] = self._turns[exchange.n_results % len(self._turns)]
        client = httpx.AsyncClient(timeout=None, trust_env=False)
        try:
            wanted = client.build_request(
                request.method, f"{self._gateway}{path}", headers=headers, content=content
            )
            answer = await client.send(wanted, stream=True)
            return await self._answered(exchange, client, answer)
        except BaseException:
            await client.aclose()
            raise

    async def _answered(
        self, exchange: Exchange, client: httpx.AsyncClient, answer: httpx.Response
    ) -> Response:
        exchange.status = answer.status_code
        exchange.model = answer.headers.get("x-p2l-model")
        exchange.cost_usd = answer.headers.get("x-p2l-cost-usd")
        kept = {n: v for n, v in answer.headers.items() if n not in _HOP}
        if "text/event-stream" in answer.headers.get("content-type", ""):
            events = _events(exchange, client, answer)
            return StreamingResponse(events, answer.status_code, kept)
        whole = b"".join([part async for part in answer.aiter_raw()])
        await client.aclose()
        if answer.status_code >= 400:
            exchange.error = _told(whole)
        return Response(whole, answer.status_code, kept)


async def _events(
    exchange: Exchange, client: httpx.AsyncClient, answer: httpx.Response
) -> AsyncIterator[bytes]:
    """Where the gateway breaks the connection, the one to the client breaks as well."""
    last = b""
    try:
        async for part in answer.aiter_raw():
            last = (last + part)[-_KEPT:]
            yield part
    finally:
        if _FAILED.search(last.decode(errors="replace")):
            exchange.error = _told(last)
        await client.aclose()


def _told(body: bytes) -> str:
    said = body.decode(errors="replace")
    found = _MESSAGE.findall(said)
    return str(found[-1]) if found else said[-200:]


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content) if content else {}
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    found = body.get("messages") or body.get("input")
    return [i for i in found if isinstance(i, dict)] if isinstance(found, list) else []


def _offers_tools(body: dict[str, Any]) -> bool:
    return bool(body.get("tools")) or any(
        item.get("type") == "additional_tools" for item in _items(body)
    )


def _n_results(body: dict[str, Any]) -> int:
    """How many results of tools a conversation holds."""
    n_results = 0
    for item in _items(body):
        content = item.get("content")
        if item.get("role") == "tool" or str(item.get("type", "")).endswith("_output"):
            n_results += 1
        elif isinstance(content, list):
            n_results += sum(
                isinstance(part, dict) and part.get("type") == "tool_result" for part in content
            )
    return n_results
