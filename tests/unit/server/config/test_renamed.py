"""Keys with a new name are still read by the old one, with a warning."""

from __future__ import annotations

import logging

import pytest

from server.config.file import ConfigError, parse_settings
from server.config.renamed import RENAMED
from server.config.settings import Settings
from server.config.settings.reference import reference

PROVIDERS = "providers: {personalise: {kind: sandbox}}"
CASES = [(section, old, new) for section, names in RENAMED.items() for old, new in names.items()]


@pytest.mark.parametrize(("section", "old", "new"), CASES)
def test_the_new_name_is_documented_and_the_old_one_is_not(
    section: tuple[str, ...], old: str, new: str
) -> None:
    assert f"| `{new}` |" in reference()
    assert f"| `{old}` |" not in reference()


def test_the_old_name_works_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        old = parse_settings("routing:\n  personalise: {min_votes: 7}\n", "f")
    (said,) = caplog.messages
    assert said.startswith("f: routing.personalise is now called routing.tastes;")
    assert old == parse_settings("routing:\n  tastes: {min_votes: 7}\n")
    assert old.routing.tastes is not None
    assert old.routing.tastes.min_votes == 7


def test_both_names_are_an_error() -> None:
    text = "routing:\n  tastes: true\n  personalise: true\n"
    with pytest.raises(ConfigError) as error:
        parse_settings(text, "f")
    assert str(error.value).startswith("f:3: routing.personalise is the old name of routing.tastes")


@pytest.mark.parametrize("text", ["{}", "routing: {}", "models: {m: {provider: personalise}}"])
def test_nothing_else_is_taken_for_an_old_name(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(parse_settings(text + "\n" + PROVIDERS if "m:" in text else text), Settings)
    assert not caplog.messages


def test_an_old_name_in_another_section_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"scorer\.personalise: unknown key"):
        parse_settings("scorer: {personalise: true}")
