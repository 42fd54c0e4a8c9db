"""Fuzzes a real gateway over raw sockets: no answer may be a 500, none may hang, and after all of
it the server answers a good request.

    python fuzz/fuzz_gateway.py --requests 100000 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fake_provider import Behaviour, FakeProvider
from fuzz_requests import fuzzed, good_request
from live_gateway import config_for
from serve_process import ServeProcess

HANG_S = 20.0
LIMITS = """
limits: {header_timeout_s: 1, body_timeout_s: 1, max_concurrency: 200}
routing: {breaker: {consecutive_failures: 100000, min_requests: 100000}}
"""
BEHAVIOURS = (Behaviour(), Behaviour(), Behaviour(), Behaviour(status=400), Behaviour(status=500))


_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Report:
    """statuses: how often each came back; 0: the connection was closed without an answer.
    failures: (seed, what, the request) of each answer that must not be."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[tuple[int, str, bytes]] = field(default_factory=list)


async def send(port: int, raw: bytes) -> bytes:
    """The whole answer. Raises TimeoutError where the server neither answers nor hangs up."""
    async with asyncio.timeout(HANG_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(raw)
            return await whole_answer(reader, has_body=not raw.startswith(b"HEAD"))
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def whole_answer(reader: asyncio.StreamReader, *, has_body: bool) -> bytes:
    """The first answer, and not more: a connection at rest stays open for a minute and longer."""
    answer = b""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            answer += head
            if not head.split()[1].startswith(b"1"):
                break
        length = _LENGTH.search(head)
        if not has_body or head.split()[1] in (b"204", b"304"):
            return answer
        if length is not None:
            return answer + await reader.readexactly(int(length[1]))
        if b"transfer-encoding: chunked" in head.lower():
            return answer + await reader.readuntil(b"\r\n0\r\n\r\n")
        return answer + await reader.read(-1)
    except asyncio.IncompleteReadError as error:
        return answer + error.partial


async def fuzz(port: int, seeds: range, report: Report, workers: int = 32) -> None:
    """One request for each seed."""
    waiting = iter(seeds)

    async def work() -> None:
        for seed in waiting:
            raw = fuzzed(random.Random(seed)).raw
            try:
                answer = await send(port, raw)
            except TimeoutError:
                report.failures.append((seed, "hang", raw))
                continue
            note(report, seed, raw, answer)

    await asyncio.gather(*(work() for _ in range(workers)))


def note(report: Report, seed: int, raw: bytes, answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    if status == 100:
        return note(report, seed, raw, body)
    report.statuses[status] += 1
    if status == 500:
        report.failures.append((seed, "500", raw))
    elif status >= 400 and b"error" not in body and not raw.startswith(b"HEAD"):
        report.failures.append((seed, f"{status} without the envelope", raw))
    return None


def with_dialects(config: str) -> str:
    """And two models of other dialects, whose provider refuses the connection: what is built for
    it is built all the same."""
    providers = [
        f'  {kind}: {{kind: {kind}, base_url: "http://127.0.0.1:1", api_key_env: MAIN_KEY}}'
        for kind in ("anthropic", "gemini")
    ]
    prices = "input_usd_per_mtok: 1, output_usd_per_mtok: 1"
    models = [
        f"  {name}: {{provider: {kind}, {prices}}}"
        for name, kind in (("claude", "anthropic"), ("gem", "gemini"))
    ]
    return config.replace("models:", "\n".join([*providers, "models:", *models]), 1)


def run(n_requests: int, seed: int, folder: Path) -> tuple[Report, str]:
    """The report, and what the server wrote. Raises where the server does not answer afterwards."""
    report = Report()
    with FakeProvider(api_key="k") as provider:
        for name in ("up-dear", "up-middle", "up-cheap"):
            provider.script(name, *BEHAVIOURS * (n_requests // len(BEHAVIOURS)), Behaviour())
        config = with_dialects(config_for(provider.base_url, LIMITS))
        with ServeProcess(folder, config, environ={"MAIN_KEY": "k"}) as serve:
            port = int(serve.url.rpartition(":")[2])
            asyncio.run(fuzz(port, range(seed * 10**9, seed * 10**9 + n_requests), report))
            for name in ("up-dear", "up-middle", "up-cheap"):
                provider.script(name, Behaviour())
            answer = asyncio.run(send(port, good_request()))
            if b" 200 " not in answer[:20]:
                report.failures.append((-1, "the good request afterwards", answer[:500]))
            return report, serve.said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report, said = run(args.requests, args.seed, Path(folder))
    print(
        f"{args.requests} requests in {time.monotonic() - started:.0f} s: "
        f"{dict(sorted(report.statuses.items()))}"
    )
    for seed, what, raw in report.failures[:20]:
        print(f"seed {seed}: {what}: {raw[:300]!r}")
    for line, times in Counter(line for line in said.splitlines() if "ERROR" in line).items():
        print(f"{times} x {line[:400]}")
    return 1 if report.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
