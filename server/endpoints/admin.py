"""/admin/keys: creates, lists and revokes API keys. Available only where some key is an admin's."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from server.auth.authenticator import Caller
from server.auth.key_terms import KeyTerms
from server.endpoints.common import CallerDep, StateDep, json_response, read_json
from server.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
)
from server.state import State
from server.storage.errors import StorageError
from server.storage.keys import KeyExistsError, create_key, read_key_ring, revoke_key
from server.tasks.refresh_keys import refresh

router = APIRouter()


@router.get("/admin/keys")
async def list_keys(caller: CallerDep, state: StateDep) -> Response:
    """Lists all stored keys, including revoked ones, without the keys' secret values."""
    _check(caller, state)
    try:
        ring = await asyncio.to_thread(read_key_ring, state.store.database)
    except StorageError:
        raise _unavailable() from None
    data = [key.to_json() for key in ring.keys]
    return json_response({"object": "list", "data": data, "unreadable": ring.unreadable})


@router.post("/admin/keys")
async def create(request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Creates a key; only this response shows it. Raises InvalidRequestError, ConflictError."""
    _check(caller, state)
    body, _ = await read_json(request, state)
    terms = _terms(body, state)
    taken = ConflictError(
        f"There is or was a key with the name {terms.name!r}: spend is counted by name, choose "
        "another.",
        code="key_exists",
        param="name",
    )
    if terms.name in state.authenticator.configured_names:
        raise taken
    try:
        secret, key = await asyncio.to_thread(create_key, state.store.database, terms.caller)
        await refresh(state)
    except KeyExistsError:
        raise taken from None
    except StorageError:
        raise _unavailable() from None
    return json_response({**key.to_json(), "key": secret.reveal()}, {"cache-control": "no-store"})


@router.delete("/admin/keys/{name}")
async def revoke(name: str, caller: CallerDep, state: StateDep) -> Response:
    """Revokes a key, which is rejected from then on. Raises NotFoundError."""
    _check(caller, state)
    try:
        revoked = await asyncio.to_thread(revoke_key, state.store.database, name)
        await refresh(state)
    except StorageError:
        raise _unavailable() from None
    if not revoked:
        raise NotFoundError(
            f"There is no stored key {name[:80]!r} that is not revoked yet; keys of the "
            "configuration are revoked there.",
            code="key_not_found",
            param="name",
        )
    return json_response({"object": "api_key.revoked", "name": name})


def _check(caller: Caller, state: State) -> None:
    if not state.authenticator.has_admin:
        raise NotFoundError("There is no admin key: administration is off.", code="admin_off")
    if not caller.admin:
        raise ForbiddenError


def _terms(body: dict[str, Any], state: State) -> KeyTerms:
    try:
        terms = KeyTerms.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidRequestError(f"{param or 'The body'}: {message}.", param=param) from None
    for name in terms.models or ():
        if name not in state.gateway.planner.catalogue:
            raise InvalidRequestError(f"models: there is no model {name[:200]!r}.", param="models")
    return terms


def _unavailable() -> OverloadedError:
    return OverloadedError("The storage cannot be used just now.")
