"""Finds the files that a --data argument means, and reads those of --scores and --prices."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2l_model.errors import DataError

if TYPE_CHECKING:
    from server.offline.simulate.table import ScoreTable, TokenPrices

# Comparisons come first: where a dataset has both, its scores are the same answers again.
_KINDS = ("comparisons", "scores")


def data_files(paths: Sequence[str], split: str) -> list[Path]:
    """Files as they are; a folder stands for its comparisons.SPLIT.parquet, or else its scores.
    Raises DataError."""
    return [_in_folder(path, split) if path.is_dir() else _file(path) for path in map(Path, paths)]


def validation_twins(paths: Sequence[str]) -> list[Path]:
    """The validation files in the folders among the paths."""
    found = []
    for path in map(Path, paths):
        if path.is_dir() and any((path / f"{k}.validation.parquet").exists() for k in _KINDS):
            found.append(_in_folder(path, "validation"))
    return found


def score_range(text: str | None) -> tuple[float, float]:
    """Parses `LO,HI`. Raises DataError."""
    if text is None:
        return 0.0, 1.0
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 1.0, 0.0
    if not low < high:
        raise DataError(f"--score-range {text} must be LO,HI with LO below HI, such as 1,10")
    return low, high


def prices_of(args: argparse.Namespace) -> dict[str, TokenPrices]:
    """The prices in the file of --prices; none without it. Raises DataError."""
    from server.offline.simulate.table import load_prices

    return {} if args.prices is None else load_prices(Path(args.prices))


def graded_answers(
    paths: Sequence[str], prices: Mapping[str, TokenPrices], args: argparse.Namespace
) -> ScoreTable:
    """The graded answers in files, by the range of --score-range. Raises DataError."""
    from server.offline.simulate.table import load_scores

    return load_scores([Path(path) for path in paths], prices, score_range(args.score_range))


def _in_folder(path: Path, split: str) -> Path:
    for kind in _KINDS:
        file = path / f"{kind}.{split}.parquet"
        if file.exists():
            return file
    raise DataError(f"{path} has neither comparisons.{split}.parquet nor scores.{split}.parquet")


def _file(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    return path
