"""A soak: a real gateway at a share of its measured capacity while its provider fails at random.

Every request must end in an outcome that the contract knows, every attempt must be in the ledger
once, at the provider's own count, and the memory must not grow.

    python soak/soak.py --minutes 30
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from fake_provider import Behaviour, FakeProvider, Fault
from live_gateway import config_for
from serve_process import ServeProcess

TEXTS = ("one ", "two ", "three ", "four")
PRICES = {"up-dear": (5, 15), "up-middle": (1, 3), "up-cheap": ("0.1", "0.3")}
# Those after which the provider has not served: what it counts is what it may bill.
FAULTS = (
    *(
        Behaviour(texts=TEXTS, fault=fault, fault_after=2)
        for fault in (Fault.CUT, Fault.RESET, Fault.TORN)
    ),
    *(Behaviour(head_fault=fault) for fault in (Fault.CUT, Fault.RESET)),
    *(Behaviour(status=status) for status in (500, 502, 503, 529)),
    Behaviour(first_delay_s=30),
)
PROMISED = {429, 502, 503, 504}


@dataclass
class Soak:
    """What came of it. rss_mb: the gateway's memory, once a second."""

    outcomes: Counter[str] = field(default_factory=Counter)
    broken_promises: list[str] = field(default_factory=list)
    capacity_per_s: float = 0.0
    rss_mb: list[float] = field(default_factory=list)
    ledger_usd: Decimal = Decimal(0)
    provider_usd: Decimal = Decimal(0)
    n_rows: int = 0
    n_attempts: int = 0

    @property
    def slope_mb_per_h(self) -> tuple[float, float, float]:
        """Of the last three quarters of the run: (slope, its 95% interval)."""
        settled = self.rss_mb[len(self.rss_mb) // 4 :]
        return slope_with_interval(settled, blocks=12, per=3600.0)

    @property
    def failures(self) -> list[str]:
        """What must not be; empty for a soak that is passed."""
        found = list(self.broken_promises[:5])
        if self.ledger_usd != self.provider_usd:
            found.append(f"ledger {self.ledger_usd} USD, provider {self.provider_usd} USD")
        if self.n_rows != self.n_attempts:
            found.append(f"{self.n_rows} rows for {self.n_attempts} attempts")
        return found


def slope_with_interval(
    values: Sequence[float], blocks: int, per: float
) -> tuple[float, float, float]:
    """Least squares through the means of blocks, which are less correlated than the values."""
    size = max(1, len(values) // blocks)
    means = [statistics.fmean(values[i : i + size]) for i in range(0, size * blocks, size)]
    at = [(i + 0.5) * size for i in range(len(means))]
    fit = statistics.linear_regression(at, means)
    rest = [y - fit.slope * x - fit.intercept for x, y in zip(at, means, strict=True)]
    spread = sum((x - statistics.fmean(at)) ** 2 for x in at)
    error = (sum(r * r for r in rest) / max(1, len(means) - 2) / spread) ** 0.5
    # Student's t for 10 degrees of freedom
    return per * fit.slope, per * (fit.slope - 2.228 * error), per * (fit.slope + 2.228 * error)


class Load:
    """Requests of every kind: routed and by name, streamed or not, budgeted or not."""

    def __init__(self, url: str, soak: Soak, seed: int) -> None:
        self._url = url
        self._soak = soak
        self._rng = random.Random(seed)
        self._http = httpx.AsyncClient(
            trust_env=False, timeout=60, limits=httpx.Limits(max_connections=500)
        )

    async def one(self) -> None:
        body, headers = self._request()
        try:
            outcome = await self._asked(body, headers)
        except httpx.HTTPError as error:
            outcome = f"broken promise: {type(error).__name__}"
        self._soak.outcomes[outcome] += 1
        if outcome.startswith("broken"):
            self._soak.broken_promises.append(outcome)

    async def _asked(self, body: dict[str, Any], headers: dict[str, str]) -> str:
        """A stream that fails ends with an error event, after which the connection is broken."""
        url, content, broke = f"{self._url}/v1/chat/completions", bytearray(), False
        async with self._http.stream("POST", url, json=body, headers=headers) as answer:
            try:
                async for chunk in answer.aiter_bytes():
                    content += chunk
            except httpx.RemoteProtocolError:
                if not body["stream"]:
                    raise
                broke = True
        return _outcome(answer.status_code, content.decode(), body["stream"], broke)

    async def closed(self, seconds: float, workers: int) -> float:
        """Requests per second with so many always under way."""
        until, done = time.monotonic() + seconds, 0

        async def work() -> None:
            nonlocal done
            while time.monotonic() < until:
                await self.one()
                done += 1

        await asyncio.gather(*(work() for _ in range(workers)))
        return done / seconds

    async def open(self, seconds: float, per_s: float, sample: Any) -> None:
        """Requests at random times, whether or not the ones before are over."""
        until, next_sample = time.monotonic() + seconds, time.monotonic()
        tasks: set[asyncio.Task[None]] = set()
        while (now := time.monotonic()) < until:
            if now >= next_sample:
                sample()
                next_sample += 1.0
            task = asyncio.create_task(self.one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(self._rng.expovariate(per_s))
        await asyncio.gather(*tasks)

    async def close(self) -> None:
        await self._http.aclose()

    def _request(self) -> tuple[dict[str, Any], dict[str, str]]:
        rng = self._rng
        body = {
            "model": rng.choice(("p2l", "p2l", "p2l", "cheap")),
            "messages": [{"role": "user", "content": "word " * rng.randrange(1, 200)}],
            "stream": rng.random() < 0.5,
            "max_completion_tokens": 50,
        }
        budgets = (
            {},
            {"x-cost-budget": "0.01"},
            {"x-cost-budget": "0.01", "x-cost-budget-mode": "hard"},
        )
        return body, dict(rng.choice(budgets))


def _outcome(status: int, text: str, stream: bool, broke: bool) -> str:
    if status in PROMISED:
        return f"{status} {json.loads(text)['error']['code']}"
    if status != 200:
        return f"broken promise: {status}"
    if not stream:
        whole = json.loads(text)["choices"][0]["message"]["content"] == "".join(TEXTS)
        return "200" if whole else "broken promise: another text"
    events = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    if events and events[-1] == "[DONE]":
        return "broken promise: a break after the end" if broke else "200 streamed"
    has_error = bool(events) and "error" in json.loads(events[-1])
    return "200 with an error event" if has_error else "broken promise: a silent end"


def run(minutes: float, folder: Path, *, share: float = 0.8, faults: float = 0.05) -> Soak:
    soak, chance = Soak(), random.Random(5)
    with FakeProvider(api_key="k") as provider:
        config = config_for(provider.base_url, "storage: {url: 'sqlite:///soak.db'}")
        with ServeProcess(folder, config, environ={"MAIN_KEY": "k"}) as serve:
            good = Behaviour(texts=TEXTS)
            provider.choose = lambda _: good
            asyncio.run(_run(minutes, share, soak, serve, provider, chance, faults, good))
        # the process has ended: everything is settled
        _settle(soak, provider, folder / "soak.db")
    return soak


async def _run(
    minutes: float, share: float, soak: Soak, serve: ServeProcess, provider: FakeProvider,
    chance: random.Random, faults: float, good: Behaviour,
) -> None:  # fmt: skip
    load = Load(serve.url, soak, seed=6)
    soak.capacity_per_s = await load.closed(10.0, workers=16)
    provider.choose = lambda _: chance.choice(FAULTS) if chance.random() < faults else good

    def sample() -> None:
        status = Path(f"/proc/{serve.pid}/statm").read_text().split()
        soak.rss_mb.append(int(status[1]) * 4096 / 1e6)

    await load.open(60 * minutes, share * soak.capacity_per_s, sample)
    await load.close()


def _settle(soak: Soak, provider: FakeProvider, database: Path) -> None:
    soak.n_attempts = len(provider.chats)
    for model, count in provider.served.items():
        into, out = map(Decimal, PRICES[model])
        soak.provider_usd += (count["prompt"] * into + count["completion"] * out) / 10**6
    with closing(sqlite3.connect(database)) as ledger:
        open_rows = ledger.execute("select count(*) from attempts where settled_at is null")
        soak.n_rows = ledger.execute("select count(*) from attempts").fetchone()[0]
        reported = "select coalesce(sum(cost_pico), 0) from attempts where cost_source = 'usage'"
        soak.ledger_usd = Decimal(ledger.execute(reported).fetchone()[0]) / 10**12
        hanging = open_rows.fetchone()[0]
    if hanging:
        soak.broken_promises.append(f"{hanging} reservations are left hanging")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--share", type=float, default=0.8, help="of the measured capacity")
    parser.add_argument("--faults", type=float, default=0.05, help="share of provider requests")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = run(args.minutes, Path(folder), share=args.share, faults=args.faults)
    slope, low, high = soak.slope_mb_per_h
    print(
        f"capacity {soak.capacity_per_s:.0f}/s; {soak.outcomes.total()} requests: "
        f"{dict(soak.outcomes.most_common())}"
    )
    print(
        f"ledger {soak.ledger_usd} USD, provider {soak.provider_usd} USD; "
        f"{soak.n_rows} rows for {soak.n_attempts} attempts"
    )
    print(
        f"memory {soak.rss_mb[0]:.0f} to {soak.rss_mb[-1]:.0f} MB, "
        f"{slope:+.2f} MB/h [{low:+.2f}, {high:+.2f}]"
    )
    print("\n".join(soak.failures) or "passed")
    return 1 if soak.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
