"""Keys that have moved are still read by the old names, with a warning."""

from __future__ import annotations

import logging

import pytest

from server.config.file import ConfigError, parse_settings
from server.config.renamed import MOVED
from server.config.settings import Settings
from server.config.settings.reference import reference

PROVIDERS = "providers: {personalise: {kind: sandbox}}"
CASES = [
    (".".join((*section, old)), new)
    for section, names in MOVED.items()
    for old, new in names.items()
]
SECTIONS = ["tastes", "personalise"]


@pytest.mark.parametrize(("old", "new"), CASES)
def test_the_new_name_is_documented_and_the_old_section_is_not(
    old: str, new: tuple[str, ...]
) -> None:
    assert f"| `{new[-1]}` |" in reference()
    assert f"## `{'.'.join(new[:-1])}`" in reference()
    assert old.rsplit(".", 1)[0] not in reference()


@pytest.mark.parametrize("name", SECTIONS)
def test_old_keys_work_and_each_warns(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        old = parse_settings(
            "learning: {share: 0.1}\n"
            f"routing:\n  {name}: {{min_votes: 7, keys: [a], every_s: 5}}\n",
            "f",
        )
    assert [said.split(";")[0] for said in caplog.messages] == [
        f"f: routing.{name}.min_votes is now learning.min_own_answers",
        f"f: routing.{name}.every_s is now learning.every_s",
        f"f: routing.{name}.keys is now learning.own_layers_of",
    ]
    new = "learning: {share: 0.1, min_own_answers: 7, every_s: 5, own_layers_of: [a]}\nrouting: {}"
    assert old == parse_settings(new)
    assert parse_settings(f"routing: {{{name}: {{min_votes: 7}}}}").learning.min_own_answers == 7


@pytest.mark.parametrize("name", SECTIONS)
@pytest.mark.parametrize("value", ["true", "false", "null", "{}"])
def test_a_switch_does_nothing_and_says_so(
    name: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse_settings(f"routing: {{{name}: {value}}}", "f") == parse_settings("routing: {}")
    (said,) = caplog.messages
    assert said.startswith(f"f: routing.{name} does nothing any more")
    assert "learning.local" in said


@pytest.mark.parametrize("name", SECTIONS)
def test_both_names_are_an_error(name: str) -> None:
    text = f"learning: {{every_s: 9}}\nrouting:\n  {name}:\n    every_s: 7\n"
    with pytest.raises(ConfigError) as error:
        parse_settings(text, "f")
    was = f"routing.{name}.every_s"
    assert str(error.value).startswith(f"f:4: {was} is the old name of learning.every_s")


def test_an_unknown_key_in_an_old_section_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"routing\.tastes: unknown key"):
        parse_settings("routing: {tastes: {min_votes: 7, other: 1}}")
    with pytest.raises(ConfigError, match=r"routing\.tastes: unknown key"):
        parse_settings("routing: {tastes: always}")


@pytest.mark.parametrize("text", ["{}", "routing: {}", "models: {m: {provider: personalise}}"])
def test_nothing_else_is_taken_for_an_old_name(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(parse_settings(text + "\n" + PROVIDERS if "m:" in text else text), Settings)
    assert not caplog.messages


def test_an_old_name_in_another_section_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"scorer\.personalise: unknown key"):
        parse_settings("scorer: {personalise: true}")
