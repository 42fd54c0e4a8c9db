"""A provider's list of models, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import orjson


class Lists:
    """A provider's list of models, as the real ones give it."""

    def __init__(self, answers: dict[str, tuple[int, Any]]) -> None:
        asked = self.asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append((self.path, {n.lower(): v for n, v in self.headers.items()}))
                status, body = answers.get(self.path, (404, {"error": "no"}))
                data = orjson.dumps(body)
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    asked: list[tuple[str, dict[str, str]]]


@contextmanager
def listing(answers: dict[str, tuple[int, Any]]) -> Iterator[Lists]:
    lists = Lists(answers)
    thread = Thread(target=lists.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield lists
    finally:
        lists.server.shutdown()
        lists.server.server_close()
        thread.join(5)
