"""The table of facts is made from published results, once more and alike."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from p2l_model.placement import build
from p2l_model.placement.sources import SOURCES
from p2l_model.placement.table import bundled, parse_facts

DATA = Path(os.environ.get("P2L_DATA", "../shared/data")) / "public_results" / "results.parquet"
LISTED: dict[str, Any] = {
    "rows": {
        "openai": {
            "gpt-5": {"price": {"in": "1.25", "out": "10"}, "released": "2025-08-07"},
            "gpt-free": {"price": {"in": "0", "out": "0"}},
        }
    }
}


def rows(shift: float = 0.0) -> list[dict[str, Any]]:
    """A few models in all sources; the newest are the best."""
    names = ("gpt-3.5-turbo-0125", "gpt-4-0613", "gpt-4o-2024-05-13", "gpt-5-low", "gpt-5-high",
             "claude-3-haiku-20240307", "claude-opus-4-5-20251101", "claude-opus-4.5")  # fmt: skip
    found = []
    for source in SOURCES:
        for benchmark, category in source.topics.values():
            release = "2026-01-08" if source.chained else ""
            for rank, name in enumerate(names):
                found.append(
                    {
                        "source": source.origin,
                        "snapshot_date": "2026-01-08",
                        "model": name,
                        "benchmark": benchmark + release,
                        "category": category,
                        "value": 20.0 + 10 * rank + shift * (name == "gpt-5-low"),
                    }
                )
    return [*found, {**found[0], "value": None}, {**found[0], "source": "somebody else"}]


@pytest.mark.slow
def test_a_table_is_made_and_read_again() -> None:
    text = build.make(rows(), LISTED, date(2026, 11, 30))
    facts = parse_facts(text, "made")
    assert facts.as_of == date(2026, 11, 30)
    opus = facts.rows["claude-opus-4-5", ""]
    assert opus.results["aiiq"][0] == pytest.approx(85.0)  # the mean of two spellings
    assert facts.rows["gpt-5", "high"].place[0] > facts.rows["gpt-4-0613", ""].place[0]
    assert facts.rows["gpt-5", ""].price == (1.25, 10.0)
    assert ("gpt-free", "") not in facts.rows
    assert build.make(rows(), LISTED, date(2026, 11, 30)) == text


@pytest.mark.slow
def test_the_difference_to_the_table_before_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prices, out = tmp_path / "prices.json", tmp_path / "facts.json"
    prices.write_text(json.dumps(LISTED), encoding="utf-8")
    arguments = ["--results", "unread.parquet", "--prices", str(prices), "--as-of", "2026-11-30",
                 "--out", str(out)]  # fmt: skip
    monkeypatch.setattr(build, "read_results", lambda path: rows())
    assert build.main(arguments) == 0
    assert "columns" in capsys.readouterr().out
    monkeypatch.setattr(build, "read_results", lambda path: rows(shift=-40.0))
    assert build.main(arguments) == 0
    assert "gpt-5:low" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason="the data folder is not here")
def test_the_shipped_results_are_those_of_the_sources() -> None:
    kept = build.kept_results(build.read_results(DATA))
    facts = bundled()
    for source, topics in kept.items():
        names = facts.sources[source]["topics"]
        for at, topic in enumerate(names):
            shipped = {
                key: row.results[source][at]
                for key, row in facts.rows.items()
                if source in row.results and row.results[source][at] is not None
            }
            assert shipped == topics[topic], (source, topic)
