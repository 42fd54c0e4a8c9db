"""OpenTelemetry's attributes of an attempt, and the well-known names of providers."""

from __future__ import annotations

from typing import Any

import pytest

from router.cost import Usage
from server.config.settings import ProviderSettings
from server.ledger.attempt import Attempt
from server.telemetry import gen_ai

ROW: dict[str, Any] = {
    "request_id": "req_1",
    "attempt": 1,
    "key_name": "team",
    "model": "dear",
    "provider": "main",
    "upstream_model": "gpt-6.1-sol",
    "routed": True,
    "streamed": True,
    "started_at": 0.0,
    "reserved_pico": 0,
    "expected_pico": None,
    "budget_pico": None,
    "budget_mode": None,
}


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ({"base_url": "https://api.openai.com/v1"}, "openai"),
        ({"base_url": "https://eu.api.openai.com/v1"}, "openai"),
        ({"base_url": "https://x.openai.azure.com/openai/v1"}, "azure.ai.openai"),
        ({"base_url": "https://x.services.ai.azure.com/models"}, "azure.ai.inference"),
        ({"base_url": "https://api.mistral.ai/v1"}, "mistral_ai"),
        ({"base_url": "https://api.groq.com/openai/v1"}, "groq"),
        ({"base_url": "https://api.deepseek.com/v1"}, "deepseek"),
        ({"base_url": "https://api.x.ai/v1"}, "x_ai"),
        ({"base_url": "https://api.moonshot.ai/v1"}, "moonshot_ai"),
        ({"base_url": "https://us-east5-aiplatform.googleapis.com/v1"}, "gcp.vertex_ai"),
        ({"base_url": "https://notapi.x.ai/v1"}, "mine"),
        ({"base_url": "http://127.0.0.1:8000/v1"}, "mine"),
        ({"base_url": "http://127.0.0.1:8000/v1", "profile": "mistral"}, "mistral_ai"),
        ({"kind": "anthropic"}, "anthropic"),
        ({"kind": "gemini"}, "gcp.gemini"),
        ({"kind": "sandbox"}, "mine"),
    ],
)
def test_a_provider_has_its_well_known_name_or_its_own(provider: dict[str, Any], name: str) -> None:
    assert gen_ai.provider_names({"mine": ProviderSettings(**provider)}) == {"mine": name}


def test_tokens_of_caches_and_reasoning_are_named_and_zeros_left_out() -> None:
    usage = Usage(
        prompt_tokens=100,
        completion_tokens=50,
        cached_tokens=60,
        cache_write_tokens=5,
        cache_write_1h_tokens=7,
    )
    row = Attempt(**ROW, usage=usage, upstream_id="r", finish_reasons=("stop",), session="ab")
    assert gen_ai.attributes(row, "openai") == {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-6.1-sol",
        "gen_ai.request.stream": True,
        "gen_ai.conversation.id": "ab",
        "gen_ai.response.id": "r",
        "gen_ai.response.model": "gpt-6.1-sol",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_write.input_tokens": 12,
    }


def test_the_model_that_answered_is_named_where_it_is_another() -> None:
    row = Attempt(
        **ROW,
        usage=Usage(prompt_tokens=1, completion_tokens=9, reasoning_tokens=8),
        served_model="gpt-6.1-luna",
    )
    told = gen_ai.attributes(row, "openai")
    assert told["gen_ai.response.model"] == "gpt-6.1-luna"
    assert told["gen_ai.usage.reasoning.output_tokens"] == 8


def test_an_attempt_without_an_answer_says_nothing_of_one() -> None:
    assert gen_ai.attributes(Attempt(**ROW), "openai").keys() == {
        "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.request.stream",
    }  # fmt: skip
