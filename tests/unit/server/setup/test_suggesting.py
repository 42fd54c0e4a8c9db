"""What is suggested follows from what the models found cost on a usual request."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from router.pacing import PacingPlan, combined_usd_per_win, shadow_price, start
from server.config.file import parse_settings
from server.model_facts.book import bundled_book
from server.setup.configuration import Choices, configuration
from server.setup.found import Found, FoundModel, find
from server.setup.providers import candidates
from server.setup.suggesting import Suggestion, rule_for, suggest
from server.setup.trying import Tried

TODAY = date(2026, 11, 30)
KEYS = {"OPENAI_API_KEY": "sk-one", "ANTHROPIC_API_KEY": "sk-two", "FAR_API_KEY": "sk-three"}


def found(*tried: Tried) -> Found:
    return find(tried, bundled_book(), TODAY)


def openai(*names: str) -> Tried:
    (candidate,) = candidates(["openai"], KEYS)
    return Tried(candidate, offered=list(names))


@pytest.fixture(scope="module")
def two() -> tuple[FoundModel, ...]:
    return found(openai("gpt-5.6-sol", "gpt-6-luna", "text-embedding-3-large")).models


def test_the_best_within_a_third_of_the_cost_is_suggested(two: tuple[FoundModel, ...]) -> None:
    suggested = suggest(two)
    assert suggested is not None
    assert suggested.best.model == "gpt-5.6-sol"
    balanced = suggested.balanced
    assert balanced is not None
    assert balanced.model == "gpt-6-luna"
    assert balanced.cost_usd <= suggested.best.cost_usd * Decimal("0.34")
    assert balanced.usd_per_win is not None
    higher = rule_for(two, balanced.usd_per_win * Decimal("2.5"))
    assert higher is not None
    assert higher.model == "gpt-5.6-sol"
    assert suggested.thrifty is None, "it would choose the same model"


def test_a_day_has_room_for_a_thousand_usual_requests(two: tuple[FoundModel, ...]) -> None:
    dear = [model for model in two if model.card.name == "gpt-5.6-sol"]
    suggested = suggest(dear)
    assert suggested is not None
    thousand = suggested.best.cost_usd * 1000
    assert thousand <= suggested.daily_usd < thousand * Decimal("2.5")


def test_a_days_budget_does_not_begin_by_lowering_the_worth(two: tuple[FoundModel, ...]) -> None:
    """By router.pacing: a new window's own worth of a win is a hundredth of its budget."""
    suggested = suggest(two)
    assert suggested is not None
    assert suggested.balanced is not None
    worth = suggested.balanced.usd_per_win
    plan = PacingPlan(amount_usd=float(suggested.daily_usd), window_s=86_400.0)
    combined = combined_usd_per_win(worth, [shadow_price(plan, start(0.0))])
    assert worth is not None
    assert combined is not None
    assert combined >= worth * Decimal("0.75")


def test_one_model_or_free_ones_leave_nothing_to_weigh(two: tuple[FoundModel, ...]) -> None:
    free = [replace(model, usual_usd=Decimal(0)) for model in two]
    for models in (two[:1], free):
        suggested = suggest(models)
        assert suggested is not None
        assert suggested.balanced is None
        assert suggested.thrifty is None
    unpriced = [replace(model, usual_usd=None) for model in two]
    assert suggest(unpriced) is None
    assert rule_for(unpriced, None) is None


def test_a_vendors_list_is_followed() -> None:
    one = found(openai("gpt-5.6-sol", "gpt-6-luna", "text-embedding-3-large"))
    assert one.explicit == {}
    assert {model.card.name for model in one.models} == {"gpt-5.6-sol", "gpt-6-luna"}
    assert one.settings.providers["openai"].models == "auto"


@pytest.mark.slow
def test_a_price_is_guessed_only_for_ones_own_server() -> None:
    (far,) = candidates(["far=https://models.example.com/v1"], KEYS)
    (near,) = candidates(["near=http://127.0.0.1:9999/v1"], KEYS)
    assert far.variable == "FAR_API_KEY"
    assert near.variable is None
    listed = ["gpt-6-luna", "our-own-model", "bge-m3"]
    one = found(Tried(far, offered=listed))
    assert list(one.explicit) == ["gpt-6-luna"]
    assert one.left_out == {"far": ["our-own-model"]}
    two = found(Tried(near, offered=listed))
    assert list(two.explicit) == ["gpt-6-luna", "our-own-model"]
    assert two.explicit["our-own-model"].input_usd_per_mtok == 0
    assert two.explicit["gpt-6-luna"].input_usd_per_mtok is None, "its list price holds"


def test_the_same_name_at_two_servers_is_two_models() -> None:
    tried = [
        Tried(one, offered=["gpt-6-luna"])
        for one in candidates(["a=http://127.0.0.1:1/v1", "b=http://127.0.0.1:2/v1"], KEYS)
    ]
    assert {n: m.upstream_model for n, m in found(*tried).explicit.items()} == {
        "gpt-6-luna": None, "b/gpt-6-luna": "gpt-6-luna"
    }  # fmt: skip


@pytest.mark.parametrize("value", [None, Decimal("0.02")])
@pytest.mark.parametrize("name", ["gpt-6-luna", 'it\'s: "odd" #1', "no", "123", "- x"])
def test_whatever_a_model_is_called_the_file_can_be_read(name: str, value: Decimal | None) -> None:
    (near,) = candidates(["near=http://127.0.0.1:9999/v1"], KEYS)
    (claude,) = candidates(["anthropic"], KEYS)
    tried = [Tried(near, offered=[name]), Tried(claude, problem="line one\n  evil: true")]
    models = found(*tried)
    suggestion: Suggestion | None = suggest(models.models)
    rule = rule_for(models.models, value)
    choices = Choices(rule=rule, usd_per_win=value, request_usd=value, daily_usd=value)
    text = configuration("x.yaml", tried, models, suggestion, choices, TODAY)
    settings = parse_settings(text)
    assert list(settings.models) == [name]
    assert list(settings.providers) == ["near"]
    assert settings.routing.usd_per_win == value
    assert settings.routing.budget_usd == value
    assert [w.amount_usd for w in settings.routing.window_budgets] == ([value] if value else [])
