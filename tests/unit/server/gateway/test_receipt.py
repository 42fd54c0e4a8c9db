"""The receipt of a request that failed over replays all its attempts, and holds no prompt."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from starlette.datastructures import Headers

from router.receipt import replay
from server.accounts.accounts import Accounts, NoLedger
from server.auth.authenticator import Caller
from server.build import build_scorer
from server.catalogue.cards import build_catalogue
from server.config.file import parse_settings
from server.config.settings import Settings
from server.gateway.admission import Admission
from server.gateway.gateway import Gateway
from server.gateway.planner import Planner
from server.gateway.receipt import checkpoint_version, exchange_receipt
from server.gateway.routed_request import Exchange
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import parse_options
from server.upstream.base import UpstreamReply, UpstreamRequest
from server.upstream.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnavailableError
from server.upstream.sandbox import SandboxUpstream

CONFIG = """
providers: {main: {kind: sandbox}}
models:
  a: {provider: main, input_usd_per_mtok: 9, output_usd_per_mtok: 9}
  b: {provider: main, input_usd_per_mtok: 3, output_usd_per_mtok: 3}
  c: {provider: main, input_usd_per_mtok: 1, output_usd_per_mtok: 1}
scorer: {fixed: {a: 2, b: 1, c: 0}}
"""


class Flaky(SandboxUpstream):
    """The sandbox, failing as it is told first."""

    def __init__(self, failures: Iterator[UpstreamError]) -> None:
        super().__init__("main")
        self._failures = failures

    async def complete(self, request: UpstreamRequest) -> UpstreamReply:
        for failure in self._failures:
            raise failure
        return await super().complete(request)


async def exchange_of(settings: Settings, failures: list[UpstreamError]) -> Exchange:
    planner = Planner(
        build_catalogue(settings),
        settings.routing,
        settings.scorer,
        build_scorer(settings.scorer),
    )
    gateway = Gateway(
        planner,
        {"main": Flaky(iter(failures))},
        admission=Admission(1),
        entropy=random.Random(1),
        accounts=Accounts(NoLedger()),
    )
    messages = [{"role": "user", "content": "the word is plover"}]
    chat = parse_chat_request({"model": "p2l", "messages": messages})
    headers = Headers({"x-cost-budget": "0.004"})
    plan = await planner.plan(chat, parse_options(headers, {}), Caller("k"))
    exchange, _ = await gateway.complete(chat, plan)
    return exchange


@pytest.mark.parametrize(
    "failures",
    [
        [],
        [UpstreamTimeoutError("late")],
        [UpstreamUnavailableError("down", status=503), UpstreamTimeoutError("late")],
    ],
)
async def test_failover_replays(failures: list[UpstreamError]) -> None:
    settings = parse_settings(CONFIG)
    exchange = await exchange_of(settings, failures)
    receipt = exchange_receipt(
        exchange, created_s=7, checkpoint=checkpoint_version(settings.scorer)
    )
    text = json.dumps(receipt)
    assert "plover" not in text
    told = replay(json.loads(text))
    assert told.differences == []
    assert len(told.models) == len(failures) + 1
    assert told.models[-1] == exchange.decision.model
    assert [a["failure"] for a in receipt["attempts"]] == [
        *(type(failure).__name__ for failure in failures),
        None,
    ]
    assert receipt["checkpoint"] == "fixed"
    assert receipt["request_id"] == exchange.plan.request_id
