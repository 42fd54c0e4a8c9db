"""When scoring fails or is late, the marginal leaderboard stands in, and the caller is told."""

from __future__ import annotations

import asyncio

import httpx
import numpy as np
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway, config_for

from p2l_model.engine.scorer import ScoredPrompt
from p2l_model.errors import ScoringError
from p2l_model.types import Conversation, PreferenceFamily, PromptLeaderboard

BODY = {"model": "p2l", "messages": [{"role": "user", "content": "Hi"}]}
MARGINAL = PromptLeaderboard(
    PreferenceFamily.BT, ("cheap", "middle", "dear"), np.array([2.0, 1.0, 0.0])
)


class BrokenScorer:
    """Fails at once, or never ends."""

    models = MARGINAL.models
    marginal = MARGINAL

    def __init__(self, *, hangs: bool) -> None:
        self._hangs = hangs

    async def start(self) -> None:
        return None

    async def score(self, conversation: Conversation) -> ScoredPrompt:
        if self._hangs:
            await asyncio.sleep(60)
        raise ScoringError("broken")

    async def count_tokens(self, text: str) -> int:
        return len(text)

    async def close(self) -> None:
        return None


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("on_failure", ["marginal", "error"])
def test_failing_and_hanging(provider: FakeProvider, hangs: bool, on_failure: str) -> None:
    config = config_for(provider.base_url).replace(
        "scorer: {", f"scorer: {{timeout_ms: 200, on_failure: {on_failure}, "
    )
    environ = {"MAIN_KEY": "sk-provider-canary"}
    with LiveGateway(config, environ, BrokenScorer(hangs=hangs)) as live:
        response = httpx.post(f"{live.url}/v1/chat/completions", json=BODY, trust_env=False)
    if on_failure == "error":
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "overloaded"
        assert "retry-after" in response.headers
    else:
        assert response.status_code == 200
        assert response.headers["x-p2l-model"] == "cheap"
        assert response.headers["x-p2l-scoring"] == "marginal"
