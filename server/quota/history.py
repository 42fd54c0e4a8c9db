"""What the ledger says was spent in a window before this process began to count."""

from __future__ import annotations

from sqlalchemy import Integer, cast, func, select

from server.quota.window import WindowSpec
from server.storage.database import Database
from server.storage.schema import attempts

_PICO_PER_NANO = 1_000


def spent_slices(database: Database, spec: WindowSpec, now_us: int) -> list[tuple[int, int]]:
    """(number of the slice, nanodollars), in order. Blocks. Raises StorageError."""
    slice_us = spec.slice_us
    # exact whole-number division in both databases
    index = attempts.c.settled_at.op("/")(slice_us) if slice_us else cast(0, Integer)
    query = select(index.label("index"), func.sum(attempts.c.cost_pico)).where(
        attempts.c.settled_at.is_not(None), attempts.c.cost_pico.is_not(None)
    )
    if spec.window_s is not None:
        query = query.where(attempts.c.settled_at > now_us - (spec.window_s * 1_000_000 + slice_us))
    if spec.key_name is not None:
        query = query.where(attempts.c.key_name == spec.key_name)
    with database.begin() as connection:
        rows = connection.execute(query.group_by("index").order_by("index")).all()
    return [(int(row[0]), -(-int(row[1]) // _PICO_PER_NANO)) for row in rows]
