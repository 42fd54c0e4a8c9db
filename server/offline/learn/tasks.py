"""The prompts to ask, each with what its answers are checked by."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, get_args

from p2l_model.analysis.prompts import Row
from p2l_model.data.tables import turns
from p2l_model.errors import DataError
from p2l_model.types import user_turns

CheckerKind = Literal["expected", "regex", "json_schema", "command"]
KINDS: Final[tuple[CheckerKind, ...]] = get_args(CheckerKind)
# A command is run only where --checker says so: a file of data must not run programs by itself.
_UNASKED: Final[tuple[CheckerKind, ...]] = ("expected", "regex", "json_schema")
_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Check:
    """How the answers of one prompt are checked. value: that of the column `kind`. tolerance: how
    far a number may be from the expected one; None: by rounding errors only."""

    kind: CheckerKind
    value: Any = field(repr=False)
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One prompt. id: depends on its messages alone. messages: as they are sent. turns: those of
    the user. check: None where a judge must grade. reference: an answer that the file brings
    along."""

    id: str
    messages: tuple[Mapping[str, Any], ...] = field(repr=False)
    turns: tuple[str, ...] = field(repr=False)
    category: str
    check: Check | None
    reference: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Tasks:
    """The distinct prompts of a source, in its order. n_left_out: rows within a tool loop, whose
    answer would call a tool."""

    tasks: tuple[Task, ...]
    n_left_out: int


def read_tasks(rows: Iterable[Row], name: str, checker: CheckerKind | None) -> Tasks:
    """The prompts of rows. name: that of the source, for errors. checker: the kind that every row
    must have a column for; None: what each row has, and the judge for the others. Raises
    DataError."""
    found: dict[str, Task] = {}
    n_left_out = 0
    for number, row in rows:
        where = f"{name}: row {number}"
        messages = _messages(row, name, number)
        if _has_tools(messages):
            n_left_out += 1
            continue
        identity = _identity(messages)
        task = Task(
            identity,
            messages,
            user_turns(messages) or turns(row.get("prompt"), Path(name), number),
            str(row.get("category") or ""),
            _check(row, where, checker),
            _reference(row, where),
        )
        found.setdefault(identity, task)
    if not found:
        raise DataError(f"{name} has no prompt to ask")
    return Tasks(tuple(found.values()), n_left_out)


def _messages(row: Mapping[str, Any], name: str, number: int) -> tuple[Mapping[str, Any], ...]:
    given = row.get("messages")
    if given is None:
        given = row.get("prompt")
    given = _unpacked(given)
    if isinstance(given, list) and given and all(isinstance(one, dict) for one in given):
        if not user_turns(given):
            raise DataError(f"{name}: row {number}: messages has no text of a user")
        # Rows of parquet have every field of every message.
        return tuple({k: v for k, v in one.items() if v is not None} for one in given)
    said = turns(given, Path(name), number)
    return tuple({"role": "user", "content": text} for text in said)


def _unpacked(given: object) -> object:
    """A cell of a CSV file may hold the messages as JSON text."""
    if isinstance(given, str) and given[:2] == "[{":
        try:
            return json.loads(given)
        except ValueError:
            return given
    return given


def _has_tools(messages: Sequence[Mapping[str, Any]]) -> bool:
    return any(one.get("role") in ("tool", "function") or one.get("tool_calls") for one in messages)


def _identity(messages: Sequence[Mapping[str, Any]]) -> str:
    text = json.dumps(messages, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=_ID_BYTES).hexdigest()


def _reference(row: Mapping[str, Any], where: str) -> str | None:
    value = row.get("reference")
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: reference must be the text of an answer")
    return value


def _check(row: Mapping[str, Any], where: str, checker: CheckerKind | None) -> Check | None:
    kinds = _UNASKED if checker is None else (checker,)
    for kind in kinds:
        value = row.get(kind)
        if value is not None and value != "":
            return Check(kind, _checked(kind, value, where), _tolerance(row, where))
    if checker is not None:
        raise DataError(f"{where}: the column {checker} is missing or empty; --checker needs it")
    return None


def _checked(kind: CheckerKind, value: Any, where: str) -> Any:
    """The value of the column, in the form that the checker takes. Raises DataError."""
    if kind == "regex":
        return _pattern(value, where)
    if kind == "json_schema":
        return _schema(value, where)
    if kind == "command":
        return value
    accepted = value if isinstance(value, list) else [value]
    if not accepted or not all(isinstance(one, str | int | float) for one in accepted):
        raise DataError(f"{where}: expected must be a text, a number or a list of these")
    return [str(one) for one in accepted]


def _pattern(value: Any, where: str) -> str:
    try:
        re.compile(value)
    except (re.error, TypeError) as error:
        raise DataError(f"{where}: regex is not a regular expression: {error}") from error
    return str(value)


def _schema(value: Any, where: str) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"{where}: json_schema is not JSON") from error
    if not isinstance(value, dict | bool):
        raise DataError(f"{where}: json_schema must be an object")
    return value


def _tolerance(row: Mapping[str, Any], where: str) -> float | None:
    value = row.get("tolerance")
    if value is None or value == "":
        return None
    try:
        tolerance = float(value)
    except (TypeError, ValueError):
        tolerance = math.nan
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise DataError(f"{where}: tolerance must be a number of 0 or more")
    return tolerance
