"""Reads parquet, JSONL and CSV into columns; errors name file and row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2l_model.data.rows import csv_rows, json_object
from p2l_model.errors import DataError, ExtraMissingError
from p2l_model.types import user_turns
from p2l_model.words import said

Columns = Mapping[str, Sequence[Any]]


def read_columns(path: Path) -> Columns:
    """The columns of a file, whose format follows from its suffix. Raises DataError,
    ExtraMissingError."""
    readers = {".parquet": _parquet, ".jsonl": _jsonl, ".csv": _csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} must be a .parquet, .jsonl or .csv file")
    try:
        columns = reader(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"{path} has no rows")
    return columns


def require(columns: Columns, names: Sequence[str], path: Path) -> None:
    """Raises DataError where a column is missing."""
    for name in names:
        if name not in columns:
            raise DataError(f"{path}: the column {name!r} is missing; it needs {', '.join(names)}")


def numbers(columns: Columns, name: str, path: Path, low: float, high: float) -> list[float]:
    """A numeric column within bounds, NaN where empty; all NaN where the column is missing."""
    length = len(next(iter(columns.values())))
    values = columns.get(name)
    if values is None:
        return [math.nan] * length
    return [_number(value, name, path, row, low, high) for row, value in enumerate(values, 1)]


def texts(columns: Columns, name: str, default: str) -> list[str]:
    """A text column; `default` where a cell is empty or the column is missing."""
    values = columns.get(name)
    if values is None:
        return [default] * len(next(iter(columns.values())))
    return [default if value is None or value == "" else str(value) for value in values]


def turns(value: Any, path: Path, row: int) -> tuple[str, ...]:
    """A prompt's user turns, from text, a list of turns or OpenAI messages (JSON text in a CSV)."""
    if isinstance(value, str) and value[:1] == "[" and path.suffix.lower() == ".csv":
        value = _json_or_text(value)
    if isinstance(value, str) and value:
        return said([(value,)])
    if isinstance(value, list) and value and all(isinstance(turn, str) for turn in value):
        return said((turn,) for turn in value)
    found = user_turns(value) if isinstance(value, list) else ()
    if not found:
        raise DataError(
            f"{path}: row {row}: prompt must be text, a list of user turns or OpenAI messages"
        )
    return found


def _number(value: Any, name: str, path: Path, row: int, low: float, high: float) -> float:
    if value is None or value == "":
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    # NaN in a parquet column is an empty cell; written as text it is an error.
    if math.isnan(number) and isinstance(value, float):
        return math.nan
    if not low <= number <= high or math.isinf(number):
        raise DataError(f"{path}: row {row}: {name} must be a number from {low:g} to {high:g}")
    return number


def _parquet(path: Path) -> Columns:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise ExtraMissingError("pyarrow", "train") from error
    try:
        columns: Columns = read_table(path).to_pydict()
    except ArrowInvalid as error:
        raise DataError(f"{path} is not a parquet file") from error
    return columns


def _jsonl(path: Path) -> Columns:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            rows.append(json_object(line, f"{path}: row {number}"))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _csv(path: Path) -> Columns:
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [row for _, row in csv_rows(lines, str(path))]
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
