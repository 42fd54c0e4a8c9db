"""Stored responses: retrieves them, lists their input items, deletes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from server.endpoints.common import CallerDep, StateDep, json_response
from server.endpoints.openapi import error_responses
from server.errors import InvalidRequestError
from server.surfaces.responses.keeping import KeptResponses
from server.surfaces.responses.turn import listed_items

router = APIRouter(prefix="/v1/responses", responses=error_responses())


@router.get("/{response_id}")
async def retrieve(
    response_id: str,
    caller: CallerDep,
    state: StateDep,
    stream: Annotated[bool, Query()] = False,
) -> Response:
    """A response that was stored for this key. Raises NotFoundError."""
    if stream:
        raise InvalidRequestError(
            "stream: a stored response is only returned as a whole. Leave stream out.",
            param="stream",
        )
    kept = KeptResponses(state.store, state.settings, caller.name)
    return Response(await kept.find(response_id), media_type="application/json")


@router.delete("/{response_id}")
async def delete(response_id: str, caller: CallerDep, state: StateDep) -> Response:
    """Deletes a response. Requests that continue it fail from then on. Raises NotFoundError."""
    await KeptResponses(state.store, state.settings, caller.name).delete(response_id)
    return json_response({"id": response_id, "object": "response", "deleted": True})


@router.get("/{response_id}/input_items")
async def input_items(
    response_id: str,
    caller: CallerDep,
    state: StateDep,
    after: Annotated[str | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[Literal["asc", "desc"], Query()] = "desc",
) -> Response:
    """The input items of a response, including the conversation before it. Raises NotFoundError."""
    kept = KeptResponses(state.store, state.settings, caller.name)
    items = list(listed_items(await kept.conversation(response_id)))
    if order == "desc":
        items.reverse()
    return json_response(_page(items, after, limit))


def _page(items: list[dict[str, Any]], after: str | None, limit: int) -> dict[str, Any]:
    start = 0
    if after is not None:
        places = [place for place, item in enumerate(items) if item["id"] == after]
        if not places:
            raise InvalidRequestError(
                "after must be the id of an item of this response.", param="after"
            )
        start = places[0] + 1
    page = items[start : start + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(items),
    }
