from __future__ import annotations

import pytest

from p2l_model.errors import DataError
from p2l_model.placement.names import parse
from p2l_model.placement.table import (
    bundled,
    bundled_releases,
    parse_facts,
    parse_releases,
    release_of,
)


def test_the_table_has_a_source_and_a_day_for_each_result() -> None:
    facts = bundled()
    for about in facts.sources.values():
        assert about["link"].startswith("https://")
        assert about["read"] >= "2025"
    for row in facts.rows.values():
        assert set(row.results) <= set(facts.sources)
        for source, values in row.results.items():
            assert len(values) == len(facts.sources[source]["topics"])
        assert row.place[1] > 0
        assert (row.alone is None) == (not row.results)


def test_each_model_of_the_table_is_spelt_as_names_are_read() -> None:
    again = {model: parse(model).model for model, effort in bundled().rows if effort == ""}
    odd = {model for model, read in again.items() if model != read}
    assert not odd


def test_releases_have_a_source_each() -> None:
    for release in bundled_releases():
        assert release.source.startswith("https://")
    found = release_of("gemini-3.1-pro", bundled_releases())
    assert found is not None
    assert str(found.day) == "2026-02-19"
    assert release_of("nobody-knows", bundled_releases()) is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("model,date,source\na,2025-13-01,https://x\n", ":2: date"),
        ("model,date,source\na,2025-01-01,https://x\nb,2025-01-01,hearsay\n", ":3: model"),
        ("model,date,source\n,2025-01-01,https://x\n", ":2: model"),
    ],
)
def test_a_wrong_release_is_told_with_its_line(text: str, where: str) -> None:
    with pytest.raises(DataError, match=f"releases.csv{where}"):
        parse_releases(text, "releases.csv")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": [{}]}'])
def test_a_damaged_table_is_an_error_that_names_the_file(text: str) -> None:
    with pytest.raises(DataError, match=r"mine\.json"):
        parse_facts(text, "mine.json")
