"""The fault matrix: every fault, streamed or not, of the first model, of the fallback or of all,
with and without a budget, through a real gateway over real sockets.

    python tests/support/fault_matrix.py > docs/faults.md
"""

from __future__ import annotations

import itertools
import json
import socket
import sqlite3
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trustme
from broken_stream import Streamed, read_stream
from fake_provider import Behaviour, FakeProvider
from fault_cases import CASES, TEXTS, Case, Promise
from live_gateway import LiveGateway

KEY = "sk-provider-canary"
NAMES = ("dear", "middle", "cheap")
PLACES = ("first", "fallback", "every")
BUDGETS: Mapping[str, dict[str, str]] = {
    "none": {},
    "expected": {"x-cost-budget": "1"},
    "hard": {"x-cost-budget": "1", "x-cost-budget-mode": "hard"},
}
PROVIDERS = ("main", "refused", "nameless", "plain", "untrusted", "deaf")


@dataclass(frozen=True)
class Row:
    """One run. billed: the source of the cost of each attempt, in order."""

    case: Case
    place: str
    stream: bool
    budget: str
    outcome: str
    billed: tuple[str, ...]


class Matrix:
    """The gateway and the providers behind it."""

    def __init__(self, main: FakeProvider, gateway: LiveGateway, database: Path) -> None:
        self._main = main
        self._gateway = gateway
        self._database = database
        self._http = httpx.Client(base_url=gateway.url, trust_env=False, timeout=30)

    def close(self) -> None:
        self._http.close()

    def run(self, case: Case, place: str, *, stream: bool, budget: str) -> Row:
        """Sends one request and describes what came back."""
        allowed = self._prepare(case, place)
        body = {
            "model": "p2l",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": stream,
            "p2l": {"models": allowed},
            # under a hard budget a lost answer counts at its worst: without a cap, all of it
            "max_completion_tokens": 50,
        }
        answer = read_stream(self._http, "/v1/chat/completions", body, BUDGETS[budget])
        outcome = _described(answer, stream)
        n_attempts = len(promised_bill(case, place, stream=stream))
        billed = self._billed(answer, n_attempts)
        return Row(case, place, stream, budget, outcome, billed)

    def _prepare(self, case: Case, place: str) -> list[str]:
        faulty = {"first": NAMES[:1], "fallback": NAMES[1:2], "every": NAMES}[place]
        allowed = []
        for name in NAMES:
            on = case.provider if name in faulty else "main"
            behaviour = case.behaviour if name in faulty else Behaviour(texts=TEXTS)
            if place == "fallback" and name == NAMES[0]:
                behaviour = Behaviour(status=500)
            self._main.script(f"up-{name}", behaviour)
            allowed.append(f"{name}-{on}")
        self._wait_for_cooldowns()
        return allowed

    def _wait_for_cooldowns(self) -> None:
        """429 without a Retry-After rests a model for a second: the next run must not meet it. Nor
        what was refused for good."""
        self._gateway.health.configured_anew()
        resting = self._gateway.health.resting(self._gateway.catalogue)
        if resting:
            time.sleep(max(rest.wait_s for rest in resting.values()) + 0.01)

    def _billed(self, answer: Streamed, n_attempts: int) -> tuple[str, ...]:
        """The ledger is written a little later than the answer."""
        request_id = answer.headers["x-request-id"]
        query = (
            "select cost_source from attempts where request_id = ? and settled_at is not null "
            "order by attempt"
        )
        deadline = time.monotonic() + 30
        while True:
            with closing(sqlite3.connect(self._database)) as database:
                rows = database.execute(query, (request_id,)).fetchall()
            if len(rows) >= n_attempts or time.monotonic() > deadline:
                return tuple(source for (source,) in rows)
            time.sleep(0.005)


def promised(case: Case, place: str, *, stream: bool) -> str:
    """The outcome that the contract promises."""
    promise = case.stream if stream else case.whole
    if promise is Promise.PASSED:
        return f"{case.behaviour.status} its own"
    if place == "every" and promise is Promise.FAILOVER:
        return case.last
    attempts = {"first": 1, "fallback": 2, "every": 1}[place]
    model = NAMES[attempts - 1]
    if promise is Promise.FAILOVER:
        attempts, model = attempts + 1, NAMES[attempts]
    end = ", then an error event" if promise is Promise.BROKEN else ""
    return f"200 by {model} after {attempts}{end}"


def promised_bill(case: Case, place: str, *, stream: bool) -> tuple[str, ...]:
    """Where the cost of each attempt comes from."""
    own = case.billed if not stream or case.billed_stream is None else case.billed_stream
    promise = case.stream if stream else case.whole
    before = ("none",) if place == "fallback" else ()
    if promise is not Promise.FAILOVER:
        return (*before, own)
    return (own,) * 3 if place == "every" else (*before, own, "usage")


@contextmanager
def matrix(folder: Path) -> Iterator[Matrix]:
    """Everything started; folder: for the gateway's database."""
    database = folder / "faults.db"
    with ExitStack() as stack:
        main = stack.enter_context(FakeProvider(api_key=KEY))
        untrusted = stack.enter_context(FakeProvider(api_key=KEY, tls=_self_signed()))
        urls = {
            "main": main.base_url,
            "refused": f"http://127.0.0.1:{_closed_port()}/v1",
            "nameless": "http://no-such-host.invalid/v1",
            "plain": main.base_url.replace("http:", "https:"),
            "untrusted": untrusted.base_url,
            "deaf": f"http://127.0.0.1:{stack.enter_context(_deaf_port())}/v1",
        }
        config = json.dumps(_config(urls, database))
        gateway = stack.enter_context(LiveGateway(config, {"KEY": KEY}))
        running = Matrix(main, gateway, database)
        stack.callback(running.close)
        yield running


def markdown(rows: list[Row]) -> str:
    """The table: a line for each fault, streamed or not; budgets agree or are named."""
    lines = [
        "# What a provider's fault does",
        "",
        "Made by `make faults` from a real gateway before a provider that fails as told; the tests",
        "hold every row against the contract. The models are `dear`, `middle` and `cheap`, in the",
        "order of preference. *First*: the preferred model has the fault; *fallback*: it answers",
        "500, and the next one has the fault; *every*: all have it. `200 by middle after 2`: the",
        "second attempt, at `middle`, answered. *Billed*: where the cost of the faulty attempt in",
        "the ledger comes from: the provider's own usage, an estimate where it reported none but",
        "may charge, or none. Each row was run without a budget and with an expected and a hard",
        f"one ({', '.join(BUDGETS)}), with the same outcome.",
        "",
        "| fault | streamed | first | fallback | every | billed |",
        "|---|---|---|---|---|---|",
    ]
    cells = {(r.case.name, r.stream, r.place, r.budget): r for r in rows}
    for case, stream in itertools.product(CASES, (False, True)):
        told = []
        for place in PLACES:
            seen = {cells[case.name, stream, place, budget].outcome for budget in BUDGETS}
            told.append(" / ".join(sorted(seen)))
        first = cells[case.name, stream, "first", "none"]
        bill = first.billed[0] if first.billed else ""
        lines.append(f"| {case.name} | {'yes' if stream else 'no'} | {' | '.join(told)} | {bill} |")
    return "\n".join(lines) + "\n"


def _described(answer: Streamed, stream: bool) -> str:
    if answer.status_code != 200:
        error = json.loads(answer.text)["error"]
        return f"{answer.status_code} {error['code'] or 'its own'}"
    told = (
        f"200 by {answer.headers['x-p2l-model'].partition('-')[0]}"
        f" after {answer.headers['x-p2l-attempts']}"
    )
    if not stream:
        return told
    events = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    if events[-1] == "[DONE]":
        return told
    # the connection is broken after it, or the caller could take the answer for a whole one
    is_told = "error" in json.loads(events[-1]) and answer.is_broken
    return f"{told}, then an error event" if is_told else f"{told}, cut"


def _config(urls: Mapping[str, str], database: Path) -> dict[str, Any]:
    limits = {"connect": 0.3, "first_byte": 0.6, "idle": 0.6, "total": 1.5}
    timeouts = {f"{name}_timeout_s": seconds for name, seconds in limits.items()}
    provider = {"kind": "openai", "api_key_env": "KEY", **timeouts}
    prices = {"dear": (5, 15), "middle": (1, 3), "cheap": (0.1, 0.3)}
    fixed = {"dear": 1.5, "middle": 0.4, "cheap": -0.7}
    models = {
        f"{name}-{on}": {
            "provider": on,
            "upstream_model": f"up-{name}",
            "input_usd_per_mtok": prices[name][0],
            "output_usd_per_mtok": prices[name][1],
        }
        for name, on in itertools.product(NAMES, PROVIDERS)
    }
    never = {"consecutive_failures": 10**6, "min_requests": 10**6}
    return {
        "providers": {name: {**provider, "base_url": url} for name, url in urls.items()},
        "models": models,
        "routing": {"breaker": never},
        "scorer": {"fixed": {name: fixed[name.partition("-")[0]] for name in models}},
        "storage": {"url": f"sqlite:///{database}"},
    }


def _self_signed() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _deaf_port() -> Iterator[int]:
    """A port whose queue is full: the kernel answers no further connection."""
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield int(full.getsockname()[1])


def run_all(folder: Path) -> list[Row]:
    """Every case, place and way of streaming under every budget; a gateway for each budget."""

    with ExitStack() as stack, ThreadPoolExecutor(len(BUDGETS)) as pool:
        # started one after the other: migrations do not run side by side in one process
        started = {}
        for budget in BUDGETS:
            own = folder / budget
            own.mkdir()
            started[budget] = stack.enter_context(matrix(own))
        runs = [pool.submit(_run_under, running, budget) for budget, running in started.items()]
        return [row for run in runs for row in run.result()]


def _run_under(running: Matrix, budget: str) -> list[Row]:
    return [
        running.run(case, place, stream=stream, budget=budget)
        for place, stream, case in itertools.product(PLACES, (False, True), CASES)
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(markdown(run_all(Path(folder))))


if __name__ == "__main__":
    main()
