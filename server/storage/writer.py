"""The single thread that writes: it collects records and commits them in batches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from server.process.bugs import kind_and_place
from server.storage.batch import write
from server.storage.database import Database
from server.storage.errors import StorageError
from server.storage.spool import Record
from server.storage.statements import Kind, Statement, statements

_LOG: Final = logging.getLogger(__name__)
_MAX_BATCH: Final = 5_000
_FIRST_RETRY_S: Final = 0.1
_LAST_RETRY_S: Final = 5.0

# A record, or a function that is called after the commit of everything before it.
_Item = tuple[int, Record | Callable[[bool], None]]


class Writer:
    """The writer. linger_s: how long a batch is collected while nobody waits for it.

    on_commit: called in the writer's thread with the number of the last record in the database.
    """

    def __init__(
        self, database: Database, *, linger_s: float, on_commit: Callable[[int], None]
    ) -> None:
        self._database = database
        self._statements = statements(database.engine.dialect)
        self._linger_s = linger_s
        self._on_commit = on_commit
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._hurry = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="storage-writer", daemon=True)
        self._failure: str | None = None
        self._has_ended = False
        self.committed = 0
        self.n_rejected = 0

    @property
    def failure(self) -> str | None:
        """Why nothing can be written at present; None where it can."""
        if self._has_ended and not self._stopping.is_set():
            return "the thread that writes has ended"
        return self._failure

    @property
    def n_pending(self) -> int:
        """The number of records that the writer has not taken yet."""
        return self._queue.qsize()

    def start(self) -> None:
        self._thread.start()

    def statement(self, kind: Kind) -> Statement:
        """The statement that writes a record of this kind."""
        return self._statements[kind]

    def submit(self, number: int, record: Record) -> None:
        """Queues a record. Does not wait."""
        self._queue.put((number, record))

    def when_committed(self, number: int, done: Callable[[bool], None]) -> None:
        """Calls done(True), in the writer's thread, once all records so far are in the database, or
        done(False) as soon as the database is found to be down."""
        self._queue.put((number, done))
        self._hurry.set()

    def stop(self, timeout_s: float) -> None:
        """Writes the remaining records; gives up after the timeout."""
        self._queue.put(None)
        self._stopping.set()
        self._hurry.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        stopped = False
        try:
            while not stopped:
                batch, stopped = self._gather()
                # Neither may raise: the thread would end.
                self._write_until_done(batch)
        finally:
            self._has_ended = True

    def _gather(self) -> tuple[list[_Item], bool]:
        batch: list[_Item] = []
        item = self._queue.get()
        self._hurry.wait(self._linger_s)
        self._hurry.clear()
        while item is not None:
            batch.append(item)
            if len(batch) >= _MAX_BATCH:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _write_until_done(self, batch: list[_Item]) -> None:
        wait_s = _FIRST_RETRY_S
        records = [item for _, item in batch if isinstance(item, tuple)]
        waiting = [item for _, item in batch if not isinstance(item, tuple)]
        while records and not self._written(records):
            _tell(waiting, written=False)
            waiting = []
            if self._stopping.wait(wait_s):
                return  # the next process writes the records in the spool
            wait_s = min(_LAST_RETRY_S, wait_s * 2)
        if batch:
            self.committed = batch[-1][0]
            self._let_go()
        _tell(waiting, written=True)

    def _let_go(self) -> None:
        try:
            self._on_commit(self.committed)
        except Exception as error:
            # The records are written, and the next commit reports its number again.
            _LOG.error("storage: after a commit: %s", kind_and_place(error))

    def _written(self, records: Sequence[Record]) -> bool:
        try:
            self.n_rejected += len(write(self._database, self._statements, records))
        except Exception as error:
            reason = str(error) if isinstance(error, StorageError) else kind_and_place(error)
            if self._failure is None:
                _LOG.error("storage: writing fails: %s; it is tried again", reason)
            self._failure = reason
            return False
        if self._failure is not None:
            _LOG.warning("storage: writing works again")
        self._failure = None
        return True


def _tell(waiting: Sequence[Callable[[bool], None]], *, written: bool) -> None:
    for done in waiting:
        try:
            done(written)
        except RuntimeError:
            # The event loop of the waiting task is closed.
            _LOG.info("storage: the requests that waited for a record have ended")
