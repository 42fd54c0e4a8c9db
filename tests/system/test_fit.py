"""Who can express a request: asked once for models that are alike in it, and never wrongly so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from openai_fields import SAMPLES

from server.auth.authenticator import Caller
from server.build import build_scorer
from server.catalogue.cards import build_catalogue
from server.config.file import parse_settings
from server.gateway.planner import Planner
from server.surfaces.chat.request import parse_chat_request
from server.surfaces.routing_options import RoutingOptions
from server.upstream.anthropic.upstream import AnthropicUpstream
from server.upstream.base import Fit, Upstream
from server.upstream.exchange import Exchange
from server.upstream.gemini.upstream import GeminiUpstream
from server.upstream.sandbox import SandboxUpstream

CONFIG = """
providers: {one: {kind: sandbox}, two: {kind: sandbox}}
models:
  a: {provider: one, input_usd_per_mtok: 9, output_usd_per_mtok: 9}
  b: {provider: one, input_usd_per_mtok: 3, output_usd_per_mtok: 3}
  c: {provider: two, input_usd_per_mtok: 1, output_usd_per_mtok: 1}
scorer: {fixed: {a: 2, b: 1, c: 0}}
"""
CLAUDES = ("claude-3-haiku", "claude-3-7-sonnet-latest", "claude-sonnet-4-5", "claude-opus-4-7")
GEMINIS = ("gemini-2.0-flash", "gemini-2.5-pro", "gemini-2.5-flash", "gemini-3-pro-preview")
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
EFFORTS = ("none", "minimal", "low", "high", "endless")
BODIES = [
    *({**HELLO, name: value} for name, value in SAMPLES.items()),
    *({**HELLO, "reasoning_effort": effort} for effort in EFFORTS),
    *({**HELLO, "reasoning_effort": effort, "max_tokens": 900} for effort in EFFORTS),
    {**HELLO, "thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 1500},
    {**HELLO, "thinking": {"type": "adaptive"}, "temperature": 0.5},
]


class Counting(SandboxUpstream):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked = 0

    def fit(self, body: Mapping[str, Any], model: str, *, bounded: bool) -> Fit:
        self.asked += 1
        return (
            Fit(f"{self.name} says no")
            if "stop" in body
            else super().fit(body, model, bounded=bounded)
        )


@pytest.fixture(params=["anthropic", "gemini"])
def native(request: pytest.FixtureRequest) -> tuple[Upstream, tuple[str, ...]]:
    exchange = Exchange("it", httpx.AsyncHTTPTransport())
    if request.param == "gemini":
        return GeminiUpstream("it", api_key=None, exchange=exchange), GEMINIS
    limits = {"claude-sonnet-4-5": 64_000, "claude-opus-4-7": 1000}
    upstream = AnthropicUpstream("it", api_key=None, exchange=exchange, max_output_tokens=limits)
    return upstream, CLAUDES


@pytest.mark.parametrize(
    "body", BODIES, ids=lambda body: "+".join(sorted(body.keys() - {"messages"}))
)
def test_models_of_a_kin_fit_alike(
    native: tuple[Upstream, tuple[str, ...]], body: Mapping[str, Any]
) -> None:
    upstream, models = native
    kin = defaultdict(set)
    for model in models:
        kin[upstream.kin(body, model)].add(upstream.fit(body, model, bounded=False))
    assert {len(fits) for fits in kin.values()} == {1}
    if "reasoning_effort" not in body and "thinking" not in body:
        assert len(kin) == 1


async def test_a_provider_is_asked_once_for_all_its_models_that_are_alike() -> None:
    settings = parse_settings(CONFIG)
    one, two = Counting("one"), Counting("two")
    planner = Planner(
        build_catalogue(settings),
        settings.routing,
        settings.scorer,
        build_scorer(settings.scorer),
        {"one": one, "two": two},
    )
    chat = parse_chat_request({**HELLO, "model": "p2l", "stop": ["x"]})
    plan = await planner.plan(chat, RoutingOptions(), Caller("k"))
    assert (one.asked, two.asked) == (1, 1)
    assert plan.routing.excluded == {"a": "one says no", "b": "one says no", "c": "two says no"}
