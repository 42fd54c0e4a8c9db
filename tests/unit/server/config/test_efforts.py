"""Efforts as columns in the configuration: what is wrong with them is told by field and fix."""

from __future__ import annotations

import pytest

from server.catalogue.cards import build_catalogue
from server.config.efforts import efforts_taken
from server.config.file import ConfigError, parse_settings
from server.config.settings import Settings
from server.model_facts import EFFORTS, facts_of

HEAD = """
providers: {o: {base_url: "https://api.openai.com/v1", api_key_env: K}}
models:
"""


def settings(models: str, more: str = "") -> Settings:
    return parse_settings(HEAD + models + "\n" + more)


@pytest.mark.parametrize(
    ("efforts", "said"),
    [
        ("[]", "is empty: name at least one effort, or leave efforts out"),
        ("[low, high, low]", "names low twice: name each effort once"),
        ("[huge]", "models.gpt-6-luna.efforts.0: Input should be 'none', 'minimal'"),
        ("low", "models.gpt-6-luna.efforts: Input should be a valid list"),
    ],
)
def test_a_list_that_is_none_is_an_error(efforts: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^configuration:4: models\.gpt-6-luna\.efforts") as told:
        settings(f"  gpt-6-luna: {{provider: o, efforts: {efforts}}}")
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("model", "efforts", "said"),
    [
        ("gpt-6.1-sol", "[none, low]", "does not take none: use some of low, medium, high, xhigh"),
        ("gpt-5.2", "[minimal, max]", "does not take minimal, max: use some of none, low, medium"),
        ("gpt-4o", "[low]", "gpt-4o never thinks and takes no effort: leave efforts out"),
        ("grok-4", "[low]", "grok-4 cannot be asked for an effort: leave efforts out"),
    ],
)
def test_an_effort_that_the_model_does_not_take_is_an_error(
    model: str, efforts: str, said: str
) -> None:
    found = settings(f"  {model}: {{provider: o, efforts: {efforts}}}")
    with pytest.raises(ConfigError) as told:
        build_catalogue(found)
    assert str(told.value).startswith(f"models.{model}.efforts: ")
    assert said in str(told.value)


def test_the_configuration_may_know_better() -> None:
    found = settings(
        "  gpt-4o: {provider: o, efforts: [low], facts: {thinking: {use: always, efforts: [low]}}}"
    )
    assert [card.name for card in build_catalogue(found)] == ["gpt-4o:low"]


@pytest.mark.parametrize(
    ("model", "efforts"),
    [
        ("gpt-5.2", ("none", "low", "medium", "high", "xhigh")),
        ("gpt-4o", ()),
        ("claude-opus-5-5", ("low", "medium", "high", "xhigh", "max")),
        ("claude-haiku-5-5", ("none", "low", "medium", "high", "xhigh", "max")),
        ("claude-haiku-4-5", EFFORTS),
        ("gemini-2.5-pro", EFFORTS[1:]),
        ("gemini-2.5-flash", EFFORTS),
        ("deepseek-v4-pro", ("none", "low", "high", "max")),
        ("glm-4.7", ("none",)),
        ("qwen3.8-max", EFFORTS),
        ("a-model-of-nobody", EFFORTS),
    ],
)
def test_the_efforts_of_a_model_are_those_of_the_facts(
    model: str, efforts: tuple[str, ...]
) -> None:
    assert efforts_taken(facts_of(model)) == efforts


def test_columns_share_all_but_the_effort() -> None:
    found = settings(
        "  m: {provider: o, upstream_model: gpt-6-luna, leaderboard_name: l, efforts: [high, none]}"
    )
    low, high = build_catalogue(found)
    assert [(card.name, card.effort, card.base) for card in (low, high)] == [
        ("m:none", "none", "m"), ("m:high", "high", "m"),
    ]  # fmt: skip
    assert low.prices == high.prices is not None
    assert {card.leaderboard_name for card in (low, high)} == {"l"}
    assert {card.upstream_model for card in (low, high)} == {"gpt-6-luna"}


def test_a_model_of_its_own_takes_the_name_of_a_column() -> None:
    found = settings(
        '  gpt-6-luna: {provider: o, efforts: [low, high]}\n  "gpt-6-luna:low": {provider: o}'
    )
    cards = {card.name: card for card in build_catalogue(found)}
    assert cards.keys() == {"gpt-6-luna:high", "gpt-6-luna:low"}
    assert cards["gpt-6-luna:low"].effort is None
    only = settings(
        '  gpt-6-luna: {provider: o, efforts: [low]}\n  "gpt-6-luna:low": {provider: o}'
    )
    assert [card.name for card in build_catalogue(only)] == ["gpt-6-luna", "gpt-6-luna:low"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('aliases: {fast: "gpt-6-luna:low"}', None),
        ('aliases: {fast: "gpt-6-luna:max"}', "aliases.fast: there is no model"),
        ('aliases: {"gpt-6-luna:low": gpt-6-luna}', "is the name of a model or profile itself"),
        ('routing: {models: ["gpt-6-luna:low"]}', None),
        ("routing: {models: [gpt-6-luna]}", None),
        ('routing: {profiles: {p: {models: ["gpt-6-luna:no"]}}}', "routing.profiles.p.models"),
        ('auth: {keys: [{name: a, key_env: K, models: ["gpt-6-luna:high"]}]}', None),
        ("routing: {effort: maybe}", "routing.effort: Input should be 'caller' or 'route'"),
    ],
)
def test_lists_and_aliases_know_columns(more: str, said: str | None) -> None:
    models = "  gpt-6-luna: {provider: o, efforts: [low, high]}"
    if said is None:
        assert settings(models, more).model_names == {
            "gpt-6-luna", "gpt-6-luna:low", "gpt-6-luna:high",
        }  # fmt: skip
        return
    with pytest.raises(ConfigError) as told:
        settings(models, more)
    assert said in str(told.value)
