"""Facts in force: the configuration over the user's table over the bundled one."""

from __future__ import annotations

import json
import typing
from dataclasses import fields
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from router.catalog import ModelCard
from server.build import build_upstreams
from server.catalogue.cards import build_catalogue
from server.cli import main
from server.config.configured_facts import facts_of_models
from server.config.facts_file import book_in_force, default_path
from server.config.file import ConfigError, load_settings
from server.config.settings import Settings
from server.config.settings.facts import FactOverrides
from server.model_facts import types
from server.model_facts.book import Book, bundled_book

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
PROVIDERS = {
    "openai": {"kind": "openai", "base_url": "https://api.openai.com/v1"},
    "claude": {"kind": "anthropic"},
    "gemini": {"kind": "gemini"},
    "deepseek": {"kind": "openai", "base_url": "https://api.deepseek.com/v1"},
    "mine": {"kind": "openai", "base_url": "http://127.0.0.1:9000/v1"},
}


def settings_of(models: dict[str, Any], **more: Any) -> Settings:
    return Settings.model_validate({"providers": PROVIDERS, "models": models, **more})


def card_of(name: str, provider: str, now: datetime = NOON, **keys: Any) -> ModelCard:
    settings = settings_of({name: {"provider": provider, **keys}})
    return build_catalogue(settings, now, bundled_book())[0]


def test_a_card_is_filled_from_the_table() -> None:
    card = card_of("claude-opus-5-5", "claude")
    assert card.max_output_tokens == 128_000
    assert card.context_window == 1_000_000
    assert card.capabilities == {"tools", "vision", "json_schema", "files", "reasoning"}
    assert card.prices is not None
    assert card.prices.cache_write_1h_usd_per_mtok == 8
    assert card.tier_prices["fast"].output_usd_per_mtok == 40
    assert card.tier_prices["us"].output_usd_per_mtok == 22
    assert card.tier_prices["fast+us"].output_usd_per_mtok == 44


def test_what_the_configuration_says_holds() -> None:
    card = card_of(
        "gpt-6.1-sol",
        "openai",
        input_usd_per_mtok=3,
        output_usd_per_mtok=4,
        context_window=1000,
        max_output_tokens=500,
        capabilities=["tools"],
        tier_prices={"flex": 0.5},
    )
    assert card.prices is not None
    assert card.prices.input_usd_per_mtok == 3
    assert (card.context_window, card.max_output_tokens) == (1000, 500)
    assert card.capabilities == {"tools"}
    # a list's prices of other tiers are those of the list's normal price
    assert {tier: one.input_usd_per_mtok for tier, one in card.tier_prices.items()} == {
        "flex": Decimal("1.5")
    }


def test_facts_rule_out_only_what_is_surely_lacking() -> None:
    assert card_of("gpt-4o", "openai").capabilities == {
        "tools",
        "vision",
        "json_schema",
        "files",
        "reasoning",
    }
    assert card_of("nobody-7b", "mine").capabilities is None
    deepseek = card_of("deepseek-v4-pro", "deepseek").capabilities
    assert deepseek is not None
    assert "vision" not in deepseek


def test_tiers_beside_list_prices() -> None:
    tiers = card_of("gpt-6.1-sol", "openai").tier_prices
    assert {tier: one.input_usd_per_mtok for tier, one in tiers.items()} == {
        "flex": 1,
        "priority": 4,
        "fast": 4,
        "ultrafast": 12,
        "batch": 1,
        "us": Decimal("2.2"),
        "fast+us": Decimal("4.4"),
    }
    assert card_of("gpt-6.1-sol", "openai", tier_prices={"flex": 0.25}).tier_prices[
        "flex"
    ].input_usd_per_mtok == Decimal("0.5")


def test_a_model_without_a_list_price_has_the_tables() -> None:
    """The table has models that genai-prices has not: Alibaba's own are among them."""
    settings = Settings.model_validate(
        {
            "providers": {
                "ali": {
                    "kind": "openai",
                    "base_url": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
                }
            },
            "models": {"qwen3.8-max": {"provider": "ali"}},
        }
    )
    (card,) = build_catalogue(settings, NOON, bundled_book())
    assert card.prices is not None
    assert (card.prices.input_usd_per_mtok, card.prices.output_usd_per_mtok) == (2, 6)


# -- models.NAME.facts
PARTS = {
    "sampling": types.Sampling,
    "thinking": types.Thinking,
    "tools": types.Tools,
    "schemas": types.Schemas,
    "messages": types.Messages,
    "caching": types.Caching,
}


@pytest.mark.parametrize("part", PARTS)
def test_every_cell_can_be_said_in_the_configuration(part: str) -> None:
    section = FactOverrides.model_fields[part].annotation
    assert section is not None
    keys = section.model_fields  # type: ignore[attr-defined]
    hints = typing.get_type_hints(PARTS[part])
    assert set(keys) == {one.name for one in fields(PARTS[part])}
    for name, field in keys.items():
        assert _literals(field.annotation) == _literals(hints[name]), name


def _literals(annotation: Any) -> set[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return set(get_args(annotation))
    return {text for one in get_args(annotation) for text in _literals(one)}


def facts_with(facts: dict[str, Any], name: str = "gpt-6.1-sol", **keys: Any) -> types.ModelFacts:
    settings = settings_of({name: {"provider": "openai", "facts": facts, **keys}})
    return facts_of_models(settings, bundled_book())[name]


def test_a_cell_of_the_configuration_holds_and_the_others_stay() -> None:
    facts = facts_with(
        {
            "sampling": {"temperature": "never"},
            "thinking": {"efforts": ["high", "low"]},
            "tools": {"on_chat_completions": "ok"},
            "caching": {"lifetimes_s": [60]},
            "limits": {"max_input_tokens": 10},
            "retirement": {"day": "2027-05-01", "successor": "gpt-7"},
        }
    )
    assert not facts.refuses("temperature", "high")
    assert facts.refuses("top_p", "high")
    assert facts.thinking.efforts == ("low", "high")
    assert facts.thinking.use == "always"
    assert facts.tools.on_chat("high")
    assert facts.caching.lifetimes_s == (60,)
    assert facts.limits.max_input_tokens == 10
    assert facts.limits.max_output_tokens == 128_000
    assert facts.retirement is not None
    assert facts.retirement.on == date(2027, 5, 1)
    assert facts.sources["sampling"].where == "the configuration"
    assert facts.sources["messages"].where != "the configuration"


def test_lengths_of_answers_by_effort() -> None:
    facts = facts_with({"expected_output_tokens": {"low": 300, "high": 4000}})
    assert facts.expected_output_tokens == {"low": 300, "high": 4000}


@pytest.mark.parametrize(
    ("facts", "field", "value"),
    [
        ({}, "temperature", None),
        ({"sampling": {"temperature": "never"}}, "temperature", 0.3),
    ],
)
def test_what_goes_to_a_provider_is_as_the_configuration_says(
    facts: dict[str, Any], field: str, value: object
) -> None:
    models = {"gpt-5.6-sol": {"provider": "openai", "responses": True, "facts": facts}}
    upstreams = build_upstreams(
        settings_of(models), build_catalogue(settings_of(models), NOON, bundled_book()), {}
    )
    body = {"model": "p2l", "messages": [{"role": "user", "content": "x"}], "temperature": 0.3}
    fit = upstreams["openai"].fit(body, "gpt-5.6-sol", bounded=False)
    assert ("temperature" in fit.left_out) is (value is None)


def test_a_deployment_with_a_name_of_its_own_is_known_by_the_catalogues() -> None:
    url = "https://mine.openai.azure.com/openai/v1"
    provider = {"kind": "openai", "base_url": url, "responses": True}
    models = {"gpt-6.1-sol": {"provider": "azure", "upstream_model": "my-deployment"}}
    settings = Settings.model_validate({"providers": {"azure": provider}, "models": models})
    assert facts_of_models(settings, bundled_book())["gpt-6.1-sol"].known == "model"
    (upstream,) = build_upstreams(
        settings, build_catalogue(settings, NOON, bundled_book()), {}
    ).values()
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = {"messages": [{"role": "user", "content": "x"}], "tools": tools}
    assert upstream.kin(body, "my-deployment") != upstream.kin(body, "another")


def test_null_says_that_nothing_is_known() -> None:
    facts = facts_with({"thinking": {"efforts": None}, "tools": {"name_pattern": None}})
    assert facts.thinking.efforts is None
    assert facts.tools.name_pattern is None


@pytest.mark.parametrize(
    ("style", "use", "kinds"),
    [
        ("none", "never", frozenset()),
        ("budget", "by_default", {"budget"}),
        ("adaptive", "by_default", {"adaptive", "effort"}),
    ],
)
def test_the_older_key_for_thinking_is_heeded(style: str, use: str, kinds: set[str]) -> None:
    settings = settings_of({"claude-haiku-5-5": {"provider": "claude", "thinking": style}})
    thinking = facts_of_models(settings, bundled_book())["claude-haiku-5-5"].thinking
    assert (thinking.use, thinking.kinds) == (use, kinds)


def test_capabilities_of_the_configuration_are_all_there_are() -> None:
    facts = facts_with({}, capabilities=["tools"])
    assert facts.capabilities == {"tools"}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"sampling": {"temprature": "never"}}, "temprature"),
        ({"thinking": {"efforts": ["hihg"]}}, "efforts"),
        ({"caching": {"lifetimes_s": [0]}}, "lifetimes_s"),
        ({"retirement": {"day": "soon"}}, "day"),
    ],
)
def test_a_wrong_cell_is_an_error_that_names_it(
    tmp_path: Path, facts: dict[str, Any], said: str
) -> None:
    path = tmp_path / "config.yaml"
    models = {"gpt-5": {"provider": "openai", "facts": facts}}
    path.write_text(yaml.safe_dump({"providers": PROVIDERS, "models": models}))
    with pytest.raises(ConfigError, match=said):
        load_settings(path)


# -- the user's table
def table(path: Path, *, as_of: str = "2099-01-01", usd_in: str = "7") -> Path:
    row = {
        "price": {"in": usd_in, "out": "9"},
        "window": 5000,
        "max_out": 600,
        "source": "mine",
        "read": as_of,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"as_of": as_of, "rows": {"openai": {"gpt-6.1-sol": row}}}))
    return path


def test_a_newer_table_of_the_user_goes_before_both_lists(tmp_path: Path) -> None:
    path = table(tmp_path / "facts.json")
    models = {"gpt-6.1-sol": {"provider": "openai"}, "gpt-4o": {"provider": "openai"}}
    settings = settings_of(models, facts={"path": str(path)})
    renewed, listed = build_catalogue(settings, NOON)
    assert renewed.prices is not None
    assert renewed.prices.input_usd_per_mtok == 7
    assert (renewed.context_window, renewed.max_output_tokens) == (5000, 600)
    assert listed.prices is not None
    assert listed.prices.input_usd_per_mtok == Decimal("2.5")


def test_an_older_table_of_the_user_is_not_used(tmp_path: Path) -> None:
    path = table(tmp_path / "facts.json", as_of="2020-01-01")
    assert book_in_force(path) is bundled_book()


def test_a_table_in_the_data_folder_is_found(tmp_path: Path) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    assert book_in_force(None, environ) is bundled_book()
    path = table(default_path(environ))
    assert path == tmp_path / "p2l-router" / "facts.json"
    assert book_in_force(None, environ).where == str(path)


def test_a_broken_table_in_the_data_folder_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    path = default_path(environ)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert book_in_force(None, environ) is bundled_book()
    assert f"{path} is not a table of facts" in caplog.text


@pytest.mark.parametrize("content", [None, "{", "[]", '{"as_of": "x", "rows": {}}'])
def test_a_table_that_the_configuration_names_must_be_readable(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "facts.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"facts\.path: .*facts --update"):
        build_catalogue(settings_of({"gpt-5": {"provider": "openai"}}, facts={"path": str(path)}))


# -- p2l-router facts
@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("P2L_CONFIG", raising=False)
    return tmp_path / "data"


def test_a_model_is_shown_with_where_each_part_was_read(
    own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["facts", "openai/gpt-6.1-sol"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "context window: 1,050,000",
        "efforts: low, medium, high, xhigh, max",
        "on chat completions: refused",
        "normal: 2 input, 10 output",
        "ultrafast, prompts over 272,000 tokens: 24 input, 90 output",
        "read 2026-11-29",
        "https://developers.openai.com/api/docs/pricing",
    ):
        assert line in shown


def test_a_model_as_a_document(own_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["facts", "claude-opus-5-5", "--seller", "anthropic", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["model"] == "claude-opus-5-5"
    assert shown["limits"]["max_output_tokens"] == 128_000
    assert shown["prices"]["normal"]["base"]["input_usd_per_mtok"] == "4"
    assert shown["sources"]["thinking"]["read_on"] == "2026-11-29"


def test_an_unknown_model_is_said_to_be_one(
    own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["facts", "nobody-7b"]) == 0
    assert "nothing is known of it" in capsys.readouterr().out


@pytest.mark.slow
def test_all_models_are_listed(own_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["facts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (sol,) = (line for line in lines if line.startswith("gpt-6.1-sol "))
    assert sol.split() == [
        "gpt-6.1-sol", "openai", "2", "/", "10", "1,050,000", "128,000", "always",
    ]  # fmt: skip
    assert main(["facts", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {"gpt-6.1-sol", "claude-opus-5-5"} <= {one["model"] for one in shown["data"]}
    assert shown["as_of"] == bundled_book().as_of.isoformat()


def test_a_configured_model_is_shown_as_configured(
    tmp_path: Path, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    models = {"gpt-5": {"provider": "openai", "facts": {"sampling": {"temperature": "never"}}}}
    path.write_text(yaml.safe_dump({"providers": PROVIDERS, "models": models}))
    assert main(["facts", "gpt-5", "--config", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["sampling"]["temperature"] == "never"
    assert shown["sources"]["sampling"]["where"] == "the configuration"


def updated(folder: Path, usd: float) -> Path:
    entry = {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": usd / 1e6,
        "output_cost_per_token": 1e-05,
        "max_input_tokens": 922000,
        "max_output_tokens": 128000,
    }
    path = folder / f"map-{usd}.json"
    path.write_text(json.dumps({"gpt-6.1-sol": entry, "gpt-9": entry}))
    return path


def test_an_update_prints_what_changed_and_is_used_from_then_on(
    tmp_path: Path, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["facts", "--update", str(updated(tmp_path, 3)), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert {"seller": "openai", "model": "gpt-9"} in first["added"]
    assert {"seller": "openai", "model": "gpt-4o"} in first["removed"]
    assert {
        "seller": "openai",
        "model": "gpt-6.1-sol",
        "cell": "price.in",
        "before": "2",
        "after": "3",
    } in first["changed"]
    assert main(["facts", "--update", str(updated(tmp_path, 4))]) == 0
    said = capsys.readouterr().out
    assert "~ gpt-6.1-sol (openai) price.in: 3 -> 4" in said
    assert "0 added, 0 removed, 2 cells changed" in said
    (card,) = build_catalogue(settings_of({"gpt-6.1-sol": {"provider": "openai"}}), NOON)
    assert card.prices is not None
    assert card.prices.input_usd_per_mtok == 4


def test_an_update_takes_the_tables_own_form(
    tmp_path: Path, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = table(tmp_path / "newer.json", usd_in="2.5")
    assert main(["facts", "--update", str(path)]) == 0
    assert "~ gpt-6.1-sol (openai) price.in: 2 -> 2.5" in capsys.readouterr().out
    assert isinstance(book_in_force(None), Book)
    assert book_in_force(None).where == str(own_data / "p2l-router" / "facts.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("{}", "is not a map of models"),
        ('{"as_of": "2099-01-01", "rows": {}}', "no model of a known provider is in it"),
        ('{"as_of": "2099-01-01", "rows": {"openai": {"x": {}}}}', "the row of x at openai"),
        ('{"as_of": "2099-01-01", "rows": []}', "is not a table of facts"),
    ],
)
def test_a_bad_file_changes_nothing(
    tmp_path: Path, own_data: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    assert main(["facts", "--update", str(path)]) == 2
    assert said in capsys.readouterr().err
    assert not own_data.exists()


def test_a_file_that_is_not_there_or_not_the_pinned_one(
    tmp_path: Path, own_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["facts", "--update", str(tmp_path / "none.json")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
    assert main(["facts", "--update", str(updated(tmp_path, 3)), "--sha256", "0" * 64]) == 2
    assert "not the file that was pinned" in capsys.readouterr().err
    assert not own_data.exists()
