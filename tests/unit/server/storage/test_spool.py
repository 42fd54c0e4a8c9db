"""The spool on disks that fill up and processes that are killed: what was said to be written is
read again, and what goes wrong with one record is the end of no other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stored_attempts import attempt, rows, settled, started

from server.config.settings import StorageSettings
from server.storage import spool as spooling
from server.storage.database import Database
from server.storage.errors import StorageError, StorageRefusedError
from server.storage.spool import Spool, orphans
from server.storage.statements import Kind
from server.storage.store import Store

MANY_OPEN_S = 60.0


def record(name: str, size: int = 0) -> tuple[Kind, dict[str, Any]]:
    return Kind.STATE, {"name": name, "document": "x" * size, "updated_at": 0}


def left(folder: Path) -> tuple[list[str], int]:
    """The names of the records that a dead process left, and how many lines were none."""
    (orphan,) = orphans(folder)
    names = [row["name"] for _, row in orphan.records()]
    orphan.release()
    return names, orphan.n_damaged


def die(spool: Spool) -> None:
    """What the kernel does with the descriptors of a process that is killed."""
    assert spool._lock is not None
    os.close(spool._lock)
    os.close(spool._file)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def short_files() -> Iterator[None]:
    """Files of at most 20,000 bytes.

    The limit is this whole process's, so it holds while a test writes and no longer: pytest's
    report of the test may be a file too, and a longer one.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_in_the_middle_of_a_line_loses_no_next_record(
    small_disk: Path,
) -> None:
    spool = Spool(small_disk / "spool", "a")
    spool.append(record("first"), 1)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 40_000)
    with pytest.raises(OSError, match="No space left"):
        spool.append(record("too_long", 30_000), 2)
    filler.unlink()
    spool.append(record("next"), 3)
    die(spool)
    assert left(small_disk / "spool") == (["first", "next"], 0)


def test_a_file_that_may_not_grow_loses_no_next_record(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.append(record("first", 15_000), 1)
    with short_files():
        with pytest.raises(OSError, match="No space left"):
            spool.append(record("too_long", 10_000), 2)
        spool.append(record("next", 1_000), 3)
    die(spool)
    assert left(tmp_path) == (["first", "next"], 0)


def test_where_the_line_cannot_even_be_cut_off_the_next_is_in_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(spooling.os, "ftruncate", cannot)
    spool = Spool(tmp_path, "a")
    spool.append(record("first", 15_000), 1)
    with short_files():
        with pytest.raises(OSError, match="No space left"):
            spool.append(record("too_long", 10_000), 2)
        spool.append(record("next"), 3)
    die(spool)
    assert left(tmp_path) == (["first", "next"], 0)


KILLED_IN_MID_LINE = """
import os, resource, signal, sys
from pathlib import Path
from server.storage.spool import Spool
from server.storage.statements import Kind

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
# half a line is on the disk just then
os.ftruncate = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
spool = Spool(Path(sys.argv[1]), "a")
for n in range(1_000):
    spool.append((Kind.STATE, {"name": f"n{n}", "document": "x" * 900, "updated_at": 0}), n)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_in_the_middle_of_a_line_leaves_all_lines_before(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", KILLED_IN_MID_LINE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (segment,) = tmp_path.glob("*.jsonl")
    assert not segment.read_bytes().endswith(b"\n")
    names, n_damaged = left(tmp_path)
    assert names == [f"n{n}" for n in range(len(names))]
    assert (len(names), n_damaged) == (
        20_000 // len(segment.read_bytes().splitlines()[0] + b"\n"),
        0,
    )


def test_what_is_no_record_is_counted_and_hides_no_other(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "a")
    spool.append(record("first"), 1)
    for line in (b"5\n", b"{}\n", b'["open", [1]]\n', b'["of a later release", {}]\n', b"\xff\n"):
        os.write(spool._file, line)
    os.write(spool._file, b"\n")
    die(spool)
    Path(tmp_path / "a-00000002.jsonl").write_bytes(b'["state", {"name": "next"}]\n["state"')
    assert left(tmp_path) == (["first", "next"], 5)


def test_too_many_open_files_end_no_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next file cannot be opened: the last one is written on, and no other is closed."""
    spool = Spool(tmp_path, "a", segment_bytes=1)
    spool.append(record("first"), 1)

    def cannot(*_: Any) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(spooling.os, "open", cannot)
        spool.append(record("second"), 2)
        spool.append(record("third"), 3)
    spool.append(record("fourth"), 4)
    spool.committed(3)
    assert [path.name for path in tmp_path.glob("*.jsonl")] == [Path(spool._current.path).name]  # type: ignore[union-attr]
    die(spool)
    assert left(tmp_path) == (["fourth"], 0)


async def open_many(store: Store, n_attempts: int) -> None:
    for n in range(2, n_attempts):
        await store.open(attempt(n))


async def until(store: Store, *, works: bool) -> None:
    async with asyncio.timeout(MANY_OPEN_S):
        while (store.failure is None) is not works:
            store.beat()
            await asyncio.sleep(0.02)


async def test_a_full_disk_is_said_and_refused_and_over_once_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/p2l.db"
    with started(url, spool_dir=small_disk / "spool") as store:
        await store.open(attempt(1))
        filler = small_disk / "filler"
        filler.write_bytes(b"x" * 60_000)
        with pytest.raises(StorageRefusedError, match="spool cannot be written"):
            await open_many(store, 200)
        assert "spool cannot be written" in (store.failure or "")
        # what was sent is settled all the same: in the database
        store.settle(settled(attempt(1)))
        filler.unlink()
        # nobody asks for anything: a gateway that is not ready gets no requests
        await until(store, works=True)
        await store.open(attempt(500))
        assert await store.flush()
    assert {row.request_id: row.outcome for row in rows(url)}["req_1"] == "answered"


async def test_a_spool_that_cannot_be_removed_is_said_and_stops_no_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path}/p2l.db"
    with started(url) as store:
        assert store._spool is not None
        store._spool._segment_bytes = 1  # each record fills a segment
        with monkeypatch.context() as patch:

            def cannot(*_: Any, **__: Any) -> None:
                raise OSError(30, "Read-only file system")

            patch.setattr(Path, "unlink", cannot)
            for n in range(3):
                await store.open(attempt(n))
                store.settle(settled(attempt(n)))
                assert await store.flush()
            assert store.failure == "the spool cannot be removed: Read-only file system"
        await until(store, works=True)
    assert [row.outcome for row in rows(url)] == ["answered"] * 3
    assert list((tmp_path / "p2l.db.spool").iterdir()) == []


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "EIO"), RuntimeError("bug")])
async def test_what_nobody_foresaw_ends_no_writing_and_gives_up_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from server.storage.statements import Statement

    url = f"sqlite:///{tmp_path}/p2l.db"
    with started(url) as store:
        with monkeypatch.context() as patch:

            def fail(*_: Any) -> None:
                raise error

            patch.setattr(Statement, "execute", fail)
            await store.open(attempt(1))
            async with asyncio.timeout(MANY_OPEN_S):
                while store.failure is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            with pytest.raises(StorageRefusedError):
                await store.open(attempt(2))
        await until(store, works=True)
        assert store.n_rejected == 0
    assert [row.request_id for row in rows(url)] == ["req_1"]


async def test_whoever_does_not_wait_any_more_ends_no_writing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/p2l.db"

    def nobody(_: bool) -> None:
        raise RuntimeError("Event loop is closed")

    with started(url) as store:
        store._writer.when_committed(0, nobody)
        await store.open(attempt(1))
        assert await store.flush()
        assert store.failure is None


async def test_a_thread_that_has_ended_is_said(tmp_path: Path) -> None:
    with started(f"sqlite:///{tmp_path}/p2l.db") as store:
        store._writer._queue.put(None)
        store._writer._hurry.set()
        store._writer._thread.join(10)
        assert store.failure == "the thread that writes has ended"


async def test_records_that_no_database_takes_are_counted_at_the_start_too(
    storage_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool"
    dead = Spool(folder, "dead")
    dead.append((Kind.SETTLE, {"request_id": "req_1", "attempt": 1}), 1)
    # a later release's: no column takes a list, and PostgreSQL and SQLite say so each in its way
    dead.append((Kind.STATE, {"name": "n", "updated_at": 0, "document": ["x"]}), 2)
    dead.append((Kind.STATE, {"name": "good", "updated_at": 0, "document": "{}"}), 3)
    os.write(dead._file, b"no record\n")
    die(dead)
    with caplog.at_level(logging.ERROR), started(storage_url, spool_dir=folder) as store:
        assert store.n_rejected in (2, 3)
        assert store.failure is None
    assert "1 of its records cannot be read" in caplog.text
    assert list(folder.iterdir()) == []


def test_a_spool_of_another_user_is_said_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p2l.db.spool").mkdir()
    (tmp_path / "p2l.db.spool" / "other.lock").touch()

    def cannot(*_: Any) -> int:
        raise PermissionError(13, "Permission denied")

    url = f"sqlite:///{tmp_path}/p2l.db"
    store = Store(Database(url), StorageSettings(url=url))
    monkeypatch.setattr(spooling.os, "open", cannot)
    with pytest.raises(StorageError, match=r"make .* writable for the user"):
        store.start()
    store.close()


async def test_the_database_is_closed_where_the_spool_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/p2l.db"
    closed: list[Database] = []
    store = Store(Database(url), StorageSettings(url=url))
    store.start()
    await store.open(attempt(1))
    close = Database.close
    monkeypatch.setattr(Database, "close", lambda self: (closed.append(self), close(self)))

    def cannot(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", cannot)
        store.close()
    assert closed == [store.database]
    # what it left is adopted
    with started(url) as after:
        assert after.n_rejected == 0
