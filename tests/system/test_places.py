"""Every configured model has a place on the leaderboard, whether or not it has a column."""

from __future__ import annotations

from decimal import Decimal

import httpx
import numpy as np
import pytest
from fake_provider import FakeProvider
from live_gateway import LiveGateway

from p2l_model.types import PreferenceFamily, PromptLeaderboard
from router.catalog import ModelCard, Prices
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


def card(name: str, upstream: str | None = None, price: str | None = None) -> ModelCard:
    prices = None if price is None else Prices(Decimal(price), Decimal(price))
    return ModelCard(
        name=name, provider="p", upstream_model=upstream or name, leaderboard_name=name,
        prices=prices,
    )  # fmt: skip


def coefficient(name: str) -> float:
    """Where the model stands on the leaderboard for no prompt in particular."""
    place = PLACES.of(card(name))
    assert place is not None
    return float(BOARD.coefficients[COLUMNS.index(place.column)]) + place.shift


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
def test_a_model_takes_the_column_of_its_nearest_relative(name: str, column: str) -> None:
    place = PLACES.of(card(name))
    assert place is not None
    assert (place.column, place.rests_on) == (column, "facts")
    assert place.sd > 0


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("claude-opus-5-5", "claude-haiku-5-5"),
        ("claude-haiku-5-5", "claude-3-haiku-20240307"),
        ("gpt-6.1-sol", "gpt-4o-2024-05-13"),
        ("gemini-3.1-pro-preview", "gemini-3.1-flash-lite"),
        ("kimi-k3.1-pro", "llama-3.1-8b-instruct"),
    ],
)
def test_facts_move_a_model_off_its_relative(better: str, worse: str) -> None:
    assert coefficient(better) > coefficient(worse) + 0.1


def test_what_a_place_rests_on_is_told() -> None:
    known, unknown = PLACES.of(card("gpt-5.5")), PLACES.of(card("our-own-model"))
    assert known is not None
    assert unknown is not None
    assert "published results" in known.basis
    assert "no published result" in unknown.basis
    assert unknown.sd > known.sd


def test_the_name_at_the_provider_counts_where_more_is_known_of_it() -> None:
    assert PLACES.of(card("fast", "gpt-6-luna")) == PLACES.of(card("gpt-6-luna"))


def test_without_a_leaderboard_for_no_prompt_no_column_is_moved() -> None:
    place = Places(COLUMNS, None).of(card("gpt-6.1-sol"))
    assert place is not None
    assert (place.column, place.shift) == ("gpt-4o-2024-08-06", 0.0)


def test_its_own_place_comes_first() -> None:
    for column in COLUMNS:
        assert PLACES.of(card(column)) == Place(column, "own")


def test_without_a_relative_it_is_in_the_middle() -> None:
    # of eleven the sixth, by strength and then by name
    for name in ("kimi-k3.1-pro", ""):
        place = PLACES.of(card(name, "x"))
        assert place is not None
        assert place.column == "claude-3-5-sonnet-20241022"


def test_an_empty_leaderboard_has_no_place() -> None:
    assert Places((), None).of(card("gpt-4o")) is None


def test_a_model_without_a_column_is_routed_to() -> None:
    with FakeProvider() as fake:
        config = f"""
providers: {{p: {{base_url: "{fake.base_url}"}}}}
models:
  gpt-6.1-sol: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  llama-3.2-1b: {{provider: p, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
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
                "llama-3.2-1b",
            }
