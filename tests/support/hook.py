"""A receiver of webhooks over a real socket, which answers as told and checks signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a-secret-canary"


class Hook:
    """statuses: of the next answers, the last one stays; 0: silence. got: (headers, body) of each
    request. endless: whether the bodies of the answers have no end."""

    def __init__(self, *statuses: int, location: str | None = None, endless: bool = False) -> None:
        waiting = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.ended = threading.Event()
        self._news = threading.Condition()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with hook._news:
                    status = waiting[0] if len(waiting) == 1 else waiting.pop(0)
                    hook.got.append(({n.lower(): v for n, v in self.headers.items()}, body))
                    hook._news.notify_all()
                if status == 0:
                    hook.ended.wait(30)
                    return
                self.send_response(status)
                if location is not None:
                    self.send_header("location", location)
                if not endless:
                    self.send_header("content-length", "0")
                self.end_headers()
                if endless:
                    with suppress(OSError):
                        while True:
                            self.wfile.write(b"x" * 65_536)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token-canary"

    def alerts(self, n: int, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """The bodies of the first n requests, once they are here."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.got) >= n, timeout_s), self.got
        return [json.loads(body) for _, body in self.got]


def is_signed(headers: dict[str, str], body: bytes, key: bytes = SECRET.encode()) -> bool:
    """As a receiver checks it: HMAC-SHA256 over id, time and body."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return headers["webhook-signature"] == f"v1,{mac}"


@contextmanager
def hook(*statuses: int, location: str | None = None, endless: bool = False) -> Iterator[Hook]:
    receiver = Hook(*(statuses or (204,)), location=location, endless=endless)
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ended.set()
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join(5)
