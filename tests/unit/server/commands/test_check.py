"""`check` tells the truth: what the first request would fail by is NOT READY, with the fix."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from model_lists import listing
from services import free_port

from server.catalogue.cards import build_catalogue
from server.cli import main
from server.config.file import parse_settings
from server.model_facts import bundled_book
from server.readiness import Readiness, readiness

PRICED = "input_usd_per_mtok: 1, output_usd_per_mtok: 2"
TODAY = """
providers:
  openai: {base_url: "https://api.openai.com/v1", api_key_env: THE_KEY}
  anthropic: {kind: anthropic, api_key_env: THE_KEY}
  gemini: {kind: gemini, api_key_env: THE_KEY}
  xai: {base_url: "https://api.x.ai/v1", api_key_env: THE_KEY}
  deepseek: {base_url: "https://api.deepseek.com", api_key_env: THE_KEY}
  moonshot: {base_url: "https://api.moonshot.ai/v1", api_key_env: THE_KEY}
  mistral: {base_url: "https://api.mistral.ai/v1", api_key_env: THE_KEY}
  zai: {base_url: "https://api.z.ai/api/paas/v4", api_key_env: THE_KEY}
  alibaba:
    base_url: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
    api_key_env: THE_KEY
models:
  gpt-6.1-sol: {provider: openai}
  gpt-6-luna: {provider: openai}
  gpt-5.6-terra: {provider: openai}
  claude-opus-5-5: {provider: anthropic}
  claude-sonnet-5-5: {provider: anthropic}
  claude-haiku-5-5: {provider: anthropic}
  gemini-3.8-flash: {provider: gemini}
  gemini-3.1-pro-preview: {provider: gemini}
  grok-4.7: {provider: xai}
  deepseek-v4-pro: {provider: deepseek}
  deepseek-v4-flash: {provider: deepseek}
  kimi-k3.1-pro: {provider: moonshot}
  mistral-large-4: {provider: mistral}
  glm-5.3: {provider: zai}
  qwen3.8-max: {provider: alibaba}
"""

Checked = Callable[..., tuple[int, Any, list[str]]]


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Checked:
    """The exit status, the report, and the lines of the text."""

    def checked(text: str, *flags: str) -> tuple[int, Any, list[str]]:
        path = tmp_path / "config.yaml"
        path.write_text(text + f"\nstorage: {{url: 'sqlite:///{tmp_path}/ledger.db'}}\n")
        arguments = ["check", "--config", str(path), *flags]
        status = main([*arguments, "--json"])
        report = json.loads(capsys.readouterr().out)
        assert main(arguments) == status
        lines = capsys.readouterr().out.splitlines()
        assert report["ok"] is (status == 0)
        assert (lines[-1] == "ok") is (status == 0)
        assert lines[-1].startswith("NOT READY: ") is (status == 1)
        assert all(problem in lines[-1] for problem in report["problems"])
        return status, report, lines

    return checked


def config(
    provider: str = 'base_url: "http://127.0.0.1:9/v1"',
    model: str = PRICED,
    more: str = "",
    name: str = "m",
) -> str:
    return f"""
providers: {{p: {{{provider}}}}}
models: {{{name}: {{provider: p, {model}}}}}
scorer: {{fixed: {{m: 1, other: 0}}}}
{more}
"""


def test_every_model_of_today_is_routed(check: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "k")
    status, report, lines = check(TODAY)
    assert status == 0
    assert len(report["models"]) == 15
    assert all(row["routed"] is True for row in report["models"])
    places = {row["model"]: row["place"] for row in report["models"]}
    own = {name for name, place in places.items() if place["rests_on"] == "own"}
    assert {"gpt-5.6-terra", "gemini-3.1-pro-preview"} <= own
    assert {"gpt-6-luna", "mistral-large-4"}.isdisjoint(own)
    assert all((place["sd"] > 0) == (name not in own) for name, place in places.items())
    (luna,) = (row for row in report["models"] if row["model"] == "gpt-6-luna")
    assert luna["place"]["column"] == "gpt-5.6-luna"
    assert "no published result; family gpt" in luna["place"]["basis"]
    (line,) = (one for one in lines if one.startswith("gpt-6-luna is placed"))
    assert "by public facts, give or take" in line
    assert report["facts"] == {"as_of": str(bundled_book().as_of), "from": "bundled"}


def test_a_key_that_is_missing(check: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THE_KEY", raising=False)
    status, report, _ = check(TODAY + "auth: {keys: [{name: me, key_env: MINE}]}")
    assert status == 1
    assert report["keys"] == {"THE_KEY": "missing", "MINE": "missing"}
    assert "the variable THE_KEY is not set" in report["problems"][0]
    assert "the variable MINE is not set" in report["problems"][-1]


def test_a_key_in_a_file_that_is_not_there(check: Checked, tmp_path: Path) -> None:
    file = tmp_path / "key"
    text = config(provider=f'base_url: "https://h.example/v1", api_key_file: {file}')
    status, report, _ = check(text)
    assert status == 1
    assert "providers.p.api_key_file" in report["problems"][0]
    file.write_text("k")
    assert check(text)[0] == 0


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ('base_url: "https://h.example"', "write https://h.example/v1"),
        ('base_url: "https://h.example/"', "write https://h.example/v1"),
        ('base_url: "https://h.example/v1/v1"', "write https://h.example/v1"),
        ('base_url: "https://h.example/v1/chat/completions"', "write https://h.example/v1"),
        ('kind: gemini, base_url: "https://h.example/v1beta/v1beta"', "https://h.example/v1beta"),
        ('base_url: "https://h.example/v1"', None),
        ('base_url: "https://h.example/api/paas/v4"', None),
        ('base_url: "https://h.example", profile: generic', None),
        ('base_url: "https://api.deepseek.com"', None),
        ('base_url: "https://api.perplexity.ai"', None),
        ('kind: anthropic, base_url: "https://h.example"', None),
        ("kind: sandbox", None),
    ],
)
def test_an_address_that_is_surely_wrong(check: Checked, provider: str, said: str | None) -> None:
    status, report, _ = check(config(provider))
    assert status == (0 if said is None else 1)
    assert len(report["problems"]) == (0 if said is None else 1)
    if said is not None:
        (problem,) = report["problems"]
        assert problem.startswith("providers.p.base_url: ")
        assert problem.split(", or ")[0].endswith(said)


BOUNDS = [
    "routing: {budget_usd: 0.01}",
    "routing: {usd_per_win: 0.01}",
    "routing: {profiles: {x: {budget_usd: 0.01}}}",
    "routing: {profiles: {x: {usd_per_win: 0.01}}}",
    "routing: {window_budgets: [{amount_usd: 1, window_s: 60}]}",
    f"auth: {{keys: [{{name: me, key_sha256: {'a' * 64}, budget_usd: 1}}]}}",
    f"auth: {{keys: [{{name: me, key_sha256: {'a' * 64}, max_request_usd: 1}}]}}",
]


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_model_without_a_price_where_cost_is_bounded(check: Checked, bound: str) -> None:
    two = f"p}}, dear: {{provider: p, {PRICED}"
    text = config(model="upstream_model: nobodys").replace("provider: p, up", "provider: p, up")
    text = text.replace("upstream_model: nobodys", f"upstream_model: nobodys}}, {two[4:]}")
    status, report, lines = check(text)
    assert status == 0
    assert report["warnings"][0].startswith("models.m: its price is unknown")
    assert f"warning: {report['warnings'][0]}" in lines
    status, report, _ = check(text + bound)
    assert status == 1
    assert report["problems"][0].startswith("models.m: its price is unknown")
    assert "set models.m.input_usd_per_mtok" in report["problems"][0]
    allowed = "routing: {budget_usd: 0.01, models: [dear]}"
    assert check(text + allowed)[0] == 0


def test_no_model_has_a_price(check: Checked) -> None:
    status, report, _ = check(config(model="upstream_model: nobodys"))
    assert status == 1
    assert "no model has a price" in report["problems"][0]


def test_constraints_need_their_extra(check: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    text = config(more="routing: {profiles: {x: {constraints: {max_latency_s: 1}}}}")
    assert check(text)[0] == 0
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "server.readiness.extras.find_spec", lambda name: None if name == "cvxpy" else found(name)
    )
    status, report, _ = check(text)
    assert status == 1
    assert report["problems"] == [
        "routing.profiles.x.constraints needs the package cvxpy: pip install '.[lp]' in the source "
        "folder of p2l-router (docs/install.md), or leave routing.profiles.x.constraints out"
    ]


def test_what_refuses_a_connection(check: Checked) -> None:
    port = free_port()
    text = config(f'base_url: "http://127.0.0.1:{port}/v1"')
    assert check(text)[0] == 0
    status, report, _ = check(text, "--connect")
    assert status == 1
    assert f"127.0.0.1:{port} cannot be reached" in report["problems"][0]


def test_a_retired_model_alone(check: Checked) -> None:
    vendor = 'base_url: "https://api.openai.com/v1"'
    text = config(vendor, f"{PRICED}, upstream_model: gpt-4-turbo, facts: {{retirement: "
                  "{day: 2020-01-01, successor: gpt-6.1-sol}}")  # fmt: skip
    status, report, lines = check(text)
    assert status == 1
    assert report["models"][0]["routed"] is False
    assert "no model can be routed" in report["problems"][0]
    assert "its successor is gpt-6.1-sol" in report["problems"][0]
    assert lines[1].split("  ")[-1].startswith("no: retired on 2020-01-01")
    assert check(text.replace("facts:", "retired: allow, facts:"))[0] == 0


def test_a_profile_whose_models_are_all_retired(check: Checked) -> None:
    old = f"old: {{provider: p, {PRICED}, facts: {{retirement: {{day: 2020-01-01}}}}}}, m: "
    profile = "routing: {profiles: {x: {models: [old]}}}"
    text = config(more=profile).replace("{m: {provider", f"{{{old}{{provider")
    status, report, _ = check(text)
    assert status == 1
    assert report["problems"][0].startswith("routing.profiles.x.models: none of its models")


def ahead(text: str, today: date) -> Readiness:
    settings = parse_settings(text)
    return readiness(settings, build_catalogue(settings), ["m"], today)


def test_an_end_is_told_sixty_days_ahead_with_the_successor() -> None:
    name, on = "gpt-4o", date(2027, 1, 14)
    vendor = config('base_url: "https://api.openai.com/v1"', name=name)
    assert bundled_book().facts_of(name, "openai").retirement is not None
    assert ahead(vendor, date(2026, 11, 14)).warnings == ()
    (warning,) = ahead(vendor, date(2026, 11, 15)).warnings
    assert warning.startswith(f"models.{name}: it is retired on {on}, in 60 days: ")
    assert "its successor, gpt-6-luna" in warning
    reseller = config('base_url: "https://my.host/v1"', name=name)
    (warning,) = ahead(reseller, date(2026, 11, 15)).warnings
    assert warning.startswith(f"models.{name}: its vendor ends it on {on}")
    assert "the provider p may do the same" in warning
    assert ahead(reseller, date(2028, 1, 1)).problems == ()


def test_a_mistyped_leaderboard_name_gets_a_hint(check: Checked) -> None:
    status, report, _ = check(config(model=f"{PRICED}, leaderboard_name: othr"))
    assert status == 0
    assert report["warnings"] == [
        "models.m.leaderboard_name: the leaderboard has no othr: did you mean other?"
    ]


def test_a_server_of_ones_own_without_a_model(check: Checked) -> None:
    answers: dict[str, tuple[int, Any]] = {"/v1/models": (200, {"data": []})}
    with listing(answers) as server:
        text = (
            f'providers: {{o: {{base_url: "{server.url}/v1", profile: ollama, models: auto}}}}\n'
            "scorer: {fixed: {m: 1}}"
        )
        status, report, _ = check(text)
        assert status == 1
        assert "the list of" in report["problems"][0]
        assert "ollama pull" in report["problems"][0]
        answers["/v1/models"] = 200, {"data": [{"id": "llama3.3:70b"}]}
        status, report, lines = check(text)
        assert status == 0
        assert report["models"][0]["from"] == "models: auto"
        assert "found by models: auto: llama3.3:70b" in lines
    nobody = text.replace(server.url, f"http://127.0.0.1:{free_port()}")
    status, report, _ = check(nobody)
    assert status == 1
    assert "its list of models cannot be read" in report["problems"][0]


def test_a_bad_file_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("nonsense: 1")
    assert main(["check", "--config", str(path)]) == 2
    assert capsys.readouterr().out == ""


def test_columns_and_what_they_rest_on(check: Checked) -> None:
    text = """
providers: {p: {base_url: "http://127.0.0.1:9/v1"}}
models:
  gpt-5: {provider: p, efforts: [high, low], input_usd_per_mtok: 1, output_usd_per_mtok: 2}
  "gpt-5:low": {provider: p, upstream_model: x, input_usd_per_mtok: 1, output_usd_per_mtok: 2}
  gpt-5.2: {provider: p, efforts: [none, high], input_usd_per_mtok: 1, output_usd_per_mtok: 2}
  gpt-5.4: {provider: p, efforts: [low], input_usd_per_mtok: 1, output_usd_per_mtok: 2}
scorer: {fixed: {gpt-5: 1, gpt-5.2: 1, gpt-5.2-high: 3, other: 0}}
routing: {models: [gpt-5, "gpt-5.2:none"], budget_usd: 1}
"""
    status, report, lines = check(text)
    assert status == 0
    assert [row["model"] for row in report["models"]] == [
        "gpt-5:high", "gpt-5:low", "gpt-5.2:none", "gpt-5.2:high", "gpt-5.4:low",
    ]  # fmt: skip
    assert {row["from"] for row in report["models"]} == {"configuration"}
    assert "gpt-5:high has the leaderboard's own column gpt-5, +0.14 for its effort" in lines
    assert "gpt-5.2:none has the leaderboard's own column gpt-5.2" in lines
    assert "gpt-5.2:high has the leaderboard's own column gpt-5.2-high" in lines
    (placed,) = (line for line in lines if line.startswith("gpt-5.4:low is placed"))
    assert "by public facts, give or take" in placed
    assert "published result" in placed
    assert report["without_coefficient"] == [
        {"model": "gpt-5:low", "hint": None}, {"model": "gpt-5.4", "hint": None},
    ]  # fmt: skip
    (warning,) = (one for one in report["warnings"] if ".efforts" in one)
    assert warning.startswith("models.gpt-5.efforts: gpt-5:low is a model of its own")
    assert "give that model another name" in warning


def test_an_effort_that_a_model_does_not_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config(model="efforts: [low]", name="gpt-4o"))
    assert main(["check", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert "models.gpt-4o.efforts: gpt-4o never thinks and takes no effort" in said


def test_a_model_with_columns_is_one_model_without_a_price(check: Checked) -> None:
    text = config(model="efforts: [low, high]", more='routing: {models: ["m:low"], usd_per_win: 1}')
    status, report, _ = check(text)
    assert status == 1
    assert report["without_price"] == ["m"]
    (problem,) = report["problems"]
    assert "set models.m.input_usd_per_mtok and models.m.output_usd_per_mtok" in problem
    status, report, _ = check(
        text.replace("models: {m:", f"models: {{b: {{provider: p, {PRICED}}}, m:")
    )
    assert status == 1
    assert "models.m: its price is unknown" in report["problems"][0]
    assert "routing.usd_per_win" in report["problems"][0]
    assert len(report["problems"]) == 1
