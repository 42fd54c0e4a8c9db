"""The money of sessions: what a request belongs to, and how much may be spent there."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from server.accounts.windows import Windows
from server.auth.authenticator import Caller
from server.errors import OverloadedError
from server.ledger.attempt import usd
from server.ledger.purse import Purse
from server.ledger.window import WindowSpec, from_nano, limit_nano
from server.storage.errors import StorageError
from server.storage.rows import micros
from server.storage.session_rows import SESSION_KEY, given_budgets, session_key
from server.storage.statements import Kind
from server.storage.store import Store

# The number of sessions whose budgets and requests are known without reading the ledger.
_MOST: Final = 50_000
_HASH_BYTES: Final = 16
# Budgets that were given more than this many seconds ago must be given again.
_GIVEN_S: Final = 7 * 86_400
# The more of the money is spent, the more a win must be worth. Once half of it is spent, a request
# that takes one hundredth of the budget must gain this many hundredths of a win.
_PRICE: Final = 4.0
# The seconds after which the key of hashes is asked for again, where that has failed.
_RETRY_S: Final = 2.0


@dataclass(slots=True)
class _Known:
    """What is known of a session. given_usd: the last budget that a caller gave. spent: nanodollars
    settled, requests: the number of settled ones, both as far as this process knows."""

    given_usd: Decimal | None = None
    spent: int = 0
    requests: int = 0


class Purses:
    """The money of all sessions of a process.

    default_usd: the budget of a session for which neither its requests nor its key set one; it may
    be replaced. windows: where the money is counted.
    """

    def __init__(
        self,
        store: Store,
        windows: Windows,
        default_usd: Decimal | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.default_usd = default_usd
        self._store = store
        self._windows = windows
        self._clock = clock
        # Waits do not go by the time of day, which may be set back.
        self._steady = steady
        self._key: bytes | None = None
        self.known: OrderedDict[str, _Known] = OrderedDict()
        self._loading = asyncio.Lock()
        self._retry_at_s = 0.0
        windows.on_session = self.settled

    async def prepare(self) -> None:
        """Reads now what the first session would have to wait for, if it can be read."""
        with suppress(OverloadedError):
            await self._load(Caller(""), None)

    def limit(self, caller: Caller, given_usd: Decimal | None) -> Decimal | None:
        """The budget in USD of a session of the caller; None: no limit."""
        ceiling = caller.limits.session_budget_usd
        if given_usd is None:
            return self.default_usd if ceiling is None else ceiling
        return given_usd if ceiling is None else min(given_usd, ceiling)

    async def of(
        self,
        caller: Caller,
        name: str | None,
        seed: int | None,
        given_usd: Decimal | None,
        told_usd: Decimal | None = None,
    ) -> Purse | None:
        """The purse that a request spends from; None where nothing has to be counted. name: the
        name of its session, where it has one; seed: that of the session it was assigned to without
        a name. told_usd: the budget of which another process has told. Raises OverloadedError."""
        stated_usd = told_usd if given_usd is None else given_usd
        if name is None and self.limit(caller, stated_usd) is None and not self.known:
            return None
        if self._key is None and not await self._load(caller, stated_usd):
            return None
        if name is None:
            name = f"\0{secrets.randbits(63) if seed is None else seed}"
        session = self._hash(caller.name, name)
        known = self.known.get(session)
        last_usd = given_usd
        if last_usd is None and known is not None:
            last_usd = known.given_usd
        if last_usd is None:
            last_usd = told_usd
        limit_usd = self.limit(caller, last_usd)
        if limit_usd is None:
            return None if name[0] == "\0" else Purse(session, None)
        spec = WindowSpec(caller.name, limit_nano(limit_usd), None, session)
        price, request_usd = (0.0, None) if known is None else _pace(spec, known)
        return Purse(session, spec, given_usd, price, request_usd)

    async def label(self, caller: Caller, name: str) -> str:
        """The name by which the ledger knows a session of the caller. Raises OverloadedError."""
        if self._key is None and not await self._load(caller, None):
            raise OverloadedError("Sessions cannot be looked up just now.")
        return self._hash(caller.name, name)

    def opened(self, purse: Purse) -> None:
        """Records that a request of the session is sent: the budget that it states holds from now
        on."""
        if purse.spec is None:
            return
        known = self.known.get(purse.session)
        if known is None:
            known = self.known[purse.session] = _Known()
            if len(self.known) > _MOST:
                self.known.popitem(last=False)
        self.known.move_to_end(purse.session)
        if purse.given_usd is not None:
            known.given_usd = purse.given_usd

    def settled(self, session: str, spent: int) -> None:
        """Records that an attempt has ended. spent: nanodollars settled in the session so far."""
        known = self.known.get(session)
        if known is not None:
            known.spent = spent
            known.requests += 1

    def has_budget(self, session: str) -> bool:
        """Whether a request of the session has had a budget."""
        return session in self.known

    async def _load(self, caller: Caller, given_usd: Decimal | None) -> bool:
        """Whether sessions can be identified already. Raises OverloadedError where they must be and
        cannot."""
        async with self._loading:
            if self._key is not None:
                return True
            failed_before = self._steady() < self._retry_at_s
            try:
                if failed_before:
                    # Otherwise each request would wait until it is known that this fails.
                    raise StorageError("failed just now")
                own = await asyncio.to_thread(session_key, self._store.database)
                shared = await self._windows.agreed(SESSION_KEY, own)
                since_us = micros(self._clock() - _GIVEN_S)
                given = await asyncio.to_thread(given_budgets, self._store.database, since_us)
            except StorageError:
                if not failed_before:
                    self._retry_at_s = self._steady() + _RETRY_S
                if self.limit(caller, given_usd) is None:
                    return False
                raise OverloadedError(
                    "The budgets of sessions cannot be checked just now."
                ) from None
            if shared != own:
                now_us = micros(self._clock())
                row = {"name": SESSION_KEY, "updated_at": now_us, "document": shared}
                self._store.put(Kind.STATE, row)
            for session, budget_pico in list(given.items())[-_MOST:]:
                self.known[session] = _Known(usd(budget_pico))
            self._key = bytes.fromhex(shared)
            return True

    def _hash(self, *said: str) -> str:
        text = "\0".join(said).encode("utf-8", "surrogatepass")
        key = self._key or b""
        return hashlib.blake2b(text, key=key, digest_size=_HASH_BYTES).hexdigest()


def _pace(spec: WindowSpec, known: _Known) -> tuple[float, Decimal | None]:
    """Returns the price of the session's money, and what is left for each request still expected:
    as many as there have been, since the length of a job is unknown."""
    left = spec.amount_nano - known.spent
    if known.spent <= 0 or spec.amount_nano <= 0:
        return 0.0, None
    if left <= 0:
        return 1e9, Decimal(0)
    price = _PRICE * (known.spent / left) ** 2 / (spec.amount_nano / 1e9)
    is_short = left < known.spent
    return price, from_nano(left // max(1, known.requests)) if is_short else None
