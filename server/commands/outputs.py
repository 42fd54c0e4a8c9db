"""Output that several subcommands share: tables and CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TextIO

from rich.cells import cell_len

from p2l_model.errors import DataError

# A name, whose cells are aligned right, or a name and the side.
Column = str | tuple[str, Literal["left", "right"]]


def check_writable(paths: Iterable[str | None]) -> None:
    """Checks before the work that the files' folders exist. Raises DataError."""
    for path in paths:
        if path is not None and not Path(path).resolve().parent.is_dir():
            raise DataError(f"{path}: there is no such folder to write to")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a CSV file. Raises DataError where it cannot be written."""
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows(rows)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}") from error


def left(name: str) -> Column:
    """A column of text."""
    return name, "left"


def table_lines(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table: its header and its rows, each column as wide as its widest cell, two
    spaces between columns. There are no colours and no lines, so that other programs can read it;
    a terminal that is too narrow wraps, and no cell is cut."""
    names = [column if isinstance(column, str) else column[0] for column in columns]
    is_left = [not isinstance(column, str) and column[1] == "left" for column in columns]
    cells = [names, *([" ".join(cell.split()) for cell in row] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(_padded, row, widths, is_left)).rstrip() for row in cells]


def _padded(cell: str, width: int, is_left: bool) -> str:
    space = " " * (width - cell_len(cell))
    return cell + space if is_left else space + cell


def print_table(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], out: TextIO
) -> None:
    """Prints a title and a table."""
    print("\n".join([title, *table_lines(columns, rows)]), file=out)
