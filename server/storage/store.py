"""The store: writes the gateway's records, so that failures lose as little as possible.

A record (an attempt opened or settled, a receipt) is first a line in the spool and then, within
milliseconds, a row in the database. The possible failures:

- `kill -9` at any moment: an attempt is spooled before it is sent, and settled before the end of
  its answer is passed on (a receipt is written together with the next of them). The next process
  on this disk writes the records that the database lacks, and closes open attempts as `lost`,
  billed by `storage.unknown_cost`. No settled row is lost, none is counted twice (request and
  attempt identify a row), and no reservation stays open.
- The machine is lost: open attempts are in the database too; another gateway closes them once
  their process has not been seen for a minute. If it was only suspended, its own settlement wins.
- The database is down: requests are refused (503), or served with `storage.on_failure: spool`
  until the spool is full; the spool is written when the database is back.
- There is no spool (PostgreSQL, read-only disk): a request waits for the commit of its
  reservation; a settlement in the last milliseconds before a `kill -9` becomes an estimate.
- A power cut: the last moments, which the disk has not received, may be lost.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from server.config.settings import StorageSettings
from server.ledger.attempt import Attempt, Outcome
from server.storage.database import Database
from server.storage.errors import StorageError, StorageRefusedError
from server.storage.migrate import migrate
from server.storage.recovery import Lost, adopt, close_stale
from server.storage.rows import attempt_row, micros
from server.storage.spool import Spool
from server.storage.statements import Kind, Row
from server.storage.writer import Writer

_LOG: Final = logging.getLogger(__name__)
_LINGER_S: Final = 0.05
_LINGER_WITHOUT_SPOOL_S: Final = 0.001
_MAX_PENDING: Final = 200_000
_STOP_S: Final = 10.0
_FLUSH_S: Final = 10.0


class Store:
    """The database, its spool and its writer. One per process; used from one event loop.

    settings: may be replaced; the locations of the database and the spool stay the same.
    """

    def __init__(
        self,
        database: Database,
        settings: StorageSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.instance = f"i{uuid.uuid4().hex[:20]}"
        self.lost: list[Lost] = []
        self.settings = settings
        self._clock = clock
        self._spool: Spool | None = None
        self._not_spooled: str | None = None
        self._not_removed: str | None = None
        self._n_rejected = 0
        self._started = False
        self._numbers = itertools.count(1)
        self._last = 0
        self._started_at = micros(clock())
        folder = spool_folder(settings, database)
        linger_s = _LINGER_WITHOUT_SPOOL_S if folder is None else _LINGER_S
        self._folder = folder
        self._writer = Writer(database, linger_s=linger_s, on_commit=self._committed)

    @property
    def failure(self) -> str | None:
        """Why the database or the spool cannot be written at present; None where both can."""
        return self._writer.failure or self._not_spooled or self._not_removed

    @property
    def n_rejected(self) -> int:
        """The number of records that no database accepted: their spend is not in the ledger."""
        return self._n_rejected + self._writer.n_rejected

    @property
    def n_pending(self) -> int:
        """The number of records that wait for the database."""
        return self._writer.n_pending

    def start(self) -> None:
        """Migrates the database, recovers what dead processes left, and starts writing. Blocks;
        further calls do nothing.

        Raises StorageError where the database cannot be used. `lost` then holds the attempts that
        were closed.
        """
        if self._started:
            return
        migrate(self.database)
        with self.database.begin() as connection:
            self._writer.statement(Kind.SEEN).execute(connection, [self._seen()])
        policy, now = self.settings.unknown_cost, self._clock()
        if self._folder is not None:
            try:
                adopted = adopt(self.database, self._folder, policy, now)
                self._spool = Spool(self._folder, self.instance)
            except OSError as error:
                raise StorageError(
                    f"storage.spool_dir: {error}: make {self._folder} writable for the user that "
                    "serve runs as"
                ) from error
            self.lost += adopted.lost
            self._n_rejected += adopted.n_rejected
        self.lost += close_stale(self.database, policy, now, self.instance)
        self._writer.start()
        self._started = True

    async def open(self, row: Attempt) -> None:
        """Returns once the row would survive the death of the process. Raises
        StorageRefusedError."""
        self._check()
        opened = attempt_row(row, self.instance)
        self._put(Kind.OPEN, opened, must_spool=True)
        if self._spool is not None:
            return
        written = None
        try:
            written = await self.flush()
        finally:
            if written is None:  # the caller has hung up meanwhile: nothing will be sent
                row.outcome, row.settled_at, row.cost_pico = Outcome.CANCELLED, self._clock(), 0
                self.settle(row)
        if not written:
            # Nothing is sent, so no row may appear when the database is back.
            self._put(Kind.WITHDRAW, opened)
            raise StorageRefusedError("the database is down")

    def settle(self, row: Attempt) -> None:
        """Does not wait."""
        self._put(Kind.SETTLE, attempt_row(row, self.instance))

    def put(self, kind: Kind, row: Row) -> None:
        """Queues a record of another kind. Does not wait; it is spooled with the next attempt's
        record, at the latest in the event loop's next round."""
        self._last = number = next(self._numbers)
        record = (kind, row)
        if self._spool is not None:
            self._spool.hold(record, number)
            asyncio.get_running_loop().call_soon(self._write_held)
        self._writer.submit(number, record)

    async def flush(self) -> bool:
        """Waits until all records so far are in the database; returns False where it is down."""
        if self._writer.failure is not None:
            return False
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()

        def tell(written: bool) -> None:
            if not done.done():
                done.set_result(written)

        def from_the_writer(written: bool) -> None:
            loop.call_soon_threadsafe(tell, written)

        self._writer.when_committed(self._last, from_the_writer)
        try:
            async with asyncio.timeout(_FLUSH_S):
                return await done
        except TimeoutError:
            return False

    def beat(self) -> None:
        """Records that this process lives, and checks whether a failed spool can be written again;
        to be called every few seconds."""
        if self._spool is not None and self._not_spooled is not None:
            self._spooled(self._spool.probe)
        self._writer.submit(self._last, (Kind.SEEN, self._seen()))

    def close_stale(self) -> list[Lost]:
        """Closes open attempts of dead processes elsewhere. Blocks. Raises StorageError."""
        policy = self.settings.unknown_cost
        return close_stale(self.database, policy, self._clock(), self.instance)

    def close(self) -> None:
        """Writes the remaining records. Blocks, for some seconds at most."""
        try:
            if self._started:
                self._writer.stop(_STOP_S)
            if self._spool is not None:
                self._spool.close(self._writer.committed)
        except OSError as error:
            _LOG.error("storage: the spool is left for the next process: %s", error.strerror)
        finally:
            self.database.close()

    def _check(self) -> None:
        failure = self._writer.failure
        if failure is not None and self.settings.on_failure == "refuse":
            raise StorageRefusedError(failure)
        full = self._spool is not None and self._spool.n_bytes > self.settings.spool_max_bytes
        if full or self._writer.n_pending > _MAX_PENDING:
            raise StorageRefusedError("too many records wait for the database")

    def _put(self, kind: Kind, row: Row, *, must_spool: bool = False) -> None:
        self._last = number = next(self._numbers)
        record = (kind, row)
        if self._spool is not None:
            self._spool.hold(record, number)
            if not self._spooled(self._spool.write_held) and must_spool:
                raise StorageRefusedError("the spool cannot be written")
        self._writer.submit(number, record)

    def _write_held(self) -> None:
        if self._spool is not None and self._spool.is_holding:
            self._spooled(self._spool.write_held)

    def _spooled(self, write: Callable[[], None]) -> bool:
        """Whether the records could be spooled. Otherwise they are written to the database only,
        and are lost where the process dies before that."""
        try:
            write()
        except OSError as error:
            if self._not_spooled is None:
                _LOG.error("storage: the spool cannot be written: %s", error.strerror)
            self._not_spooled = f"the spool cannot be written: {error.strerror}"
            return False
        if self._not_spooled is not None:
            self._not_spooled = None
            _LOG.warning("storage: the spool can be written again")
        return True

    def _committed(self, number: int) -> None:
        """Called in the writer's thread."""
        if self._spool is None:
            return
        try:
            self._spool.committed(number)
        except OSError as error:
            if self._not_removed is None:
                _LOG.error("storage: the spool cannot be removed: %s", error.strerror)
            self._not_removed = f"the spool cannot be removed: {error.strerror}"
        else:
            self._not_removed = None

    def _seen(self) -> Row:
        return {
            "instance": self.instance,
            "started_at": self._started_at,
            "seen_at": micros(self._clock()),
        }


def spool_folder(settings: StorageSettings, database: Database) -> Path | None:
    """The spool's folder; None: records are not spooled."""
    if settings.spool_dir is not None or database.path is None:
        return settings.spool_dir
    return database.path.with_name(f"{database.path.name}.spool")
