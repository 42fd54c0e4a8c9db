"""What is wrong with a configuration is said with its line, its key and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from server.config.complaints import _known, _sections
from server.config.file import ConfigError, parse_settings
from server.config.settings import Settings

MODELS = """\
providers:
  main: {kind: sandbox}
models:
  m: {provider: main}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("providers:\n\tmain: {}\n", "f:2: the line begins with a tab: indent it with spaces"),
        (MODELS + "routing: {budget_mod: hard}\n", "f:5: routing.budget_mod: unknown key"),
        (MODELS + "routing: {budget_mod: hard}\n", "did you mean budget_mode?"),
        (MODELS + "routing:\n  profiles:\n    a: {fallback: 1}\n", "did you mean fallbacks?"),
        (MODELS + "modells: {}\n", "f:5: modells: unknown key"),
        (MODELS + "auth:\n  keys: [{name: a, key: sk-1}]\n", "set key_env to the name"),
        ("providers:\n  main: {kind: openai, api_key: sk-1}\n", "set api_key_env to the name"),
        (MODELS + "  gpt-4.1: {provider: other}\n", "f:5: models.gpt-4.1.provider: there is no"),
        (MODELS + "aliases:\n  a: b\n  m: m\n", "f:6: aliases.a: there is no model"),
        (MODELS + "aliases:\n  m: m\n", "f:6: aliases.m is the name of a model"),
        (MODELS + "redis: {password: x}\n", "redis.password: unknown key"),
    ],
)
def test_the_line_the_key_and_the_fix(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_settings(text, "f")
    assert said in str(error.value)
    assert "sk-1" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MODELS + "aliases: {a: \x00}\n", "f:5: the character #x0000 cannot be in a configuration"),
        (MODELS + "aliases: {a: \ud800}\n", "f:5: the character #xd800 cannot be"),
        (MODELS + "aliases: {a: 2026-02-30}\n", "f:5: day is out of range for month"),
        (MODELS + "aliases: {a: !!int x}\n", "f:5: invalid literal for int()"),
        (MODELS + "aliases: {[a]: m}\n", "f:5: a key must be a word"),
        (MODELS + "? {a: b}\n: m\n", "f:5: a key must be a word"),
        (MODELS + "aliases: !!python/name:os.system x\n", "f:5: could not determine"),
        (MODELS + "aliases: " + "{a: " * 5_000, "f: it is nested too deeply"),
    ],
)
def test_what_no_value_can_be_is_told_like_any_other_mistake(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_settings(text, "f")
    assert str(error.value).startswith(said)


@given(st.text(alphabet="{}[]:,- \n\t?*&!%\"'|>#aé0129.\x00\x85", max_size=40))
def test_any_text_is_a_configuration_or_is_told_why_it_is_none(text: str) -> None:
    with suppress(ConfigError):
        parse_settings(text)


def sections(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    for name, field in model.model_fields.items():
        for inner in _sections(field.annotation):
            yield from sections(inner, (*path, name))


def test_the_keys_of_every_section_are_known() -> None:
    places = list(sections(Settings, ()))
    assert len(places) > 20
    for place in places:
        assert _known(place), place
