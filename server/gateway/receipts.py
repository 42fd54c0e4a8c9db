"""Stores the receipt of every decision, and the prompt where the configuration asks for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

import orjson

from server.config.settings import ScorerSettings
from server.gateway.receipt import checkpoint_version, folded_receipt
from server.gateway.routed_request import Exchange
from server.storage.rows import micros
from server.storage.statements import Kind
from server.storage.store import Store

_LOG: Final = logging.getLogger(__name__)
_MOST_KEPT_CHARS: Final = 1_000_000


class Receipts:
    """Stores receipts. keep_prompts: the user's turns are stored too, so that feedback can become a
    training vote; not for a prompt that is longer than any model can read to its end."""

    def __init__(
        self,
        store: Store,
        scoring: ScorerSettings,
        *,
        keep_prompts: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._checkpoint = checkpoint_version(scoring)
        self._keep_prompts = keep_prompts
        self._clock = clock
        # The parts that receipts have in common, by version.
        self._stored: set[str] = set()

    def keep(self, exchange: Exchange) -> None:
        """Queues the receipt of a routed request. It neither waits nor fails."""
        if not exchange.plan.routed:
            return
        try:
            self._keep(exchange)
        except Exception as error:
            # The answer has been paid for: it is delivered even without its receipt.
            _LOG.error(
                "the receipt of %s could not be stored: %s",
                exchange.plan.request_id,
                type(error).__name__,
            )

    def _keep(self, exchange: Exchange) -> None:
        plan, now = exchange.plan, self._clock()
        about = {"request_id": plan.request_id, "created_at": micros(now)}
        receipt = folded_receipt(exchange, created_s=int(now), checkpoint=self._checkpoint)
        common = receipt.common
        if common.version not in self._stored:
            self._stored.add(common.version)
            text = _json(common.document)
            row = {"version": common.version, "created_at": micros(now), "document": text}
            self._store.put(Kind.CATALOGUE, row)
        self._store.put(
            Kind.RECEIPT,
            {
                **about,
                "key_name": plan.caller.name,
                "catalogue_version": common.version,
                "document": _json(receipt.document),
            },
        )
        if self._keep_prompts and sum(map(len, plan.conversation.turns)) <= _MOST_KEPT_CHARS:
            turns = list(plan.conversation.turns)
            self._store.put(Kind.PROMPT, {**about, "messages": _json(turns)})


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
