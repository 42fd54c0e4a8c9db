"""Output that several subcommands share: tables and CSV files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from p2l_model.errors import DataError

Column = str | tuple[str, Literal["left", "right"]]
# Wider than any table: a terminal that is too narrow wraps lines, and no cell is cut.
_WIDTH = 1_000


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


def print_table(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], out: TextIO
) -> None:
    """Prints a table with numbers aligned right, as wide as it needs to be, without colours. Cells
    are shown without interpretation of markup."""
    table = Table(title=Text(title, style="bold"), title_justify="left", box=None)
    for column in columns:
        name, side = (column, "right") if isinstance(column, str) else column
        table.add_column(name, justify="left" if side == "left" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(file=out, highlight=False, width=_WIDTH, no_color=True)
    console.print(table)
