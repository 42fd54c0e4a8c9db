"""docs/configuration.md is what the configuration's models say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.config.settings import Settings
from server.config.settings.reference import reference

ROOT = Path(__file__).parents[5]


def test_it_is_current() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == reference(), "make docs writes it"


@pytest.mark.parametrize("section", Settings.model_fields)
def test_every_section_and_every_key_of_it_is_there(section: str) -> None:
    page = reference()
    field = Settings.model_fields[section].annotation
    for name in getattr(field, "model_fields", {}):
        part = page.split(f"## `{section}`\n")[1].split("\n## ")[0]
        assert re.search(rf"^\| `{name}` \|", part, re.MULTILINE), name
