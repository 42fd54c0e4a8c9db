"""Reads a provider's usage export, CSV or JSONL, whichever of the usual names its columns have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TextIO

from p2l_model.data.rows import csv_rows, json_object
from p2l_model.errors import DataError

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "id": ("id", "request_id", "response_id", "completion_id", "upstream_id"),
    "day": ("day", "date", "start_time", "start_time_iso", "timestamp", "usage_date_utc", "time"),
    "model": ("model", "model_name", "model_version", "snapshot_id"),
    "requests": ("requests", "num_model_requests", "n_requests", "request_count"),
    "input": ("input_tokens", "prompt_tokens", "n_context_tokens_total", "usage_input_tokens"),
    "cached": ("cached_tokens", "input_cached_tokens", "cache_read_input_tokens"),
    "output": (
        "output_tokens", "completion_tokens", "n_generated_tokens_total", "usage_output_tokens",
    ),
    "cost": ("cost_usd", "cost", "amount_usd", "amount_value", "total_cost"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """One row. upstream_id None: a sum over a day. cost_usd None: only tokens are given."""

    upstream_id: str | None
    day: str
    model: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_usd: Decimal | None


def read_export(path: Path) -> list[Exported]:
    """Reads an export. Raises DataError, which names the file and the row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            as_json = path.suffix in (".jsonl", ".json")
            rows = _json_lines(file, path) if as_json else csv_rows(file, str(path))
            return [_exported(row, f"{path}:{n}") for n, row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _json_lines(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    stated = (line for line in file if line.strip())
    for number, line in enumerate(stated, 1):
        yield number, json_object(line, f"{path}:{number}", parse_float=Decimal)


def _exported(row: Mapping[str, Any], where: str) -> Exported:
    found = {field: _first(row, names) for field, names in _NAMES.items()}
    for field in ("day", "model"):
        if found[field] in (None, ""):
            raise DataError(f"{where}: no {field} (one of {', '.join(_NAMES[field])})")
    cost = found["cost"]
    if cost in (None, "") and found["input"] in (None, ""):
        raise DataError(f"{where}: neither a cost nor tokens")
    return Exported(
        None if found["id"] in (None, "") else str(found["id"]),
        _day(found["day"], where),
        str(found["model"]),
        _whole(found["requests"], where) or 1,
        _whole(found["input"], where),
        _whole(found["cached"], where),
        _whole(found["output"], where),
        None if cost in (None, "") else _money(cost, where),
    )


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _day(value: Any, where: str) -> str:
    try:
        if isinstance(value, int | float | Decimal) or str(value).isdigit():
            return datetime.fromtimestamp(float(value), UTC).date().isoformat()
        moment = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        raise DataError(f"{where}: {str(value)[:40]!r} is not a day or a time") from None
    return (moment if moment.tzinfo is None else moment.astimezone(UTC)).date().isoformat()


def _whole(value: Any, where: str) -> int:
    if value in (None, ""):
        return 0
    try:
        return int(Decimal(str(value)))
    except (InvalidOperation, ValueError, OverflowError):
        raise DataError(f"{where}: {str(value)[:40]!r} is not a number") from None


def _money(value: Any, where: str) -> Decimal:
    try:
        amount = Decimal(str(value).strip().lstrip("$"))
    except InvalidOperation:
        raise DataError(f"{where}: {str(value)[:40]!r} is not an amount") from None
    if not amount.is_finite():
        raise DataError(f"{where}: {str(value)[:40]!r} is not an amount")
    return amount
