"""The table is made from LiteLLM's map, genai-prices and what was checked by hand."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from server.catalogue.price_list import look_up
from server.model_facts import bundled_book, facts_of
from server.model_facts.book import Book
from server.model_facts.build import BUNDLED, document_of, written
from server.model_facts.litellm_map import MAP_IN_WHEEL, MapError, read_map
from server.model_facts.page import page

TODAY = date(2026, 11, 29)
MAP: dict[str, dict[str, Any]] = {
    "sample_spec": {"litellm_provider": "one of", "mode": "one of: chat"},
    "gpt-9-terra": {
        "litellm_provider": "openai",
        "mode": "chat",
        "max_input_tokens": 922000,
        "max_output_tokens": 128000,
        "input_cost_per_token": 1.3e-06,
        "output_cost_per_token": 2e-06,
        "cache_creation_input_token_cost": 0.0,
        "input_cost_per_token_above_272k_tokens": 2.6e-06,
        "output_cost_per_token_above_272k_tokens": 3e-06,
        "input_cost_per_token_flex": 6.5e-07,
        "output_cost_per_token_flex": 1e-06,
        "supports_function_calling": True,
        "supports_vision": True,
        "deprecation_date": "2027-03-01",
        "successor_model": "gpt-9.1-terra",
        "source": "https://example.com/pricing",
    },
    "azure/gpt-9-terra": {
        "litellm_provider": "azure",
        "mode": "chat",
        "input_cost_per_token": 2e-06,
        "output_cost_per_token": 4e-06,
        "deprecation_date": "2026-01-01",
        "successor_model": "azure/gpt-9.1-terra",
    },
    "azure/eu/gpt-9-terra": {"litellm_provider": "azure", "mode": "chat"},
    "gpt-terra-latest": {"alias_of": "gpt-9-terra"},
    "dashscope/qwen9": {
        "litellm_provider": "dashscope",
        "mode": "chat",
        "tiered_pricing": [
            {"input_cost_per_token": 1e-07, "output_cost_per_token": 2e-07, "range": [0, 1000.0]},
            {"input_cost_per_token": 3e-07, "output_cost_per_token": 4e-07, "range": [1000.0, 9e3]},
        ],
    },
    "dall-e-9": {"litellm_provider": "openai", "mode": "image_generation"},
    "somebody/else": {"litellm_provider": "somebody", "mode": "chat"},
}


def map_file(folder: Path, content: Mapping[str, Any] = MAP) -> Path:
    path = folder / "map.json"
    path.write_text(json.dumps(content))
    return path


def wheel(folder: Path, content: Mapping[str, Any] = MAP) -> Path:
    path = folder / "litellm-9.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MAP_IN_WHEEL, json.dumps(content))
        archive.writestr("litellm/__init__.py", "raise SystemExit('never to be run')")
    return path


def document(folder: Path) -> dict[str, Any]:
    return document_of(read_map(wheel(folder)), TODAY)


def test_rows_of_a_map(tmp_path: Path) -> None:
    rows = document(tmp_path)["rows"]
    assert rows["openai"]["gpt-9-terra"] == {
        "window": 1050000,
        "max_in": 922000,
        "max_out": 128000,
        "can": ["tools", "vision"],
        "cannot": ["audio", "json_schema"],
        "price": {
            "in": "1.3",
            "out": "2",
            "above": {"272000": {"in": "2.6", "out": "3"}},
            "tiers": {"flex": {"in": "0.65", "out": "1"}},
        },
        "retires": {"on": "2027-03-01", "successor": "gpt-9.1-terra"},
        "source": "https://example.com/pricing in LiteLLM 9.1.0",
        "read": "2026-11-29",
    }
    assert rows["azure"]["gpt-9-terra"]["retires"]["successor"] == "gpt-9.1-terra"
    assert set(rows["azure"]) == {"gpt-9-terra"}
    assert rows["alibaba"]["qwen9"]["price"] == {
        "in": "0.1",
        "out": "0.2",
        "above": {"1000": {"in": "0.3", "out": "0.4"}},
    }
    assert "dall-e-9" not in rows["openai"]
    assert "somebody" not in rows


def test_another_name_of_a_map_leads_to_the_model(tmp_path: Path) -> None:
    book = Book(document(tmp_path), "here")
    assert book.facts_of("gpt-terra-latest").name == "gpt-9-terra"
    assert book.facts_of("gpt-9-terra").aliases == ("gpt-terra-latest",)


def test_a_model_that_only_genai_prices_has_gets_a_row(tmp_path: Path) -> None:
    row = document(tmp_path)["rows"]["anthropic"]["claude-fable-5-2"]
    assert row["price"]["in"] == "8"
    assert row["price"]["tiers"]["fast"]["in"] == "16"
    assert row["source"].startswith("genai-prices")


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    assert written(document(tmp_path)) == written(document(tmp_path))


def test_the_bundled_table_is_as_the_script_writes_it() -> None:
    assert written(json.loads(BUNDLED.read_bytes())) == BUNDLED.read_bytes()
    assert BUNDLED.stat().st_size < 500_000


def test_importing_the_room_reads_no_table() -> None:
    bundled_book.cache_clear()
    import server.app
    import server.config.configured_facts

    assert server.app
    assert server.config.configured_facts
    assert bundled_book.cache_info().currsize == 0


def test_a_pinned_file_must_be_the_one(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_map(path, digest).cited == "LiteLLM 9.1.0"
    with pytest.raises(MapError, match="not the file that was pinned"):
        read_map(path, "0" * 64)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("bad.json", b"{", "is not JSON"),
        ("list.json", b"[]", "is not a map of models"),
        ("other.json", b'{"a": {"b": 1}}', "is not a map of models"),
        ("bad.whl", b"PK", "is not a wheel: it is not a zip file"),
    ],
)
def test_what_is_no_map_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MapError, match=said):
        read_map(path)


def test_a_wheel_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other/__init__.py", "")
    with pytest.raises(MapError, match="is not a wheel of LiteLLM"):
        read_map(path)


HOSTS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
    "xai": "https://api.x.ai/v1",
    "moonshot": "https://api.moonshot.ai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com/v1",
}
# A Monday at the dearest hour of those who have such.
PEAK = datetime(2026, 11, 30, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seller", "model"),
    [
        ("openai", "gpt-6.1-sol"),
        ("openai", "gpt-6-luna"),
        ("openai", "gpt-5.6-terra"),
        ("openai", "gpt-5.5"),
        ("openai", "gpt-5.4"),
        ("openai", "gpt-5.2"),
        ("openai", "gpt-5"),
        ("openai", "gpt-4.1"),
        ("openai", "gpt-4o"),
        ("openai", "o3"),
        ("anthropic", "claude-opus-5-5"),
        ("anthropic", "claude-sonnet-5-5"),
        ("anthropic", "claude-haiku-5-5"),
        ("anthropic", "claude-sonnet-4-5"),
        ("anthropic", "claude-haiku-4-5"),
        ("google", "gemini-3.8-flash"),
        ("google", "gemini-3.1-pro-preview"),
        ("google", "gemini-4-argon"),
        ("google", "gemini-2.5-pro"),
        ("xai", "grok-4.7"),
        ("moonshot", "kimi-k3.1-pro"),
        ("mistral", "mistral-large-4"),
        ("deepseek", "deepseek-v4-pro"),
    ],
)
def test_the_two_price_lists_agree(seller: str, model: str) -> None:
    listed = look_up(model, HOSTS[seller], PEAK)
    table = facts_of(model, seller).prices
    assert listed is not None
    assert table is not None
    tabled = table.prices(PEAK)
    assert tabled is not None
    assert (listed.prices.input_usd_per_mtok, listed.prices.output_usd_per_mtok) == (
        tabled.input_usd_per_mtok,
        tabled.output_usd_per_mtok,
    )
    if listed.prices.cached_input_usd_per_mtok is not None:
        assert listed.prices.cached_input_usd_per_mtok == tabled.cached_input_usd_per_mtok


def test_the_page_of_models_is_as_the_table_says() -> None:
    shown = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    assert shown == page() + "\n"
