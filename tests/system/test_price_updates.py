"""List prices that change while the gateway serves, and a list that cannot be had."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from genai_prices.data_snapshot import get_snapshot, set_custom_snapshot
from live_gateway import LiveGateway
from serve_process import ServeProcess

from router.catalog import ModelCard, Prices
from server.catalogue.price_updates import hours_followed
from server.process.background import Background

LIST = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": "https://api\\.openai\\.com",
        "model_match": {"starts_with": "gpt-"},
        "models": [
            {
                "id": "gpt-4o",
                "match": {"equals": "gpt-4o"},
                "prices": {"input_mtok": 1000, "output_mtok": 2000},
            }
        ],
    }
]
ASK = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}


class List(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(LIST).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def lists() -> Iterator[str]:
    before = get_snapshot()
    server = HTTPServer(("127.0.0.1", 0), List)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/list.json"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
        set_custom_snapshot(before)


def config(url: str) -> str:
    return f"""
providers: {{p: {{kind: sandbox}}}}
models:
  gpt-4o: {{provider: p}}
  mine: {{provider: p, upstream_model: gpt-4o, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{gpt-4o: 1}}}}
prices: {{update: true, update_url: "{url}"}}
"""


def cost(client: httpx.Client, model: str) -> float:
    answer = client.post("/v1/route", json=ASK | {"model": model})
    return float(answer.json()["expected_cost_usd"])


@pytest.mark.slow
def test_a_newer_list_is_used_and_configured_prices_stay(lists: str) -> None:
    with (
        LiveGateway(config(lists)) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False) as client,
    ):
        deadline = time.monotonic() + 30
        while cost(client, "gpt-4o") < 0.02 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert cost(client, "gpt-4o") > 0.02
        assert cost(client, "mine") < 0.001


def test_a_list_that_cannot_be_had_changes_nothing() -> None:
    with (
        LiveGateway(config("http://127.0.0.1:9/none.json")) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False) as client,
    ):
        time.sleep(0.3)
        assert 0 < cost(client, "gpt-4o") < 0.01


async def test_prices_of_the_hour_come_into_force() -> None:
    cards = {"now": (card("1"),)}
    served: list[tuple[ModelCard, ...]] = []
    changed = asyncio.Event()

    def serve(now: tuple[ModelCard, ...]) -> None:
        served.append(now)
        changed.set()

    async with asyncio.timeout(10), hours_followed(
        Background(), lambda: cards["now"], serve, every_s=0.01
    ):  # fmt: skip
        await changed.wait()
        changed.clear()
        await asyncio.sleep(0.1)
        assert len(served) == 1, "nothing is put in force that is in force"
        cards["now"] = (card("0.5"),)
        await changed.wait()
    assert served == [(card("1"),), (card("0.5"),)]


def card(usd: str) -> ModelCard:
    prices = Prices(input_usd_per_mtok=Decimal(usd), output_usd_per_mtok=Decimal(usd))
    return ModelCard(
        name="m", provider="p", upstream_model="m", leaderboard_name="m", prices=prices
    )


@pytest.mark.slow
def test_a_new_configuration_begins_the_fetching(lists: str, tmp_path: Path) -> None:
    without = config(lists).replace("update: true", "update: false")
    with (
        ServeProcess(tmp_path, without) as serve,
        httpx.Client(base_url=serve.url, trust_env=False) as client,
    ):
        before = cost(client, "gpt-4o")
        serve.config.write_text(config(lists))
        serve.signal(signal.SIGHUP)
        serve.wait_until_it_said("changed: prices.update")
        deadline = time.monotonic() + 30
        while cost(client, "gpt-4o") == before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert cost(client, "gpt-4o") > 0.02
