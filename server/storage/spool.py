"""Stores records on disk before they are in the database, so that the death of the process loses
none.

A folder holds, for each process that writes, a lock file and numbered segments of JSON lines. A
record is written by one `write` to the segment: from then on the kernel has it, and `kill -9`
cannot lose it (a power cut can lose the last moments that the database has not committed). A
segment is deleted once all of it is in the database. A process holds its lock while it lives;
segments whose lock is free belong to a dead process, and are adopted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from server.storage.statements import Kind, Row

Record = tuple[Kind, Row]

_SEGMENT_BYTES: Final = 4 * 1024 * 1024
_LOCK: Final = ".lock"
_LINES: Final = ".jsonl"


@dataclass(slots=True)
class _Segment:
    """A segment. n_bytes: of its complete lines. is_whole: whether it ends with a complete line."""

    path: Path
    last: int = 0
    n_bytes: int = 0
    is_whole: bool = True


class Spool:
    """The segments of one process. `append` is called in one thread, `committed` in another."""

    def __init__(self, folder: Path, instance: str, segment_bytes: int = _SEGMENT_BYTES) -> None:
        """Raises OSError where the folder cannot be written."""
        self.folder = folder
        self.instance = instance
        self._segment_bytes = segment_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _locked(folder / f"{instance}{_LOCK}")
        if self._lock is None:
            raise OSError(f"{folder}: another process uses the name {instance}")
        self._full: list[_Segment] = []
        self._current: _Segment | None = None
        self._held: list[bytes] = []
        self._held_number = 0
        self._file = -1
        self._n_segments = 0

    @property
    def n_bytes(self) -> int:
        """The bytes on disk that are not known to be in the database."""
        open_bytes = 0 if self._current is None else self._current.n_bytes
        if not self._full:
            return open_bytes
        return open_bytes + sum(segment.n_bytes for segment in self._full)

    @property
    def is_holding(self) -> bool:
        """Whether records are held that are not written yet."""
        return len(self._held) > 0

    def append(self, record: Record, number: int) -> None:
        """Writes a record. number: increasing; `committed` refers to it. Raises OSError, for
        example for a full disk."""
        self.hold(record, number)
        self.write_held()

    def hold(self, record: Record, number: int) -> None:
        """Holds a record, to be written with the next one that is appended, or by write_held."""
        self._held.append(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        self._held_number = number

    def write_held(self) -> None:
        """Writes the held records, all or none of them. Raises OSError."""
        if not self._held:
            return
        lines, number = b"".join(self._held), self._held_number
        self._held.clear()
        self._write(lines).last = number

    def probe(self) -> None:
        """Raises OSError where the spool cannot be written."""
        self._write(b"\n")

    def committed(self, number: int) -> None:
        """Records that everything up to this number is in the database. Raises OSError where a
        segment cannot be removed: the next call tries it again."""
        while self._full and self._full[0].last <= number:
            self._full[0].path.unlink(missing_ok=True)
            del self._full[0]

    def close(self, number: int) -> None:
        """Records that everything up to this number is in the database, and that nothing follows.
        Raises OSError where something cannot be removed: the next process adopts it."""
        try:
            with contextlib.suppress(OSError):
                self.write_held()
            self._end_current()
            self.committed(number)
            if not self._full and self._lock is not None:
                (self.folder / f"{self.instance}{_LOCK}").unlink(missing_ok=True)
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _write(self, lines: bytes) -> _Segment:
        """Writes lines; returns their segment."""
        current = self._writable()
        try:
            written = os.write(self._file, lines)
            if written != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._cut(current)
            raise
        current.n_bytes += written
        return current

    def _cut(self, segment: _Segment) -> None:
        """Removes an incomplete line: the next one must not continue it. Where even that fails, no
        line is written after it."""
        try:
            os.ftruncate(self._file, segment.n_bytes)
        except OSError:
            segment.is_whole = False

    def _writable(self) -> _Segment:
        current = self._current
        if current is None or not current.is_whole:
            return self._next_segment()
        if current.n_bytes >= self._segment_bytes:
            # for example too many files are open: this one is still open
            with contextlib.suppress(OSError):
                return self._next_segment()
        return current

    def _next_segment(self) -> _Segment:
        self._n_segments += 1
        path = self.folder / f"{self.instance}-{self._n_segments:08d}{_LINES}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        self._end_current()
        self._file, self._current = file, _Segment(path)
        return self._current

    def _end_current(self) -> None:
        if self._current is None:
            return
        self._full.append(self._current)
        self._current = None
        with contextlib.suppress(OSError):  # it is closed nevertheless
            os.close(self._file)


class Orphan:
    """The records of a dead process: to be written to the database, then removed."""

    def __init__(self, folder: Path, instance: str, lock: int) -> None:
        self.instance = instance
        self.n_damaged = 0
        self._folder = folder
        self._lock = lock

    def records(self) -> Iterator[Record]:
        """The records in the order in which they were appended. n_damaged counts invalid lines,
        except a truncated last one, which was never confirmed as written. Raises OSError."""
        for path in self._segments():
            content = path.read_bytes()
            for line in content[: content.rfind(b"\n") + 1].splitlines():
                if not line:
                    continue
                record = _record(line)
                if record is None:
                    self.n_damaged += 1
                else:
                    yield record

    def remove(self) -> None:
        for path in self._segments():
            path.unlink(missing_ok=True)
        (self._folder / f"{self.instance}{_LOCK}").unlink(missing_ok=True)
        os.close(self._lock)

    def release(self) -> None:
        """Leaves everything to be adopted later."""
        os.close(self._lock)

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self.instance}-*{_LINES}"))


def orphans(folder: Path) -> Iterator[Orphan]:
    """The records of dead processes in the folder; each is locked until it is removed or
    released."""
    for path in sorted(folder.glob(f"*{_LOCK}")):
        lock = _locked(path)
        if lock is not None:
            yield Orphan(folder, path.name.removesuffix(_LOCK), lock)


def _record(line: bytes) -> Record | None:
    try:
        kind, row = orjson.loads(line)
        return (Kind(kind), row) if isinstance(row, dict) else None
    except (ValueError, TypeError):
        return None


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock; None where another process holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    if not path.exists():  # removed by its last owner between opening and locking
        os.close(file)
        return None
    return file
