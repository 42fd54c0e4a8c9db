"""Reads prompts in chunks, with their groups and weights; files of any size are read once."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np

from p2l_model.data.rows import csv_rows, json_object
from p2l_model.data.tables import turns
from p2l_model.errors import DataError, ExtraMissingError
from p2l_model.types import Conversation, FloatArray, IntArray, user_turns

STDIN: Final = "-"
CHUNK: Final = 512
_MAX_WEIGHT: Final = 1e9
# The group of prompts that have no value in the column.
NO_GROUP: Final = ""

Row = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class PromptChunk:
    """P distinct prompts of some rows; rows that share a prompt and a group are merged.

    group: of each of the R merged rows; prompt (R,): indices into conversations; weight (R,).
    n_rows: how many
    rows of the file the chunk covers.
    """

    conversations: tuple[Conversation, ...]
    prompt: IntArray
    group: tuple[str, ...]
    weight: FloatArray
    n_rows: int


def block_of(conversations: Sequence[Conversation], n_blocks: int) -> IntArray:
    """The block (P,) of each prompt, from 0. It depends on the text alone, so that it is the same
    on every machine and copies of a prompt share a block."""
    digests = (
        hashlib.blake2b("\0".join(c.turns).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for c in conversations
    )
    return np.array([int.from_bytes(d, "big") % n_blocks for d in digests], dtype=np.int64)


def read_prompts(
    source: str,
    *,
    by: str | None = None,
    skip: int = 0,
    limit: int | None = None,
    chunk: int = CHUNK,
) -> Iterator[PromptChunk]:
    """Yields the prompts of a .parquet, .jsonl, .csv or .txt file (one prompt a line), or of "-".

    "-" is standard input: JSONL, or one prompt a line. by: the column that groups; skip: the number
    of rows to leave out at the beginning; limit: the number of rows to read after them. A row has
    `prompt` (text, turns or OpenAI messages) or `messages`, and may have `weight`.

    Raises DataError that names source and row, ExtraMissingError.
    """
    with read_rows(source, skip) as rows:
        first = next(rows, None)
        if first is None and skip == 0:
            raise DataError(f"{_name(source)} has no rows")
        if first is not None:
            left = itertools.islice(itertools.chain([first], rows), limit)
            yield from chunked(left, _name(source), by, chunk)


def chunked(
    rows: Iterator[Row], name: str, by: str | None, chunk: int = CHUNK
) -> Iterator[PromptChunk]:
    """`read_prompts` for rows from elsewhere: pairs of a number and a mapping of columns.

    name: the source's name in errors. Raises DataError.
    """
    first = next(rows, None)
    if first is None:
        return
    _check_columns(first[1], by, name)
    left = itertools.chain([first], rows)
    while some := list(itertools.islice(left, chunk)):
        yield _chunk(some, by, name)


def count_rows(source: str) -> int | None:
    """The number of rows in a file, for progress; None where counting would need a full pass."""
    path = Path(source)
    if source == STDIN or path.suffix.lower() == ".csv":
        return None
    if path.suffix.lower() == ".parquet":
        with _parquet_file(path) as file:
            return int(file.metadata.num_rows)
    with path.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def _name(source: str) -> str:
    return "standard input" if source == STDIN else source


def _check_columns(row: Mapping[str, Any], by: str | None, source: str) -> None:
    if "prompt" not in row and "messages" not in row:
        raise DataError(f"{_name(source)} has neither a column prompt nor messages")
    if by is not None and by not in row:
        columns = ", ".join(row)
        raise DataError(f"{_name(source)} has no column {by!r} to group by; it has {columns}")


def _chunk(rows: Sequence[Row], by: str | None, source: str) -> PromptChunk:
    prompts: dict[tuple[str, ...], int] = {}
    weights: dict[tuple[int, str], float] = {}
    for number, row in rows:
        index = prompts.setdefault(_turns(row, source, number), len(prompts))
        value = None if by is None else row.get(by)
        key = (index, NO_GROUP if value is None else str(value))
        weights[key] = weights.get(key, 0.0) + _weight(row, source, number)
    return PromptChunk(
        conversations=tuple(Conversation(text) for text in prompts),
        prompt=np.array([index for index, _ in weights], dtype=np.int64),
        group=tuple(group for _, group in weights),
        weight=np.array(list(weights.values()), dtype=np.float64),
        n_rows=len(rows),
    )


def _turns(row: Mapping[str, Any], source: str, number: int) -> tuple[str, ...]:
    messages = row.get("messages")
    if row.get("prompt") is None and isinstance(messages, list):
        found = user_turns(messages)
        if found:
            return found
    return turns(row.get("prompt"), Path(_name(source)), number)


def _weight(row: Mapping[str, Any], source: str, number: int) -> float:
    value = row.get("weight")
    if value is None or value == "":
        return 1.0
    try:
        weight = float(value)
    except (TypeError, ValueError, OverflowError):
        weight = -1.0
    if not 0 <= weight <= _MAX_WEIGHT:
        raise DataError(
            f"{_name(source)}: row {number}: weight must be a number from 0 to {_MAX_WEIGHT:g}"
        )
    return weight


@contextmanager
def read_rows(source: str, skip: int = 0) -> Iterator[Iterator[Row]]:
    """The rows of a source of `read_prompts`, numbered from 1, without the first `skip` ones.
    Raises DataError, ExtraMissingError."""
    if source == STDIN:
        try:
            yield itertools.islice(_text_rows(sys.stdin, source), skip, None)
        except UnicodeDecodeError as error:
            raise DataError(f"{_name(source)} cannot be read: {error}") from error
        return
    path = Path(source)
    kind = path.suffix.lower()
    if kind == ".parquet":
        with _parquet_file(path) as file:
            yield _parquet_rows(file, skip)
        return
    if kind not in (".jsonl", ".csv", ".txt"):
        raise DataError(f"{path} must be a .parquet, .jsonl, .csv or .txt file, or -")
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            if kind == ".csv":
                rows: Iterator[Row] = csv_rows(lines, str(path))
            else:
                rows = _text_rows(lines, source, json_only=kind == ".jsonl")
            yield itertools.islice(rows, skip, None)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _text_rows(lines: TextIO, source: str, *, json_only: bool = False) -> Iterator[Row]:
    """JSON objects or plain text, as the first line decides."""
    stated = (line for line in lines if line.strip())
    first = next(stated, "")
    as_json = json_only or first.lstrip().startswith("{")
    for number, line in enumerate(itertools.chain([first] if first else [], stated), 1):
        where = f"{_name(source)}: row {number}"
        yield number, json_object(line, where) if as_json else {"prompt": line.rstrip("\r\n")}


def _parquet_rows(file: Any, skip: int) -> Iterator[Row]:
    """Row groups that are skipped entirely are not read at all."""
    sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
    ends = list(itertools.accumulate(sizes))
    groups = [index for index, end in enumerate(ends) if end > skip]
    if not groups:
        return iter(())
    before = ends[groups[0]] - sizes[groups[0]]
    batches = file.iter_batches(CHUNK, row_groups=groups)
    rows = enumerate((row for batch in batches for row in batch.to_pylist()), before + 1)
    return itertools.islice(rows, skip - before, None)


@contextmanager
def _parquet_file(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ExtraMissingError("pyarrow", "analysis") from error
    try:
        file = ParquetFile(path)
    except ArrowInvalid as error:
        raise DataError(f"{path} is not a parquet file") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    with file:
        yield file
