"""Whatever a provider lists as its models, the names that can be read are read."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from odd_values import ODD, changed, places

from server.catalogue.provider_lists import _further, _names

TODAY = date(2026, 11, 30)
PAGES: tuple[dict[str, Any], ...] = (
    {"object": "list", "data": [{"id": "a", "created": 1, "deprecation": "2020-01-01"},
                                {"id": "b", "shutdown_date": 4_000_000_000}]},
    {"data": [{"id": "b", "type": "model"}], "has_more": True, "last_id": "b"},
    {"models": [{"name": "models/b", "supportedGenerationMethods": ["generateContent"]}],
     "nextPageToken": "t"},
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=["OpenAI", "Anthropic", "Gemini"])
def test_an_odd_value_in_a_list_of_models_is_left_out(page: dict[str, Any]) -> None:
    assert "b" in _names(page, TODAY)
    for path in places(page):
        for odd in ODD:
            found = changed(page, path, odd)
            names = _names(found, TODAY)
            assert all(isinstance(name, str) and name for name in names), (path, odd)
            further = _further(found)
            assert all(isinstance(value, str) for value in further.values()), (path, odd)
