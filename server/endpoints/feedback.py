"""POST /v1/feedback: a caller's opinion of an answer, stored once, for training."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from p2l_model.types import user_turns
from server.auth.authenticator import Caller
from server.endpoints.common import CallerDep, StateDep, json_response, read_json
from server.errors import ConflictError, InvalidRequestError, NotFoundError, OverloadedError
from server.sessions.names import checked_name
from server.state import State
from server.storage.errors import StorageError
from server.storage.feedback import (
    Asked,
    FeedbackExistsError,
    Opinion,
    add_feedback,
    main_request,
    who_asked,
)
from server.storage.store import Store
from server.surfaces.chat.request import parse_chat_request

router = APIRouter()
_WINNERS: Final = ("model_a", "model_b", "tie", "tie_bothbad")
_FIELDS: Final = frozenset(
    {"request_id", "session_id", "winner", "comparison", "rating", "messages"}
)


@router.post("/v1/feedback")
async def feedback(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Stores the caller's feedback on an answer. Raises NotFoundError for a request that this key
    did not make, ConflictError for a second opinion, RateLimitedError."""
    per_minute = state.settings.limits.feedback_per_minute
    await state.gateway.accounts.limiter.admit_feedback(caller, per_minute)
    body, is_large = await read_json(request, state)
    read = partial(_opinion, body, state)
    opinion = await state.gateway.heavy.run_where(is_large, read)
    try:
        request_id = await _concerned(body, caller, state)
        asked = await _asked(state.store, request_id)
        opinion = _of_the_answer(opinion, request_id, asked, caller, state)
        database = state.store.database
        await asyncio.to_thread(add_feedback, database, request_id, caller.name, opinion)
    except FeedbackExistsError:
        raise ConflictError(
            "Feedback on this request was already given.",
            code="feedback_exists",
            param="request_id",
        ) from None
    except StorageError:
        raise OverloadedError("Feedback cannot be stored just now.") from None
    return json_response({"object": "feedback", "request_id": request_id, "stored": True})


async def _concerned(body: dict[str, Any], caller: Caller, state: State) -> str:
    """The request that the feedback is about: the one that it names, or the one that stands for the
    session that it names. Raises NotFoundError, OverloadedError, StorageError."""
    if "session_id" not in body:
        return str(body["request_id"])
    purses, store = state.gateway.accounts.purses, state.store
    if purses is None:
        raise OverloadedError("Sessions cannot be looked up just now.")
    session = await purses.label(caller, body["session_id"])
    # An answer that is still on its way to the database may change which model has the most.
    await store.flush()
    find = partial(main_request, store.database, caller.name, session)
    found = await asyncio.to_thread(find)
    if found is None:
        raise NotFoundError(
            f"There is no answered request of this key in a session {body['session_id']!r}.",
            code="session_not_found",
            param="session_id",
        )
    return found


async def _asked(store: Store, request_id: str) -> Asked | None:
    asked = await asyncio.to_thread(who_asked, store.database, request_id)
    # The request, or its answer, may still be on its way to the database.
    if (asked is None or asked.model is None) and await store.flush():
        asked = await asyncio.to_thread(who_asked, store.database, request_id)
    return asked


def _of_the_answer(
    opinion: Opinion, request_id: str, asked: Asked | None, caller: Caller, state: State
) -> Opinion:
    """The feedback, completed with the model that answered. Not even an admin may give feedback on
    another key's request."""
    if asked is None or asked.key_name != caller.name:
        raise NotFoundError(
            f"There is no request {request_id[:80]!r} of this key.",
            code="request_not_found",
            param="request_id",
        )
    if opinion.rating is None:
        return opinion
    if asked.model is None:
        raise InvalidRequestError("This request was not answered, so there is nothing to rate.")
    return Opinion(
        model=_leaderboard_name(asked.model, state),
        rating=opinion.rating,
        messages=opinion.messages,
        card=asked.model,
    )


def _opinion(body: dict[str, Any], state: State) -> Opinion:
    unknown = sorted(set(body) - _FIELDS)
    if unknown:
        raise InvalidRequestError(f"{unknown[0][:80]} is not a known field.", param=unknown[0][:80])
    _check_subject(body)
    messages = _turns(body)
    if ("rating" in body) == ("winner" in body):
        raise InvalidRequestError("Give either rating, or winner and comparison.", param="winner")
    if "rating" in body:
        return Opinion(rating=_rating(body["rating"]), messages=messages)
    winner, pair = body["winner"], body.get("comparison")
    if winner not in _WINNERS:
        raise InvalidRequestError(f"winner must be one of {', '.join(_WINNERS)}.", param="winner")
    if not isinstance(pair, dict) or set(pair) != {"model_a", "model_b"}:
        raise InvalidRequestError(
            'comparison must be {"model_a": NAME, "model_b": NAME}.', param="comparison"
        )
    names = [_known(pair[side], f"comparison.{side}", state) for side in ("model_a", "model_b")]
    cards = [state.gateway.planner.columns.names.get(pair[side]) for side in pair]
    # Models without a column of their own may share one.
    differ = None not in cards and pair["model_a"] != pair["model_b"]
    if names[0] == names[1] and not differ:
        raise InvalidRequestError("A model cannot win against itself.", param="comparison")
    return Opinion(
        model_a=names[0],
        model_b=names[1],
        winner=winner,
        messages=messages,
        card_a=pair["model_a"],
        card_b=pair["model_b"],
    )


def _check_subject(body: dict[str, Any]) -> None:
    """Raises InvalidRequestError unless the feedback names either a request or a session; of a
    session only a rating is known."""
    if ("session_id" in body) == ("request_id" in body):
        raise InvalidRequestError("Give either request_id or session_id.", param="request_id")
    request_id = body.get("request_id", "-")
    if not isinstance(request_id, str) or not request_id:
        raise InvalidRequestError("request_id must be the id of a request.", param="request_id")
    if "session_id" not in body:
        return
    checked_name(body["session_id"], "session_id")
    if "rating" not in body:
        raise InvalidRequestError("A session takes a rating from 0 to 1.", param="rating")


def _rating(value: object) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not math.isfinite(float(value)) or not 0 <= value <= 1:  # type: ignore[arg-type,operator]
        raise InvalidRequestError("rating must be a number from 0 to 1.", param="rating")
    return float(value)  # type: ignore[arg-type]


def _turns(body: dict[str, Any]) -> str | None:
    """The user's turns of the messages that the caller allows us to store; None without them."""
    if body.get("messages") is None:
        return None
    chat = parse_chat_request({"model": "p2l", "messages": body["messages"]})
    return orjson.dumps(user_turns(chat.messages)).decode()


def _known(name: object, param: str, state: State) -> str:
    """The leaderboard name of a model in the catalogue or on the leaderboard."""
    if not isinstance(name, str):
        raise InvalidRequestError(f"{param} must be the name of a model.", param=param)
    planner = state.gateway.planner
    if name not in planner.columns.names and name not in planner.scorer.models:
        raise InvalidRequestError(f"{param}: there is no model {name[:200]!r}.", param=param)
    return _leaderboard_name(name, state)


def _leaderboard_name(name: str, state: State) -> str:
    card = state.gateway.planner.columns.names.get(name)
    return name if card is None else card.leaderboard_name
