"""GET /v1/decisions/{request_id}: the stored receipt, for the caller who made the request."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from server.endpoints.common import CallerDep, StateDep
from server.errors import NotFoundError, OverloadedError
from server.storage.errors import StorageError
from server.storage.receipts import StoredReceipt, find_receipt
from server.storage.store import Store

router = APIRouter()


@router.get("/v1/decisions/{request_id}")
async def decision(request_id: str, caller: CallerDep, state: StateDep) -> Response:
    """The receipt, from which `p2l-router replay` computes the decision again.

    Raises NotFoundError; also for another key's request, whose existence is not revealed.
    """
    found = await _found(state.store, request_id)
    if found is None or not (caller.admin or found.key_name == caller.name):
        raise NotFoundError(
            f"There is no decision {request_id[:80]!r}.",
            code="decision_not_found",
            param="request_id",
        )
    return Response(found.document, media_type="application/json")


async def _found(store: Store, request_id: str) -> StoredReceipt | None:
    try:
        found = await asyncio.to_thread(find_receipt, store.database, request_id)
        if found is None and await store.flush():
            # It may still be on its way to the database.
            found = await asyncio.to_thread(find_receipt, store.database, request_id)
    except StorageError:
        raise OverloadedError("Decisions are not available just now.") from None
    return found
