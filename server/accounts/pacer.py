"""Maintains each window's shadow price: what a dollar of it would earn elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

import orjson

from router.pacing import (
    PacingState,
    combined_usd_per_win,
    shadow_price,
    start,
    step,
)
from server.ledger.window import WindowSpec
from server.storage.receipts import DAMAGED
from server.storage.rows import micros
from server.storage.statements import Kind
from server.storage.states import read_state
from server.storage.store import Store

_LOG: Final = logging.getLogger(__name__)
_SAVE_S: Final = 1.0


class Pacer:
    """The states by window, updated at each settlement and stored about once a second."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._states: dict[str, PacingState] = {}
        self._saved: dict[str, float] = {}

    def load(self, spec: WindowSpec) -> None:
        """Loads the stored state. Blocks. Raises StorageError."""
        document = read_state(self._store.database, _name(spec))
        if document is None or spec.name in self._states:
            return
        try:
            self._states[spec.name] = PacingState.from_dict(orjson.loads(document))
        except DAMAGED:
            # The price is learnt again; money is counted by the ledger.
            _LOG.error(
                "the stored pacing state %s cannot be read, so pacing begins anew", _name(spec)
            )

    def settled(self, spec: WindowSpec, spent: int) -> None:
        """Updates the price. spent: nanodollars settled in the window that ends now."""
        plan = spec.pacing
        if plan is None:
            return
        now = self._clock()
        state = self._states.get(spec.name) or start(now)
        self._states[spec.name] = step(plan, state, now, spent / 1e9)
        # The clock may have been set back.
        if abs(now - self._saved.get(spec.name, 0.0)) >= _SAVE_S:
            self._saved[spec.name] = now
            self._save(spec, now)

    def usd_per_win(
        self, specs: Sequence[WindowSpec], configured: Decimal | None
    ) -> Decimal | None:
        """What a certain win is worth in USD under these windows; None: cost does not count."""
        prices = []
        for spec in specs:
            plan, state = spec.pacing, self._states.get(spec.name)
            if plan is not None and state is not None:
                prices.append(shadow_price(plan, state))
        return combined_usd_per_win(configured, prices) if prices else configured

    def _save(self, spec: WindowSpec, now: float) -> None:
        document = orjson.dumps(self._states[spec.name].to_dict()).decode()
        row = {"name": _name(spec), "updated_at": micros(now), "document": document}
        self._store.put(Kind.STATE, row)


def _name(spec: WindowSpec) -> str:
    return f"pacing:{spec.name}"
