"""A gateway without a socket on either side: requests go in by ASGI, and the providers' answers are
bytes that a test has set. All between the two is the real code."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from server.app import create_app
from server.auth.authenticator import Caller
from server.build import build_scorer, build_store, build_upstreams
from server.catalogue.cards import build_catalogue
from server.config.file import parse_settings
from server.ledger.attempt import Attempt
from server.state import State
from server.upstream import kinds
from server.upstream.network import SharedRequest

ANYBODY = Caller("anonymous")


@dataclass
class Script(httpx.AsyncBaseTransport):
    """Answers every request of every provider alike, or as `answer` says: by the path and the body
    of the request, the content and its type."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b"{}"
    asked: list[httpx.Request] = field(default_factory=list)
    answer: Callable[[str, dict[str, Any]], tuple[bytes, str]] | None = None

    def say(
        self, content: bytes, content_type: str = "application/json", status: int = 200
    ) -> None:
        self.status, self.content = status, content
        self.headers = {"content-type": content_type}
        self.asked.clear()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.answer is not None:
            sent = request.content if isinstance(request, SharedRequest) else await request.aread()
            content, kind = self.answer(request.url.path, json.loads(sent))
            self.say(content, kind)
        return httpx.Response(self.status, headers=self.headers, content=self.content)


@dataclass
class Told:
    """What a caller was sent. cut: the answer had begun, and did not end."""

    status: int = 0
    content: bytes = b""
    cut: bool = True


class Complaints(logging.Handler):
    """Collects what the program says of its own faults."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


class InProcess:
    """settled: the attempts that were booked since `ask` was called. faults: what was logged as an
    error since then."""

    def __init__(self, app: FastAPI, script: Script) -> None:
        self.app = app
        self.script = script
        self.state: State = app.state.p2l
        self.settled: list[Attempt] = []
        self._complaints = Complaints()
        self._held = 0
        accounts = self.state.gateway.accounts
        before = accounts._on_settled

        def settled(row: Attempt) -> None:
            self.settled.append(row)
            if before is not None:
                before(row)

        accounts._on_settled = settled

    @property
    def faults(self) -> list[str]:
        return self._complaints.said

    async def ask(self, path: str, body: Any) -> Told:
        """Posts a body and reads the answer to its end."""
        self.settled.clear()
        self.faults.clear()
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        told, waiting = Told(), [{"type": "http.request", "body": content, "more_body": False}]
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
            "query_string": b"", "scheme": "http", "http_version": "1.1", "root_path": "",
            "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            "asgi": {"version": "3.0"}, "extensions": {"p2l.peer": _Peer()},
        }  # fmt: skip

        async def receive() -> Any:
            return waiting.pop(0)

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                told.status = message["status"]
            else:
                told.content += message.get("body", b"")
                told.cut = message.get("more_body", False)

        await self.app(scope, receive, send)
        return told

    async def held(self) -> str | None:
        """What a request has left behind; None where it left nothing."""
        before = self._held
        balances = await self.state.gateway.accounts.balances(ANYBODY)
        self._held = sum(balance.reserved for _, balance in balances)
        if self._held > before:
            return f"{self._held - before} nanodollars are still reserved"
        places = self.state.gateway.admission.in_flight
        return f"{places} places are held" if places else None


class _Peer:
    """A caller who waits for the whole answer."""

    is_gone = False
    has_sent_all = False
    has_begun = False

    def when_gone(self, callback: object) -> None:
        """Nothing: nobody hangs up."""

    def take_body(self) -> bytes:
        return b""

    def break_off(self) -> None:
        """Nothing: `Told.cut` shows it."""

    def answer(self, status: int, headers: object, body: bytes) -> bool:
        return False


@asynccontextmanager
async def in_process(config: str, environ: dict[str, str]) -> AsyncIterator[InProcess]:
    """A running gateway. config: YAML with a place for the ledger."""
    script = Script()
    settings = parse_settings(config)
    catalogue = build_catalogue(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "build_transport", lambda *_, **__: script)
        upstreams = build_upstreams(settings, catalogue, environ)
    app = create_app(
        settings,
        build_scorer(settings.scorer),
        upstreams,
        catalogue,
        store=build_store(settings.storage, environ),
    )
    made = InProcess(app, script)
    logger = logging.getLogger()
    async with app.router.lifespan_context(app):
        logger.addHandler(made._complaints)
        try:
            yield made
        finally:
            logger.removeHandler(made._complaints)
