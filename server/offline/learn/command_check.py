"""Runs a user's program that checks answers, within limits of time, memory and files."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from p2l_model.errors import DataError

# Run by a fresh interpreter: code between fork and exec would run in a process with threads.
_START: Final = """
import json, os, resource, sys
for name, most in json.loads(sys.argv[1]).items():
    resource.setrlimit(getattr(resource, name), (most, most))
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.stderr.write(error.strerror)
    sys.exit(126)
"""
_NOT_STARTED: Final = 126
# The whole environment of the program: nothing of ours, so that no key reaches it.
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_SAID: Final = 4_096


@dataclass(frozen=True, slots=True)
class Limits:
    """wall_s, cpu_s: seconds. memory_bytes: of address space. file_bytes: of each file that it
    writes."""

    wall_s: float = 20.0
    cpu_s: int = 10
    memory_bytes: int = 1 << 30
    file_bytes: int = 1 << 20
    files: int = 64

    @property
    def told(self) -> str:
        """The limits by the names of the module `resource`, as JSON."""
        return json.dumps(
            {
                "RLIMIT_CPU": self.cpu_s,
                "RLIMIT_AS": self.memory_bytes,
                "RLIMIT_FSIZE": self.file_bytes,
                "RLIMIT_NOFILE": self.files,
                "RLIMIT_CORE": 0,
            }
        )


class CommandCheck:
    """Runs programs with an answer on their standard input.

    Each runs in an empty folder of its own, with nothing of this process's environment. It is not
    kept from the network or from files that its user may read. n_stopped: how many were stopped at
    a limit.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.n_stopped = 0

    def score(self, command: Any, answer: str) -> float:
        """The score that the program prints, a number from 0 to 1 in its last line; else 1 where it
        ends with status 0. Any other status is 0. Raises DataError where it cannot be started."""
        words = words_of(command)
        with tempfile.TemporaryDirectory(prefix="p2l-check-") as folder:
            status, said = self._run(words, answer, Path(folder))
        if status == _NOT_STARTED:
            raise DataError(f"command: {words[0]} cannot be started: {said.strip()[:200]}")
        if status != 0:
            return 0.0
        stated = _number(said)
        return 1.0 if stated is None else stated

    def _run(self, words: Sequence[str], answer: str, folder: Path) -> tuple[int, str]:
        """Returns (the exit status, what it printed)."""
        out = folder / ".out"
        room = folder / "work"
        room.mkdir()
        with out.open("w+b") as printed, tempfile.TemporaryFile() as given:
            given.write(answer.encode("utf-8", "replace"))
            given.seek(0)
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", "-c", _START, self._limits.told, *words],
                stdin=given,
                stdout=printed,
                stderr=subprocess.STDOUT,
                cwd=room,
                env={"PATH": _PATH, "HOME": str(room), "TMPDIR": str(room), "LANG": "C.UTF-8"},
                start_new_session=True,
            )
            status = self._wait(process)
            printed.seek(0)
            said = printed.read(1 << 20)[-_MOST_SAID:].decode("utf-8", "replace")
        return status, said

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        try:
            status = process.wait(self._limits.wall_s)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        # Whatever it has started ends with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if status < 0:
            self.n_stopped += 1
        return status


def words_of(command: Any) -> list[str]:
    """The program and its arguments; files named by a path from here get their full path. Raises
    DataError."""
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise DataError(f"command: {error}") from error
    else:
        words = [str(word) for word in command] if isinstance(command, list) else []
    if not words:
        raise DataError("command must be a program with its arguments: a text or a list of words")
    words = [str(Path(word).resolve()) if Path(word).is_file() else word for word in words]
    if "/" not in words[0] and shutil.which(words[0], path=_PATH) is None:
        raise DataError(f"command: there is no program {words[0]} in {_PATH}")
    return words


def _number(said: str) -> float | None:
    """The number in the last line; None where it holds anything else."""
    lines = said.strip().splitlines()
    try:
        value = float(lines[-1]) if lines else math.nan
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
