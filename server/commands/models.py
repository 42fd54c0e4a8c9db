"""`p2l-router models`: each configured model with its place on the leaderboard, what that rests on,
and what it has done on this traffic."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from p2l_model.types import PromptLeaderboard
from router.catalog import ModelCard
from server.build import database_of, settings_from, surely_known_to
from server.catalogue.cards import build_catalogue
from server.commands.flags import add_config
from server.commands.outputs import left, table_lines
from server.config.configured_facts import book_of, facts_of_models
from server.config.settings import Settings
from server.gateway.column_places import place_of, placed_card
from server.gateway.local_frame import frame_of
from server.gateway.local_layers import LocalLayers, usual_values
from server.gateway.places import Place, Places
from server.storage.feedback import answers_by_model
from server.storage.migrate import migrate
from server.storage.spend import Spend, spend
from server.tasks.learn_local import stored_layers

# Half the width of an 80% interval, in standard deviations.
_EIGHTY: Final = 1.2816
_FOREVER: Final = 1e11


@dataclass(frozen=True, slots=True)
class Row:
    """coefficient: on the leaderboard for no prompt in particular, in natural log-odds; interval:
    80% of it, the same number twice for a model of the training. answers: graded or compared here.
    attempts, mean_cost_usd: of this traffic; None without an attempt."""

    model: str
    provider: str
    coefficient: float | None
    interval: tuple[float, float] | None
    rests_on: str
    answers: int
    attempts: int
    mean_cost_usd: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the command; returns the exit status. Raises ConfigError, CheckpointError,
    StorageError."""
    settings = settings_from(args.config)
    database = database_of(settings.storage)
    try:
        migrate(database)
        spent = {one.group: one for one in spend(database, "model", 0.0, _FOREVER)}
        answers = answers_by_model(database)
        layers = stored_layers(database) if settings.learning.local else None
    finally:
        database.close()
    rows = sorted(_rows(settings, spent, answers, layers), key=_strongest_first)
    if args.json:
        print(json.dumps({"data": [_json(row) for row in rows]}))
    else:
        print("\n".join(_table(rows)))
    return 0


def _rows(
    settings: Settings,
    spent: Mapping[str, Spend],
    answers: Mapping[str, int],
    layers: LocalLayers | None,
) -> Iterator[Row]:
    book = book_of(settings)
    facts = facts_of_models(settings, book)
    known = surely_known_to(settings.scorer)
    marginal = known.marginal
    usual = {}
    if marginal is not None:
        usual = dict(zip(marginal.models, marginal.coefficients.tolist(), strict=True))
    places = Places(known.models, marginal)
    cards = build_catalogue(settings, book=book)
    learnt = _learnt(layers, [placed_card(places, facts, card) for card in cards], marginal)
    for card in cards:
        place, shift = place_of(card, places, facts[card.base].thinking)
        coefficient = None if place is None else usual.get(place.column)
        before = None if coefficient is None else coefficient + shift
        yield _row(card, place, before, spent, answers, learnt.get(card.name))


def _learnt(
    layers: LocalLayers | None, cards: Sequence[ModelCard], marginal: PromptLeaderboard | None
) -> Mapping[str, tuple[float, float]]:
    """The coefficients and standard deviations that the answers here have led to."""
    columns = () if marginal is None else marginal.models
    frame = frame_of(cards, columns, marginal)
    if layers is None or frame is None:
        return {}
    return usual_values(layers, frame)


def _row(
    card: ModelCard,
    place: Place | None,
    coefficient: float | None,
    spent: Mapping[str, Spend],
    answers: Mapping[str, int],
    learnt: tuple[float, float] | None,
) -> Row:
    sd = 0.0 if place is None else place.sd
    rests_on = "an empty leaderboard" if place is None else place.basis
    if learnt is not None:
        coefficient, sd = learnt
        rests_on += "; answers here"
    width = _EIGHTY * sd
    used = spent.get(card.name)
    return Row(
        model=card.name,
        provider=card.provider,
        coefficient=coefficient,
        interval=None if coefficient is None else (coefficient - width, coefficient + width),
        rests_on=rests_on,
        answers=sum(answers.get(name, 0) for name in {card.name, card.leaderboard_name}),
        attempts=0 if used is None else used.attempts,
        mean_cost_usd=None if used is None else float(used.cost_usd) / used.attempts,
    )


def _strongest_first(row: Row) -> tuple[float, str]:
    return (math.inf if row.coefficient is None else -row.coefficient), row.model


def _json(row: Row) -> dict[str, Any]:
    return {
        "model": row.model,
        "provider": row.provider,
        "coefficient": row.coefficient,
        "interval80": None if row.interval is None else list(row.interval),
        "rests_on": row.rests_on,
        "answers": row.answers,
        "attempts": row.attempts,
        "mean_cost_usd": row.mean_cost_usd,
    }


def _table(rows: Sequence[Row]) -> list[str]:
    columns = (
        *(left("model"), "place", "80% interval", "answers", "attempts", "mean USD"),
        left("rests on"),
    )
    return table_lines(columns, map(_cells, rows))


def _cells(row: Row) -> tuple[str, ...]:
    place = "-" if row.coefficient is None else f"{row.coefficient:.2f}"
    interval = "-" if row.interval is None else "{:.2f} to {:.2f}".format(*row.interval)
    cost = "-" if row.mean_cost_usd is None else f"{row.mean_cost_usd:.6f}"
    counts = str(row.answers), str(row.attempts)
    return row.model, place, interval, *counts, cost, row.rests_on
