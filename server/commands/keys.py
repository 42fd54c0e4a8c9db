"""`p2l-router keys`: creates, lists, changes and revokes API keys. Only their hashes are stored."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from p2l_model.errors import DataError
from server.auth.key_terms import KeyTerms, changed
from server.build import database_of, settings_from
from server.commands.actions import actions_of, add_action
from server.commands.outputs import left, table_lines
from server.config.ledger_place import ledger_place
from server.config.settings import Settings
from server.storage.database import Database
from server.storage.keys import KeyExistsError, change_key, create_key, read_key_ring, revoke_key
from server.storage.migrate import migrate

T = TypeVar("T")
_LIMITS: Final = (
    *("max_request_usd", "session_budget_usd"),
    *("requests_per_minute", "tokens_per_minute"),
)
_COLUMNS: Final = (
    *(left("name"), left("state"), left("admin"), left("models"), "budget USD"),
    *("USD/request", "USD/session", "requests/min", "tokens/min"),
    left("expires"),
    left("second answers"),
)
# On the command line: a limit that is removed.
_NONE: Final = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of each action."""
    actions = actions_of(parser)
    create = add_action(actions, "create", "Create a key. It is shown only once.",
                        "keys create alice --budget-usd 5 --window-s 86400")  # fmt: skip
    create.add_argument("name", help="A name for the key. Spend is counted under it.")
    create.add_argument("--admin", action="store_true",
                        help="The key may see everything and manage other keys.")  # fmt: skip
    _add_terms(create, int)
    add_action(actions, "list", "List the stored keys, without the secrets.",
               "keys list --json")  # fmt: skip
    change = add_action(actions, "change",
                        f"Change the terms of a stored key. {_NONE} removes a limit.",
                        "keys change alice --session-budget-usd 1")  # fmt: skip
    change.add_argument("name", help="The name of the key.")
    _add_terms(change, str)
    revoke = add_action(actions, "revoke", "Revoke a key. It stops working within a second.",
                        "keys revoke alice")  # fmt: skip
    revoke.add_argument("name", help="The name of the key.")


def _add_terms(parser: argparse.ArgumentParser, whole: Callable[[str], object]) -> None:
    """whole: reads a whole number."""
    parser.add_argument("--models", metavar="NAME,NAME",
                        help="The only models that the key may use (default: all).")  # fmt: skip
    _add_limits(parser, whole)
    parser.add_argument("--expires-in-days", type=whole, metavar="N",
                        help="The key stops working after N days.")  # fmt: skip
    parser.add_argument("--expires-at", metavar="TIME",
                        help="The key stops working at this time, for example "
                             "2027-01-31T00:00:00Z.")  # fmt: skip
    parser.add_argument("--shadow", choices=["true", "false"],
                        help="false: no second model ever answers the key's requests too "
                             "(default: true).")  # fmt: skip


def _add_limits(parser: argparse.ArgumentParser, whole: Callable[[str], object]) -> None:
    parser.add_argument("--budget-usd", metavar="USD",
                        help="How much the key may spend in any --window-s, or in all where no "
                             "window is given (default: no limit).")  # fmt: skip
    parser.add_argument("--window-s", type=whole, metavar="SECONDS",
                        help="The period of --budget-usd, for example 86400 for a "
                             "day.")  # fmt: skip
    parser.add_argument("--max-request-usd", metavar="USD",
                        help="The most that one request may cost (default: no limit).")  # fmt: skip
    parser.add_argument("--session-budget-usd", metavar="USD",
                        help="The most that all requests of one session may cost together "
                             "(default: no limit).")  # fmt: skip
    parser.add_argument("--requests-per-minute", type=whole, metavar="N",
                        help="How many requests the key may send per minute (default: no "
                             "limit).")  # fmt: skip
    parser.add_argument("--tokens-per-minute", type=whole, metavar="N",
                        help="How many tokens the key may use per minute (default: no "
                             "limit).")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. A running gateway notices a change within a
    second. Raises ConfigError, DataError, StorageError."""
    settings = settings_from(args.config)
    database = database_of(settings.storage)
    try:
        migrate(database)
        if args.action == "create":
            return _create(args, settings, database)
        if args.action == "change":
            return _change(args, settings, database)
        if args.action == "revoke":
            return _revoke(args, database)
        return _list(args, database)
    finally:
        database.close()


def _create(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    terms = _valid(partial(KeyTerms.model_validate, _given(args)))
    _check_models(terms.models, settings)
    if terms.name in {key.name for key in settings.auth.keys}:
        raise DataError(f"the configuration has a key {terms.name!r}: choose another name")
    is_first = read_key_ring(database).is_empty and not settings.auth.keys
    try:
        secret, key = create_key(database, terms.caller)
    except KeyExistsError as error:
        raise DataError(f"{error}: choose another name") from error
    if args.json:
        print(json.dumps({**key.to_json(), "key": secret.reveal()}))
    else:
        print(secret.reveal())
        print("\n".join(_told(settings, terms, is_first=is_first)), file=sys.stderr)
    return 0


def _told(settings: Settings, terms: KeyTerms, *, is_first: bool) -> Iterator[str]:
    """What the maker of a key should know."""
    yield "This key is not stored and cannot be shown again."
    place = ledger_place(settings.storage, os.environ)
    where = "the configured database" if place is None else str(place.path)
    yield f"It holds for the gateways whose ledger is {where}, within a second."
    if is_first:
        yield "It is the first one: from now on these gateways answer only callers with a key."
        if not terms.admin:
            yield "The dashboard needs an admin's: p2l-router keys create NAME --admin"


def _change(args: argparse.Namespace, settings: Settings, database: Database) -> int:
    name, given = args.name, _given(args)
    del given["name"]
    old = read_key_ring(database).named(name)
    if old is None or old.is_revoked:
        raise _no_key(name)
    new, terms = _valid(partial(changed, old.caller, given))
    _check_models(new.models if "models" in terms else None, settings)
    if terms and not change_key(database, new, terms):
        raise _no_key(name)
    if args.json:
        print(json.dumps((read_key_ring(database).named(name) or old).to_json()))
    return 0


def _revoke(args: argparse.Namespace, database: Database) -> int:
    if not revoke_key(database, args.name):
        raise _no_key(args.name)
    if args.json:
        print(json.dumps({"object": "api_key.revoked", "name": args.name}))
    return 0


def _list(args: argparse.Namespace, database: Database) -> int:
    ring = read_key_ring(database)
    rows = [key.to_json() for key in ring.keys]
    if args.json:
        print(json.dumps({"object": "list", "data": rows, "unreadable": ring.unreadable}))
        return 0
    print("\n".join(table_lines(_COLUMNS, map(_cells, rows))))
    for name in ring.unreadable:
        print(f"{name}: unreadable: its row in the database is damaged, so the key does not work")
    return 0


def _no_key(name: str) -> DataError:
    return DataError(f"there is no stored key {name!r}, or it is revoked already")


def _check_models(models: Iterable[str] | None, settings: Settings) -> None:
    for name in models or ():
        if name not in settings.model_names:
            raise DataError(f"--models: there is no model {name!r} in the configuration")


def _given(args: argparse.Namespace) -> dict[str, Any]:
    """The terms that the flags give, by the names of KeyTerms; None where a limit is removed."""
    flags = {name: getattr(args, name, None) for name in KeyTerms.model_fields}
    given = {k: None if v == _NONE else v for k, v in flags.items() if v is not None}
    if isinstance(models := given.get("models"), str):
        given["models"] = [name.strip() for name in models.split(",") if name.strip()]
    return given


def _valid(check: Callable[[], T]) -> T:
    """The result of a check of a key's terms. Raises DataError."""
    try:
        return check()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "decimal_parsing":
            said = "must be a decimal number with a point, such as 0.5"
        for name in KeyTerms.model_fields:
            said = re.sub(rf"\b{name}\b", _flag(name), said) if "_" in name else said
        where = f"{_flag(str(first['loc'][0]))}: " if first["loc"] else ""
        raise DataError(f"{where}{said}") from None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _state(row: dict[str, Any]) -> str:
    return "revoked" if row["revoked_at"] is not None else "good"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Every term of a key; what it has no limit of is said so."""
    window = row["window_s"]
    period = "" if row["budget_usd"] is None else " in all"
    if window is not None:
        period = f" per {window} s"
    return (
        row["name"],
        _state(row),
        "yes" if row["admin"] else "no",
        "all" if row["models"] is None else ",".join(row["models"]),
        f"{_limit(row['budget_usd'])}{period}",
        *(_limit(row[name]) for name in _LIMITS),
        "never" if row["expires_at"] is None else str(row["expires_at"]),
        "allowed" if row["shadow"] else "never",
    )


def _limit(amount: object) -> str:
    return "no limit" if amount is None else str(amount)
