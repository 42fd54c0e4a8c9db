"""Score files become a table; what does not fit is left out and said."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from p2l_model.errors import DataError
from server.offline.simulate.table import TokenPrices, load_prices, load_scores

PRICES = {"a": TokenPrices(1.0, 2.0), "b": TokenPrices(10.0, 20.0)}
HEADER = ("prompt", "model", "score", "prompt_tokens", "output_tokens", "cost_usd", "category")


def write(path: Path, rows: list[tuple[object, ...]], header: tuple[str, ...] = HEADER) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def test_costs_are_given_or_made_of_prices_and_lengths(tmp_path: Path) -> None:
    rows = [
        ("hello", "a", 1, 100, 50, "", "x"),
        ("hello", "b", 0, 100, 50, 0.25, "x"),
        ("world", "a", 0.5, "", 10, "", ""),
        ("world", "b", 1, 3, 10, "", ""),
    ]
    table = load_scores([write(tmp_path / "s.csv", rows)], PRICES)
    assert table.models == ("a", "b")
    assert table.score.tolist() == [[1, 0], [0.5, 1]]
    assert np.allclose(table.cost_usd, [[2e-4, 0.25], [(1.25 + 20) / 1e6, 230 / 1e6]])
    assert table.category.tolist() == ["x", ""]
    assert "hello" not in repr(table)


def test_what_is_not_complete_is_left_out_and_said(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = []
    for k in range(40):
        rows += [(f"p{k}", m, 1, 1, 1, "", "") for m in ("a", "b") if (k, m) != (7, "b")]
        rows += [(f"p{k}", "unpriced", 1, 1, 1, "", "")]
        rows += [(f"p{k}", "rare", 1, 1, 1, 0.1, "")] if k < 30 else []
    table = load_scores([write(tmp_path / "s.csv", rows)], PRICES).complete()
    assert table.models == ("a", "b")
    assert table.score.shape == (39, 2)
    assert "rare, unpriced" in table.notes[0]
    assert table.notes[1] == "1 prompt lacks a model"
    with pytest.raises(DataError, match="fewer than two"):
        table.of_models(["a"], "").complete()


def test_ranges_and_prices(tmp_path: Path) -> None:
    path = write(tmp_path / "s.csv", [("q", "a", 10, 1, 1, "", ""), ("q", "b", 1, 1, 1, "", "")])
    assert load_scores([path], PRICES, (1.0, 10.0)).score.tolist() == [[1, 0]]
    with pytest.raises(DataError):
        load_scores([path], PRICES)
    prices = write(
        tmp_path / "p.csv",
        [("a", 1, 2)],
        ("model", "input_usd_per_mtok", "output_usd_per_mtok"),
    )
    assert load_prices(prices) == {"a": TokenPrices(1.0, 2.0)}
