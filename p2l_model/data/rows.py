"""Reads JSON lines and CSV from untrusted files. Any fault in them becomes a DataError that says
where it is."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

from p2l_model.errors import DataError

# The csv module's default, 131,072 characters, is less than a long prompt.
_LONGEST_FIELD_CHARS: Final = 100_000_000


def json_object(
    line: str, where: str, parse_float: Callable[[str], Any] | None = None
) -> dict[str, Any]:
    """Parses a line as a JSON object. where: the file and the row, for errors. Raises DataError."""
    value = json_value(line, where, parse_float)
    if not isinstance(value, dict):
        raise DataError(
            f'{where} must be a JSON object such as {{"prompt": "Hello"}}, not {_kind(value)}'
        )
    return value


def json_value(line: str, where: str, parse_float: Callable[[str], Any] | None = None) -> Any:
    """Parses a line of JSON. where: the file and the row, for errors. Raises DataError."""
    try:
        return json.loads(line, parse_float=parse_float)
    except json.JSONDecodeError as error:
        raise DataError(f"{where} is not JSON: {error.msg}") from error
    except ValueError as error:  # an integer of thousands of digits
        raise DataError(f"{where} has a number with too many digits") from error
    except RecursionError as error:
        raise DataError(f"{where} is nested too deeply") from error


def csv_rows(lines: TextIO, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields rows by column name, numbered from 1. name: the file's, for errors. Raises
    DataError."""
    csv.field_size_limit(_LONGEST_FIELD_CHARS)
    reader = csv.DictReader(lines)
    rows = enumerate(reader, 1)
    while True:
        try:
            number, row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{name}: line {reader.line_num + 1}: {error}") from error
        if None in row or any(value is None for value in row.values()):
            where = f"{name}: row {number}, line {reader.line_num}"
            raise DataError(f"{where} does not have as many fields as the header")
        yield number, row


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "a number"
