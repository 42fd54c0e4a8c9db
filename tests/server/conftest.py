"""A fake provider and a live gateway in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for

KEY = "sk-provider-canary"


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(api_key=KEY) as fake:
        yield fake


@pytest.fixture
def gateway(provider: FakeProvider) -> Iterator[LiveGateway]:
    with LiveGateway(config_for(provider.base_url), {"MAIN_KEY": KEY}) as live:
        yield live


@pytest.fixture
def client(gateway: LiveGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=20) as http:
        yield http
