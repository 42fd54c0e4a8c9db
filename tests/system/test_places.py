"""Every configured model has a place on the leaderboard, whether or not it has a column."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from server.gateway.places import Place, Places

COLUMNS = (
    "claude-3-5-haiku-20241022", "claude-3-5-sonnet-20241022", "claude-3-opus-20240229",
    "gemini-2.5-flash", "gemini-2.5-pro", "gpt-4o-2024-08-06", "gpt-4o-mini-2024-07-18",
    "mistral-large-2512", "Qwen2.5-72B-Instruct", "Qwen2.5-3B-Instruct", "Qwen2-72B-Instruct",
)  # fmt: skip
BOARD = PromptLeaderboard(
    PreferenceFamily.BT, COLUMNS, np.array([0, 1, 1, 1, 3, 2, 0.5, 1.5, 0.7, -1, 0.2])
)
PLACES = Places(COLUMNS, BOARD)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("claude-haiku-5-5", "claude-3-5-haiku-20241022"),
        ("claude-sonnet-5-5", "claude-3-5-sonnet-20241022"),
        ("claude-opus-4-8", "claude-3-opus-20240229"),
        ("gemini-3.8-flash", "gemini-2.5-flash"),
        ("gemini-3.1-pro-preview", "gemini-2.5-pro"),
        ("gpt-6.1-sol", "gpt-4o-2024-08-06"),
        ("gpt-6-luna", "gpt-4o-mini-2024-07-18"),
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("mistral-large-4", "mistral-large-2512"),
        ("qwen3.8-max", "Qwen2.5-72B-Instruct"),
        ("openai/gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ],
)
def test_a_model_takes_the_place_of_its_nearest_relative(name: str, column: str) -> None:
    assert PLACES.of(name) == Place(column, "relative")


def test_its_own_place_comes_first() -> None:
    for column in COLUMNS:
        assert PLACES.of(column) == Place(column, "own")


def test_without_a_relative_it_is_in_the_middle() -> None:
    # of eleven the sixth, by strength and then by name
    assert PLACES.of("kimi-k3.1-pro") == Place("claude-3-5-sonnet-20241022", "median")
    assert PLACES.of("") == Place("claude-3-5-sonnet-20241022", "median")


def test_an_empty_leaderboard_has_no_place() -> None:
    assert Places((), None).of("gpt-4o") is None


def test_a_model_without_a_column_is_routed_to() -> None:
    with FakeProvider() as fake:
        config = f"""
providers: {{p: {{base_url: "{fake.base_url}"}}}}
models:
  gpt-6.1-sol: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  kimi-k3.1-pro: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
scorer: {{fixed: {{gpt-4o: 2, llama: -1, other: -2}}}}
"""
        with LiveGateway(config) as gateway:
            body = {"model": "p2l", "messages": [{"role": "user", "content": "Hello"}]}
            response = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, trust_env=False)
            assert response.status_code == 200, response.text
            assert response.headers["x-p2l-model"] == "gpt-6.1-sol"
            board = httpx.post(f"{gateway.url}/v1/route", json=body, trust_env=False).json()
            assert {row["model"] for row in board["alternatives"]} == {
                "gpt-6.1-sol",
                "kimi-k3.1-pro",
            }
