"""/admin/keys: creates, lists, changes and revokes API keys. Available only where some key is an
admin's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from server.auth.authenticator import Caller
from server.auth.key_terms import KeyTerms, changed
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
from server.storage.keys import KeyExistsError, change_key, create_key, read_key_ring, revoke_key
from server.tasks.refresh_keys import refresh

router = APIRouter()
T = TypeVar("T")


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
    terms = _valid(partial(KeyTerms.model_validate, body))
    _check_models(terms.models, state)
    taken = ConflictError(
        f"There is, or was, a key with the name {terms.name!r}. Spend is counted by name: choose "
        "another name.",
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


@router.patch("/admin/keys/{name}")
async def change(name: str, request: Request, caller: CallerDep, state: StateDep) -> Response:
    """Changes the terms that the body names, such as session_budget_usd; null removes a limit. What
    the key has spent still counts. Raises NotFoundError, InvalidRequestError."""
    _check(caller, state)
    body, _ = await read_json(request, state)
    if "name" in body:
        raise InvalidRequestError("name: a key keeps its name: leave it out.", param="name")
    database = state.store.database
    try:
        old = (await asyncio.to_thread(read_key_ring, database)).named(name)
        if old is None or old.is_revoked:
            raise _not_found(name)
        new, terms = _valid(partial(changed, old.caller, body))
        _check_models(None if "models" not in terms else new.models, state)
        if terms and not await asyncio.to_thread(change_key, database, new, terms):
            raise _not_found(name)
        await refresh(state)
        made = (await asyncio.to_thread(read_key_ring, database)).named(name)
    except StorageError:
        raise _unavailable() from None
    return json_response((made or old).to_json())


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
        raise _not_found(name)
    return json_response({"object": "api_key.revoked", "name": name})


def _check(caller: Caller, state: State) -> None:
    if not state.authenticator.has_admin:
        raise NotFoundError(
            "No admin key is configured, so administration is turned off.", code="admin_off"
        )
    if not caller.admin:
        raise ForbiddenError


def _not_found(name: str) -> NotFoundError:
    return NotFoundError(
        f"There is no stored key {name[:80]!r} that is not revoked yet. Keys of the configuration "
        "file are changed and removed there.",
        code="key_not_found",
        param="name",
    )


def _valid(check: Callable[[], T]) -> T:
    """The result of a check of a key's terms. Raises InvalidRequestError."""
    try:
        return check()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidRequestError(f"{param or 'The body'}: {message}.", param=param) from None


def _check_models(models: Iterable[str] | None, state: State) -> None:
    for name in models or ():
        if name not in state.gateway.planner.columns.names:
            raise InvalidRequestError(f"models: there is no model {name[:200]!r}.", param="models")


def _unavailable() -> OverloadedError:
    return OverloadedError("The storage is not available just now.")
