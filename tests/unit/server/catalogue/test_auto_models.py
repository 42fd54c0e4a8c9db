"""The default catalogue is alive: on any day it holds what is sold, and nothing that is retired."""

from __future__ import annotations

import asyncio
import socket
from datetime import date, timedelta
from typing import Any

import pytest
from model_lists import listing

from server.catalogue.auto_models import with_auto_models
from server.catalogue.cards import build_catalogue
from server.catalogue.provider_lists import ListError, ModelLists, offered_models
from server.config.defaults import default_settings
from server.config.file import parse_settings
from server.config.settings import Settings
from server.model_facts import bundled_book, seller_of

TODAY = date(2026, 11, 29)
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY")


def names(settings: Settings, provider: str) -> list[str]:
    return [name for name, model in settings.models.items() if model.provider == provider]


def default(today: date, *keys: str) -> Settings:
    settings = default_settings(dict.fromkeys(keys, "x"))
    return with_auto_models(settings, bundled_book(), today)


@pytest.mark.parametrize("days", range(0, 800, 23))
def test_on_no_day_is_a_retired_model_in_it(days: int) -> None:
    today = TODAY + timedelta(days=days)
    for keys in ((), KEYS):
        settings = default(today, *keys)
        assert settings.models
        for name, model in settings.models.items():
            provider = settings.providers[model.provider]
            seller = seller_of(provider.kind, provider.base_url)
            facts = bundled_book().facts_of(model.upstream_model or name, seller)
            assert not facts.is_retired(today), name
            assert facts.known == "model"


def test_it_holds_the_models_of_today() -> None:
    settings = default(TODAY, *KEYS)
    assert {"gpt-6.1-sol", "gpt-6-luna"} <= set(names(settings, "openai"))
    assert {"claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"} <= set(
        names(settings, "anthropic")
    )
    assert "gemini-3.8-flash" in names(settings, "gemini")
    assert "mistral-large-4" in names(settings, "mistral")
    every = default(TODAY)
    assert {"deepseek-v4-pro", "deepseek-v4-flash"} <= set(names(every, "deepseek"))
    assert {"kimi-k3.1-pro", "glm-5.3", "grok-4.7"} <= every.models.keys()
    for provider in settings.providers:
        assert 1 <= len(names(settings, provider)) <= settings.providers[provider].auto_models


def test_the_sandbox_imitates_them() -> None:
    settings = default(TODAY)
    assert {provider.kind for provider in settings.providers.values()} == {"sandbox"}
    assert "gpt-6.1-sol" in settings.models
    assert all(card.prices is not None for card in build_catalogue(settings))


CONFIG = """
providers: {{o: {{kind: {kind}, base_url: "{url}", models: auto{more}, api_key_env: KEY}}}}
models: {{own: {{provider: o, input_usd_per_mtok: 1, output_usd_per_mtok: 2}}}}
"""


def configured(
    kind: str = "openai", url: str = "https://api.openai.com/v1", more: str = ""
) -> Settings:
    return parse_settings(CONFIG.format(kind=kind, url=url, more=more))


def test_what_is_offered_decides() -> None:
    offered = ["gpt-6-luna", "gpt-4o-2024-08-06", "text-embedding-3-large", "gpt-4o-audio-preview",
               "a-model-of-nobody", "gpt-5.4-2026-03-05"]  # fmt: skip
    found = with_auto_models(configured(), bundled_book(), TODAY, {"o": offered})
    assert names(found, "o") == ["own", "gpt-5.4-2026-03-05", "gpt-6-luna", "gpt-4o-2024-08-06"]
    later = with_auto_models(found, bundled_book(), date(2027, 2, 1), {"o": offered})
    assert names(later, "o") == ["own", "gpt-5.4-2026-03-05", "gpt-6-luna"]
    assert later.configured_models.keys() == {"own"}


def test_no_more_than_allowed() -> None:
    found = with_auto_models(configured(more=", auto_models: 2"), bundled_book(), TODAY)
    assert len(names(found, "o")) == 3


def test_one_name_at_two_providers_is_two_models() -> None:
    settings = parse_settings(
        """
providers:
  a: {base_url: "https://api.deepseek.com/v1", models: auto}
  b: {base_url: "https://dashscope.aliyuncs.com/compatible-mode/v1", models: auto, auto_models: 40}
"""
    )
    found = with_auto_models(settings, bundled_book(), TODAY)
    assert found.models["deepseek-v4-pro"].provider == "a"
    assert found.models["b/deepseek-v4-pro"].upstream_model in (None, "deepseek-v4-pro")


def test_a_server_of_ones_own_gives_all_it_has() -> None:
    settings = configured(url="http://127.0.0.1:11434/v1", more=", profile: ollama")
    assert names(with_auto_models(settings, bundled_book(), TODAY), "o") == ["own"]
    offered = {"o": ["llama3.3:70b", "nomic-embed-text", "my-finetune"]}
    found = with_auto_models(settings, bundled_book(), TODAY, offered)
    assert names(found, "o") == ["own", "llama3.3:70b", "my-finetune"]


def test_a_retired_model_is_out_where_its_vendor_sells_it() -> None:
    text = """
providers: {{v: {{base_url: "https://api.openai.com/v1"}}, r: {{base_url: "https://my.host/v1"}}}}
models:
  gpt-4-turbo-2024-04-09: {{provider: v{more}}}
  elsewhere: {{provider: r, upstream_model: gpt-4-turbo-2024-04-09}}
"""
    vendor, reseller = build_catalogue(parse_settings(text.format(more="")))
    assert "retired on 2026-10-23" in (vendor.retired or "")
    assert reseller.retired is None
    allowed, _ = build_catalogue(parse_settings(text.format(more=", retired: allow")))
    assert allowed.retired is None


ENVIRON = {"KEY": "the-providers-own-key"}
OPENAI = {"object": "list", "data": [
    {"id": "gpt-6-luna", "object": "model"},
    {"id": "gpt-4o", "object": "model", "shutdown_date": "2026-10-23"},
    {"id": "gpt-5", "object": "model", "shutdown_date": "2031-01-01"},
]}  # fmt: skip
ANTHROPIC_1 = {"data": [{"type": "model", "id": "claude-opus-5-5", "lifecycle": "active"}],
               "has_more": True, "last_id": "claude-opus-5-5"}  # fmt: skip
ANTHROPIC_2 = {"data": [{"type": "model", "id": "claude-haiku-5-5"},
                        {"id": "claude-old", "retires_at": "2026-01-01T00:00:00Z"}],
               "has_more": False}  # fmt: skip
GEMINI = {"models": [
    {"name": "models/gemini-3.8-flash", "supportedGenerationMethods": ["generateContent"]},
    {"name": "models/embedding-001", "supportedGenerationMethods": ["embedContent"]},
]}  # fmt: skip


async def test_openais_list() -> None:
    with listing({"/v1/models": (200, OPENAI)}) as lists:
        provider = configured(url=f"{lists.url}/v1").providers["o"]
        found = await offered_models("o", provider, ENVIRON, TODAY)
    assert found == ["gpt-6-luna", "gpt-5"]
    assert lists.asked[0][1]["authorization"] == f"Bearer {ENVIRON['KEY']}"


async def test_anthropics_list_has_pages() -> None:
    answers = {"/v1/models?limit=1000": (200, ANTHROPIC_1),
               "/v1/models?after_id=claude-opus-5-5&limit=1000": (200, ANTHROPIC_2)}  # fmt: skip
    with listing(answers) as lists:
        provider = configured("anthropic", lists.url).providers["o"]
        found = await offered_models("o", provider, ENVIRON, TODAY)
    assert found == ["claude-opus-5-5", "claude-haiku-5-5"]
    assert lists.asked[0][1]["x-api-key"] == ENVIRON["KEY"]


async def test_geminis_list_names_what_generates() -> None:
    with listing({"/v1beta/models?pageSize=1000": (200, GEMINI)}) as lists:
        provider = configured("gemini", lists.url).providers["o"]
        assert await offered_models("o", provider, ENVIRON, TODAY) == ["gemini-3.8-flash"]


@pytest.mark.parametrize(
    "answer", [(401, {"error": {"message": "the-providers-own-key"}}), (200, 7)]
)
async def test_a_list_that_cannot_be_read_says_why(answer: tuple[int, Any]) -> None:
    with listing({"/v1/models": answer}) as lists:
        provider = configured(url=f"{lists.url}/v1").providers["o"]
        with pytest.raises(ListError) as caught:
            await offered_models("o", provider, ENVIRON, TODAY)
    assert "o: its list of models" in str(caught.value)
    assert ENVIRON["KEY"] not in str(caught.value)


async def test_a_provider_that_says_nothing_is_not_waited_for() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        provider = configured(url=url).providers["o"]
        async with asyncio.timeout(20):
            with pytest.raises(ListError, match=r"did not answer within 0\.2 s"):
                await offered_models("o", provider, ENVIRON, TODAY, timeout_s=0.2)


async def test_a_list_is_read_once_a_day() -> None:
    clock = [1_796_000_000.0]
    with listing({"/v1/models": (200, OPENAI)}) as lists:
        held = [configured(url=f"{lists.url}/v1", more=", profile: vllm")]

        def put(found: Settings) -> None:
            held[0] = found

        follower = ModelLists(lambda: held[0], put, ENVIRON, lambda: clock[0])
        await follower.follow()
        assert names(held[0], "o") == ["own", "gpt-6-luna", "gpt-5"]
        await follower.follow()
        assert len(lists.asked) == 1
        clock[0] += 24 * 3600
        await follower.follow()
        assert len(lists.asked) == 2
        # another configuration begins with what is known of it
        held[0] = configured(url=f"{lists.url}/v1", more=", profile: vllm")
        await follower.follow()
        assert names(held[0], "o") == ["own", "gpt-6-luna", "gpt-5"]
        assert len(lists.asked) == 2
