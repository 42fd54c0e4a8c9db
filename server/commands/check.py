"""`p2l-router check`: reads the configuration and reports what would be routed, and whether the
gateway would be ready."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from p2l_model.data.model_names import canonical
from router.catalog import ModelCard
from server.alerts.sending import target_of
from server.build import settings_from, surely_known_to
from server.catalogue.auto_models import takes_all, with_auto_models
from server.catalogue.cards import Coverage, build_catalogue, coverage
from server.catalogue.provider_lists import ListError, offered_models
from server.commands.flags import add_config
from server.commands.outputs import left, table_lines
from server.config.configured_facts import book_of, facts_of_models
from server.config.environment import variable
from server.config.file import ConfigError
from server.config.provider_keys import api_key
from server.config.settings import Settings
from server.gateway.column_places import place_of
from server.gateway.places import Place, Places
from server.model_facts import ModelFacts
from server.model_facts.book import Book
from server.readiness import is_routed, readiness
from server.readiness.doctor import OK, connections
from server.readiness.objectives import check_objectives
from server.upstream.networks import network_lines, network_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_config(parser)
    parser.add_argument(
        "--connect", action="store_true",
        help="Also connect to the storage, to Redis and to the hosts of the providers. No key is "
             "sent.",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns 1 where the first requests would fail. Raises ConfigError,
    CheckpointError."""
    settings = settings_from(args.config)
    book = book_of(settings)
    settings, unread = _with_lists_of_servers(settings, book)
    catalogue = build_catalogue(settings, book=book)
    known = surely_known_to(settings.scorer)
    check_objectives(settings, catalogue)
    placed = _Placed(Places(known.models, known.marginal), facts_of_models(settings, book))
    report = _report(settings, catalogue, placed, known.models)
    ready = readiness(settings, catalogue, known.models, book=book)
    network = network_report(settings, os.environ)
    report |= {
        "facts": {"as_of": str(book.as_of), "from": book.where},
        "network": network,
        "problems": [
            *([] if catalogue else unread),
            *ready.problems,
            *_key_problems(settings, os.environ),
            *network["problems"],
            *(f"provider {name}: {why}" for name, why in network["logins"].items()),
        ],
        "warnings": [*ready.warnings, *(unread if catalogue else ())],
        "notes": list(ready.notes),
    }
    if args.connect:
        report["connections"] = dict(connections(settings, os.environ))
        report["problems"] += [
            f"{name}: {state}" for name, state in report["connections"].items() if state != OK
        ]
    report["ok"] = not report["problems"]
    print(json.dumps(report) if args.json else "\n".join(_text(report)))
    return 0 if report["ok"] else 1


def _with_lists_of_servers(settings: Settings, book: Book) -> tuple[Settings, list[str]]:
    """The settings with the current models of the operator's own servers, and a sentence for each
    such server that has none."""
    servers = {n: p for n, p in settings.providers.items() if p.models == "auto" and takes_all(p)}
    offered: dict[str, list[str]] = {}
    unread = []
    today = datetime.now(UTC).date()
    for name, provider in servers.items():
        try:
            offered[name] = asyncio.run(offered_models(name, provider, os.environ, today))
        except (ConfigError, ListError, ValueError) as error:
            unread.append(f"provider {name}: its models cannot be listed: {error}")
    if servers:
        settings = with_auto_models(settings, book, today, offered)
    with_models = {model.provider for model in settings.models.values()}
    for name in offered.keys() - with_models:
        address = settings.providers[name].base_url
        unread.append(
            f"provider {name}: its models cannot be used: the list of {address} has none that can "
            "chat. Install one there (`ollama pull NAME`), or name its models under models"
        )
    return settings, unread


class _Placed(NamedTuple):
    """The places of models on the leaderboard. facts: by the name of the model."""

    places: Places
    facts: Mapping[str, ModelFacts]

    def of(self, card: ModelCard) -> tuple[Place | None, float]:
        """The place of a card, and the difference of a column's coefficient from it."""
        return place_of(card, self.places, self.facts[card.base].thinking)

    def card(self, card: ModelCard) -> ModelCard:
        """The card, where it is a column with the name of its place."""
        place, _ = self.of(card)
        if card.effort is None or place is None or place.rests_on != "own":
            return card
        return replace(card, leaderboard_name=place.column)


def _report(
    settings: Settings, catalogue: Sequence[ModelCard], placed: _Placed, rows: Sequence[str]
) -> dict[str, Any]:
    missing = coverage([placed.card(card) for card in catalogue], rows)
    return {
        "models": [_model(card, *placed.of(card), settings) for card in catalogue],
        "keys": _keys(settings),
        "without_coefficient": [
            {"model": name, "hint": _hint(name, missing)} for name in missing.without_coefficient
        ],
        "aliases": settings.aliases,
        "leaderboard_only": list(missing.without_model),
        "without_price": list(missing.without_price),
    }


def _model(
    card: ModelCard, place: Place | None, shift: float, settings: Settings
) -> dict[str, Any]:
    prices = card.prices
    return {
        "model": card.name,
        "provider": card.provider,
        "upstream_model": card.upstream_model,
        "leaderboard_name": card.leaderboard_name,
        "from": "configuration" if card.base in settings.configured_models else "models: auto",
        "routed": is_routed(card, () if place is None else (place.column,)),
        "effort": card.effort,
        "place": None if place is None else asdict(place),
        "coefficient_shift": shift,
        "retired": card.retired,
        "input_usd_per_mtok": None if prices is None else float(prices.input_usd_per_mtok),
        "output_usd_per_mtok": None if prices is None else float(prices.output_usd_per_mtok),
        "context_window": card.context_window,
    }


def _keys(settings: Settings) -> dict[str, str]:
    """Maps each variable to `set` or `missing`, never to its value."""
    used = _used(settings)
    names = [p.api_key_env for n, p in settings.providers.items() if p.api_key_env and n in used]
    names += [key.key_env for key in settings.auth.keys if key.key_env]
    names += [name for name in (settings.alerts.url_env, settings.alerts.secret_env) if name]
    return {name: "set" if variable(name, os.environ) else "missing" for name in names if name}


def _key_problems(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each key that cannot be read."""
    for name in _used(settings):
        try:
            api_key(name, settings.providers[name], environ)
        except ConfigError as error:
            yield str(error)
    try:
        target_of(settings.alerts, environ)
    except ConfigError as error:
        yield str(error)
    for number, key in enumerate(settings.auth.keys):
        if key.key_env is not None and not variable(key.key_env, environ):
            yield (
                f"auth.keys.{number}.key_env: the variable {key.key_env} is not set: set it to the "
                f"key of {key.name}, or leave that key out"
            )


def _used(settings: Settings) -> list[str]:
    used = {model.provider for model in settings.models.values()}
    return [n for n, p in settings.providers.items() if n in used or p.models == "auto"]


def _hint(name: str, missing: Coverage) -> str | None:
    """A leaderboard name that means the same model, or that differs only in case."""
    for known in missing.without_model:
        if known == canonical(name) or known.lower() == name.lower():
            return f"set leaderboard_name: {known}"
    return None


def _text(report: Mapping[str, Any]) -> Iterator[str]:
    columns = (left("model"), left("provider"), "USD per million tokens", left("routed"))
    yield from table_lines(columns, map(_row, report["models"]))
    for row in report["models"]:
        if row["place"] is not None and (row["place"]["rests_on"] != "own" or row["effort"]):
            yield _place(row)
    for row in report["without_coefficient"]:
        if row["hint"] is not None:
            yield f"{row['model']}: {row['hint']}"
    auto = [row["model"] for row in report["models"] if row["from"] != "configuration"]
    if auto:
        yield f"found by models: auto: {', '.join(auto)}"
    if report["aliases"]:
        names = (f"{name} is {target}" for name, target in report["aliases"].items())
        yield f"aliases: {', '.join(names)}"
    yield f"facts of models: {report['facts']['from']}, as of {report['facts']['as_of']}"
    for name, state in report["keys"].items():
        yield f"key {name}: {state}"
    for name, state in report.get("connections", {}).items():
        yield f"{name}: {state}"
    yield from network_lines(report["network"])
    yield f"on the leaderboard, not configured: {len(report['leaderboard_only'])} models"
    yield from (f"warning: {warning}" for warning in report["warnings"])
    yield from (f"note: {note}" for note in report["notes"])
    yield f"NOT READY: {'; '.join(report['problems'])}" if report["problems"] else "ok"


def _place(row: Mapping[str, Any]) -> str:
    place, shift = row["place"], row["coefficient_shift"]
    if place["rests_on"] == "own":
        by = "" if shift == 0.0 else f", {shift:+g} for its effort"
        return f"{row['model']} has the leaderboard's own column {place['column']}{by}"
    return (
        f"{row['model']} is placed by public facts, give or take {place['sd']:.1f}: "
        f"{place['basis']} (column {place['column']}, moved by {shift:+.2f})"
    )


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    price = "unknown"
    if row["input_usd_per_mtok"] is not None:
        price = f"{row['input_usd_per_mtok']:g} in, {row['output_usd_per_mtok']:g} out"
    routed = "yes" if row["routed"] else f"no: {row['retired'] or 'the leaderboard is empty'}"
    return row["model"], row["provider"], price, routed
