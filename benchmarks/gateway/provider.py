"""A provider that is never the bottleneck: answers prepared as bytes, no framework.

python provider.py PORT. A prompt holding `@@n=100,d=10@@` is streamed 100 chunks, 10 ms apart.
GET /count tells how many requests were answered. A judge's request is answered with a tie.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from functools import lru_cache

import httptools
import orjson
import uvloop

_ASKED = re.compile(rb"@@n=(\d+),d=([0-9.]+)@@")
_TEXT = "The quick brown fox jumps over the lazy dog. " * 4
_VERDICT = '{"reason": "both are right", "better": "tie"}'
_HEAD = {"id": "chatcmpl-fake", "created": 1, "system_fingerprint": "fp_fake"}
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def json_answer(body: object) -> bytes:
    content = orjson.dumps(body)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(content) + content


@lru_cache
def whole(model: str, *, judges: bool = False) -> bytes:
    message = {"role": "assistant", "content": _VERDICT if judges else _TEXT}
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 42, "completion_tokens": 40, "total_tokens": 82}
    answer = {**_HEAD, "object": "chat.completion", "model": model}
    return json_answer({**answer, "choices": choices, "usage": usage})


@lru_cache(maxsize=10_000)
def chunk(model: str, k: int, of: int) -> bytes:
    """The k-th chunk on the wire; after the last come finish_reason, usage and [DONE]."""
    head = {**_HEAD, "object": "chat.completion.chunk", "model": model}
    if k < of:
        delta = {"content": f"{k} "} | ({"role": "assistant"} if k == 0 else {})
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return _framed(orjson.dumps({**head, "choices": [choice]}))
    last = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 42, "completion_tokens": of, "total_tokens": 42 + of}
    end = _framed(orjson.dumps({**head, "choices": [last]}))
    end += _framed(orjson.dumps({**head, "choices": [], "usage": usage}))
    return end + _framed(b"[DONE]") + b"0\r\n\r\n"


def _framed(payload: bytes) -> bytes:
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


class Provider(asyncio.Protocol):
    answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.loop = asyncio.get_running_loop()
        self.closed = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.body: list[bytes] = []

    def on_body(self, part: bytes) -> None:
        self.body.append(part)

    def on_message_complete(self) -> None:
        if self.parser.get_method() == b"GET":
            self.transport.write(json_answer({"answered": Provider.answered}))
            return
        Provider.answered += 1
        raw = b"".join(self.body)
        request = orjson.loads(raw)
        if not request.get("stream"):
            self.transport.write(whole(request["model"], judges=b"second_answer" in raw))
            return
        asked = _ASKED.search(raw)
        n, delay_ms = (int(asked[1]), float(asked[2])) if asked else (50, 0.0)
        self.transport.write(_STREAM_HEAD)
        self.step(request["model"], 0, n, delay_ms / 1000.0, self.loop.time())

    def step(self, model: str, k: int, of: int, delay_s: float, started: float) -> None:
        if self.closed:
            return
        self.transport.write(chunk(model, k, of))
        if k == of:
            return
        args = (model, k + 1, of, delay_s, started)
        if delay_s > 0:  # a fixed schedule: no drift
            self.loop.call_at(started + (k + 1) * delay_s, self.step, *args)
        else:
            self.loop.call_soon(self.step, *args)  # one packet for each chunk


async def main(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    loop = asyncio.get_running_loop()
    # libuv takes one new connection of a socket in a round of its loop
    doubles = [listener, *(listener.dup() for _ in range(63))]
    servers = [await loop.create_server(Provider, sock=one, backlog=2048) for one in doubles]
    await servers[0].serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
