"""What stays: bytes of a stored request, memory of an open stream, and the poll of stored keys.

    PYTHONPATH=tests/support python benchmarks/bench_growth.py [--models 3] [--requests 600]

A gateway with the bundled checkpoint and an SQLite file answers requests that are new to it, before
a provider that holds its streams open.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import httpx
from serve_process import ServeProcess

from p2l_model.checkpoint.folder import resolve_checkpoint
from server.auth.authenticator import Caller
from server.build import database_of
from server.config.settings import StorageSettings
from server.storage.keys import create_key, keys_version
from server.storage.migrate import migrate

_WHOLE = (
    b'{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,'
    b' "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}], "usage": '
    b'{"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35}}'
)
_CHUNK = (
    b'data: {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": '
    b'[{"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": null}]}'
    b"\n\n"
)
_ASKED_AT_ONCE = 20


async def provider(read: asyncio.StreamReader, write: asyncio.StreamWriter) -> None:
    """Answers whole requests, and begins streams without ending them."""
    while not read.at_eof():
        try:
            head = await read.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            return
        lines = head.lower().split(b"\r\n")
        length = next(line for line in lines if line.startswith(b"content-length:"))
        body = json.loads(await read.readexactly(int(length.split(b":")[1])))
        if body.get("stream"):
            write.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(_CHUNK), _CHUNK)
            )
        else:
            write.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(_WHOLE), _WHOLE)
            )
        await write.drain()


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def file_bytes(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, size = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
    return pages * size


async def measure(args: argparse.Namespace, folder: Path) -> None:
    listener = await asyncio.start_server(provider, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    names = json.loads((resolve_checkpoint("bundled") / "model_list.json").read_text())
    prices = "{provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 2}"
    models = "".join(f"  '{name}': {prices}\n" for name in names[: args.models])
    ledger = folder / "ledger.db"
    config = (
        f"providers: {{main: {{kind: openai, base_url: 'http://127.0.0.1:{port}/v1', "
        f"api_key_env: MAIN_KEY, max_concurrency: 2000}}}}\nmodels:\n{models}storage: {{url: 'sqlite:///{ledger}'}}\n"
        "limits: {max_concurrency: 2000}\n"
    )
    with ServeProcess(folder, config, environ={"MAIN_KEY": "unused"}) as serve:
        limits = httpx.Limits(max_connections=args.streams + _ASKED_AT_ONCE)
        async with httpx.AsyncClient(
            base_url=f"{serve.url}/v1", limits=limits, timeout=60, trust_env=False
        ) as client:
            print(f"ready: {resident_mb(serve.pid):.0f} MB")
            await ask(client, 0, 100)
            await asyncio.sleep(2)
            before = file_bytes(ledger)
            await ask(client, 100, args.requests)
            await asyncio.sleep(2)
            grown = (file_bytes(ledger) - before) / args.requests
            print(f"a stored request at {args.models} models: {grown:,.0f} bytes")
            print(f"after {100 + args.requests} requests: {resident_mb(serve.pid):.0f} MB")
            empty = resident_mb(serve.pid)
            answers: list[httpx.Response] = []
            for start in range(0, args.streams, _ASKED_AT_ONCE):
                numbers = range(start, min(start + _ASKED_AT_ONCE, args.streams))
                answers += await asyncio.gather(*(begun(client, k) for k in numbers))
            more_kb = 1024 * (resident_mb(serve.pid) - empty) / args.streams
            print(f"an open stream: {more_kb:.0f} kB")
            for answer in answers:
                await answer.aclose()
    listener.close()


def asked(prompt: str, *, stream: bool) -> dict[str, object]:
    return {"model": "p2l", "stream": stream, "messages": [{"role": "user", "content": prompt}]}


async def ask(client: httpx.AsyncClient, first: int, n: int) -> None:
    for start in range(first, first + n, _ASKED_AT_ONCE):
        numbers = range(start, min(start + _ASKED_AT_ONCE, first + n))
        bodies = [
            asked(f"Prove that {k} is odd, or that it is not.", stream=False) for k in numbers
        ]
        answers = await asyncio.gather(
            *(client.post("/chat/completions", json=body) for body in bodies)
        )
        assert {answer.status_code for answer in answers} == {200}


async def begun(client: httpx.AsyncClient, k: int) -> httpx.Response:
    body = asked(f"Write a song about {k}.", stream=True)
    answer = await client.send(
        client.build_request("POST", "/chat/completions", json=body), stream=True
    )
    assert answer.status_code == 200, await answer.aread()
    return answer


def poll(folder: Path, n_keys: int) -> None:
    path = folder / "keys.db"
    database = database_of(StorageSettings(url=f"sqlite:///{path}"), say=None)
    migrate(database)
    create_key(database, Caller(name="first"))
    with closing(sqlite3.connect(path)) as raw, raw:
        names = [row[1] for row in raw.execute("PRAGMA table_info(api_keys)")]
        first = dict(zip(names, raw.execute("SELECT * FROM api_keys").fetchone(), strict=True))
        for k in range(1, n_keys):
            row = first | {"name": f"key {k}", "sha256": hashlib.sha256(b"%d" % k).hexdigest()}
            raw.execute(
                f"INSERT INTO api_keys VALUES ({','.join('?' * len(row))})", [*row.values()]
            )
    began = time.process_time()
    for _ in range(5):
        keys_version(database)
    took_ms = 200 * (time.process_time() - began)
    database.close()
    print(f"the poll of {n_keys:,} stored keys, once a second: {took_ms:.1f} ms of CPU")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--streams", type=int, default=300)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(measure(args, Path(place)))
    for n_keys in (100, 1_000, 10_000):
        with tempfile.TemporaryDirectory() as place:
            poll(Path(place), n_keys)


if __name__ == "__main__":
    main()
