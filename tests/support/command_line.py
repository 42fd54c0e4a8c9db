"""`p2l-router` in this process: main() as the installed script calls it, without its second of
imports. What the script itself does is tried by the tests that run it (tests/house/test_speed.py
lists them)."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.cli import main


@dataclass(frozen=True)
class Done:
    """What came of it; the names are those of subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str


def p2l_router(
    *words: str, stdin: str = "", environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Done:
    """environ: all of its environment; None: this process's. What it changes there, and of the log,
    is undone. An error that main() does not turn into a message is raised: a user would see a
    traceback."""
    out, err = io.StringIO(), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")
    with (
        _environment(dict(os.environ if environ is None else environ)),
        _log_of_its_own(),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stdin", given)
        status = _status(words)
    return Done(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _environment(environ: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    try:
        _becomes(environ)
        yield
    finally:
        _becomes(before)


def _becomes(environ: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environ)


@contextlib.contextmanager
def _log_of_its_own() -> Iterator[None]:
    """serve configures the log of its whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _status(words: Sequence[str]) -> int:
    try:
        return main(words)
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else 1
