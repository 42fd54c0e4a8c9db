"""The configuration file: every complaint names file, line, key and fix."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from router.objective import Objective
from server.build import build_upstreams, database_of, settings_from
from server.catalogue.cards import build_catalogue, coverage
from server.config.defaults import default_settings, is_sandbox_only
from server.config.environment import variable
from server.config.file import ConfigError, parse_settings
from server.config.settings import StorageSettings
from server.readiness.objectives import check_objectives

ROOT = Path(__file__).parents[3]
BASE = "providers:\n  main: {kind: sandbox}\nmodels:\n  a: {provider: main}\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (BASE + "  b: {provider: none}\n", 4, "no provider 'none'"),
        (BASE + "routing:\n  budgit_usd: 1\n", 6, "routing.budgit_usd: unknown key"),
        (BASE + "routing:\n  budget_usd: -1\n", 6, "at least 0"),
        (BASE + "routing:\n  budget_usd: .nan\n", 6, "routing.budget_usd"),
        (BASE + "routing: {budget_mode: soft}\n", 5, "expected"),
        (BASE + "routing:\n  window_budgets: [{amount_usd: 1}]\n", 6, "window_s"),
        (BASE + "models: {}\n", 5, "given twice"),
        (BASE + "scorer: {fixed: {}}\n", 5, "at least one model"),
        ("providers:\n  x: {kind: openai}\n", 2, "needs a base_url"),
        ("providers:\n  x: {kind: openai, base_url: ftp://h}\n", 2, "http://"),
        ("providers: [\n", 2, ""),
        ("- a\n", 1, "expected keys"),
    ],
)
def test_complaints(text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_settings(text, "file.yaml")
    assert said in str(error.value)
    assert str(error.value).startswith("file.yaml:")
    if line != 4:
        assert f"file.yaml:{line}:" in str(error.value)


def test_money_is_read_as_it_is_written() -> None:
    settings = parse_settings(
        BASE + "  b: {provider: main, input_usd_per_mtok: 0.1, output_usd_per_mtok: 2.50}\n"
    )
    card = build_catalogue(settings)[1]
    assert card.prices is not None
    assert card.prices.input_usd_per_mtok == Decimal("0.1")


def test_list_prices_fill_in_and_can_be_overridden() -> None:
    settings = parse_settings(
        "providers: {p: {kind: sandbox}}\n"
        "models:\n"
        "  gpt-4o-2024-05-13: {provider: p}\n"
        "  mine: {provider: p, upstream_model: gpt-4o-2024-05-13, input_usd_per_mtok: 1,"
        " output_usd_per_mtok: 2}\n"
        "  unheard-of: {provider: p}\n"
    )
    listed, mine, unknown = build_catalogue(settings)
    assert listed.prices is not None
    assert (listed.prices.input_usd_per_mtok, listed.prices.output_usd_per_mtok) == (5, 15)
    assert mine.prices is not None
    assert mine.prices.output_usd_per_mtok == 2
    assert unknown.prices is None
    missing = coverage((listed, mine, unknown), ["gpt-4o-2024-05-13", "other"])
    assert missing.without_coefficient == ("mine", "unheard-of")
    assert missing.without_model == ("other",)
    assert missing.without_price == ("unheard-of",)


def test_profiles_override_the_defaults() -> None:
    settings = parse_settings(
        BASE + "routing:\n  budget_usd: 0.5\n  profiles:\n    thrifty: {budget_usd: 0.001}\n"
    )
    assert settings.routing.rules(None).budget_usd == Decimal("0.5")
    assert settings.routing.rules("thrifty").budget_usd == Decimal("0.001")
    with pytest.raises(KeyError):
        settings.routing.rules("none")


def test_without_a_file_the_environments_keys_count() -> None:
    assert is_sandbox_only(default_settings({}))
    settings = default_settings({"OPENAI_API_KEY": "x"})
    assert set(settings.providers) == {"openai"}
    assert not is_sandbox_only(settings)


def test_a_missing_key_is_named_and_its_value_never_shown() -> None:
    settings = parse_settings(
        "providers:\n  p: {base_url: 'http://127.0.0.1:1/v1', api_key_env: MY_KEY}\n"
        "models:\n  a: {provider: p}\n"
    )
    with pytest.raises(ConfigError, match="MY_KEY"):
        build_upstreams(settings, build_catalogue(settings), {})
    with pytest.raises(ConfigError) as error:
        build_upstreams(settings, build_catalogue(settings), {"MY_KEY": "se\ncret"})
    assert "secret" not in str(error.value).replace("\n", "")


@pytest.mark.parametrize("name", ["config.example.yaml", "config.sandbox.yaml"])
def test_the_examples_are_valid(name: str) -> None:
    assert settings_from(str(ROOT / "deploy" / name)).models


def test_what_the_example_shows_in_comments_is_valid_too() -> None:
    text = (ROOT / "deploy" / "config.example.yaml").read_text()
    settings = parse_settings(re.sub(r"^#(?=  )", "", text, flags=re.MULTILINE))
    routing = settings.routing
    assert routing.usd_per_win == Decimal("0.02")
    assert [window.per for window in routing.window_budgets] == ["global", "key"]
    assert routing.rules("thrifty").objective is Objective.P_GOOD
    assert routing.rules("thrifty").budget_usd == Decimal("0.005")
    assert routing.rules("good-enough").constraints is not None
    quick = routing.rules("quick").constraints
    assert quick is not None
    assert quick.rows({}).budgets[0].amount_usd == Decimal("0.001")
    assert [key.usd_per_win for key in settings.auth.keys] == [None, None, Decimal("0.001")]


EVERY_KEY = """
providers:
  main: {kind: openai, base_url: "http://127.0.0.1:9000/v1", api_key_env: MAIN_API_KEY,
         connect_timeout_s: 2, first_byte_timeout_s: 30, idle_timeout_s: 60, max_concurrency: 256}
  claude: {kind: anthropic, api_key_env: ANTHROPIC_API_KEY}
models:
  gpt-4o-2024-05-13:
    provider: main
    upstream_model: gpt-4o-2024-05-13
    leaderboard_name: gpt-4o-2024-05-13
    input_usd_per_mtok: 5
    output_usd_per_mtok: 15
    cached_input_usd_per_mtok: 2.5
    context_window: 128000
    max_output_tokens: 4096
    capabilities: [tools, vision, json_schema]
    expected_output_tokens: 300
routing:
  budget_usd: null
  budget_mode: expected
  opponents: uniform
  usd_per_win: null
  profiles: {}
  fallbacks: 2
  window_budgets: []
scorer: {checkpoint: bundled, engine: auto, on_failure: marginal}
auth: {keys: []}
storage: {url: "sqlite:///p2l-router.db"}
redis: {url: null}
limits: {max_body_bytes: 20000000, max_concurrency: 1000}
telemetry: {otlp_endpoint: null}
"""


def test_every_key_of_the_contract_is_read() -> None:
    settings = parse_settings(EVERY_KEY)
    (card,) = build_catalogue(settings)
    assert card.max_output_tokens == 4096
    assert list(build_upstreams(settings, (card,), {"MAIN_API_KEY": "k"})) == ["main"]


def test_native_dialects_are_served_and_their_addresses_name_hosts() -> None:
    settings = parse_settings(EVERY_KEY.replace("provider: main", "provider: claude"))
    environ = {"ANTHROPIC_API_KEY": "k"}
    (upstream,) = build_upstreams(settings, build_catalogue(settings), environ).values()
    assert repr(upstream) == "AnthropicUpstream('claude')"
    with pytest.raises(ConfigError, match=r"must end before the \? or #"):
        parse_settings('providers: {a: {kind: gemini, base_url: "https://host/v1?key=k"}}')
    with pytest.raises(ConfigError, match="profile applies only to kind openai"):
        parse_settings("providers: {a: {kind: anthropic, profile: groq}}")


def test_a_secret_may_be_in_a_file_that_its_variable_names(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-the-file\n")
    environ = {"A_KEY_FILE": str(tmp_path / "key")}
    assert variable("A_KEY", environ) == "from-the-file"
    assert variable("A_KEY", environ | {"A_KEY": "its own"}) == "its own"
    assert variable("B_KEY", environ) == ""
    with pytest.raises(ConfigError, match=r"A_KEY_FILE: .*nowhere cannot be read"):
        variable("A_KEY", {"A_KEY_FILE": str(tmp_path / "nowhere")})


def test_the_databases_password_may_be_apart_from_its_url(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3:cr/et")
    storage = StorageSettings(url="postgresql://p2l@host/p2l", password_env="PW")
    database = database_of(storage, {"PW_FILE": str(tmp_path / "password")})
    assert database.url.password == "s3:cr/et"
    assert "s3" not in database.shown
    with pytest.raises(ConfigError, match="PW is not set"):
        database_of(storage, {})


@pytest.mark.parametrize(
    ("scorer", "routing", "said"),
    [
        ("fixed: {a: 1}", "objective: p_good", "routing.objective: p_good needs"),
        (
            "fixed: {a: 1}",
            "profiles: {exam: {objective: expected_score}}",
            "routing.profiles.exam.objective: expected_score needs",
        ),
        ("checkpoint: bundled", "objective: expected_score", "predicts none for a:"),
        ("fixed: {a: 1}", "objective: win_rate", None),
        ("checkpoint: bundled", "profiles: {grounded: {objective: p_good}}", None),
        # nobody can be asked: requests will tell
        ('url: "http://127.0.0.1:9"', "objective: expected_score", None),
    ],
)
def test_an_objective_that_the_scorer_cannot_serve_is_refused_at_start(
    scorer: str, routing: str, said: str | None
) -> None:
    settings = parse_settings(f"{BASE}scorer: {{{scorer}}}\nrouting: {{{routing}}}\n")
    if said is None:
        check_objectives(settings, build_catalogue(settings), {})
        return
    with pytest.raises(ConfigError, match=re.escape(said)):
        check_objectives(settings, build_catalogue(settings), {})


@pytest.mark.parametrize("amount", ["{budget_usd: 0,002}", "\n  budget_usd: 0,002"])
def test_an_amount_with_a_comma_is_recognised(amount: str) -> None:
    with pytest.raises(ConfigError, match=r"a point, such as 0\.002"):
        parse_settings(f"routing: {amount}")
