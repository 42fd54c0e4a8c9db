"""The table: what it has of the models on sale, by seller, in any spelling."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from server.model_facts import ModelFacts, bundled_book, facts_of, seller_of
from server.model_facts.names import canonical
from server.model_facts.price_row import price_table
from server.model_facts.row import read_row

K = 1000
# window, most output, USD per million in and out
ON_SALE: dict[tuple[str, str], tuple[int, int, str, str]] = {
    ("openai", "gpt-6.1-sol"): (1050 * K, 128 * K, "2", "10"),
    ("openai", "gpt-6-sol"): (1050 * K, 128 * K, "2", "10"),
    ("openai", "gpt-6-luna"): (1050 * K, 128 * K, "0.1", "0.5"),
    ("openai", "gpt-5.6-terra"): (1050 * K, 128 * K, "2", "12"),
    ("openai", "gpt-5.5"): (1050 * K, 128 * K, "5", "30"),
    ("openai", "gpt-5.4"): (1050 * K, 128 * K, "2.5", "15"),
    ("openai", "gpt-5.2"): (400 * K, 128 * K, "1.75", "14"),
    ("openai", "gpt-5"): (400 * K, 128 * K, "1.25", "10"),
    ("openai", "gpt-4.1"): (1_047_576, 32_768, "2", "8"),
    ("openai", "gpt-4o"): (128 * K, 16_384, "2.5", "10"),
    ("openai", "o3"): (200 * K, 100 * K, "2", "8"),
    ("openai", "o4-mini"): (200 * K, 100 * K, "1.1", "4.4"),
    ("groq", "openai/gpt-oss-120b"): (131_072, 65_536, "0.15", "0.6"),
    ("anthropic", "claude-opus-5-5"): (1000 * K, 128 * K, "4", "20"),
    ("anthropic", "claude-sonnet-5-5"): (1000 * K, 128 * K, "2", "10"),
    ("anthropic", "claude-haiku-5-5"): (1000 * K, 128 * K, "0.1", "0.5"),
    ("anthropic", "claude-fable-5-2"): (1000 * K, 128 * K, "8", "40"),
    ("anthropic", "claude-opus-4-8"): (1000 * K, 128 * K, "5", "25"),
    ("anthropic", "claude-opus-4-7"): (1000 * K, 128 * K, "5", "25"),
    ("anthropic", "claude-opus-4-6"): (1000 * K, 128 * K, "5", "25"),
    ("anthropic", "claude-opus-4-5"): (200 * K, 64 * K, "5", "25"),
    ("anthropic", "claude-sonnet-5"): (1000 * K, 128 * K, "2", "10"),
    ("anthropic", "claude-sonnet-4-6"): (1000 * K, 128 * K, "3", "15"),
    ("anthropic", "claude-sonnet-4-5"): (200 * K, 64 * K, "3", "15"),
    ("anthropic", "claude-haiku-4-5"): (200 * K, 64 * K, "1", "5"),
    ("google", "gemini-3.8-flash"): (1_048_576, 65_536, "0.75", "3.75"),
    ("google", "gemini-3.5-flash-lite"): (1_048_576, 65_536, "0.3", "2.5"),
    ("google", "gemini-3.1-pro-preview"): (1_048_576, 65_536, "2", "12"),
    ("google", "gemini-4-argon"): (1_048_576, 1_048_576, "2", "10"),
    ("google", "gemini-2.5-pro"): (1_048_576, 65_536, "1.25", "10"),
    ("google", "gemini-2.5-flash"): (1_048_576, 65_536, "0.3", "2.5"),
    ("xai", "grok-4.7"): (500 * K, 500 * K, "2", "6"),
    ("deepseek", "deepseek-v4-pro"): (1000 * K, 393_216, "1.32", "3.96"),
    ("deepseek", "deepseek-v4-flash"): (1000 * K, 393_216, "0.3", "1.2"),
    ("moonshot", "kimi-k3.1-pro"): (1_048_576, 1_048_576, "2", "10"),
    ("mistral", "mistral-large-4"): (1_048_576, 1_048_576, "0.7", "2.1"),
    ("mistral", "mistral-medium-3-5"): (262_144, 262_144, "1.5", "7.5"),
    ("mistral", "mistral-small-latest"): (262_144, 262_144, "0.15", "0.6"),
    ("zai", "glm-5.3"): (1000 * K, 128 * K, "1.4", "4.4"),
    ("alibaba", "qwen3.8-max"): (991_808, 131_072, "2", "6"),
}


def price(facts: ModelFacts) -> tuple[Decimal, Decimal]:
    assert facts.prices is not None
    base = facts.prices.normal.base
    return base.input_usd_per_mtok, base.output_usd_per_mtok


@pytest.mark.parametrize(("seller", "model"), ON_SALE)
def test_limits_and_prices_of_models_on_sale(seller: str, model: str) -> None:
    window, most, usd_in, usd_out = ON_SALE[seller, model]
    facts = facts_of(model, seller)
    assert facts.known == "model"
    assert (facts.limits.context_window, facts.limits.max_output_tokens) == (window, most)
    assert price(facts) == (Decimal(usd_in), Decimal(usd_out))
    assert {"limits", "prices"} <= facts.sources.keys()


@pytest.mark.parametrize(
    ("model", "lacks"),
    [
        ("gpt-6.1-sol", {"audio"}),
        ("gpt-4o", {"audio", "reasoning"}),
        ("gpt-4o-2024-05-13", {"audio", "reasoning", "json_schema"}),
        ("gpt-oss-120b", {"vision", "audio", "files"}),
        ("claude-opus-5-5", {"audio"}),
        ("gemini-3.8-flash", set()),
        ("grok-4.7", {"audio"}),
        ("deepseek-v4-pro", {"vision", "audio", "json_schema"}),
        ("glm-5.3", {"vision", "audio"}),
        ("mistral-large-4", {"audio"}),
        ("kimi-k3.1-pro", set()),
        ("qwen3.8-max", set()),
    ],
)
def test_what_models_surely_lack(model: str, lacks: set[str]) -> None:
    assert facts_of(model).lacks == lacks


RETIRED: dict[tuple[str, str], tuple[str, str | None]] = {
    ("openai", "gpt-4o-2024-05-13"): ("2026-10-23", "gpt-5.6-sol"),
    ("openai", "gpt-4-turbo-2024-04-09"): ("2026-10-23", "gpt-5.6-sol"),
    ("openai", "gpt-3.5-turbo-0125"): ("2026-10-23", "gpt-5.6-terra"),
    ("openai", "o4-mini"): ("2026-10-23", "gpt-5.6-terra"),
    ("openai", "gpt-4o-2024-08-06"): ("2027-01-14", "gpt-6-luna"),
    ("openai", "gpt-4o-mini-2024-07-18"): ("2027-01-14", "gpt-6-luna"),
    ("openai", "gpt-5"): ("2026-12-11", "gpt-5.6-sol"),
    ("anthropic", "claude-3-5-sonnet-20241022"): ("2025-10-28", "claude-sonnet-5-5"),
    ("anthropic", "claude-3-5-haiku-20241022"): ("2026-02-19", "claude-haiku-5-5"),
    ("anthropic", "claude-3-haiku-20240307"): ("2026-04-20", "claude-haiku-5-5"),
    ("anthropic", "claude-sonnet-4-20250514"): ("2026-06-15", "claude-sonnet-5-5"),
    ("anthropic", "claude-opus-4-1-20250805"): ("2026-08-05", "claude-opus-5-5"),
    ("anthropic", "claude-sonnet-4-5"): ("2026-11-30", "claude-sonnet-5-5"),
    ("anthropic", "claude-opus-4-5-20251101"): ("2027-01-22", "claude-opus-5-5"),
    ("google", "gemini-2.0-flash"): ("2026-06-01", "gemini-3.5-flash-lite"),
    ("google", "gemini-2.5-pro"): ("2026-12-01", "gemini-3.8-flash"),
    ("google", "gemini-2.5-flash"): ("2026-12-01", "gemini-3.5-flash-lite"),
    ("xai", "grok-4-0709"): ("2026-05-15", "grok-4.3"),
    ("deepseek", "deepseek-reasoner"): ("2026-07-24", None),
}


@pytest.mark.parametrize(("seller", "model"), RETIRED)
def test_when_models_end_and_what_follows(seller: str, model: str) -> None:
    retirement = facts_of(model, seller).retirement
    assert retirement is not None
    on, successor = RETIRED[seller, model]
    assert (retirement.on.isoformat(), retirement.successor) == (on, successor)
    assert facts_of(model, seller).is_retired(retirement.on)
    assert not facts_of(model, seller).is_retired(date(2025, 1, 1))
    assert retirement.source.where


def test_every_successor_at_a_vendor_is_in_the_table_and_outlives_it() -> None:
    book = bundled_book()
    for seller, name in book.models():
        facts = book.facts_of(name, seller)
        if seller != facts.vendor or facts.retirement is None or facts.retirement.successor is None:
            continue
        successor = book.facts_of(facts.retirement.successor, seller)
        assert successor.known == "model", (name, successor.name)


def test_a_resellers_end_says_nothing_of_the_vendors_own_model() -> None:
    at_azure, at_vendor = facts_of("gpt-4o", "azure"), facts_of("gpt-4o", "openai")
    assert at_azure.retirement is not None
    assert at_vendor.retirement is not None
    assert at_azure.retirement.on != at_vendor.retirement.on
    assert at_azure.vendor_retirement == at_vendor.retirement
    elsewhere = facts_of("gpt-4o", "openrouter")
    assert elsewhere.retirement is None
    assert elsewhere.vendor_retirement == at_vendor.retirement
    assert facts_of("gpt-4o").retirement is None


def test_a_redirected_name_is_answered_by_its_successor() -> None:
    retirement = facts_of("gemini-2.5-pro", "google").retirement
    assert retirement is not None
    assert retirement.redirected


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("GPT-6.1-Sol", "gpt-6.1-sol"),
        ("openai/gpt-6.1-sol", "gpt-6.1-sol"),
        ("openai/gpt-6.1-sol:free", "gpt-6.1-sol"),
        ("gpt-6.1-sol-2026-09-29", "gpt-6.1-sol"),
        ("gpt-sol-latest", "gpt-6.1-sol"),
        ("databricks-gpt-6-1-sol", "gpt-6.1-sol"),
        ("gpt-5-2025-08-07", "gpt-5-2025-08-07"),
        ("claude-opus-latest", "claude-opus-5-5"),
        ("anthropic/claude-opus-4.8", "claude-opus-4-8"),
        ("claude-4.5-sonnet", "claude-sonnet-4-5"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5-20251001"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"),
        ("claude-3-haiku", "claude-3-haiku-20240307"),
        ("models/gemini-3.8-flash", "gemini-3.8-flash"),
        ("google/gemini-3.8-flash", "gemini-3.8-flash"),
        ("x-ai/grok-4.7", "grok-4.7"),
        ("grok-latest", "grok-4.7"),
        ("zai-org/GLM-5.3", "glm-5.3"),
        ("qwen-max-latest", "qwen3.8-max"),
        ("mistral-medium-3.5", "mistral-medium-3.5"),
    ],
)
def test_a_model_in_many_spellings(asked: str, name: str) -> None:
    facts = facts_of(asked)
    assert (facts.known, facts.name) == ("model", name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mistral-large-2512", "mistral-large-2411"),
        ("kimi-k2-0905-preview", "kimi-k2-0711-preview"),
        ("gpt-4-0613", "gpt-4-1106-preview"),
        ("grok-4-0709", "grok-4.7"),
        ("claude-3-5-sonnet", "claude-sonnet-5-5"),
        ("gpt-5.4", "gpt-5.4-mini"),
    ],
)
def test_names_that_are_close_and_not_the_same(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)
    assert facts_of(one).name != facts_of(other).name


@pytest.mark.parametrize(
    ("kind", "url", "seller"),
    [
        ("openai", "https://api.openai.com/v1", "openai"),
        ("openai", "https://mine.openai.azure.com/openai/v1", "azure"),
        ("openai", "https://openrouter.ai/api/v1", "openrouter"),
        ("openai", "https://api.deepseek.com/v1", "deepseek"),
        ("openai", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "alibaba"),
        ("anthropic", None, "anthropic"),
        ("anthropic", "https://api.moonshot.ai/anthropic", "moonshot"),
        ("gemini", None, "google"),
        ("gemini", "https://us-central1-aiplatform.googleapis.com", "vertex"),
        ("openai", "http://127.0.0.1:9000/v1", None),
        ("openai", "https://api.openai.com.evil.example/v1", None),
        ("sandbox", None, None),
    ],
)
def test_the_seller_is_told_by_the_address(kind: str, url: str | None, seller: str | None) -> None:
    assert seller_of(kind, url) == seller


def prices_at(model: str, moment: str, **asked: Any) -> tuple[str, str]:
    facts = facts_of(model)
    assert facts.prices is not None
    found = facts.prices.prices(datetime.fromisoformat(moment), **asked)
    assert found is not None
    return f"{found.input_usd_per_mtok:f}", f"{found.output_usd_per_mtok:f}"


NOW = "2026-11-29T12:00:00+00:00"  # a Sunday


def test_prices_by_length_of_the_prompt() -> None:
    assert prices_at("gpt-6.1-sol", NOW, prompt_tokens=272_000) == ("2", "10")
    assert prices_at("gpt-6.1-sol", NOW, prompt_tokens=272_001) == ("4", "15")
    assert prices_at("claude-haiku-5-5", NOW, prompt_tokens=100_001) == ("0.5", "2.5")
    assert prices_at("gemini-3.1-pro-preview", NOW, prompt_tokens=200_001) == ("4", "18")
    # xAI's step begins at the very number
    assert prices_at("grok-4.7", NOW, prompt_tokens=199_999) == ("2", "6")
    assert prices_at("grok-4.7", NOW, prompt_tokens=200_000) == ("4", "12")


def test_prices_by_tier() -> None:
    assert prices_at("gpt-6.1-sol", NOW, tier="flex") == ("1", "5")
    assert prices_at("gpt-6.1-sol", NOW, tier="priority") == ("4", "20")
    assert prices_at("gpt-6.1-sol", NOW, tier="fast") == ("4", "20")
    assert prices_at("gpt-6.1-sol", NOW, tier="ultrafast", prompt_tokens=300_000) == ("24", "90")
    assert prices_at("gpt-6.1-sol", NOW, tier="batch") == ("1", "5")
    assert prices_at("claude-opus-5-5", NOW, tier="fast") == ("8", "40")
    prices = facts_of("gpt-5.5").prices
    assert prices is not None
    assert prices.prices(datetime.fromisoformat(NOW), tier="ultrafast") is None


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-11-30T02:00:00+00:00", ("1.32", "3.96")),
        ("2026-11-30T09:59:00+00:00", ("1.32", "3.96")),
        ("2026-11-30T10:00:00+00:00", ("0.66", "1.98")),
        ("2026-11-30T04:00:00+00:00", ("0.66", "1.98")),
        ("2026-11-30T05:00:00+02:00", ("1.32", "3.96")),
        ("2026-11-29T02:00:00+00:00", ("0.66", "1.98")),
    ],
)
def test_prices_by_hour(moment: str, expected: tuple[str, str]) -> None:
    assert prices_at("deepseek-v4-pro", moment) == expected


def test_prices_from_a_later_day() -> None:
    assert prices_at("gemini-3.8-flash", "2026-12-31T23:59:00+00:00") == ("0.75", "3.75")
    assert prices_at("gemini-3.8-flash", "2027-01-01T00:00:00+00:00") == ("1.5", "7.5")


def test_what_a_cache_costs_by_its_age() -> None:
    claude, gpt = facts_of("claude-opus-5-5").prices, facts_of("gpt-6.1-sol").prices
    assert claude is not None
    assert gpt is not None
    base = claude.normal.base
    assert (base.cache_write_usd_per_mtok, base.cache_write_1h_usd_per_mtok) == (5, 8)
    assert base.cached_input_usd_per_mtok == Decimal("0.2")
    assert gpt.normal.base.cache_write_usd_per_mtok == Decimal("2.5")
    assert gpt.cache_write_12h_usd_per_mtok == 5


def test_what_a_web_search_costs() -> None:
    for model, usd, per in (
        ("gpt-6.1-sol", "0.01", "query"),
        ("gpt-4.1", "0.025", "query"),
        ("claude-opus-5-5", "0.01", "query"),
        ("gemini-3.8-flash", "0.014", "query"),
        ("gemini-2.5-pro", "0.035", "prompt"),
    ):
        prices = facts_of(model).prices
        assert prices is not None
        assert set(prices.search_usd.values()) == {Decimal(usd)}, model
        assert prices.search_per == per, model


def test_shortest_prefixes_that_are_cached() -> None:
    least = {
        model: facts_of(model).caching.least_tokens
        for model in ("claude-opus-5-5", "claude-opus-4-8", "claude-haiku-4-5", "gemini-3.8-flash")
    }
    assert list(least.values()) == [512, 1024, 4096, 4096]


def test_when_models_came_out() -> None:
    assert facts_of("gpt-6.1-sol").released == date(2026, 9, 29)
    assert facts_of("gpt-5.5").released == date(2026, 4, 23)
    assert facts_of("claude-haiku-4-5").released == date(2025, 10, 1)


def test_where_a_model_is_asked() -> None:
    assert facts_of("gpt-5.5-pro").endpoints == {"responses"}
    assert "chat_completions" in facts_of("gpt-6.1-sol").endpoints


def test_every_row_can_be_read_and_has_a_source_with_a_day() -> None:
    book = bundled_book()
    rows = [(seller, name, book.row(seller, name) or {}) for seller, name in book.models()]
    assert len(rows) > 1000
    for seller, name, row in rows:
        facts = read_row(row)
        assert facts.source.where, (seller, name)
        assert facts.source.read_on == book.as_of, (seller, name)
        assert book.facts_of(name, seller).known == "model", (seller, name)


def test_a_price_is_no_binary_float() -> None:
    table = price_table({"in": "0.1", "out": "0.3"})
    assert table.normal.base.input_usd_per_mtok * 3 == table.normal.base.output_usd_per_mtok
