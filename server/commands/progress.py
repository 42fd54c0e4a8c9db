"""Progress bars and tables on standard error; standard output is for results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


class Bars:
    """A bar for each stage, with the time left and the current state."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, note="")
        self._progress.update(self._tasks[stage], completed=done, total=total, note=note)


class Lines:
    """A line for each tenth of a stage, for logs and pipes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._tenths: dict[str, int] = {}

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        tenth = int(10 * done / total) if total > 0 else 10
        if self._tenths.get(stage) != tenth:
            self._tenths[stage] = tenth
            print(f"{stage}: {done:g}/{total:g} {note}".rstrip(), file=self._out, flush=True)


@contextmanager
def progress_bars() -> Iterator[Bars | Lines]:
    """Bars during the work; lines where standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield Lines(sys.stderr)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress)
