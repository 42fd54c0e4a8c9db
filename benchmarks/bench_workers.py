"""One worker and two: requests per second, and whether two keep one window of money.

PYTHONPATH=tests/support python benchmarks/bench_workers.py [--rounds 5] [--clients 32]

Both share a key's window in Redis and write one SQLite ledger. With two workers every core serves,
and the load and the provider run beside them: what they use is subtracted by nobody, so the ratio
is below what more cores would show, and CPU per request tells whether workers hinder each other.
Then the window is made small: what two workers let through must be what it pays for, and the
ledger's rows what the provider answered.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from services import redis_server

sys.path.insert(0, str(Path(__file__).parent / "gateway"))

from servers import LOAD_CORE, SERVER_CORE, Subject, free_ports, measure, ours, provider, running


def rates(subjects: dict[int, Subject], args: argparse.Namespace) -> None:
    """Interleaved."""
    cells: dict[int, list[dict[str, Any]]] = {n: [] for n in subjects}
    for _ in range(args.rounds):
        for n, subject in subjects.items():
            cells[n].append(measure(subject, {"clients": args.clients, "seconds": args.seconds}))
    print("| workers | x one worker's requests/s | requests/s | CPU µs per request | wrong |")
    print("|---|---|---|---|---|")
    for n, found in cells.items():
        pairs = zip(found, cells[1], strict=True)
        ratio = statistics.median(mine["per_s"] / one["per_s"] for mine, one in pairs)
        middle = [statistics.median(cell[key] for cell in found) for key in ("per_s", "cpu_us")]
        wrong = sum(cell["bad"] for cell in found)
        print(f"| {n} | {ratio:.2f} | {middle[0]:,.0f} | {middle[1]:,.0f} | {wrong} |", flush=True)


def small_window(subject: Subject, upstream: int, ledger: Path, usd: float) -> None:
    """Raises RuntimeError where more is spent than the window has, or the ledger has lost one."""
    before = _answered(upstream)
    cell = measure(subject, {"clients": 32, "seconds": 3.0})
    good, sent = cell["requests"] - cell["bad"], _answered(upstream) - before
    until = time.monotonic() + 10
    while True:
        with sqlite3.connect(ledger) as connection:
            rows, still_open, pico = connection.execute(
                "select count(*), coalesce(sum(outcome = 'open'), 0), sum(cost_pico) from attempts"
            ).fetchone()
        if (rows == sent and not still_open) or time.monotonic() > until:
            break
        time.sleep(0.1)
    spent = (pico or 0) / 1e12
    print(
        f"\na window of {usd} USD, two workers: {cell['requests']} requests, {good} answered, "
        f"{sent} reached the provider, {rows} in the ledger ({still_open} open), "
        f"{spent:.6f} USD spent"
    )
    if spent > usd or rows != sent or good != sent or still_open:
        raise RuntimeError("the workers do not keep one window")


def _answered(upstream: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{upstream}/count", timeout=5) as answer:
        return int(json.load(answer)["answered"])


def main() -> None:
    """Starts everything, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--clients", type=int, default=32)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        upstream, *ports = free_ports(4)
        stack.enter_context(running(provider(upstream), LOAD_CORE, folder))
        redis = stack.enter_context(redis_server())

        def started(port: int, n: int, usd: float = 1e6) -> Subject:
            shared = f"redis: {{url: '{redis.url}', prefix: bench-{port}}}\n"
            flags = ("--workers", str(n))
            one = ours("budgets", port, upstream, folder, *flags, usd=usd, extra=shared)
            cores = (SERVER_CORE, LOAD_CORE)[:n]
            return stack.enter_context(running(one, SERVER_CORE, folder, *cores))

        rates({n: started(port, n) for n, port in zip((1, 2), ports, strict=False)}, args)
        usd = 0.01
        ledger = folder / f"budgets-{ports[2]}" / "ledger.db"
        small_window(started(ports[2], 2, usd), upstream, ledger, usd)


if __name__ == "__main__":
    main()
