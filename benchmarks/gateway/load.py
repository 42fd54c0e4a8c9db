"""A closed loop of clients on one core: python load.py URL '{"clients": 16, ...}' -> JSON.

Every answer is checked: status 200, every chunk there, in order, with usage and [DONE].
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools
import uvloop

PROMPT = (
    "I have a list of orders in a CSV file with columns id, customer, total and date. Write a "
    "Python function that returns the ten customers with the largest total in the last quarter, "
    "and explain how you would test it."
)
_CONTENT = re.compile(rb'"content":"(\d+) "')


@dataclass
class Plan:
    """chunks: 0 for answers that are not streamed. at_least: answers, however long it takes."""

    clients: int
    seconds: float
    model: str = "fake-a"
    headers: dict[str, str] = field(default_factory=dict)
    chunks: int = 0
    delay_ms: float = 0.0
    at_least: int = 0
    varied: bool = False  # each prompt differs: no cache can answer

    def request(self, host: str, path: str, number: int) -> bytes:
        mark = f" @@n={self.chunks},d={self.delay_ms:g}@@" if self.chunks else ""
        text = PROMPT + mark + (f" ({number})" if self.varied else "")
        messages = [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": text},
        ]
        body: dict[str, object] = {"model": self.model, "messages": messages, "temperature": 0.7}
        body["max_tokens"] = 256
        if self.chunks:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        content = json.dumps(body).encode()
        head = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*head, f"Content-Length: {len(content)}", "", ""]).encode() + content


@dataclass
class Seen:
    """In seconds. bad: answers that were not as they should be."""

    latency: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    n_chunks: int = 0
    bad: int = 0
    open: int = 0
    served: set[object] = field(default_factory=set)
    before_all: int = 0  # answers when every client had its first


class Client(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self.load = load

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.scanned, self.expected = 0, 0
        self.started = self.last = time.perf_counter()
        self.transport.write(self.load.next_request())

    def data_received(self, data: bytes) -> None:
        self.now = time.perf_counter()
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self.body += part
        if not self.load.plan.chunks:
            return
        end = self.body.rfind(b"\n\n") + 2
        for found in _CONTENT.finditer(self.body, self.scanned, max(end, 0)):
            self.chunk(int(found[1]))
        self.scanned = max(self.scanned, end)

    def chunk(self, number: int) -> None:
        seen = self.load.seen
        if number == 0:
            seen.first.append(self.now - self.started)
        else:
            seen.gaps.append(self.now - self.last)
        self.expected = number + 1 if number == self.expected else -1
        self.last = self.now
        seen.n_chunks += 1

    def on_message_complete(self) -> None:
        seen = self.load.seen
        seen.latency.append(self.now - self.started)
        seen.bad += not self.is_good()
        if self not in seen.served:
            seen.served.add(self)
            seen.before_all = len(seen.latency)
        if self.load.goes_on:
            self.send()
        else:
            self.load.leave(self)

    def is_good(self) -> bool:
        if self.parser.get_status_code() != 200:
            return False
        if not self.load.plan.chunks:
            return b'"chat.completion"' in self.body
        whole = b"data: [DONE]" in self.body and b'"usage":{' in self.body
        return whole and self.expected == self.load.plan.chunks

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.seen.bad += not self.load.is_over
        self.load.leave(self)


class Load:
    def __init__(self, url: str, plan: Plan) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path
        self.plan, self.seen = plan, Seen()
        self.number = time.time_ns()  # no prompt comes again, not in the next run either
        self.done = asyncio.Event()
        self.left: set[Client] = set()
        self.is_over = False
        self.fixed = plan.request(parts.netloc, self.path, 0)
        self.netloc = parts.netloc

    def next_request(self) -> bytes:
        self.number += 1
        if not self.plan.varied:
            return self.fixed
        return self.plan.request(self.netloc, self.path, self.number)

    @property
    def goes_on(self) -> bool:
        n_answers = len(self.seen.latency)
        return time.perf_counter() < self.until or n_answers < self.plan.at_least

    async def run(self) -> dict[str, float | None]:
        loop = asyncio.get_running_loop()
        self.until = time.perf_counter() + self.plan.seconds
        started = time.perf_counter()
        for _ in range(self.plan.clients):
            self.seen.open += 1
            await loop.create_connection(lambda: Client(self), self.host, self.port)
        await asyncio.wait_for(self.done.wait(), self.plan.seconds + 60)
        return self.summary(time.perf_counter() - started)

    def leave(self, client: Client) -> None:
        if client in self.left:
            return
        self.left.add(client)
        self.seen.open -= 1
        if self.seen.open == 0:
            self.is_over = True
            self.done.set()

    def summary(self, seconds: float) -> dict[str, float | None]:
        seen = self.seen
        return {
            "requests": len(seen.latency),
            "per_s": len(seen.latency) / seconds,
            "chunks": seen.n_chunks,
            "chunks_per_s": seen.n_chunks / seconds,
            "p50_ms": quantile_ms(seen.latency, 0.5),
            "p99_ms": quantile_ms(seen.latency, 0.99),
            "first_p50_ms": quantile_ms(seen.first, 0.5),
            "gap_p99_ms": quantile_ms(seen.gaps, 0.99),
            "before_all": seen.before_all,
            "bad": seen.bad,
        }


def quantile_ms(values: list[float], q: float) -> float | None:
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] * 1000.0


async def main() -> None:
    print(json.dumps(await Load(sys.argv[1], Plan(**json.loads(sys.argv[2]))).run()))


if __name__ == "__main__":
    uvloop.run(main())
